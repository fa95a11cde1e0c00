"""The job that tries faults of one disk, one after the other for as long as its driver sends some: each is recorded, and judged
from the recording.

    remounted   the workload comes to its own end; the fault is over; the disk is unmounted and mounted again, so that only the
                disk is believed, and the system opened
    killed      the process is killed at its first step after the fault, the system opened on the running machine, and once more
                after the disk was mounted again
    cut         the power fails right after the fault: with everything pending on the disk, and with nothing of it
    cut-later   it fails after the next acknowledgement, or at the end; after a failed call, after some other ones, too
    reopened    the workload comes to its own end, and the system is opened while the data still fills the disk
    resumed     as remounted; then the system goes on, stores more, and is opened once more

Faults that begin with the same answer (`once`, `twice` and `on` of one error, at one request) differ in later requests only. A
run in which another fault would have answered each request alike serves for that one, too (`serving`).

An image that its own filesystem cannot mount any more has no verdict: no system could do anything about that.
"""

from __future__ import annotations

import gc
import json
import os
from collections.abc import Callable
from contextlib import ExitStack, closing
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from crashmatrix.faults.disk import (
    CrashState,
    Machine,
    MountRefused,
    Recordings,
    RecordOptions,
    Trace,
)
from crashmatrix.faults.disk.block.fault_switch import FaultSwitch
from crashmatrix.faults.disk.linux.containment import anonymous_file
from crashmatrix.reports import Verdict
from crashmatrix.scenarios.io_error.disk.base import Base, recordings_on
from crashmatrix.scenarios.io_error.disk.ends import EndJudge, Ends
from crashmatrix.scenarios.io_error.disk.failures import (
    cuts_after,
    ends_at,
    first_failure,
    requests_made,
    requests_since,
    steps_of,
    what_failed_at,
)
from crashmatrix.scenarios.io_error.disk.serving import Serving
from crashmatrix.scenarios.io_error.disk.workload import (
    HEALED,
    DiskJournal,
    until_full,
    until_killed,
    with_failing_call,
)
from crashmatrix.scenarios.io_error.faults import FULL, READ, ROOMS, SMALL, RequestFault
from crashmatrix.scenarios.io_error.messages import CUT, CUT_LATER, KILLED, REMOUNTED, REOPENED, RESUMED
from crashmatrix.scenarios.processes.jobs import Channel
from crashmatrix.scenarios.processes.sandbox.cell import Cell, available
from crashmatrix.scenarios.processes.scratch import own_folder
from crashmatrix.scenarios.recorded.recording import journal_before
from crashmatrix.scenarios.recorded.state_verdict import Judged
from crashmatrix.scenarios.systems.loading import Target, load
from crashmatrix.scenarios.target.notes import FailNote

__all__ = ["Tried", "try_faults"]

_TRIES = 3
_HUNG = "it was still running after"
"""How a recording says that its workload ran into the time limit."""


@dataclass
class Tried:
    """The outcome of a fault: the verdict of each ending, and its part of the journal in lines.

    ``failed`` counts the requests that failed, ``what`` describes the first of them; empty if none did.
    """

    fault: RequestFault
    what: str = ""
    failed: int = 0
    requests: int = 0
    """How many requests of the fault's class the run made."""
    hung: bool = False
    error: str = ""
    exit_status: int = 0
    """How the workload's process ended; negative for a signal."""
    journal: tuple[bytes, ...] = ()
    lines_before: int = 0
    """How many lines the journal had when the request failed."""
    found: dict[str, Judged] = field(default_factory=dict)
    owed: dict[str, int] = field(default_factory=dict)
    """How many lines the journal had at each ending."""
    steps: tuple[str, ...] = ()
    lost: int = 0
    """How many endings had an image that could not be mounted."""
    alive: bool = False
    """Whether the workload still ran when the request failed."""
    since: int = 0
    """How many requests of the fault's class there were from the failed one on; 0 if that is not known."""
    recorded: int = 1
    """How many recordings were made for it."""


