"""Restarts: where a workload is killed before it is started again, with the page cache still full.

Recovery then reads data that need not be on the disk, and only a power cut shows whether it built upon that. So the workload is
killed right before a sync, when some data is in memory only. A system with many failpoints has one there, whose hit is a note
on the recorded disk. Any other system, in any language, is held at its system calls (`system_calls`) and killed right before a
call that syncs; if it makes none, right before a line of its journal.
"""

from __future__ import annotations

import os
import select
import signal
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NoReturn

from crashmatrix.faults.disk import Flush, Machine, Note, Sync, Trace
from crashmatrix.scenarios.processes.calls.system_calls import JOURNAL_LINE, PREFIX, run_watched
from crashmatrix.scenarios.processes.jobs import Channel
from crashmatrix.scenarios.processes.process_tree import ProcessTree
from crashmatrix.scenarios.saying import Saying
from crashmatrix.scenarios.systems.loading import Target
from crashmatrix.scenarios.target.journal import Journal
from crashmatrix.scenarios.target.notes import KILLED, AckNote, AttemptNote, HitNote, parse
from crashmatrix.scenarios.target.system import SystemUnderTest

__all__ = [
    "BEFORE_LINE",
    "CallPlace",
    "Countdown",
    "KillPoint",
    "Places",
    "is_sync",
    "kill_points_at_notes",
    "nudged_before_syncs",
    "places_amid_items",
    "places_at_syncs",
    "restarted_at",
    "run_until",
    "until_killed",
]

_KILLED = Note(KILLED.encoded())
BEFORE_LINE = -1
_SYNCS = {PREFIX + name for name in ("fsync", "fdatasync", "msync")}


@dataclass(frozen=True)
class KillPoint:
    """A place to kill: at a workload's note, counted from 1; or, after some journal lines, before the ``sync``-th sync call; or
    right before a line of the journal (``sync`` is `BEFORE_LINE`)."""

    note: int
    sync: int = 0

    def __str__(self) -> str:
        if self.sync == BEFORE_LINE:
            return f"before line {self.note} of the journal"
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
    """Before the ``call``-th system call that changes the folder after so many journal lines; ``name`` is the crash point's."""

    line: int
    call: int
    name: str

    def __str__(self) -> str:
        return f"before {self.name.removeprefix(PREFIX)}, call {self.call} after line {self.line} of the journal"

    @property
    def prepares(self) -> bool:
        """Whether the call by itself stores nothing of an item: it syncs, or opens."""
        return self.name in _SYNCS or self.name.startswith((f"{PREFIX}open", f"{PREFIX}creat"))


Places = dict[str, tuple[KillPoint, ...]]
"""The places right before a sync, by the sort of what comes before: one of each sort says more than many of one."""


def kill_points_at_notes(trace: Trace) -> Places:
    """The places of a recording: each note that a flush follows before the next note, by what the note is about."""
    found, number, about = Places(), 0, ""
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

    A workload that makes no such call may still store durably, by O_DSYNC or sync(2): then they are those before journal lines.
    Raises OSError where `seccomp.lacking` says so.
    """
    system, found = target.make(), Places()

    def see(line: int, sync: int, name: str, _: ProcessTree) -> None:
        sort = f"{name} {sync}"
        found[sort] = (*found.get(sort, ()), KillPoint(line, sync))

    if _at_calls(lambda: system.workload(root, Journal(journal)), root, journal, is_sync, see):
        return {}
    return found or _places_at_lines(journal.read_bytes())  # Anything may be there, as this job is its own.


def _places_at_lines(journal: bytes) -> Places:
    found = Places()
    for number, line in enumerate(journal.splitlines(), 1):
        if isinstance(note := parse(line), AttemptNote | AckNote):
            sort = note.kind.decode()
            found[sort] = (*found.get(sort, ()), KillPoint(number, BEFORE_LINE))
    return found


def places_amid_items(_: Channel, target: Target, root: Path, journal: Path) -> list[CallPlace]:
    """Run the workload as `places_at_syncs` does; return the places at which an item is stored in part.

    Since the item was attempted, another call has changed a file: at best they are calls that change more, else that sync.
    Raises OSError where `seccomp.lacking` says so.
    """
    system = target.make()
    found: list[CallPlace] = []
    begun: set[int] = set()

    def see(line: int, call: int, name: str, _: ProcessTree) -> None:
        place = CallPlace(line, call, name)
        if line in begun:
            found.append(place)
        if not place.prepares:
            begun.add(line)

    if _at_calls(lambda: system.workload(root, Journal(journal)), root, journal, _changes, see):
        return []
    lines = [parse(line) for line in journal.read_bytes().splitlines()]  # As the target left it, in a job of its own.
    amid = [place for place in found if place.line and isinstance(lines[place.line - 1], AttemptNote)]
    return [place for place in amid if not place.prepares] or amid


def run_until(place: CallPlace, system: SystemUnderTest, root: Path, journal: Path) -> None:
    """Run the workload in a prepared folder until it is killed at the place; to its end if it never comes there."""
    workload = partial(system.workload, root, Journal(journal))
    _kill_at(workload, root, journal, _changes, lambda *here: CallPlace(*here) == place)


def nudged_before_syncs(machine: Machine, workload: Callable[[], None]) -> None:
    """Run the workload to its end, and perhaps have the kernel write something before each of its sync calls.

    A nudge at a journal line never falls between a write and its sync, as a commit for another process may. Raises UsageError.
    """
    with Saying(workload) as saying:
        if status := _at_calls(saying, machine.root, machine.notes, is_sync, lambda *_: machine.nudge()):
            raise saying.failed("the workload", status)


def is_sync(name: str) -> bool:
    """Whether a crash point is a call that makes changes durable."""
    return name in _SYNCS


def until_killed(
    machine: Machine,
    place: KillPoint,
    *,
    noting: Callable[[Countdown], None],
    workload: Callable[[], None],
    before: Callable[[str, ProcessTree], None] | None = None,
) -> bool:
    """Run the workload in a process that is killed at the place, and note that; to its end if it never comes there.

    Returns whether it was killed.

    Several writers add lines in another order each time. So the process is killed before the first sync call that comes at the
    place or later.

    Args:
        noting: the workload, with failpoints' hits as notes, each counted before it is written; `Countdown.end` writes the last.
        workload: the workload alone.
        before: called before each call of the workload alone, while its thread waits.

    Raises UsageError: it ended with an error.
    """
    if place.sync:
        kill = partial(
            _kill_at, root=machine.root, journal=machine.notes, before=before,
            counts=is_sync if place.sync > 0 else JOURNAL_LINE.__eq__,
            there=lambda line, sync, _: (line, sync) >= place.numbers,
        )  # fmt: skip
        return _is_killed(machine, workload, kill)
    with closing(Countdown(place.note)) as countdown:
        return _is_killed(machine, partial(noting, countdown), partial(_kill_when_over, countdown=countdown))


def _is_killed(machine: Machine, workload: Callable[[], None], kill: Callable[[Callable[[], None]], int]) -> bool:
    with Saying(workload) as saying:
        if (status := kill(saying)) == -signal.SIGKILL:
            os.write(machine.descriptor, _KILLED.text + b"\n")
        elif status:
            raise saying.failed("the workload", status)
    return bool(status)


def restarted_at(trace: Trace) -> int:
    """Return the position in the trace after which a killed workload's recovery begins; 0 if it was not killed."""
    return trace.operations.index(_KILLED) + 1 if _KILLED in trace.operations else 0


