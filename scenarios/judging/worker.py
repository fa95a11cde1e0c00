"""The functions that run in child processes: each is one whole job, on one folder, with one system.

Each function's first argument is the `Channel` to its driver. Crash points are watched in one of three ways: counted, copied
(we stop at each hit and report it; the driver takes its snapshot and lets us continue), or armed to kill. They are the failpoints
of this process. For a target with ``watch_calls`` they are the system calls of the system and of every process it starts; the
system then runs in a process tree below this one.
"""

from __future__ import annotations

import contextlib
import json
import os
import pickle
import signal
import threading
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NoReturn

from crashmatrix import faults
from crashmatrix.scenarios.errors import UsageError, text_of
from crashmatrix.scenarios.processes.calls.long_writes import CUT
from crashmatrix.scenarios.processes.calls.mapped_stores import MAPPED_STORE
from crashmatrix.scenarios.processes.calls.system_calls import (
    DESCRIPTIONS,
    Coverage,
    failpoint_environment,
    run_watched,
)
from crashmatrix.scenarios.processes.jobs import Channel
from crashmatrix.scenarios.processes.process_tree import ProcessTree
from crashmatrix.scenarios.processes.result import Relayed, describe
from crashmatrix.scenarios.processes.stopping import stop_here
from crashmatrix.scenarios.systems.loading import Target, load
from crashmatrix.scenarios.target.contract import Violation, contract_named, judge_safely
from crashmatrix.scenarios.target.journal import Item, Journal, Promises, item_key
from crashmatrix.scenarios.target.system import SystemUnderTest

