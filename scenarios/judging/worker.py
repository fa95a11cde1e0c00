"""The functions that run in child processes: each is one whole job, on one folder, with one system.

Each function's first argument is the `Channel` to its driver. Crash points are watched in one of three ways: counted, copied
(we stop at each hit and report it; the driver takes its snapshot and lets us continue), or armed to kill. They are the failpoints
of this process. For a target with ``watch_calls`` they are also the system calls of the system and of every process it starts;
the system then runs in a process tree below this one.
"""

from __future__ import annotations

import json
import mmap
import os
import threading
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from crashmatrix import faults
from crashmatrix.scenarios.errors import UsageError, text_of
from crashmatrix.scenarios.judging.declared import Declared, declared_here, declared_outside, entered_here
from crashmatrix.scenarios.judging.native_lines import native_line
from crashmatrix.scenarios.judging.source_lines import SourceLines
from crashmatrix.scenarios.judging.watched import Hit, crash_at, run_watched_system, wants_stores
from crashmatrix.scenarios.processes.calls.system_calls import Coverage
from crashmatrix.scenarios.processes.jobs import Channel
from crashmatrix.scenarios.processes.process_tree import ProcessTree
from crashmatrix.scenarios.processes.stopping import stop_here
from crashmatrix.scenarios.systems.loading import Target, load
from crashmatrix.scenarios.systems.server import printed_last
from crashmatrix.scenarios.target.contract import Violation, contract_named, judge_safely
from crashmatrix.scenarios.target.journal import Item, Journal, Promises, item_key
from crashmatrix.scenarios.target.lives import repeating
from crashmatrix.scenarios.target.system import SystemUnderTest

__all__ = [
    "Found",
    "Hit",
    "Profile",
    "fingerprint",
    "judge",
    "places",
    "prepare",
    "profile",
    "recover",
    "recover_again",
    "recovered_items",
    "resume",
    "setup",
    "workload",
]


@dataclass(frozen=True)
class Profile:
    """An undisturbed run of the workload: its hits in order, and every failpoint declared: name to (description, place)."""

    hits: tuple[Hit, ...]
    declared: Declared
    listed: tuple[str, ...] = ()
    """Failpoints of a program, which the target says it has."""
    shrunk: bool = False
    """Whether the journal was removed or truncated on the way."""
    uncovered: tuple[str, ...] = ()
    """Changes by the workload that no crash point lies in, in words."""
    notes: tuple[str, ...] = ()
    """Rules by which hits were left out."""
    elsewhere: bool = False
    """Whether a process that the system forked hit a failpoint: only hits of the process itself are in ``hits``."""
    entered: dict[str, int] = field(default_factory=dict)
    """How often each mark was entered."""