class Countdown:
    """Counts the notes of a workload, whichever of its processes and threads writes them, up to the one where it is killed.

    Make it before the workload starts; its processes inherit it.
    """

    def __init__(self, note: int) -> None:
        self._left = os.eventfd(note - 1, os.EFD_SEMAPHORE | os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._over = os.eventfd(0, os.EFD_CLOEXEC)

    def is_last(self) -> bool:
        """Count one note; return whether it is the one."""
        try:
            os.eventfd_read(self._left)
        except BlockingIOError:
            return True
        return False

    def end(self) -> NoReturn:
        """Have the whole workload killed, this process at once."""
        os.eventfd_write(self._over, 1)
        os.kill(os.getpid(), signal.SIGKILL)
        raise AssertionError("killed above")

    def fileno(self) -> int:
        """Readable once it is over."""
        return self._over

    def close(self) -> None:
        """Let go of it."""
        os.close(self._left)
        os.close(self._over)


def _kill_when_over(workload: Callable[[], None], countdown: Countdown) -> int:
    """Run the workload in a process tree until the countdown is over; returns its exit code, negative for a signal."""
    with ProcessTree(workload) as tree:
        ready, _, _ = select.select([tree.fileno(), countdown.fileno()], [], [])
        if countdown.fileno() in ready:
            tree.kill()
            return -signal.SIGKILL
        return tree.wait()


class _Killed(Exception):
    pass


def _changes(name: str) -> bool:
    return name.startswith(PREFIX)


def _kill_at(
    workload: Callable[[], None],
    root: Path,
    journal: Path,
    counts: Callable[[str], bool],
    there: Callable[[int, int, str], bool],
    before: Callable[[str, ProcessTree], None] | None = None,
) -> int:
    """As `_at_calls`, until the process tree is killed ``there``; returns what that does."""

    def see(line: int, call: int, name: str, tree: ProcessTree) -> None:
        if there(line, call, name):
            tree.kill()
            raise _Killed

    try:
        return _at_calls(workload, root, journal, counts, see, before)
    except _Killed:
        return -signal.SIGKILL


def _at_calls(
    workload: Callable[[], None],
    root: Path,
    journal: Path,
    counts: Callable[[str], bool],
    see: Callable[[int, int, str, ProcessTree], None],
    before: Callable[[str, ProcessTree], None] | None = None,
) -> int:
    """Run the workload in a process tree that is held before each call; returns its exit code, negative for a signal.

    Args:
        counts: whether a crash point is a call to be counted, by its name.
        see: gets of each such call the number of journal lines before it, which one it is since the last line, and its name;
            a journal line counts itself.
        before: gets every crash point before it is counted.
    """
    lines = calls = 0

    def at(name: str, tree: ProcessTree, _: object) -> None:
        nonlocal lines, calls
        if before:
            before(name, tree)
        if name == JOURNAL_LINE:
            lines, calls = lines + 1, 0
        if counts(name):
            calls += name != JOURNAL_LINE
            see(lines, calls, name, tree)

    return run_watched(workload, root=root, journal=journal, failpoints=(), at=at)
