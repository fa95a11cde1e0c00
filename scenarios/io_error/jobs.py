"""The jobs of the experiment: the workload in a process of its own, with calls that are counted, or that fail.

A run with a fault yields several crashed folders, so that it is made once for all its endings.
"""

from __future__ import annotations

import threading
from collections import Counter
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
    UNCACHED,
    Account,
    Fired,
    Place,
    Profile,
    Taken,
    call_of,
    files_of,
    what_failed,
)
from crashmatrix.scenarios.judging.source_lines import SourceLines
from crashmatrix.scenarios.judging.watched import Hit, run_watched_system
from crashmatrix.scenarios.processes.calls.call_faults import CallFault, FailingCalls, Made
from crashmatrix.scenarios.processes.calls.page_cache import PageCache
from crashmatrix.scenarios.processes.calls.system_calls import JOURNAL_LINE, PREFIX, Coverage
from crashmatrix.scenarios.processes.jobs import Channel
from crashmatrix.scenarios.processes.process_tree import ProcessTree
from crashmatrix.scenarios.processes.stopping import stop_here
from crashmatrix.scenarios.systems.loading import Target
from crashmatrix.scenarios.target.journal import AFTER_ACK, Journal
from crashmatrix.scenarios.target.notes import AckNote, parse

__all__ = ["STOPS_MAX", "fail_calls", "fail_points", "hits", "profile", "size_of"]

STOPS_MAX = 8
"""At how many steps of its handling of an error a run is copied, and how often the page cache is dropped before the end."""

_REMOVES = ("unlink", "rename", "truncate")
"""The classes of calls that may remove the only other copy of what a failed sync left in the page cache; so may an open."""


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
    _stops: Counter[str] = field(default_factory=Counter)

    def _wants(self, ending: str, times: int = 1) -> bool:
        """Whether an ending is still to be taken, which it is so many times."""
        self._stops[ending] += 1
        return ending in self.endings and self._stops[ending] <= times

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
    _last: str = ""
    _journal_bytes: int = 0

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
                self._go_on(point)

    def _go_on(self, point: faults.FailPoint) -> None:
        handles = size_of(self.journal) == self._journal_bytes or not self._stops[KILLED]
        if handles and self._wants(KILLED, STOPS_MAX):
            self._stop(Taken(KILLED, after=self._last))
        self._last = f"failpoint {point.name}"
        if point.name == AFTER_ACK.name and self._wants(KILLED_LATER):
            self._stop(Taken(KILLED_LATER))

    def ended(self) -> None:
        if self.keep_steps:
            self._note_lines()
        self.channel.send(Account((), tuple(self._fired), {}, tuple(self.steps), tuple(self._of_class)))

    def _fire(self, fault: PointFault) -> None:
        if not self._fired:
            made = Made(fault.calls, fault.number, "failpoint", (fault.calls,), answer=-1)
            self._journal_bytes = size_of(self.journal)
            self.channel.send(Fired(Place(made, fault.calls), self._journal_bytes))
        self._fired.append(fault)

    def _stop(self, taken: Taken) -> None:
        self.channel.send(taken)
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
    _handles: bool = True
    """Whether the error may still be being handled: no line was written to the journal since."""
    _journal_bytes: int = 0
    _made: int = 0
    _copied: int = 0
    _removals: int = 0

    def see(self, hit: Hit, tree: ProcessTree, _: Callable[[], None]) -> None:
        if self.keep_steps:
            self._note_steps()
        if not self.failing.fired:
            return
        if not self._told:
            self._tell()
        # Another thread's line may be written at any instant; the first step is one to stop at all the same.
        first = not self._stops[KILLED]
        self._handles = first or (self._handles and size_of(self.journal) == self._journal_bytes)
        if self._handles:
            self._take_handling(tree)
            self._handles = hit[0] != JOURNAL_LINE
        elif self._acknowledged():
            self._take_later(tree)

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
        self._told, self._removals = True, len(self.failing.made)
        self._journal_bytes = size_of(self.journal)
        made = self.failing.failed[0]
        self.channel.send(Fired(Place(made, files_of(made, self.root)), self._journal_bytes))

    def _take_handling(self, tree: ProcessTree) -> None:
        """Stop at the first step after the fault, and at each further one before which the folder was changed."""
        made, self._copied = self.failing.made[self._copied :], len(self.failing.made)
        changed = [each for each in made if each.calls not in ("fsync", "read") and (each.answer or 0) >= 0]
        first = not self._stops[KILLED]
        if (first or changed) and self._wants(KILLED, STOPS_MAX):
            after = "" if first else call_of(changed[-1].name, files_of(changed[-1], self.root))
            self._stop(Taken(KILLED, after=after), tree)

    def _take_later(self, tree: ProcessTree) -> None:
        """Stop at the next acknowledgement after the fault, and without a page cache also at later ones that follow a removal."""
        removed = self._removed()
        if self._wants(KILLED_LATER):
            self._stop(Taken(KILLED_LATER, self._uncached()), tree)
        elif removed and (uncached := self._uncached()) and self._wants(UNCACHED, STOPS_MAX):
            self._stop(Taken(UNCACHED, uncached), tree)

    def _stop(self, taken: Taken, tree: ProcessTree) -> None:
        with tree.frozen():
            self.channel.send(taken)
            stop_here()

    def _removed(self) -> bool:
        """Whether a call may have removed something since the last call of this method."""
        made, self._removals = self.failing.made[self._removals :], len(self.failing.made)
        done = [each for each in made if each.answer is None and not each.creates]
        return any(each.truncates or each.calls in _REMOVES for each in done)

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