__all__ = [
    "Hit",
    "Profile",
    "fingerprint",
    "judge",
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
    listed: tuple[str, ...] = ()
    """Failpoints of a program, which the target says it has."""
    shrunk: bool = False
    """Whether the journal was removed or truncated on the way."""
    uncovered: tuple[str, ...] = ()
    """Changes by the workload that no crash point lies in, in words."""
    notes: tuple[str, ...] = ()
    """Rules by which hits were left out."""


def setup(_: Channel, target: Target) -> Sequence[str]:
    """Make the system once and let it fill its workspace."""
    return [str(remark) for remark in target.make().setup() or ()]


def prepare(_: Channel, target: Target, root: Path) -> Sequence[Item]:
    """Lay out what is there before the first crash point."""
    return recovered_items(target.make().prepare(root) or (), "prepare")


def profile(_: Channel, target: Target, root: Path, journal: Path) -> Profile:
    """Run the workload to its end, counting."""
    system = target.make()
    hits: list[Hit] = []
    growth = _Growth(journal)

    coverage = Coverage()

    def see(hit: Hit, *_: object) -> None:
        hits.append(hit)
        growth.look()

    if target.watch_calls:
        _run_watched(system, lambda: system.workload(root, Journal(journal)), root, journal, see, coverage, True)
        declared = _declared_outside(system, hits)
    else:
        faults.observe(lambda point, number: see((point.name, number)))
        system.workload(root, Journal(journal))
        faults.observe(None)
        declared = _declared(system)
    growth.look()
    return Profile(
        tuple(hits),
        declared,
        tuple(system.failpoints_outside()),
        growth.shrunk,
        tuple(coverage.lacks),
        tuple(coverage.notes),
    )


class _Growth:
    """Watches a file that may only grow.

    Threads need no lock: ``known`` is read before ``size``, so it is the larger one only if the file shrank.
    """

    def __init__(self, path: Path) -> None:
        self._path, self._largest = path, 0
        self.shrunk = False

    def look(self) -> None:
        known = self._largest
        size = self._path.stat().st_size if self._path.exists() else 0
        self.shrunk = self.shrunk or size < known
        self._largest = max(known, size)


def workload(
    channel: Channel, target: Target, root: Path, journal: Path, watch: Collection[Hit], kill: Hit | None
) -> None:
    """Run the workload; be copied at the hits in ``watch``, die at ``kill``."""
    system = target.make()
    if target.watch_calls:
        _run_watched(
            system,
            lambda: system.workload(root, Journal(journal)),
            root,
            journal,
            _crash_at(channel, watch, kill),
            stores=any(name == MAPPED_STORE for name, _ in [*watch, *([kill] if kill else [])]),
        )
        return
    _arm(channel, watch, kill)
    system.workload(root, Journal(journal))


def recover(
    channel: Channel, target: Target, root: Path, snapshot: bool, kill: Hit | None
) -> tuple[list[Item], dict[str, tuple[str, str]]]:
    """Recover once; be copied at every hit, or die at one. Returns the items and the failpoints declared."""
    system = target.make()
    watch = None if snapshot else ()
    if target.watch_calls and (snapshot or kill):
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


def judge(_: Channel, target: Target, promises: Promises, items: Sequence[Item]) -> Violation | None:
    """Apply a contract written by a user, which may do anything."""
    return judge_safely(contract_named(load(target.name).contract), promises, items)


def fingerprint(_: Channel, target: Target, root: Path) -> str | None:
    """Return the system's digest of its folder."""
    return target.make().fingerprint(root)


def recovered_items(recovered: Any, what: str = "recover") -> list[Item]:
    """Return what `recover` returned as a list of plain JSON values, whatever classes they were of.

    Raises UsageError if an item is not a JSON value, and whatever a generator raises.
    """
    if isinstance(recovered, str | bytes | Mapping) or not isinstance(recovered, Iterable):
        raise _no_items(recovered, what, f"a {type(recovered).__name__}")
    items = list(recovered)
    try:
        return [json.loads(item_key(item)) for item in items]
    except (TypeError, ValueError) as error:
        raise _no_items(recovered, what, error) from None


def _no_items(recovered: Any, what: str, why: object) -> UsageError:
    try:
        shown = text_of(repr(recovered))[:60]
    except Exception:
        shown = "what cannot be shown"
    return UsageError(f"{what} must return a list of JSON values, not {shown} ({text_of(why)})")


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


See = Callable[[Hit, ProcessTree, Callable[[], None]], None]
"""Called at a hit, with the tree, and a function that brings about what a crash there leaves."""

_CUTS_IN_RECOVERY = 2
"""How many hits inside long writes each recovery is copied at."""


def _crash_at(channel: Channel, watch: Collection[Hit] | None, kill: Hit | None) -> See:
    """As `_arm`, for a process tree: it is copied, or killed, as one."""

    def see(hit: Hit, tree: ProcessTree, bring_about: Callable[[], None]) -> None:
        if hit == kill:
            bring_about()
            tree.kill()
            os.kill(os.getpid(), signal.SIGKILL)
        if hit in watch if watch is not None else hit[1] <= _CUTS_IN_RECOVERY or not hit[0].endswith(CUT):
            bring_about()
            with tree.frozen():
                channel.send(hit)
                stop_here()

    return see


def _run_watched(
    system: SystemUnderTest,
    function: Callable[[], Any],
    root: Path,
    journal: Path | None,
    see: See,
    coverage: Coverage | None = None,
    stores: bool = False,
) -> Any:
    """Call ``function`` in a watched process tree; ``see`` each hit. Returns what it returns, and ends as it ends."""
    names = list(system.failpoints_outside())
    counts: Counter[str] = Counter()

    def at(name: str, tree: ProcessTree, bring_about: Callable[[], None]) -> None:
        counts[name] += 1
        see((name, counts[name]), tree, bring_about)

    with os.fdopen(os.memfd_create("crashmatrix-answer"), "w+b") as answer:

        def body() -> None:
            os.environ.update(failpoint_environment(names))
            pickle.dump(_outcome(function), answer)
            answer.flush()

        status = run_watched(
            body, root=root, journal=journal, failpoints=names, at=at, coverage=coverage, stores=stores
        )
        answer.seek(0)
        text = answer.read()
    lacks = coverage.lacks if coverage else []
    if not text:
        if lacks:  # They may be the cause of its death.
            os.write(2, f"\nnote: kill does not cover {'; nor '.join(lacks)}\n".encode())
        _end_like(status)
    returned, content = pickle.loads(text)  # noqa: S301  # from our own child
    if not returned:
        note = f" (note: kill does not cover {'; nor '.join(lacks)})" if lacks else ""
        raise Relayed(replace(content, message=content.message + note))
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
        with contextlib.suppress(OSError, ValueError):  # SIGKILL, and those that the C library keeps to itself
            signal.signal(-status, signal.SIG_DFL)
        os.kill(os.getpid(), -status)
    os._exit(status)


def _declared_outside(system: SystemUnderTest, hits: Collection[Hit]) -> dict[str, tuple[str, str]]:
    calls = {name: (DESCRIPTIONS[name], "") for name, _ in hits if name in DESCRIPTIONS}
    return {**calls, **dict.fromkeys(system.failpoints_outside(), ("a failpoint of the program", ""))}


def _declared(system: SystemUnderTest) -> dict[str, tuple[str, str]]:
    points = (point for point in faults.catalogue() if not point.name.startswith(tuple(system.unreached)))
    return {point.name: (point.description, point.location) for point in points}
