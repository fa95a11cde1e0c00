"""The jobs of the experiment: the workload in a process of its own, with calls that are counted, or that fail.

A run with a fault yields several crashed folders, so that it is made once for all its endings.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from crashmatrix import faults
from crashmatrix.scenarios.io_error.faults import PointFault
from crashmatrix.scenarios.io_error.messages import (
    KILLED,
    KILLED_LATER,
    Account,
    Fired,
    Place,
    Profile,
    Taken,
    files_of,
    what_failed,
)
from crashmatrix.scenarios.judging.source_lines import SourceLines
from crashmatrix.scenarios.judging.watched import Hit, run_watched_system
from crashmatrix.scenarios.processes.calls.call_faults import CallFault, FailingCalls, Made
from crashmatrix.scenarios.processes.calls.page_cache import PageCache
from crashmatrix.scenarios.processes.calls.system_calls import PREFIX, Coverage
from crashmatrix.scenarios.processes.jobs import Channel
from crashmatrix.scenarios.processes.process_tree import ProcessTree
from crashmatrix.scenarios.processes.stopping import stop_here
from crashmatrix.scenarios.systems.loading import Target
from crashmatrix.scenarios.target.journal import AFTER_ACK, Journal
from crashmatrix.scenarios.target.notes import AckNote, parse

__all__ = ["fail_calls", "fail_points", "hits", "profile", "size_of"]


def profile(_: Channel, target: Target, root: Path, journal: Path) -> Profile:
    """Run the workload to its end, undisturbed."""
    system, coverage, lines = target.make(), Coverage(), SourceLines()
    failing = FailingCalls(reads=system.fails_reads)
    hits: list[Hit] = []

    def see(hit: Hit, tree: ProcessTree, __: object) -> None:
        lines.read()
        if hit[0].startswith(PREFIX):
            hits.append(hit)
            lines.at(hit, tree)

    def life() -> None:
        lines.listen()
        system.workload(root, Journal(journal))

    run_watched_system(system.failpoints_outside(), life, root, journal, see, coverage, failing=failing)
    lines.close()
    places = [
        Place(made, files_of(made, root), lines.found.get(hit, ""), lines.stacks.get(hit, ""))
        for hit, made in zip(hits, failing.made, strict=False)
        if made.calls
    ]
    return Profile(tuple(places), tuple(coverage.lacks), tuple(coverage.notes))


def hits(_: Channel, target: Target, root: Path, journal: Path) -> tuple[Hit, ...]:
    """Run the workload to its end, undisturbed; returns the hits of its own failpoints."""
    system, found = target.make(), list[Hit]()
    faults.observe(lambda point, number: found.append((point.name, number)))
    system.workload(root, Journal(journal))
    faults.observe(None)
    unreached = ("journal.", *system.unreached)
    return tuple(hit for hit in found if not hit[0].startswith(unreached))


def fail_points(
    channel: Channel,
    target: Target,
    root: Path,
    journal: Path,
    wanted: Sequence[PointFault],
    endings: Sequence[str],
    keep_steps: bool,
) -> None:
    """Run the workload with failpoints that raise; reports as `fail_calls` does."""
    system = target.make()
    run = _Points(channel=channel, journal=journal, endings=set(endings), keep_steps=keep_steps, wanted=tuple(wanted))
    for fault in wanted:
        faults.configure(fault.calls, fault.actions)
    faults.observe(run.see)
    try:
        system.workload(root, Journal(journal))
    finally:
        faults.observe(None)
        run.ended()


@dataclass(kw_only=True)
class _Watch:
    """Looks at a run at each of its steps, keeps those, and knows the endings that are still to be taken."""

    channel: Channel
    journal: Path
    endings: set[str]
    keep_steps: bool
    steps: list[str] = field(default_factory=list)
    _noted: int = 0

    def _wants(self, ending: str) -> bool:
        """Whether an ending is still to be taken; from here on it is not."""
        wanted = ending in self.endings
        self.endings.discard(ending)
        return wanted

    def _note_lines(self) -> None:
        lines = _lines(self.journal, 0)
        self.steps += [f"line {line.decode(errors='replace')}" for line in lines[self._noted :]]
        self._noted = len(lines)


@dataclass(kw_only=True)
class _Points(_Watch):
    """Looks at a run at each hit of a failpoint; its threads take turns."""

    wanted: tuple[PointFault, ...]
    _fired: list[PointFault] = field(default_factory=list)
    _of_class: list[tuple[int, str]] = field(default_factory=list)
    _lock: Any = field(default_factory=threading.Lock)

    def see(self, point: faults.FailPoint, number: int) -> None:
        with self._lock:
            if self.keep_steps:
                self._note_lines()
                self.steps.append(f"call {point.name} hit {number}")
            if point.name == self.wanted[0].calls:
                self._of_class.append((number, what_failed("failpoint", point.name)))
            fired = next((f for f in self.wanted if f.calls == point.name and f.number == number), None)
            if fired:
                self._fire(fired)
            elif self._fired:
                self._take(KILLED)
                if point.name == AFTER_ACK.name:
                    self._take(KILLED_LATER)

    def ended(self) -> None:
        if self.keep_steps:
            self._note_lines()
        self.channel.send(Account((), tuple(self._fired), {}, tuple(self.steps), tuple(self._of_class)))

    def _fire(self, fault: PointFault) -> None:
        if not self._fired:
            made = Made(fault.calls, fault.number, "failpoint", (fault.calls,), answer=-1)
            self.channel.send(Fired(Place(made, fault.calls), size_of(self.journal)))
        self._fired.append(fault)

    def _take(self, ending: str) -> None:
        if self._wants(ending):
            self.channel.send(Taken(ending))
            stop_here()


def fail_calls(
    channel: Channel,
    target: Target,
    root: Path,
    journal: Path,
    wanted: Sequence[CallFault],
    endings: Sequence[str],
    keep_steps: bool,
) -> None:
    """Run the workload with calls that fail; report the instants of these endings, and at last an account."""
    system, failing = target.make(), FailingCalls(wanted, reads=any(fault.calls == "read" for fault in wanted))
    if any(fault.leaves_pages_clean for fault in wanted):
        failing.cache = PageCache(root)
    run = _Run(
        channel=channel, journal=journal, endings=set(endings), keep_steps=keep_steps, failing=failing, root=root
    )
    run_watched_system(
        system.failpoints_outside(),
        lambda: system.workload(root, Journal(journal)),
        root,
        journal,
        run.see,
        failing=failing,
        ended=run.ended,
    )


@dataclass(kw_only=True)
class _Run(_Watch):
    """Looks at a run at each of its system calls and journal lines."""

    failing: FailingCalls
    root: Path
    _told: bool = False
    _journal_bytes: int = 0
    _made: int = 0

    def see(self, _: Hit, tree: ProcessTree, __: Callable[[], None]) -> None:
        if self.keep_steps:
            self._note_steps()
        if not self.failing.fired:
            return
        if not self._told:
            self._tell()
            self._take(KILLED, tree)
        elif KILLED_LATER in self.endings and self._acknowledged():
            self._take(KILLED_LATER, tree)

    def ended(self) -> None:
        if self.keep_steps:
            self._note_steps()
        if self.failing.fired and not self._told:
            self._tell()
        failing = self.failing
        first = next((at for at, made in enumerate(failing.made) if made.answer is not None), len(failing.made))
        self.channel.send(
            Account(
                tuple(failing.made[first:]), tuple(failing.fired), self._uncached(), tuple(self.steps), self._of_class()
            )
        )

    def _of_class(self) -> tuple[tuple[int, str], ...]:
        calls = self.failing.faults[0].calls
        made = (made for made in self.failing.made if made.calls == calls)
        return tuple((each.number, what_failed(each.name, files_of(each, self.root))) for each in made)

    def _tell(self) -> None:
        self._told = True
        self._journal_bytes = size_of(self.journal)
        made = self.failing.failed[0]
        self.channel.send(Fired(Place(made, files_of(made, self.root)), self._journal_bytes))

    def _take(self, ending: str, tree: ProcessTree) -> None:
        if self._wants(ending):
            uncached = self._uncached() if ending == KILLED_LATER else {}
            with tree.frozen():
                self.channel.send(Taken(ending, uncached))
                stop_here()

    def _uncached(self) -> dict[str, bytes]:
        return self.failing.cache.dropped() if self.failing.cache and self.failing.fired else {}

    def _acknowledged(self) -> bool:
        """Whether something was acknowledged since this was last looked at."""
        size = size_of(self.journal)
        if size == self._journal_bytes:
            return False
        found = any(isinstance(parse(line), AckNote) for line in _lines(self.journal, self._journal_bytes))
        self._journal_bytes = size
        return found

    def _note_steps(self) -> None:
        for made in self.failing.made[self._made :]:
            result = "" if made.answer is None else f" -> {made.answer}"
            self.steps.append(f"call {made.name} {files_of(made, self.root)}{result}")
        self._made = len(self.failing.made)
        self._note_lines()


def _lines(journal: Path, start: int) -> list[bytes]:
    with suppress(FileNotFoundError), journal.open("rb") as file:
        file.seek(start)
        return file.read().split(b"\n")[:-1]
    return []


def size_of(path: Path) -> int:
    """Return how long a file is; 0 if there is none."""
    with suppress(FileNotFoundError):
        return path.stat().st_size
    return 0
