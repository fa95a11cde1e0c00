"""What the power experiment's judges do: look at the crash states of one trace and give each its verdict.

A judge is pinned to one processor and has the trace's crash images to itself. For each state it mounts the image (the
filesystem recovers first), and forks a checker that recovers the system there and compares. It spares itself what it knows
already: which folder a state becomes may be known before it is mounted (`prediction`), and a folder met
before after the same promises has the same verdict. What is found broken is always mounted.
"""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import cached_property, partial
from itertools import accumulate
from pathlib import Path
from typing import Any

from crashmatrix.faults.disk import (
    CrashImages,
    CrashState,
    CrashStates,
    Filesystem,
    MountRefused,
    StateOptions,
    Trace,
    enter_private_namespace,
    load_trace,
)
from crashmatrix.faults.disk.stopwatch import Stopwatch
from crashmatrix.reports import Verdict
from crashmatrix.scenarios.errors import PromiseBroken
from crashmatrix.scenarios.judging.forked_check import judge_apart, run_checker
from crashmatrix.scenarios.judging.snapshot import SnapshotStore, Tree
from crashmatrix.scenarios.judging.undisturbed import judge_undisturbed
from crashmatrix.scenarios.judging.worker import recovered_items
from crashmatrix.scenarios.power.prediction import WRONG, Prediction
from crashmatrix.scenarios.power.recording import Recording, is_journal_line, journal_before, promises_before
from crashmatrix.scenarios.power.restarts import restarted_at
from crashmatrix.scenarios.power.state_verdict import Judged, Share
from crashmatrix.scenarios.processes.jobs import Channel
from crashmatrix.scenarios.processes.scratch import own_folder
from crashmatrix.scenarios.systems.loading import Target, load
from crashmatrix.scenarios.target.contract import Contract, Violation, contract_named, is_built_in, judge_safely
from crashmatrix.scenarios.target.journal import Item
from crashmatrix.scenarios.target.system import SystemUnderTest

__all__ = ["judge", "judge_one", "judging", "keep_state", "undisturbed"]

_BATCH = 200
_PROMISES_MIN, _NEIGHBOURS = 16, 4
_MIXER = 2654435761  # 2**32 over the golden ratio, after Knuth: spreads neighbours
_REFUSED = "refused"
_ENUMERATED_MAX = 20_000
"""How many states are enumerated, once enough are judged, to say how many there are."""

Recovery = tuple[list[Item], str]
"""What recovery returned, and the digest of the folder it left."""


def judge(
    channel: Channel,
    target: Target,
    recording: Recording,
    number: int,
    workers: int,
    budget: int,
    verified: frozenset[int] = frozenset(),
    until_broken: bool = False,
) -> Share:
    """Judge this worker's share of the states, sending each `Judged` as it comes; returns the account.

    Args:
        verified: numbers of journal lines after which the system has checked itself already, on some crash state.
        until_broken: stop at the first broken promise.
    """
    cpus = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {cpus[number % len(cpus)]})
    trace = _trace_of(recording)
    with _Judge(target, recording, trace, verified) as judge_:
        for judged in judge_.all(number, workers, budget):
            channel.send(judged)
            if until_broken and judged.verdict.broken:
                break
        return judge_.share


def judge_one(_: Channel, target: Target, recording: Recording, state: str) -> Judged:
    """Judge one state by its id. Raises crashmatrix.faults.disk.InvalidState."""
    trace = _trace_of(recording)
    with _Judge(target, recording, trace) as judge_:
        return judge_.judge(CrashState.parse(state, trace))


def undisturbed(_: Channel, target: Target, recording: Recording) -> Violation | None:
    """Return why the target cannot be crashed, from the orderly end of a recording; None if it can."""
    with _Judge(target, recording, _trace_of(recording)) as judge_:
        return judge_.undisturbed()


@contextmanager
def judging(target: Target, recording: Recording, trace: Trace) -> Iterator[Callable[[CrashState], Judged]]:
    """For the block, a function that judges one state of a trace after the other, a broken one twice."""
    with _Judge(target, recording, trace) as judge_:
        yield lambda state: next(judge_._judge_new(state))


def keep_state(_: Channel, recording: Recording, state: str, keep: Path) -> None:
    """Leave a state's image, its mounted folder and its journal in the folder ``keep``."""
    trace = _trace_of(recording)
    crashed = CrashState.parse(state, trace)
    with CrashImages(trace) as images, own_folder(keep) as scratch:
        images.save(crashed, keep / "image")
        store = SnapshotStore(scratch)
        with images.mounted(crashed) as root:
            if not (tree := store.capture(root)).unusable:
                store.restore(tree, keep / "crashed")
    lines = (*(line.encode() for line in recording.before), *journal_before(trace, crashed.cut))
    (keep / "journal").write_bytes(b"".join(line + b"\n" for line in lines))


