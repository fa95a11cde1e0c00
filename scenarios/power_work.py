"""What the power experiment's child processes do: one records a workload, the others judge the crash states of its trace.

A judge is pinned to one processor and has the trace's crash images to itself. For each state it mounts the image (the
filesystem recovers first), and forks a checker that recovers the system there. It spares itself what it knows already:
an image, or a mounted folder, met before after the same promises has the same verdict.
"""

from __future__ import annotations

import json
import os
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import accumulate
from pathlib import Path
from typing import Any

import faults
from faults.disk import (
    Change,
    CrashImages,
    CrashState,
    CrashStates,
    Flush,
    Machine,
    MountRefused,
    RecordOptions,
    StateOptions,
    Sync,
    Trace,
    WorkloadFailed,
    record,
)
from reports import Verdict
from scenarios.contract import Contract, contract_named, judge_safely
from scenarios.errors import UsageError
from scenarios.forked_check import run_checker
from scenarios.jobs import Channel
from scenarios.journal import Item, Journal, Promises
from scenarios.photograph import Album
from scenarios.system import Target, load
from scenarios.work import recovered_items

__all__ = ["Judged", "Recording", "Share", "judge", "judge_one", "keep_state", "make_recording", "promises_before"]

_HIT = b"hit "
_BATCH = 200
_ENUMERATED_MAX = 20_000
"""How many states are enumerated, once enough are judged, to say how many there are."""


@dataclass(frozen=True)
class Recording:
    """One recorded run: where its trace is, what was there before, and what it is made of."""

    name: str
    filesystem: str
    nudge: str
    seed: int
    trace: Path
    initial: tuple[Item, ...] = ()
    writes: int = 0
    flushes: int = 0
    events: int = 0
    identity: str = ""
    seconds: float = 0.0


@dataclass(frozen=True)
class Judged:
    """One crash state's verdict. ``state`` is its id; ``known`` says that an equal state had been judged before."""

    state: str
    verdict: Verdict
    explanation: str = ""
    digest: str = ""
    events: int = 0
    differs: bool = True
    """Whether the mounted folder was another than after the orderly end."""


@dataclass
class Share:
    """One judge's account: what it enumerated and judged, and where its time went, in seconds."""

    cuts: int = 0
    pending_most: int = 0
    possible_log2: float = 0.0
    enumerated: int = 0
    distinct_images: int = 0
    distinct_folders: int = 0
    judged: int = 0
    seconds: dict[str, float] = field(default_factory=dict)


class _MachineJournal(Journal):
    """A journal whose lines are notes on the recorded disk: promises and writes share one order."""

    def __init__(self, machine: Machine) -> None:
        self._machine, self.path = machine, machine.notes

    def append(self, line: bytes) -> None:
        self._machine.note(line)

    def tick(self) -> None:
        self._machine.nudge()  # A program's own lines go past `append`, and nudge nothing.


def make_recording(_: Channel, target: Target, recording: Recording) -> Recording:
    """Record the workload once; returns the recording completed. Raises UsageError, faults.disk.DiskError."""
    system = target.make()
    start = time.perf_counter()

    def prepare(root: Path) -> None:
        items.write_text(json.dumps(list(system.prepare(root) or ())))

    def workload(machine: Machine) -> None:
        faults.observe(lambda point, number: machine.note(_HIT + f"{point.name} {number}".encode()))
        system.workload(machine.root, _MachineJournal(machine))

    with tempfile.TemporaryDirectory(dir=recording.trace.parent) as folder:
        items = Path(folder) / "items"
        options = RecordOptions(
            filesystem=recording.filesystem,
            nudge=recording.nudge,
            seed=recording.seed,
            time_limit_seconds=10 * system.seconds_max,
        )
        try:
            trace = record(workload, prepare=prepare, options=options)
        except WorkloadFailed as error:
            raise UsageError(f"recording {target.name}: {error}") from None
        initial = tuple(json.loads(items.read_text()))
    trace.save(recording.trace)
    during = trace.operations[trace.start : trace.finish]
    return replace(
        recording,
        initial=initial,
        writes=sum(isinstance(operation, Change) for operation in during),
        flushes=sum(isinstance(operation, Flush | Sync) for operation in during),
        events=len(_journal(trace, len(trace.operations))),
        identity=trace.identity,
        seconds=time.perf_counter() - start,
    )


def promises_before(trace: Trace, cut: int, initial: Sequence[Item]) -> Promises:
    """Return what had been promised before an operation of the trace."""
    return Promises.parse(b"".join(line + b"\n" for line in _journal(trace, cut)), initial)


def _journal(trace: Trace, cut: int) -> list[bytes]:
    return [line for line in trace.notes_before(cut) if not line.startswith(_HIT)]


def judge(channel: Channel, target: Target, recording: Recording, number: int, workers: int, budget: int) -> Share:
    """Judge this worker's share of the states, sending each `Judged` as it comes; returns the account."""
    cpus = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {cpus[number % len(cpus)]})
    trace = Trace.load(recording.trace)
    with _Judge(target, recording, trace) as judge_:
        for judged in judge_.all(number, workers, budget):
            channel.send(judged)
        return judge_.share


def judge_one(_: Channel, target: Target, recording: Recording, state: str) -> Judged:
    """Judge one state by its id. Raises faults.disk.InvalidState."""
    trace = Trace.load(recording.trace)
    with _Judge(target, recording, trace) as judge_:
        return judge_.judge(CrashState.parse(state, trace))