def try_faults(channel: Channel, target: Target, base: Base, seconds_max: float) -> None:
    """Try the faults that the driver sends, and send a `Tried` for each, in their order, until the driver sends None.

    A message is (faults, keep_steps, exactly). Unless it is to be ``exactly`` this request, the last one fails in place of a
    later one that a run does not make. Raises UsageError, crashmatrix.faults.disk.DiskError.
    """
    gc.freeze()  # The modules loaded so far stay: a process forked for a workload copies less.
    with ExitStack() as stack:
        # Before anything is mounted.
        cell = stack.enter_context(closing(Cell.made())) if available() else None
        trial = stack.enter_context(_Trial(target, base, seconds_max, cell))
        while message := channel.receive():
            faults, keep_steps, exactly = message
            trial.keep_steps = keep_steps
            for fault in faults:
                channel.send(trial.surely(fault, exactly=exactly))


class _Trial:
    """Tries faults on the disk of a base."""

    def __init__(self, target: Target, base: Base, seconds_max: float, cell: Cell | None) -> None:
        self._target, self._base, self._seconds_max, self._cell = target, base, seconds_max, cell
        self._switch = FaultSwitch()
        self.keep_steps = False
        self._disks: dict[Path, tuple[Recordings, EndJudge]] = {}
        self._stack = ExitStack()
        self._ends, self._kills = Serving[Tried](), Serving[Tried]()

    def __enter__(self) -> _Trial:
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.close()

    def _disk_for(self, fault: RequestFault) -> tuple[Recordings, EndJudge]:
        """The disk on which a fault is tried, and its judge; each is made when it is needed."""
        disk = self._base.prepared_for(fault)
        if disk.trace not in self._disks:
            target, cell = self._target, self._cell
            scratch = self._stack.enter_context(own_folder(disk.trace.parent))
            judge = EndJudge(target, self._base.filesystem, disk.initial, scratch, cell)
            recordings = recordings_on(disk, target, cell, self._switch)
            self._disks[disk.trace] = self._stack.enter_context(recordings), judge
        return self._disks[disk.trace]

    def surely(self, fault: RequestFault, *, exactly: bool) -> Tried:
        """Try a fault; one that nothing met is tried again, nearer to the beginning of the workload, or in less room."""
        for _ in range(_TRIES):
            tried = self._run(fault)
            if tried.failed:
                break
            if not exactly and fault.calls in ROOMS:  # No two runs need the same room.
                fault = replace(fault, number=fault.number * 7 // 8)
            elif not exactly and 0 < tried.requests < fault.number:
                fault = replace(fault, number=tried.requests)
        return tried

    def _run(self, fault: RequestFault) -> Tried:
        """Record the workload with a fault, and judge what it left."""
        made, served = self._ends.of(fault, lambda: self._to_its_end(fault))
        tried = replace(made, fault=fault, recorded=int(not served))
        if fault.planned and tried.failed and tried.alive:
            killed, served = self._kills.of(fault, lambda: self._killed(fault))
            tried.found, tried.owed = tried.found | killed.found, tried.owed | killed.owed
            tried.lost += killed.lost
            tried.recorded += not served
        return tried

    def _to_its_end(self, fault: RequestFault) -> Tried:
        system, judge = self._target.make(), self._disk_for(fault)[1]

        def workload(machine: Machine) -> None:
            if fault.call:
                with_failing_call(system, machine, fault.call)
            elif fault.calls == SMALL:
                until_full(system, answer, machine)
            else:
                system.workload(machine.root, DiskJournal(machine))

        with anonymous_file("answer") as answer:
            trace = self._record(fault, workload)
            text = os.pread(answer, os.fstat(answer).st_size, 0)
        here = _judged_here(judge, trace, text, "while the data still filled the disk")
        at, failed = first_failure(trace, fault, self._base.acknowledged)
        if not failed and fault.calls in ROOMS and (here or judge.breaks(trace)):
            at, failed = trace.start + 1, 1  # The workload took no notice of the full disk.
        tried = Tried(
            fault, journal=tuple(journal_before(trace, trace.finish)), failed=failed, error=trace.error,
            exit_status=trace.exit_status, hung=trace.error.startswith(_HUNG),
        )  # fmt: skip
        if not failed:
            tried.requests = self._switch.reads if fault.calls == READ else requests_made(trace, fault.calls)
            return tried
        # A full disk shows by the line of the first attempt that failed.
        first = at - 1 if fault.calls in ROOMS else at
        tried.lines_before, tried.what = len(journal_before(trace, first)), what_failed_at(trace, at)
        tried.alive = at <= trace.ended
        if fault.planned:
            read = self._switch.reads - fault.number + 1 + failed
            tried.since = read if fault.calls == READ else requests_since(trace, fault, at, trace.finish)
        if self.keep_steps:
            tried.steps = tuple(steps_of(trace))
        if text:
            _note(tried, REOPENED, here or Judged("", Verdict.SAFE), trace, trace.finish)
        with judge.of(trace) as ends:
            self._judge_ends(tried, trace, ends, at)
        return tried

    def _record(self, fault: RequestFault, workload: Callable[[Machine], None]) -> Trace:
        options = RecordOptions(
            seed=self._target.seed, disk_faults=fault.planned, write_back=True, tolerant=True, cold=fault.calls == READ,
            room_bytes=fault.number << 10 if fault.calls in ROOMS else None,
            room_until=FailNote.kind.decode() if fault.calls == FULL and fault.times == "once" else "",
            time_limit_seconds=self._seconds_max,
        )  # fmt: skip
        return self._disk_for(fault)[0].record(workload, options)

    def _judge_ends(self, tried: Tried, trace: Trace, ends: Ends, at: int) -> None:
        whole = CrashState.whole(trace, len(trace.operations))
        if not tried.fault.call:
            clean = ends.judge(whole)
            _note(tried, REMOUNTED, clean, trace, trace.finish)
            if clean.verdict is Verdict.SAFE and load(self._target.name).can_resume():
                _note(tried, RESUMED, _resumed(ends, whole, clean), trace, trace.finish)
        if tried.hung:
            why = "the workload was still running at its time limit, after the fault"
            _note(tried, REMOUNTED, Judged("", Verdict.HANGS, why), trace, trace.finish)
        if tried.fault.calls in ROOMS or self._base.loses_at_cuts:
            return
        for ending, cuts in ((CUT, [at]), (CUT_LATER, cuts_after(trace, tried.fault, at))):
            judged = [(ends.judge(state), state.cut) for cut in cuts for state in ends_at(trace, cut)]
            found, cut = min(judged, key=lambda each: not each[0].verdict.broken)
            _note(tried, ending, found, trace, cut)

    def _killed(self, fault: RequestFault) -> Tried:
        """Record once more, with a kill after the fault; the system recovers there, and on the disk mounted again."""
        tried, system, judge = Tried(fault), self._target.make(), self._disk_for(fault)[1]
        with anonymous_file("answer") as answer:
            trace = self._record(fault, partial(until_killed, system, self._switch, answer))
            text = os.pread(answer, os.fstat(answer).st_size, 0)
        if not self._switch.fired or trace.error.startswith(_HUNG):
            return tried
        at, _ = first_failure(trace, fault, self._base.acknowledged)
        if HEALED in trace.operations and fault.calls != READ:
            tried.since = requests_since(trace, fault, at, trace.operations.index(HEALED))
        if found := _judged_here(judge, trace, text, "on the running machine, before the disk was mounted again"):
            _note(tried, KILLED, found, trace, trace.finish)
            return tried
        with judge.of(trace) as ends:
            _note(tried, KILLED, ends.judge(CrashState.whole(trace, len(trace.operations))), trace, trace.finish)
        return tried


def _judged_here(judge: EndJudge, trace: Trace, items: bytes, where: str) -> Judged | None:
    """Judge the items that a recovery in the recording itself returned; None if they are right, or it failed."""
    found = judge.violation(trace, json.loads(items)) if items else None
    return Judged("", found.verdict, f"{where}: {found.explanation}") if found else None


def _resumed(ends: Ends, state: CrashState, first: Judged) -> Judged:
    try:
        return ends.second_life(state, first)
    except MountRefused as error:  # xfs may mount such an image once, and not again.
        return Judged("", Verdict.UNMOUNTABLE, str(error))


def _note(tried: Tried, ending: str, judged: Judged, trace: Trace, cut: int) -> None:
    if judged.verdict is Verdict.UNMOUNTABLE:
        tried.lost += 1
        return
    tried.found[ending] = judged
    tried.owed[ending] = len(journal_before(trace, cut))
