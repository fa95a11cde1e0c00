"""Restarts: where a workload is killed before it is started again, with the page cache still full.

Recovery then reads data that need not be on the disk, and only the power cut that follows shows whether it built upon such data.
So the workload is killed right before a sync, when some data is in memory only. A system with many failpoints has a failpoint
there, whose hit is a note on the recorded disk. Any other system, in any language, is held at its system calls
(`system_calls`) and killed right before a call that syncs.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from crashmatrix.faults.disk import Flush, Machine, Note, Sync, Trace
from crashmatrix.faults.disk.linux.containment import run_forked
from crashmatrix.scenarios.errors import UsageError
from crashmatrix.scenarios.processes.calls.system_calls import JOURNAL_LINE, PREFIX, run_watched
from crashmatrix.scenarios.processes.jobs import Channel
from crashmatrix.scenarios.processes.process_tree import ProcessTree
from crashmatrix.scenarios.systems.loading import Target
from crashmatrix.scenarios.target.journal import Journal
from crashmatrix.scenarios.target.notes import KILLED, AttemptNote, HitNote, parse
from crashmatrix.scenarios.target.system import SystemUnderTest

__all__ = [
    "CallPlace",
    "KillPoint",
    "Places",
    "kill_points_at_notes",
    "places_amid_items",
    "places_at_syncs",
    "restarted_at",
    "run_until",
    "until_killed",
]

_KILLED = Note(KILLED.encoded())
_SYNCS = {PREFIX + name for name in ("fsync", "fdatasync", "msync")}


@dataclass(frozen=True)
class KillPoint:
    """A place to kill: at a workload's note, counted from 1; or, after some journal lines, before the ``sync``-th sync call."""

    note: int
    sync: int = 0

    def __str__(self) -> str:
        return f"before sync {self.sync} after line {self.note} of the journal" if self.sync else f"at note {self.note}"

    @classmethod
    def of(cls, numbers: tuple[int, ...]) -> KillPoint | None:
        """From both numbers; None without numbers."""
        return cls(*numbers) if numbers else None

    @property
    def numbers(self) -> tuple[int, int]:
        """Return both numbers."""
        return self.note, self.sync


@dataclass(frozen=True)
class CallPlace:
    """Before the ``call``-th system call that changes the folder after so many journal lines; ``name`` says which it is."""

    line: int
    call: int
    name: str

    def __str__(self) -> str:
        return f"before {self.name}, call {self.call} after line {self.line} of the journal"

    @property
    def prepares(self) -> bool:
        """Whether the call by itself stores nothing of an item: it syncs, or opens."""
        return PREFIX + self.name in _SYNCS or self.name.startswith(("open", "creat"))


Places = dict[str, tuple[KillPoint, ...]]
"""The places right before a sync, by the sort of what comes before: one of each sort says more than many of one."""


def kill_points_at_notes(trace: Trace) -> Places:
    """The places of a recording: each note that a flush follows before the next note, by what the note is about."""
    found: Places = {}
    number, about = 0, ""
    for operation in trace.operations[trace.start : trace.finish]:
        if isinstance(operation, Note):
            note = parse(operation.text)
            about = note.name if isinstance(note, HitNote) else operation.text.decode().partition(" ")[0]
            number += 1
        elif isinstance(operation, Flush | Sync) and about:
            found[about] = (*found.get(about, ()), KillPoint(number))
            about = ""
    return found


def places_at_syncs(_: Channel, target: Target, root: Path, journal: Path) -> Places:
    """Run the workload to its end in an ordinary, prepared folder; return the places by system call and number after a line.

    Raises OSError where `seccomp.lacking` says so.
    """
    system = target.make()
    found: Places = {}

    def see(place: KillPoint, name: str, _: ProcessTree) -> None:
        sort = f"{name} {place.sync}"
        found[sort] = (*found.get(sort, ()), place)

    status = _at_syncs(lambda: system.workload(root, Journal(journal)), root, journal, see)
    return {} if status else found