def _trace_of(recording: Recording) -> Trace:
    enter_private_namespace()  # Where there is no root, this takes a process of one thread, and pyarrow starts more.
    return load_trace(recording.trace)


class _Judge:
    """Judges states of one trace, one at a time."""

    def __init__(
        self, target: Target, recording: Recording, trace: Trace, verified: frozenset[int] = frozenset()
    ) -> None:
        self._target, self._recording, self._trace = target, recording, trace
        kind = load(target.name)
        self._contract: Contract = contract_named(kind.contract)
        self._seconds_max = kind.seconds_max
        self._checks_itself = kind.verify is not SystemUnderTest.verify
        self._verdicts: dict[tuple[str, int], Judged] = {}
        self._recoveries: dict[str, Recovery] = {}
        self._verified = set(verified)
        self._clean = ""
        self._watch = Stopwatch("predict", "snapshot", "check")
        self.share = Share()

    def __enter__(self) -> _Judge:
        self._scratch = own_folder(self._recording.trace.parent)
        self._images = CrashImages(self._trace)
        self._images.__enter__()
        self._store = SnapshotStore(
            self._scratch.path, keep=False, names=1 if Filesystem.parse(self._trace.filesystem).on_disk else 2
        )
        # What a restart's workload did until it was killed is what the other recordings are about.
        options = StateOptions(seed=self._recording.seed, first_cut=restarted_at(self._trace))
        self._states = CrashStates(self._trace, options)
        self._prediction = Prediction(self._states.outcomes)
        with self._images.mounted(self._states.clean) as root:
            self._clean = self._store.capture(root).digest
        return self

    def __exit__(self, *error: Any) -> None:
        self.share.seconds.update(self._images.seconds | self._watch.seconds)
        self._images.__exit__(*error)
        self._scratch.cleanup()

    def undisturbed(self) -> Violation | None:
        """Judge the orderly end by the contract alone."""
        promises = promises_before(self._trace, self._states.clean.cut, self._recording)
        judge = partial(judge_apart, self._contract, self._seconds_max)
        with self._images.mounted(self._states.clean) as root:
            verdict, items = run_checker(
                lambda _: recovered_items(self._target.make().recover(root)), self._seconds_max
            )
        return judge_undisturbed(promises, items if verdict is Verdict.SAFE else None, judge)

    def all(self, number: int, workers: int, budget: int) -> Iterator[Judged]:
        """Judge every ``workers``-th image, from ``number`` on, until ``budget`` different ones are judged."""
        if number == 0:
            yield replace(self.judge(self._states.clean), differs=False)
        start = time.perf_counter()
        for batch in self._batches(number, workers, budget):
            for state in sorted(batch, key=lambda state: state.cut):  # Neighbours are cheap to move between.
                yield from self._judge_new(state)
        coverage = self._states.coverage
        self.share.cuts, self.share.pending_most = coverage.cuts, coverage.pending_most
        self.share.possible_log2 = round(coverage.possible_log2, 1)
        self.share.enumerated, self.share.distinct_images = coverage.enumerated, coverage.distinct
        self.share.distinct_folders = len({folder for folder, _ in self._verdicts})
        self.share.distinct_recovered = len({judged.recovered for judged in self._verdicts.values()} - {""})
        self.share.verified = self._verified
        self.share.seconds["all"] = time.perf_counter() - start

    def _batches(self, number: int, workers: int, budget: int) -> Iterator[list[CrashState]]:
        """Yield this worker's states, ``budget`` at most, in the order of enumeration; then count on, what else there is."""
        batch: list[CrashState] = []
        seen: set[tuple[int, int]] = set()
        for state in self._states:
            if len(seen) == budget:
                if number or self._states.coverage.enumerated > _ENUMERATED_MAX:
                    break  # One worker counting is enough.
                continue
            image = self._states.digests.of(state)
            key = image, self._events(state.cut)
            if self._dealt(*key) % workers != number or key in seen:
                continue
            seen.add(key)
            batch.append(state)
            if len(batch) == _BATCH or len(seen) == budget:
                yield batch
                batch = []
        yield batch

    def _dealt(self, image: int, events: int) -> int:
        """A number that deals states out: those after neighbouring promises together, for they share folders and the system's
        own check; by their images where there is hardly a promise."""
        cuts = self._states.cuts
        if not cuts or self._events(cuts[-1].position) - self._events(cuts[0].position) < _PROMISES_MIN:
            return image
        return events // _NEIGHBOURS * _MIXER >> 8

    def _events(self, cut: int) -> int:
        if cut not in self._events_at:
            self._events_at[cut] = self._events_by_note[len(self._trace.notes_before(cut))]
        return self._events_at[cut]

    @cached_property
    def _events_at(self) -> dict[int, int]:
        return {}

    @cached_property
    def _events_by_note(self) -> list[int]:
        """How many journal lines had been written by the time of the first notes, by the notes' number."""
        notes = self._trace.notes_before(len(self._trace.operations))
        return list(accumulate(map(is_journal_line, notes), initial=len(self._recording.before)))

    def _judge_new(self, state: CrashState) -> Iterator[Judged]:
        self.share.judged += 1
        found = self.judge(state)
        if found.verdict.broken:
            found = self._confirm(state, found)
        yield found
        for each in self._prediction.refuted():
            yield from self._judge_new(each)

    def _confirm(self, state: CrashState, found: Judged) -> Judged:
        self._verdicts.pop((found.digest, found.events), None)
        self._recoveries.pop(found.digest, None)
        again = self.judge(state)
        if again.verdict is found.verdict:
            return again
        first, then = (
            f"{each.verdict} when judged {when}" + (f" ({each.explanation})" if each.explanation else "")
            for each, when in ((found, "first"), (again, "again"))
        )
        return replace(again, verdict=Verdict.UNKNOWN, explanation=f"{first}, {then}")

    def judge(self, state: CrashState) -> Judged:
        """Judge a state: by what is known of its folder, if that can be told beforehand, else mounted."""
        events = self._events(state.cut)
        with self._watch.timed("predict"):
            predicted = self._prediction.folder(state)
        known = self._known(predicted, state, events) if predicted else None
        if known and self._prediction.suffices(state):
            return self._of_state(known, state)
        try:
            with self._images.mounted(state) as root:
                self.share.mounted += 1
                with self._watch.timed("snapshot"):
                    tree = self._snapshot(root)
                folder = tree.digest
                if not self._prediction.saw(state, folder):
                    return Judged(str(state), Verdict.UNKNOWN, WRONG, digest=folder, events=events)
                if tree.unusable:
                    return self._of_state(Judged(str(state), *tree.unusable, digest=folder, events=events), state)
                with self._watch.timed("check"):
                    known = self._known(folder, state, events) or self._check(root, folder, state, events)
                return self._of_state(known, state)
        except MountRefused as error:
            if not self._prediction.saw(state, _REFUSED):
                return Judged(str(state), Verdict.UNKNOWN, WRONG, events=events)
            return Judged(str(state), Verdict.UNMOUNTABLE, str(error), events=events)

    def _snapshot(self, root: Path) -> Tree:
        try:
            return self._store.capture(root)
        except OSError as error:
            place = str(error.filename or "").replace(str(root), "ROOT")
            raise MountRefused(f"reading {place} once mounted", error.errno or errno.EIO, "none: it is lost") from error

    def _of_state(self, judged: Judged, state: CrashState) -> Judged:
        return replace(judged, state=str(state), differs=judged.digest != self._clean)

    def _known(self, folder: str, state: CrashState, events: int) -> Judged | None:
        """What can be said of a folder that was recovered before, without doing so again; None if it takes a process."""
        known, recovery = self._verdicts.get((folder, events)), self._recoveries.get(folder)
        if known or not recovery or self._verifies(events) or not is_built_in(self._contract):
            return known
        promises = promises_before(self._trace, state.cut, self._recording)
        judged = Judged(str(state), Verdict.SAFE, digest=folder, events=events, recovered=recovery[1])
        if violation := judge_safely(self._contract, promises, recovery[0]):
            judged = replace(judged, verdict=violation.verdict, explanation=violation.explanation, recovered="")
        self._verdicts[folder, events] = judged
        return judged

    def _verifies(self, events: int) -> bool:
        """Whether the system is to check itself: on the first folder after each promise. The contract judges all."""
        return self._checks_itself and events not in self._verified

    def _recover(self, system: SystemUnderTest, root: Path) -> Recovery:
        items, tree = recovered_items(system.recover(root)), self._store.capture(root)
        if tree.unusable:
            verdict, text = tree.unusable
            raise PromiseBroken(verdict, f"after recovery, {text}")
        return items, tree.digest

    def _check(self, root: Path, folder: str, state: CrashState, events: int) -> Judged:
        """Recover, unless this folder was recovered before, whatever was promised then; and compare."""
        promises = promises_before(self._trace, state.cut, self._recording)
        verifies = self._verifies(events)
        known = None if verifies else self._recoveries.get(folder)

        def check(recovered: Callable[[], None]) -> Recovery:
            system = self._target.make()
            recovery = known or self._recover(system, root)
            recovered()
            if violation := judge_safely(self._contract, promises, recovery[0]):
                raise PromiseBroken(violation.verdict, violation.explanation)
            if verifies:
                system.verify(root, promises)
            return recovery

        verdict, content = run_checker(check, (3 if verifies else 1) * self._seconds_max)
        judged = Judged(str(state), verdict, digest=folder, events=events)
        if verdict is Verdict.SAFE:
            self._verified.add(events)
            items, left = content
            self._recoveries[folder] = items, left
            judged = replace(judged, recovered=left)
        else:
            judged = replace(judged, explanation=str(content).replace(str(root), "ROOT"))
        self._verdicts[folder, events] = judged
        return judged
