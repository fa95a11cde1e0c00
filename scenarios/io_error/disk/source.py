"""The recorded disks of an experiment: one for each filesystem, prepared once, with the faults that are tried there."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from crashmatrix.faults.disk import Filesystem
from crashmatrix.reports import Verdict
from crashmatrix.scenarios.errors import UsageError
from crashmatrix.scenarios.experiment import ExperimentOptions
from crashmatrix.scenarios.io_error.disk import base as bases
from crashmatrix.scenarios.io_error.disk.base import Base
from crashmatrix.scenarios.io_error.disk.plan import SHARE, beyond, choose_on_disk
from crashmatrix.scenarios.io_error.disk.room import find_room
from crashmatrix.scenarios.io_error.disk.tries import Tried
from crashmatrix.scenarios.io_error.disk.workers import Workers
from crashmatrix.scenarios.io_error.faults import ROOMS, RequestFault
from crashmatrix.scenarios.io_error.judge import stays_full
from crashmatrix.scenarios.io_error.messages import CUT, REMOUNTED, Account, Fired, Place
from crashmatrix.scenarios.io_error.plan import alike
from crashmatrix.scenarios.io_error.runs import FaultyRun
from crashmatrix.scenarios.judging.checker import Checked, Checker
from crashmatrix.scenarios.processes.calls.call_faults import Made
from crashmatrix.scenarios.processes.parallel import side_by_side
from crashmatrix.scenarios.processes.result import Died, JobResult, Raised, Returned, TimedOut
from crashmatrix.scenarios.target.journal import Promises

__all__ = ["DiskSource", "Found", "run_of"]

_SWEEPS_MAX = 8

Found = tuple[RequestFault, FaultyRun, dict[str, tuple[Checked, str]]]
"""A fault, its run, and by ending the verdict and the digest of the folder."""


@dataclass
class DiskSource:
    """The disk of one filesystem. ``places`` are the calls that the workload makes."""

    checker: Checker
    options: ExperimentOptions
    filesystem: str
    places: Sequence[Place]
    notes: list[str] = field(default_factory=list)
    untouched: bool | None = None
    """Whether the last faults of the sweep were met by nothing."""
    lost: int = 0
    replaced: int = 0
    """How many planned faults the last request of their class failed in place of."""

    def __post_init__(self) -> None:
        trace = self.checker.folder() / "prepared.trace"
        limit = 60 + 40 * self.checker.system.seconds_max
        result = self.checker.jobs.run(
            bases.make_base, self.checker.target, self.filesystem, trace, seconds_max=limit, keep_going=True
        )
        if isinstance(result, Raised) and result.is_a(UsageError):
            raise UsageError(result.message)
        self.base: Base = self.checker.must(f"the workload on {self.filesystem}", result)
        if Filesystem.parse(self.filesystem).on_disk:
            args = self.checker.target, self.base, Workers.limit(self.checker, self.base)
            found = self.checker.jobs.run(find_room, *args, seconds_max=limit, keep_going=True)
            room = self.checker.must(f"the workload on a full {self.filesystem}", found)
            self.base = replace(self.base, room_bytes=room)
            if not room:
                self.notes.append(f"{self.filesystem}: the workload needs no room, so the disk was not full")
        if self.base.loses_at_cuts:
            self.notes.append(
                f"{self.filesystem}: power cuts after an error are not judged, since a power cut alone breaks the promise "
                f"({self.base.loses_at_cuts}); see the experiment power"
            )

    def plan(self, budget: int) -> list[RequestFault]:
        """Choose the faults."""
        chosen, rule = choose_on_disk(self.base, self.places, max(1, budget // SHARE), self.options.seed)
        self.notes += filter(None, [rule])
        return chosen

    def run(self, faults: Sequence[RequestFault]) -> Iterator[Found]:
        """Try faults, several at a time. Those that begin with the same answer come one after the other: one run may serve."""
        parts = list(map(tuple, alike(faults)))
        enough = list[Found]()
        full = 0
        with Workers(self.checker, self.base) as workers:
            nearly = partial(self._together, workers, exactly=False)
            for _, several in side_by_side(self.checker.jobs, self.options.workers, nearly, parts):
                for found in several:
                    if found[0].calls in ROOMS and not found[1].fired:
                        enough.append(found)
                        continue
                    full += found[0].calls in ROOMS
                    yield found
        if enough and full:
            least = min(fault.number for fault, *_ in enough)
            self.notes.append(f"{self.filesystem}: {least:,} KiB of room sufficed, so the disk was not full there")
        else:
            yield from enough

    def account(self) -> dict[str, Any]:
        """Return its entry in ``summary.json``."""
        requests = Counter(request.calls for request in self.base.requests)
        return {
            "requests": dict(requests), "room_bytes": self.base.room_bytes, "untouched": self.untouched,
            "unmountable": self.lost, "record_seconds": round(self.base.seconds, 3),
        }  # fmt: skip

    def again(self, fault: RequestFault) -> Found:
        """Try one fault, and keep its steps."""
        with Workers(self.checker, self.base) as workers:
            return self._together(workers, [fault], keep_steps=True)[0]

    def sweep(self) -> Iterator[Found]:
        """See that faults after the last request are met by nothing; yield those that are, and go on after them."""
        with Workers(self.checker, self.base) as workers:
            for fault in beyond(self.base):
                for _ in range(_SWEEPS_MAX):
                    found = self._together(workers, [fault])[0]
                    if not found[1].fired:
                        break
                    yield found
                    if fault.calls in ROOMS:
                        break
                    fault = RequestFault(fault.filesystem, fault.calls, fault.number + 1, fault.error)
                self.untouched = self.untouched is not False and not found[1].fired

    def _together(
        self, workers: Workers, faults: Sequence[RequestFault], *, keep_steps: bool = False, exactly: bool = True
    ) -> list[Found]:
        tried, result = workers.tried(faults, keep_steps=keep_steps, exactly=exactly)
        self.replaced += sum(
            each.fault != fault and fault.calls not in ROOMS for each, fault in zip(tried, faults, strict=False)
        )
        found = [self._found(each.fault, each) for each in tried]
        return found + [_lost(fault, result) for fault in faults[len(tried) :] if result]

    def _found(self, fault: RequestFault, tried: Tried) -> Found:
        first = CUT if fault.call else REMOUNTED
        run = run_of(fault, tried, self.base)
        self.lost += tried.lost
        if not tried.failed:
            why = f"the fault did not fire: the workload needed no {fault.calls} {fault.number} this time"
            return fault, run, {first: (Checked(Verdict.UNKNOWN, why, unmet=True), "")}
        judged = {
            ending: (Checked(found.verdict, found.explanation), found.digest) for ending, found in tried.found.items()
        }
        if self.checker.system.recovers_from_full_disk and (text := stays_full(fault, run)):
            judged[REMOUNTED] = Checked(Verdict.CANNOT_OPEN, text), ""
        return fault, run, judged


def _lost(fault: RequestFault, result: JobResult[None]) -> Found:
    """Return the outcome of a fault if the process that tried it died."""
    why = f"the recording and its judge {result}"
    return fault, FaultyRun(result), {CUT if fault.call else REMOUNTED: (Checked(Verdict.UNKNOWN, why), "")}


def run_of(fault: RequestFault, tried: Tried, base: Base) -> FaultyRun:
    """Return the run that a recording is, for those who explain runs."""
    result: JobResult[None] = Died(tried.exit_status) if tried.exit_status else Returned(None)
    if tried.error:
        kind, _, message = tried.error.strip().rpartition("\n")[2].partition(": ")
        result = TimedOut("") if tried.hung else Raised((kind,), message, tried.error)
    place = Place(Made(fault.calls, fault.number, fault.calls, (tried.what,), answer=-1), tried.what)
    lines = [line + b"\n" for line in tried.journal]
    run = FaultyRun(
        result, {}, Fired(place, 0).place if tried.failed else None,
        Account((), (fault,) if tried.failed else (), {}, tried.steps, requests=tried.failed),
        b"".join(lines), len(b"".join(lines[: tried.lines_before])), recorded=tried.recorded,
    )  # fmt: skip
    for ending, number in tried.owed.items():
        run.owed[ending] = Promises.parse(b"".join(lines[:number]), base.prepared_for(fault).initial)
    return run
