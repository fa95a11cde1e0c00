"""The job that tries faults of one disk: each is recorded, and judged from the recording, in one process.

    remounted   the workload comes to its own end; the fault is over; the disk is unmounted and mounted again, so that only the
                disk is believed, and the system opened
    killed      the process is killed at its first step after the fault, the system opened on the running machine, and once more
                after the disk was mounted again
    cut         the power fails right after the fault: with everything pending on the disk, and with nothing of it
    cut-later   it fails after the next acknowledgement, or at the end; after a failed call, after some other ones, too
    resumed     as remounted; then the system goes on, stores more, and is opened once more

An image that its own filesystem cannot mount any more has no verdict: no system could do anything about that.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

from crashmatrix.faults.disk import (
    CrashState,
    Failure,
    Flush,
    Machine,
    MountRefused,
    Note,
    RecordOptions,
    Trace,
    Write,
    load_trace,
    record,
)
from crashmatrix.faults.disk.block.fault_switch import FaultSwitch
from crashmatrix.faults.disk.linux.containment import anonymous_file
from crashmatrix.reports import Verdict
from crashmatrix.scenarios.io_error.disk.base import Base, confine_for, recording_of
from crashmatrix.scenarios.io_error.disk.plan import cuts_later
from crashmatrix.scenarios.io_error.disk.workload import CALL_FAILED, DiskJournal, until_killed, with_failing_call
from crashmatrix.scenarios.io_error.faults import FLUSH, FULL, READ, WRITE, RequestFault
from crashmatrix.scenarios.io_error.messages import CUT, CUT_LATER, KILLED, REMOUNTED, RESUMED
from crashmatrix.scenarios.judging.forked_check import judge_apart
from crashmatrix.scenarios.processes.jobs import Channel
from crashmatrix.scenarios.recorded.recording import is_journal_line, journal_before, promises_before
from crashmatrix.scenarios.recorded.state_judge import StateJudge
from crashmatrix.scenarios.recorded.state_verdict import Judged
from crashmatrix.scenarios.systems.loading import Target, load
from crashmatrix.scenarios.target.contract import contract_named
from crashmatrix.scenarios.target.notes import AckNote, FailNote, parse

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


def try_faults(
    channel: Channel,
    target: Target,
    base: Base,
    faults: Sequence[RequestFault],
    seconds_max: float,
    keep_steps: bool,
    exactly: bool,
) -> None:
    """Try these faults, and send a `Tried` for each, in their order. Raises UsageError, crashmatrix.faults.disk.DiskError.

    Unless it is to be ``exactly`` this request, the last one fails in place of a later one that a run does not make.
    """
    trial = _Trial(target, base, load_trace(base.trace), seconds_max, keep_steps)
    for fault in faults:
        for _ in range(_TRIES):
            tried = trial.run(fault)
            if tried.failed:
                break
            if not exactly and 0 < tried.requests < fault.number:
                fault = replace(fault, number=tried.requests)
        channel.send(tried)


@dataclass
class _Trial:
    target: Target
    base: Base
    prepared: Trace
    seconds_max: float
    keep_steps: bool

    def run(self, fault: RequestFault) -> Tried:
        """Record the workload with a fault, and judge what it left."""
        system = self.target.make()

        def workload(machine: Machine) -> None:
            if fault.call:
                with_failing_call(system, machine, fault.call)
            else:
                gives_room = fault.calls == FULL and fault.times == "once"
                system.workload(machine.root, DiskJournal(machine, gives_room=gives_room))

        switch = FaultSwitch()
        trace = self._record(fault, workload, switch)
        at, failed = _first_failure(trace, fault, self.base.acknowledged)
        lines = tuple(journal_before(trace, trace.finish))
        tried = Tried(
            fault, journal=lines, failed=failed, error=trace.error, exit_status=trace.exit_status,
            hung=trace.error.startswith(_HUNG),
        )  # fmt: skip
        if not failed:
            tried.requests = switch.reads if fault.calls == READ else _made(trace, fault.calls)
            return tried
        tried.lines_before = len(journal_before(trace, at))
        tried.what = _what(trace, at)
        if self.keep_steps:
            tried.steps = tuple(_steps(trace))
        self._judge(tried, trace, at)
        if fault.planned:
            self._killed(tried, fault)
        return tried

    def _record(self, fault: RequestFault, workload: Callable[[Machine], None], switch: FaultSwitch) -> Trace:
        options = RecordOptions(
            seed=self.target.seed, disk_faults=fault.planned, switch=switch, write_back=True, tolerant=True,
            cold=fault.calls == READ,
            room_bytes=fault.number << 10 if fault.calls == FULL else None, time_limit_seconds=self.seconds_max,
        )  # fmt: skip
        whole = CrashState.whole(self.prepared, len(self.prepared.operations))
        return record(
            workload,
            crashed=(self.prepared, whole),
            confine=confine_for(self.target),
            options=options,
        )

    def _judge(self, tried: Tried, trace: Trace, at: int) -> None:
        recording = recording_of(self.base.filesystem, self.target, self.base.trace, self.base.initial)
        with StateJudge(self.target, recording, trace) as states:
            if not tried.fault.call:
                clean = self._surely(states, CrashState.whole(trace, len(trace.operations)))
                self._note(tried, REMOUNTED, clean, trace, trace.finish)
                if clean.verdict is Verdict.SAFE and load(self.target.name).can_resume():
                    self._resume(tried, states, trace, clean)
            if tried.hung:
                why = "the workload was still running at its time limit, after the fault"
                self._note(tried, REMOUNTED, Judged("", Verdict.HANGS, why), trace, trace.finish)
            if tried.fault.calls == FULL or self.base.loses_at_cuts:
                return
            for ending, cuts in ((CUT, [at]), (CUT_LATER, _later(trace, tried.fault, at))):
                judged = [(self._surely(states, state), state.cut) for cut in cuts for state in _ends(trace, cut)]
                found, cut = min(judged, key=lambda each: not each[0].verdict.broken)
                self._note(tried, ending, found, trace, cut)

    def _resume(self, tried: Tried, states: StateJudge, trace: Trace, clean: Judged) -> None:
        try:
            again = states.second_life(CrashState.whole(trace, len(trace.operations)), clean)
        except MountRefused as error:  # xfs may mount such an image once, and not again.
            again = Judged("", Verdict.UNMOUNTABLE, str(error))
        self._note(tried, RESUMED, again, trace, trace.finish)

    @staticmethod
    def _surely(states: StateJudge, state: CrashState) -> Judged:
        return next(iter(states.judge_surely(state)))

    def _note(self, tried: Tried, ending: str, judged: Judged, trace: Trace, cut: int) -> None:
        if judged.verdict is Verdict.UNMOUNTABLE:
            tried.lost += 1
            return
        tried.found[ending] = judged
        tried.owed[ending] = len(journal_before(trace, cut))

    def _killed(self, tried: Tried, fault: RequestFault) -> None:
        """Record once more, with a kill after the fault; the system recovers there, and on the disk mounted again."""
        system, switch = self.target.make(), FaultSwitch()
        with anonymous_file("answer") as answer:
            trace = self._record(fault, partial(until_killed, system, switch, answer), switch)
            text = os.pread(answer, os.fstat(answer).st_size, 0)
        if not switch.fired or trace.error.startswith(_HUNG):
            return
        recording = recording_of(self.base.filesystem, self.target, self.base.trace, self.base.initial)
        promises = promises_before(trace, len(trace.operations), recording)
        kind = load(self.target.name)
        if text and (found := judge_apart(contract_named(kind.contract), kind.seconds_max, promises, json.loads(text))):
            why = f"on the running machine, before the disk was mounted again: {found.explanation}"
            self._note(tried, KILLED, Judged("", found.verdict, why), trace, trace.finish)
            return
        with StateJudge(self.target, recording, trace) as states:
            judged = self._surely(states, CrashState.whole(trace, len(trace.operations)))
            self._note(tried, KILLED, judged, trace, trace.finish)


def _made(trace: Trace, calls: str) -> int:
    """Return how many requests of a class the workload made."""
    kind = {WRITE: Write, FLUSH: Flush}.get(calls, ())
    return sum(isinstance(done, kind) for done in trace.operations[trace.start : trace.finish])


def _first_failure(trace: Trace, fault: RequestFault, acknowledged: int) -> tuple[int, int]:
    """Return the position after the first failure, and how many there were. A full disk shows by what the workload does."""
    during = range(trace.start, trace.finish)
    if fault.planned:
        failed = [at for at in during if isinstance(trace.operations[at], Failure)]
    elif fault.call:
        failed = [at for at in during if trace.operations[at] == CALL_FAILED]
    else:
        lines = [at for at in during if isinstance(trace.operations[at], Note)]
        failed = [at for at in lines if isinstance(_parsed(trace, at), FailNote)]
        stored = sum(isinstance(_parsed(trace, at), AckNote) for at in lines)
        if not failed and (trace.exit_status or stored < acknowledged):
            failed = [trace.finish - 1]
    return (failed[0] + 1, len(failed)) if failed else (0, 0)


def _parsed(trace: Trace, at: int) -> object:
    done = trace.operations[at]
    return parse(done.text) if isinstance(done, Note) else None


def _later(trace: Trace, fault: RequestFault, at: int) -> list[int]:
    acks = [place for place in range(at, trace.finish) if isinstance(_parsed(trace, place), AckNote)]
    return cuts_later(acks, trace.finish, several=fault.call is not None)


def _ends(trace: Trace, cut: int) -> Iterator[CrashState]:
    """The states at a cut with nothing of what is pending, and with all of it."""
    pending = len(trace.pending(cut))
    yield CrashState(cut, 0, (), pending)
    if pending:
        yield CrashState.whole(trace, cut)


def _what(trace: Trace, at: int) -> str:
    done = trace.operations[at - 1]
    if not isinstance(done, Failure):
        return "call" if done == CALL_FAILED else "room"
    return "flush" if done.request == "flush" else f"{done.request} of {done.length:,} bytes at byte {done.offset:,}"


def _steps(trace: Trace) -> Iterator[str]:
    """Journal lines and requests in their order, as `messages.Account` has them."""
    for done in trace.operations[trace.start : trace.finish]:
        match done:
            case Note(text) if is_journal_line(text):
                yield f"line {text.decode(errors='replace')}"
            case Write(offset, data):
                yield f"call disk write of {len(data):,} bytes at byte {offset:,}"
            case Failure(request, offset, length, error):
                where = f" of {length:,} bytes at byte {offset:,}" if length else ""
                yield f"call disk {request}{where} -> -{error}"
