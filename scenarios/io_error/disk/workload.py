"""The workload on a recorded disk that fails, or is full, or whose calls fail: what runs inside a recording.

to its end     the workload, whatever it does about the error
until full     the same, in a process of its own; then the system recovers, while the data still fills the disk
until killed   the same, killed before its first system call after the disk failed a request. Then the fault is over, and the
               system recovers on the running machine, from a page cache that no disk need agree with
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Final

from crashmatrix.faults.disk import Machine, Note
from crashmatrix.faults.disk.block.fault_switch import FaultSwitch
from crashmatrix.faults.disk.linux.containment import run_forked
from crashmatrix.scenarios.io_error.messages import call_of, files_of
from crashmatrix.scenarios.judging.worker import recovered_items
from crashmatrix.scenarios.processes.calls.call_faults import CallFault, FailingCalls
from crashmatrix.scenarios.processes.calls.seccomp import Call
from crashmatrix.scenarios.processes.calls.system_calls import run_watched
from crashmatrix.scenarios.processes.process_tree import ProcessTree
from crashmatrix.scenarios.saying import Saying
from crashmatrix.scenarios.target.journal import Item, Journal
from crashmatrix.scenarios.target.notes import HitNote, parse
from crashmatrix.scenarios.target.system import SystemUnderTest

__all__ = ["HEALED", "DiskJournal", "failed_call", "until_full", "until_killed", "with_failing_call"]

_CALL_FAILED: Final = "workload.call_failed "
"""Begins the name of a note: a call of the workload was answered with an error here. Not a line of the journal."""

HEALED: Final = Note(HitNote("workload.killed_and_disk_healed", 1).encoded())
"""The workload was killed before this, and from here on the disk fails nothing. Not a line of the journal."""


def failed_call(operation: object) -> str:
    """Return the call that was answered with an error, or done in part, if this notes one: ``write of log``; else empty."""
    noted = parse(operation.text) if isinstance(operation, Note) else None
    if not isinstance(noted, HitNote) or not noted.name.startswith(_CALL_FAILED):
        return ""
    return noted.name.removeprefix(_CALL_FAILED)


class DiskJournal(Journal):
    """A journal whose lines are notes on the recorded disk."""

    def __init__(self, machine: Machine) -> None:
        self._machine, self.path = machine, machine.notes

    def append(self, line: bytes) -> None:
        """Note one line."""
        self._machine.note(line)


class _NotingCalls(FailingCalls):
    """Notes on the recorded disk when the first call fails."""

    noted = False
    descriptor = -1
    root = Path()

    def answer(self, call: Call, name: str, files: Sequence[str]) -> int | None:
        answer = super().answer(call, name, files)
        if answer is not None and not self.noted:
            self.noted = True
            about = call_of(name, json.dumps(files_of(self.made[-1], self.root))[1:-1])
            os.write(self.descriptor, HitNote(f"{_CALL_FAILED}{about}", 1).encoded() + b"\n")
        return answer


def with_failing_call(system: SystemUnderTest, machine: Machine, fault: CallFault) -> None:
    """Run the workload with a call that fails. Raises UsageError: it ended with an error."""
    failing = _NotingCalls([fault])
    failing.descriptor, failing.root = machine.descriptor, machine.root
    with _saying(system, machine) as workload:
        if status := _watched(workload, machine, lambda *_: None, failing):
            raise workload.failed("the workload", status)


class _Killed(Exception):
    pass


def until_killed(system: SystemUnderTest, switch: FaultSwitch, answer: int, machine: Machine) -> None:
    """Run the workload until the disk has failed a request, kill it, and recover here; the answer goes to the file ``answer``."""

    def at(_: str, tree: ProcessTree, __: Callable[[], None]) -> None:
        if switch.fired:
            tree.kill()
            raise _Killed

    with suppress(_Killed):
        _watched(partial(system.workload, machine.root, DiskJournal(machine)), machine, at)
    switch.heal()
    machine.note(HEALED.text)
    run_forked(lambda: _recover(system, machine.root, answer))


def until_full(system: SystemUnderTest, answer: int, machine: Machine) -> None:
    """Run the workload to its end, then recover where no room was made; the answer goes to the file ``answer``.

    Raises UsageError: the workload ended with an error.
    """
    with _saying(system, machine) as workload:
        with ProcessTree(workload) as tree:
            status = tree.wait()
        run_forked(lambda: _recover(system, machine.root, answer))
        if status:
            raise workload.failed("the workload", status)


def _saying(system: SystemUnderTest, machine: Machine) -> Saying:
    return Saying(partial(system.workload, machine.root, DiskJournal(machine)))


def _watched(
    workload: Callable[[], None],
    machine: Machine,
    at: Callable[[str, ProcessTree, Callable[[], None]], None],
    failing: FailingCalls | None = None,
) -> int:
    """Run the workload, stopped before each of its system calls for ``at``; returns its exit status."""
    return run_watched(workload, root=machine.root, journal=machine.notes, failpoints=(), at=at, failing=failing)


def _recover(system: SystemUnderTest, root: Path, answer: int) -> None:
    """Recover. A failure says nothing: the filesystem may refuse everything until it is mounted again."""
    items: list[Item] = recovered_items(system.recover(root))
    os.pwrite(answer, json.dumps(items).encode(), 0)