def keep_state(_: Channel, recording: Recording, state: str, keep: Path) -> None:
    """Leave a state's image, its mounted folder and its journal in the folder ``keep``."""
    trace = Trace.load(recording.trace)
    crashed = CrashState.parse(state, trace)
    with CrashImages(trace) as images, tempfile.TemporaryDirectory(dir=keep) as scratch:
        images.save(crashed, keep / "image")
        album = Album(Path(scratch))
        with images.mounted(crashed) as root:
            album.restore(album.capture(root), keep / "crashed")
    journal = b"".join(line + b"\n" for line in _journal(trace, crashed.cut))
    (keep / "journal").write_bytes(journal)


class _Judge:
    """Judges states of one trace, one at a time."""

    def __init__(self, target: Target, recording: Recording, trace: Trace) -> None:
        self._target, self._recording, self._trace = target, recording, trace
        kind = load(target.name)
        self._contract: Contract = contract_named(kind.contract)
        self._seconds_max = kind.seconds_max
        self._verdicts: dict[tuple[str, int], Judged] = {}
        self._verified: set[int] = set()
        self._clean = ""
        self.share = Share()

    def __enter__(self) -> _Judge:
        self._scratch = tempfile.TemporaryDirectory(dir=self._recording.trace.parent)
        self._images = CrashImages(self._trace)
        self._images.__enter__()
        self._album = Album(Path(self._scratch.name), keep=False)
        self._states = CrashStates(self._trace, StateOptions(seed=self._recording.seed))
        with self._images.mounted(self._states.clean) as root:
            self._clean = self._album.capture(root).digest
        return self

    def __exit__(self, *error: Any) -> None:
        self.share.seconds.update(self._images.seconds)
        self._images.__exit__(*error)
        self._scratch.cleanup()

    def all(self, number: int, workers: int, budget: int) -> Iterator[Judged]:
        """Judge every ``workers``-th image, from ``number`` on, until ``budget`` different ones are judged."""
        if number == 0:
            yield replace(self.judge(self._states.clean), differs=False)
        start = time.perf_counter()
        for batch in self._batches(number, workers):
            for state in sorted(batch, key=lambda state: state.cut):
                if self.share.judged < budget:
                    yield from self._judge_new(state)
            if self.share.judged >= budget and self._states.coverage.enumerated > _ENUMERATED_MAX:
                break
        coverage = self._states.coverage
        self.share.cuts, self.share.pending_most = coverage.cuts, coverage.pending_most
        self.share.possible_log2 = round(coverage.possible_log2, 1)
        self.share.enumerated, self.share.distinct_images = coverage.enumerated, coverage.distinct
        self.share.distinct_folders = len(self._verdicts)
        self.share.seconds["all"] = time.perf_counter() - start

    def _batches(self, number: int, workers: int) -> Iterator[list[CrashState]]:
        batch: list[CrashState] = []
        seen: set[tuple[int, int]] = set()
        for state in self._states:
            image = self._states.digests.of(state)
            key = image, self._events(state.cut)
            if hash(key) % workers != number or key in seen:
                continue
            seen.add(key)
            batch.append(state)
            if len(batch) == _BATCH:
                yield batch
                batch = []
        yield batch

    def _events(self, cut: int) -> int:
        return self._events_by_note[len(self._trace.notes_before(cut))]

    @cached_property
    def _events_by_note(self) -> list[int]:
        """How many journal lines there are among the first notes, by their number."""
        notes = self._trace.notes_before(len(self._trace.operations))
        return [0, *accumulate(not line.startswith(_HIT) for line in notes)]

    def _judge_new(self, state: CrashState) -> Iterator[Judged]:
        self.share.judged += 1
        found = self.judge(state)
        if found.verdict.broken:
            found = self._confirm(state, found)
        yield found

    def _confirm(self, state: CrashState, found: Judged) -> Judged:
        self._verdicts.pop((found.digest, found.events), None)
        again = self.judge(state)
        if again.verdict is found.verdict:
            return again
        text = f"{found.verdict} when judged first ({found.explanation}), {again.verdict} when judged again"
        return replace(again, verdict=Verdict.UNKNOWN, explanation=text)

    def judge(self, state: CrashState) -> Judged:
        """Mount a state and judge it, unless its folder was met before after the same promises."""
        events = self._events(state.cut)
        try:
            with self._images.mounted(state) as root:
                folder = self._album.capture(root).digest
                if (folder, events) not in self._verdicts:
                    verdict, explanation = self._check(root, state, events)
                    self._verdicts[folder, events] = Judged(str(state), verdict, explanation, folder, events)
                known = self._verdicts[folder, events]
                return replace(known, state=str(state), differs=folder != self._clean)
        except MountRefused as error:
            return Judged(str(state), Verdict.UNMOUNTABLE, str(error), events=events)

    def _check(self, root: Path, state: CrashState, events: int) -> tuple[Verdict, str]:
        promises = promises_before(self._trace, state.cut, self._recording.initial)
        verdict, content = run_checker(lambda: recovered_items(self._target.make().recover(root)), self._seconds_max)
        if verdict is not Verdict.SAFE:
            return verdict, str(content).replace(str(root), "ROOT")
        if violation := judge_safely(self._contract, promises, content):
            return violation.verdict, violation.explanation
        return self._verify(root, promises, events)

    def _verify(self, root: Path, promises: Promises, events: int) -> tuple[Verdict, str]:
        """Let the system check itself, on the first folder recovered after each promise: the contract judges all."""
        if events in self._verified:
            return Verdict.SAFE, ""

        def verify() -> None:
            system = self._target.make()
            system.recover(root)
            system.verify(root, promises)

        verdict, content = run_checker(verify, 2 * self._seconds_max, Verdict.UNKNOWN)
        if verdict is Verdict.SAFE:
            self._verified.add(events)
            return verdict, ""
        return verdict, str(content).replace(str(root), "ROOT")
