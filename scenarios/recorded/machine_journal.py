"""The journal of a workload that is recorded: its lines are notes between the changes of the disk."""

from __future__ import annotations

import os

from crashmatrix import faults
from crashmatrix.faults.disk import Machine
from crashmatrix.scenarios.recorded.remedies import Syncing
from crashmatrix.scenarios.recorded.restarts import Countdown
from crashmatrix.scenarios.target.journal import Journal
from crashmatrix.scenarios.target.notes import HitNote

__all__ = ["MachineJournal"]


class MachineJournal(Journal):
    """A journal whose lines are notes on the recorded disk.

    Args:
        countdown: ends the workload at a note; counts each before it is written.
        syncing: makes syncs in the system's stead before lines.
    """

    def __init__(self, machine: Machine, *, countdown: Countdown | None = None, syncing: Syncing | None = None) -> None:
        self._machine, self.path = machine, machine.notes
        self._countdown, self._syncing = countdown, syncing

    def append(self, line: bytes) -> None:
        """Note a line, and perhaps nudge; the last line of a countdown ends the workload."""
        if self._syncing:
            self._syncing.before_line(line)
        if self._countdown and self._countdown.is_last():
            os.write(self._machine.descriptor, line + b"\n")  # A nudge could sync changes that are to be lost.
            self._countdown.end()
        self._machine.note(line)

    def tick(self) -> None:
        """Perhaps nudge, since a program wrote a line."""
        self._machine.nudge()  # A program's own lines go past `append`, and nudge nothing.

    def hit(self, point: faults.FailPoint, number: int) -> None:
        """Note the hit of a failpoint."""
        self.append(HitNote(point.name, number).encoded())