def places_amid_items(_: Channel, target: Target, root: Path, journal: Path) -> list[CallPlace]:
    """Run the workload as `places_at_syncs` does; return the places at which an item is stored in part.

    Since the item was attempted, another call has changed a file: at best they are calls that change more, else that sync.
    Raises OSError where `seccomp.lacking` says so.
    """
    system = target.make()
    found: list[CallPlace] = []
    begun: set[int] = set()

    def at(place: CallPlace, _: ProcessTree) -> None:
        if place.line in begun:
            found.append(place)
        if not place.prepares:
            begun.add(place.line)

    if _at_calls(lambda: system.workload(root, Journal(journal)), root, journal, at):
        return []
    lines = [parse(line) for line in journal.read_bytes().splitlines()]  # As the target left it, in a job of its own.
    amid = [place for place in found if place.line and isinstance(lines[place.line - 1], AttemptNote)]
    return [place for place in amid if not place.prepares] or amid


def run_until(place: CallPlace, system: SystemUnderTest, root: Path, journal: Path) -> None:
    """Run the workload in a prepared folder until it is killed at the place; to its end if it never comes there."""

    def at(here: CallPlace, tree: ProcessTree) -> None:
        if here == place:
            tree.kill()
            raise _Killed

    with suppress(_Killed):
        _at_calls(lambda: system.workload(root, Journal(journal)), root, journal, at)


class _Killed(Exception):
    pass


def _at_calls(
    workload: Callable[[], None], root: Path, journal: Path, see: Callable[[CallPlace, ProcessTree], None]
) -> int:
    """Run the workload in a process tree held before each call; returns its exit code, negative for a signal."""
    lines = calls = 0

    def at(name: str, tree: ProcessTree, _: object) -> None:
        nonlocal lines, calls
        if name == JOURNAL_LINE:
            lines, calls = lines + 1, 0
        elif name.startswith(PREFIX):
            calls += 1
            see(CallPlace(lines, calls, name.removeprefix(PREFIX)), tree)

    return run_watched(workload, root=root, journal=journal, failpoints=(), at=at)


def until_killed(
    machine: Machine, place: KillPoint, *, noting: Callable[[int], None], workload: Callable[[], None]
) -> None:
    """Run the workload in a process that is killed at the place, and note that; to its end if it never comes there.

    Args:
        noting: the workload, with failpoints' hits as notes; kills itself at the note of this number.
        workload: the workload alone.

    Raises UsageError: it ended with an error.
    """
    status = _killed_at_sync(machine, place, workload) if place.sync else run_forked(lambda: noting(place.note))
    if status == -signal.SIGKILL:
        os.write(machine.descriptor, _KILLED.text + b"\n")
    elif status:
        raise UsageError(f"the workload ended with status {status}; fix it")


def restarted_at(trace: Trace) -> int:
    """Return the position in the trace after which a killed workload's recovery begins; 0 if it was not killed."""
    return trace.operations.index(_KILLED) + 1 if _KILLED in trace.operations else 0


def _killed_at_sync(machine: Machine, place: KillPoint, workload: Callable[[], None]) -> int:
    def see(here: KillPoint, _: str, tree: ProcessTree) -> None:
        if here == place:
            tree.kill()
            raise _Killed

    try:
        return _at_syncs(workload, machine.root, machine.notes, see)
    except _Killed:
        return -signal.SIGKILL


def _at_syncs(
    workload: Callable[[], None], root: Path, journal: Path, see: Callable[[KillPoint, str, ProcessTree], None]
) -> int:
    """Run the workload in a process tree that is held before each sync; returns its exit code, negative for a signal."""
    lines = syncs = 0

    def at(name: str, tree: ProcessTree, _: object) -> None:
        nonlocal lines, syncs
        if name == JOURNAL_LINE:
            lines, syncs = lines + 1, 0
        elif name in _SYNCS:
            syncs += 1
            see(KillPoint(lines, syncs), name, tree)

    return run_watched(workload, root=root, journal=journal, failpoints=(), at=at)
