"""What runs in the child processes: each function is one job's whole life, on a folder, with one system.

Every one takes the `Channel` to its driver first. Crash points are watched in one of three ways: counted, photographed (the
driver is told of each hit while we are stopped, and lets us go on once it has its photograph), or armed to kill. They are
the failpoints of this process, or for a target that says so (``watch_calls``) the system calls of the system and of all it
starts: then it runs in a process tree below this one.
"""

from __future__ import annotations

import os
import pickle
import signal
import threading
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import faults
from scenarios.endings import Relayed, describe
from scenarios.errors import UsageError
from scenarios.jobs import Channel
from scenarios.journal import Item, Journal, Promises, item_key
from scenarios.photograph import stop_here
from scenarios.process_tree import ProcessTree
from scenarios.system import SystemUnderTest, Target
from scenarios.system_calls import DESCRIPTIONS, failpoint_environment, run_watched

__all__ = [
    "Hit",
    "Profile",
    "fingerprint",
    "prepare",
    "profile",
    "recover",
    "recover_again",
    "recovered_items",
    "setup",
    "workload",
]

Hit = tuple[str, int]
"""A failpoint's name and which hit of it, from 1."""


@dataclass(frozen=True)
class Profile:
    """An undisturbed run of the workload: its hits in order, and every failpoint declared: name to (description, place)."""

    hits: tuple[Hit, ...]
    declared: dict[str, tuple[str, str]]


def setup(_: Channel, target: Target) -> Sequence[str]:
    """Make the system once and let it fill its workspace."""
    return target.make().setup()


def prepare(_: Channel, target: Target, root: Path) -> Sequence[Item]:
    """Lay out what is there before the first crash point."""
    return list(target.make().prepare(root) or ())


def profile(_: Channel, target: Target, root: Path, journal: Path) -> Profile:
    """Run the workload to its end, counting."""
    system = target.make()
    hits: list[Hit] = []
    if target.watch_calls:
        _run_watched(
            system, lambda: system.workload(root, Journal(journal)), root, journal, lambda hit, _: hits.append(hit)
        )
        return Profile(tuple(hits), _declared_outside(system, hits))
    faults.observe(lambda point, number: hits.append((point.name, number)))
    system.workload(root, Journal(journal))
    return Profile(tuple(hits), _declared(system))


def workload(
    channel: Channel, target: Target, root: Path, journal: Path, watch: Collection[Hit], kill: Hit | None
) -> None:
    """Run the workload; be photographed at the hits in ``watch``, die at ``kill``."""
    system = target.make()
    if target.watch_calls:
        _run_watched(
            system, lambda: system.workload(root, Journal(journal)), root, journal, _crash_at(channel, watch, kill)
        )
        return
    _arm(channel, watch, kill)
    system.workload(root, Journal(journal))


def recover(channel: Channel, target: Target, root: Path, photograph: bool, kill: Hit | None) -> Any:
    """Recover once; be photographed at every hit, or die at one. Returns the items and the failpoints declared."""
    system = target.make()
    watch = None if photograph else ()
    if target.watch_calls and (photograph or kill):
        items = _run_watched(
            system, lambda: recovered_items(system.recover(root)), root, None, _crash_at(channel, watch, kill)
        )
        return items, _declared_outside(system, ())
    _arm(channel, watch, kill)
    items = recovered_items(system.recover(root))
    faults.observe(None)
    return items, _declared_outside(system, ()) if target.watch_calls else _declared(system)


def recover_again(channel: Channel, target: Target, root: Path, promises: Promises) -> Sequence[Item]:
    """Recover a second time; let the driver look at the folder; then let the system check itself."""
    system = target.make()
    items = recovered_items(system.recover(root))
    channel.send(items)
    channel.receive()
    system.verify(root, promises)
    return items


def fingerprint(_: Channel, target: Target, root: Path) -> str | None:
    """Ask the system for its folder's digest."""
    return target.make().fingerprint(root)


def recovered_items(recovered: Any) -> list[Item]:
    """Return what `recover` returned as a list. Raises UsageError if it is none of JSON values."""
    try:
        if isinstance(recovered, str | bytes | Mapping):
            raise TypeError(f"a {type(recovered).__name__}")
        items = list(recovered)
        for item in items:
            item_key(item)
    except (TypeError, ValueError) as error:
        raise UsageError(f"recover must return a list of JSON values, not {recovered!r:.60} ({error})") from None
    return items


def _arm(channel: Channel, watch: Collection[Hit] | None, kill: Hit | None) -> None:
    if kill is not None:
        name, number = kill
        faults.configure(name, f"{number - 1}*off->kill")
    if watch is None or watch:
        lock = threading.Lock()

        def observe(point: faults.FailPoint, number: int) -> None:
            if watch is None or (point.name, number) in watch:
                with lock:
                    channel.send((point.name, number))
                    stop_here()

        faults.observe(observe)


def _crash_at(channel: Channel, watch: Collection[Hit] | None, kill: Hit | None) -> Callable[[Hit, ProcessTree], None]:
    """As `_arm`, for a process tree: it is photographed, or killed, as one."""

    def see(hit: Hit, tree: ProcessTree) -> None:
        if hit == kill:
            tree.kill()
            os.kill(os.getpid(), signal.SIGKILL)
        if watch is None or hit in watch:
            with tree.frozen():
                channel.send(hit)
                stop_here()

    return see


def _run_watched(
    system: SystemUnderTest,
    function: Callable[[], Any],
    root: Path,
    journal: Path | None,
    see: Callable[[Hit, ProcessTree], None],
) -> Any:
    """Call ``function`` in a watched process tree; ``see`` each hit. Returns what it returns, and ends as it ends."""
    names = list(system.failpoints_outside())
    counts: Counter[str] = Counter()

    def at(name: str, tree: ProcessTree) -> None:
        counts[name] += 1
        see((name, counts[name]), tree)

    with os.fdopen(os.memfd_create("crashmatrix-answer"), "w+b") as answer:

        def body() -> None:
            os.environ.update(failpoint_environment(names))
            pickle.dump(_outcome(function), answer)
            answer.flush()

        status = run_watched(body, root=root, journal=journal, failpoints=names, at=at)
        answer.seek(0)
        text = answer.read()
    if not text:
        _end_like(status)
    returned, content = pickle.loads(text)  # noqa: S301  # from our own child
    if not returned:
        raise Relayed(content)
    return content


def _outcome(function: Callable[[], Any]) -> tuple[bool, Any]:
    owner = os.getpid()
    try:
        outcome = True, function()
    except BaseException as error:  # A panic or an exit is a way to end, too.
        outcome = False, describe(error)
    if os.getpid() != owner:
        os._exit(0)  # A copy, made by a function that forks.
    return outcome


def _end_like(status: int) -> NoReturn:
    """End this process as another one ended."""
    if status < 0:
        signal.signal(-status, signal.SIG_DFL) if -status not in (signal.SIGKILL, signal.SIGSTOP) else None
        os.kill(os.getpid(), -status)
    os._exit(status)


def _declared_outside(system: SystemUnderTest, hits: Collection[Hit]) -> dict[str, tuple[str, str]]:
    calls = {name: (DESCRIPTIONS[name], "") for name, _ in hits if name in DESCRIPTIONS}
    return {**calls, **dict.fromkeys(system.failpoints_outside(), ("a failpoint of the program", ""))}


def _declared(system: SystemUnderTest) -> dict[str, tuple[str, str]]:
    points = (point for point in faults.catalogue() if not point.name.startswith(tuple(system.unreached)))
    return {point.name: (point.description, point.location) for point in points}
