"""The lines of a recorded workload's journal are notes, in their order among the changes."""

from __future__ import annotations

import pytest

from crashmatrix import faults
from crashmatrix.faults.disk import Machine, Note, RecordOptions, record
from crashmatrix.faults.disk.trace.operations import Data
from crashmatrix.scenarios.recorded.machine_journal import MachineJournal
from crashmatrix.scenarios.target.notes import AckNote, AttemptNote, HitNote, parse

pytestmark = pytest.mark.usefixtures("fuse")


def test_lines_and_hits_are_notes() -> None:
    """An attempt, the write for it, the hit of a failpoint and the acknowledgement keep their order."""

    def workload(machine: Machine) -> None:
        journal = MachineJournal(machine)
        with journal.attempt(7):
            (machine.root / "log").write_bytes(b"seven")
            journal.hit(faults.FailPoint("log.written", "", ""), 1)

    trace = record(workload, options=RecordOptions(filesystem="posix"))
    found = [
        parse(operation.text) if isinstance(operation, Note) else operation.data
        for operation in trace.operations[trace.start : trace.finish]
        if isinstance(operation, Note | Data)
    ]
    attempt, written, hit, ack = found
    assert isinstance(attempt, AttemptNote) and isinstance(ack, AckNote)
    assert (attempt.value(), written, hit, ack.value()) == (7, b"seven", HitNote("log.written", 1), 7)
