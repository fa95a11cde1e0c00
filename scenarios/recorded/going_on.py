"""Going on after a kill: a system that was killed recovers, is resumed, and promises more, before the power fails.

    the kill | recovery | RESUMED | resume, which stores new items

All of it is one recording, with one page cache: nothing is synced in between but what the system syncs itself. So a power cut can
take what recovery had read, while later items, which the system built upon that, are durable.

Each part runs in a process of its own, as after a real kill: an open file or a lock of recovery is gone when the system goes on.

Promises: an acknowledged item is owed, in whichever of the two lives it was. An item that was in flight at the kill is not, not
even if recovery returned it: nobody had promised it, and it was not synced. It may be there or not, from then on, so its attempt
has failed (`gone_on`). A new item that equals it is another attempt, or a retry, as the contract says.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from crashmatrix import faults
from crashmatrix.faults.disk import Machine, Note, Trace
from crashmatrix.scenarios.errors import UsageError
from crashmatrix.scenarios.judging import second_life
from crashmatrix.scenarios.judging.worker import recovered_items
from crashmatrix.scenarios.processes.process_tree import ProcessTree
from crashmatrix.scenarios.recorded.machine_journal import MachineJournal
from crashmatrix.scenarios.recorded.remedies import Syncing
from crashmatrix.scenarios.saying import Saying
from crashmatrix.scenarios.target.contract import contract_named
from crashmatrix.scenarios.target.journal import Item, Promises
from crashmatrix.scenarios.target.notes import RESUMED, AckNote, AttemptNote, FailNote, HitNote, parse
from crashmatrix.scenarios.target.system import SystemUnderTest

__all__ = ["attempted_again", "gone_on", "items_in", "recover", "start_again", "went_on_at", "write_items"]

_RESUMED = Note(RESUMED.encoded())


def recover(system: SystemUnderTest, machine: Machine) -> None:
    """Recover; the hits of failpoints are notes."""
    faults.observe(MachineJournal(machine).hit)
    list(system.recover(machine.root))


def start_again(
    system: SystemUnderTest, machine: Machine, items: int, syncing: Syncing | None, *, resumes: bool
) -> None:
    """Recover from a kill and, if it ``resumes``, go on from there. Raises UsageError: one of both failed.

    Args:
        items: an open file, for the items that recovery returns if the system goes on.
        syncing: a remedy at work, in the second life as in the first.
    """
    recovering = syncing.recover if syncing else _plainly
    if not resumes:
        recovering(partial(recover, system, machine), machine.notes)
        return
    _go_on(system, machine, items, syncing, recovering)


def _plainly(life: Callable[[], None], _: Path) -> None:
    life()


def _go_on(
    system: SystemUnderTest,
    machine: Machine,
    items: int,
    syncing: Syncing | None,
    recovering: Callable[[Callable[[], None], Path], None],
) -> None:

    def recovery() -> None:
        faults.observe(MachineJournal(machine).hit)
        write_items(items, system.recover(machine.root))

    def resume() -> None:
        journal = MachineJournal(machine, syncing=syncing if syncing and syncing.in_process else None)
        journal.recovered = tuple(items_in(items))
        faults.observe(journal.hit)
        system.resume(machine.root, journal)

    recovering(partial(_apart, "recovery", recovery), machine.notes)
    os.write(machine.descriptor, _RESUMED.text + b"\n")
    resuming = syncing.run if syncing else _plainly
    resuming(partial(_apart, "resume", resume), machine.notes)


def _apart(part: str, function: Callable[[], None]) -> None:
    """Call a function in a process of its own. Raises UsageError if it raises, with its words."""
    with Saying(function) as saying, ProcessTree(saying) as tree:
        if status := tree.wait():
            raise saying.failed(part, status)


def write_items(file: int, recovered: object) -> None:
    """Write the items that a recovery returned to an open file. Raises UsageError if they are no items."""
    os.pwrite(file, json.dumps(recovered_items(recovered)).encode(), 0)


def items_in(file: int) -> list[Item]:
    """Return the items written to an open file."""
    return list(json.loads(os.pread(file, os.fstat(file).st_size, 0)))


def gone_on(system: type[SystemUnderTest], trace: Trace, items: int) -> tuple[Trace, int | None, str]:
    """Complete a trace in which a killed system may have gone on; the open file ``items`` has what recovery returned.

    Returns:
        The trace, in which the attempts in flight at the kill have failed. After how many lines of the journal the system went
        on; None if it did not. Why its second life says nothing; empty if it says something.
    """
    if not (at := went_on_at(trace)):
        return trace, None, ""
    first = _lines(trace, at)
    later = _lines(trace, len(trace.operations))[len(first) :]
    return _with_failures(trace, at), len(first), attempted_again(system, later, items_in(items))


def _lines(trace: Trace, cut: int) -> list[bytes]:
    return [note for note in trace.notes_before(cut) if not isinstance(parse(note), HitNote)]


def went_on_at(trace: Trace) -> int:
    """Return the position in the trace after which a killed and recovered system went on; 0 if it did not."""
    return trace.operations.index(_RESUMED) + 1 if _RESUMED in trace.operations else 0


def _with_failures(trace: Trace, at: int) -> Trace:
    """Return the trace with a line ``fail`` for each attempt that was in flight at the kill, right where the system goes on."""
    failed = tuple(Note(note.encoded()) for note in _in_flight(trace.notes_before(at)))
    return replace(
        trace,
        operations=(*trace.operations[:at], *failed, *trace.operations[at:]),
        clock=tuple((place + len(failed) * (place >= at), time) for place, time in trace.clock),
    )


def _in_flight(lines: Sequence[bytes]) -> list[FailNote]:
    """Return the failures of the attempts that have no end."""
    open_attempts: Counter[tuple[bytes, str]] = Counter()
    for note in map(parse, lines):
        if isinstance(note, AttemptNote | AckNote | FailNote):
            open_attempts[note.json, note.writer] += 1 if isinstance(note, AttemptNote) else -1
    return [FailNote(*key) for key in (+open_attempts).elements()]


def attempted_again(system: type[SystemUnderTest], lines: Sequence[bytes], recovered: Sequence[Item]) -> str:
    """Return why a second life says nothing: by its journal, it stored what recovery had returned. Empty if it did not."""
    try:
        promises = Promises.parse(b"".join(line + b"\n" for line in lines), recovered)
    except UsageError:  # The contract says so, too.
        return ""
    return second_life.stored_again(contract_named(system.contract), promises)