class Found(NamedTuple):
    """The items that a recovery returned, the failpoints declared, as in `Profile`, and what a server of the target printed.

    ``passed`` are the failpoints that a recovery without snapshots passed in the process itself. System calls, and failpoints of
    programs and of forked processes, are not among them.
    """

    items: list[Item]
    declared: Declared
    printed: str = ""
    passed: tuple[str, ...] = ()


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
    elsewhere = mmap.mmap(-1, 1)  # Forked processes share it.

    def see(hit: Hit, *_: object) -> None:
        hits.append(hit)
        growth.look()

    def see_here(point: faults.FailPoint, number: int) -> None:
        if os.getpid() == this:
            see((point.name, number))
        else:
            elsewhere[0] = 1

    def live() -> tuple[Declared, dict[str, int]]:
        system.workload(root, Journal(journal))
        return declared_here(system), entered_here(system)

    if target.watch_calls:
        names = system.failpoints_outside()
        own, entered = run_watched_system(names, live, root, journal, see, coverage, stores=True, own=True)
        declared = declared_outside(system, hits, own)
    else:
        this = os.getpid()
        faults.observe(see_here)
        declared, entered = live()
        faults.observe(None)
    growth.look()
    return Profile(
        tuple(hits),
        declared,
        tuple(system.failpoints_outside()),
        growth.shrunk,
        tuple(coverage.lacks),
        tuple(coverage.notes),
        bool(elsewhere[0]),
        entered,
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
    _live(channel, target, system, lambda: system.workload(root, Journal(journal)), root, journal, watch, kill)


def resume(
    channel: Channel,
    target: Target,
    root: Path,
    journal: Path,
    watch: Collection[Hit] | None,
    kill: Hit | None,
    recovered: Sequence[Item],
) -> None:
    """Let the system go on after it recovered these items; be copied at the hits in ``watch`` (None: at all), die at ``kill``."""
    system = target.make()
    _live(channel, target, system, lambda: system.resume(root, Journal(journal, recovered)), root, journal, watch, kill)


def _live(
    channel: Channel,
    target: Target,
    system: SystemUnderTest,
    life: Callable[[], None],
    root: Path,
    journal: Path,
    watch: Collection[Hit] | None,
    kill: Hit | None,
) -> None:
    if target.watch_calls:
        see, stores = crash_at(channel, watch, kill), wants_stores(watch, kill)
        run_watched_system(system.failpoints_outside(), life, root, journal, see, stores=stores, own=True)
        return
    _arm(channel, watch, kill)
    life()


def places(_: Channel, target: Target, root: Path, journal: Path, hits: Collection[Hit]) -> dict[Hit, tuple[str, str]]:
    """Run the workload once more; return what it is about to do at these hits, and at which line of its source."""
    system = target.make()
    found: dict[Hit, tuple[str, str]] = {}
    lines = SourceLines()

    def see(hit: Hit, tree: ProcessTree, _: object) -> None:
        lines.read()
        if hit in hits:
            waiting = tree.waiting
            found[hit] = (waiting.about(), native_line(waiting.thread)) if waiting else ("", "")
            lines.at(hit, tree)

    def life() -> None:
        lines.listen()
        system.workload(root, Journal(journal))

    run_watched_system(system.failpoints_outside(), life, root, journal, see, own=True)
    lines.close()
    return {hit: (about, lines.found.get(hit, native)) for hit, (about, native) in found.items()}


def recover(
    channel: Channel, target: Target, root: Path, snapshot: bool, kill: Hit | None, promises: Promises | None = None
) -> Found:
    """Recover once; be copied at every hit, or die at one.

    With ``promises``, stop then to be copied, and let the system check itself if the driver says so.
    """
    system = target.make()
    found = _recover(channel, target, system, root, snapshot, kill)
    if promises is not None:
        channel.send(found)
        stop_here()
        if channel.receive():
            system.verify(root, promises)
    return found


def _recover(
    channel: Channel, target: Target, system: SystemUnderTest, root: Path, snapshot: bool, kill: Hit | None
) -> Found:
    watch = None if snapshot else ()
    if target.watch_calls and (snapshot or kill):
        items, printed, own = run_watched_system(
            system.failpoints_outside(),
            lambda: (recovered_items(system.recover(root)), printed_last(), declared_here(system)),
            root,
            None,
            crash_at(channel, watch, kill),
            own=True,
        )
        return Found(items, declared_outside(system, (), own), printed)
    _arm(channel, watch, kill)
    passed = set[str]()
    if not snapshot:
        faults.observe(lambda point, _: passed.add(point.name))
    items = recovered_items(system.recover(root))
    faults.observe(None)
    own = declared_here(system)
    declared = declared_outside(system, (), own) if target.watch_calls else own
    return Found(items, declared, printed_last(), tuple(sorted(passed)))


def recover_again(channel: Channel, target: Target, root: Path, promises: Promises) -> Sequence[Item]:
    """Recover a second time; let the driver look at the folder; then let the system check itself."""
    system = target.make()
    with repeating():
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
    """Have this process copied, or die, at hits of its own; processes that it forks hit failpoints without effect."""
    os.register_at_fork(after_in_child=partial(_disarm, kill))
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


def _disarm(kill: Hit | None) -> None:
    faults.observe(None)
    if kill is not None:
        faults.remove(kill[0])
