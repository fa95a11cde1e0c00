"""The verdicts of one trace's crash states: mount each, unless the folder that it becomes is known, and judge the folder.

A folder that was met before, after the same promises, has the same verdict. The folder that a state becomes may be predicted
(`prediction`). A state found broken is always mounted, and judged a second time.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, closing
from dataclasses import replace
from functools import partial
from hashlib import blake2b
from pathlib import Path
from typing import Any, Final, Self

from crashmatrix.faults.disk import (
    CrashImages,
    CrashState,
    CrashStates,
    Filesystem,
    MountRefused,
    StateOptions,
    Trace,
)
from crashmatrix.faults.disk.state import StateNames
from crashmatrix.faults.disk.stopwatch import Stopwatch
from crashmatrix.reports import Verdict
from crashmatrix.scenarios.judging.patience import NOTHING_LEARNT, Learnt, Patience
from crashmatrix.scenarios.judging.second_life import varied
from crashmatrix.scenarios.judging.snapshots.snapshot import SnapshotStore
from crashmatrix.scenarios.judging.snapshots.tree import Tree
from crashmatrix.scenarios.judging.undisturbed import judge_undisturbed
from crashmatrix.scenarios.processes.sandbox.cell import Cell, available
from crashmatrix.scenarios.processes.scratch import own_folder
from crashmatrix.scenarios.recorded.boots import boot_after
from crashmatrix.scenarios.recorded.dealing import Dealer
from crashmatrix.scenarios.recorded.folder_judge import FolderJudge
from crashmatrix.scenarios.recorded.mounted import snapshot_of
from crashmatrix.scenarios.recorded.prediction import WRONG, Prediction
from crashmatrix.scenarios.recorded.recording import Recording, is_journal_line, promises_before
from crashmatrix.scenarios.recorded.restarts import restarted_at
from crashmatrix.scenarios.recorded.second_lives import LifeJudge, kind_of_life, resumed_at, resumed_kind
from crashmatrix.scenarios.recorded.state_verdict import TIMES_DIFFER, Check, Judged, Safe, Share, disagreement, named
from crashmatrix.scenarios.systems.loading import Target, load
from crashmatrix.scenarios.target.contract import Violation
from crashmatrix.scenarios.target.journal import Promises

__all__ = ["NOTHING_BEFORE", "StateJudge"]

_REFUSED = "refused"
NOTHING_BEFORE: Final[Mapping[str, Safe]] = {}


class StateJudge:
    """Judges crash states of one trace, one at a time. Use it in a ``with`` block.

    Args:
        checks: further checks that need not be made again; None if every folder is to get them (`folder_judge`).
        resumes: whether each state found safe is to get a second life, too, if the system can be resumed (`second_lives`).
        learnt: how long recoveries took so far.
        predict: makes the prediction from the outcomes of the trace's states.
    """

    def __init__(
        self,
        target: Target,
        recording: Recording,
        trace: Trace,
        checks: Iterable[Check] | None = None,
        learnt: Learnt = NOTHING_LEARNT,
        *,
        resumes: bool = False,
        predict: Callable[[StateNames], Prediction] = Prediction,
    ) -> None:
        self._target, self._recording, self._trace, self._checks = target, recording, trace, checks
        self._patience = Patience(load(target.name).seconds_max, learnt, tries=2)
        # The other recordings are about the workload until a restart kills it.
        options = StateOptions(seed=recording.seed, first_cut=restarted_at(trace))
        self._states = CrashStates(trace, options, is_journal_line)
        self.prediction = predict(self._states.outcomes)
        self._dealer = Dealer(trace, self._states, lines_before=len(recording.before), prediction=self.prediction)
        self._can_resume = load(target.name).can_resume() and not recording.resumed
        self._resumes = resumes and self._can_resume
        self._safe: dict[str, tuple[CrashState, Judged]] = {}
        """The first crash state found safe, by the digest of the folder that its recovery led to."""
        self._promises: dict[int, Promises] = {}
        """By how many lines the journal had."""
        self._before: Mapping[str, Safe] = {}
        self._repeats_left = 0
        self._free: set[CrashState] = set()
        self._watch = Stopwatch("predict", "snapshot", "check", "resume")
        self.share = Share()

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            scratch = stack.enter_context(own_folder(self._recording.trace.parent))
            self._images = stack.enter_context(CrashImages(self._trace))
            self._on_disk = Filesystem.parse(self._trace.filesystem).on_disk
            self._store = SnapshotStore(scratch, keep=False, names=1 if self._on_disk else 2)
            cell = stack.enter_context(closing(Cell.made())) if available() else None  # Before any image is mounted.
            self._folders = FolderJudge(
                self._target,
                self._promises_before,
                partial(self._store.capture, names=1 if cell else None),
                self._checks,
                cell,
                self._patience,
                first_life=self._recording.first_life_lines,
                boot=(boot := boot_after(self._recording.name)),
            )
            self._lives = LifeJudge(self._target, scratch, cell, self._patience, boot)
            with self._images.mounted(self._states.clean) as root:
                self._clean = self._name(self._store.capture(root), self._states.clean)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *error: Any) -> None:
        self.share.seconds.update(self._images.seconds | self._watch.seconds)
        self._stack.__exit__(*error)

    def undisturbed(self) -> Violation | None:
        """Judge the orderly end by the contract alone."""
        with self._images.mounted(self._states.clean) as root:
            unusable = bool(snapshot_of(self._store, root).unusable)
            promises, items = self._folders.undisturbed(root, self._states.clean.cut, unusable=unusable)
        return judge_undisturbed(promises, items, self._folders.violation_apart)

    def all(
        self, number: int, workers: int, budget: int, lives: int = 0, before: Mapping[str, Safe] = NOTHING_BEFORE
    ) -> Iterator[Judged]:
        """Judge the share of judge ``number`` of so many, until ``budget`` different outcomes are judged.

        Args:
            lives: how many second lives to judge at most; the verdicts of states come a second time if these are not safe.
            before: the folders found safe in earlier recordings (`Share.safe`). A number of states, twice ``budget``, may repeat
                one of them: that costs a mount, and no recovery.
        """
        if number == 0:
            yield replace(self.judge(self._states.clean), differs=False)
        if self._on_disk and not self._recording.resumed:
            self._before, self._repeats_left = before, 2 * budget
        start = time.perf_counter()
        for batch in self._dealer.batches(number, workers, budget):
            for state in batch:
                yield from self.judge_surely(state)
        yield from self._second_lives(number, lives)
        for state in self.prediction.refuted():  # By what a second life was to begin with.
            yield from self.judge_surely(state)
        coverage = self._states.coverage
        self.share.cuts, self.share.pending_most = coverage.cuts, coverage.pending_most
        self.share.possible_log2 = round(coverage.possible_log2, 1)
        self.share.choices, self.share.outcomes = coverage.choices, self._dealer.outcomes
        self.share.exhaustive = coverage.exhaustive and self._dealer.complete and self.prediction.holds
        self.share.enumerated, self.share.distinct_images = coverage.enumerated, coverage.distinct
        self.share.distinct_folders, self.share.distinct_recovered = self._folders.folders, self._folders.recovered
        self.share.verified, self.share.learnt = self._folders.checks, self._patience.learnt
        self.share.second_recoveries = self._folders.second_recoveries
        self.share.second_lives, self.share.promised = self._lives.lives, self._lives.promised
        self.share.seconds["all"] = time.perf_counter() - start

    def judge_surely(self, state: CrashState) -> Iterator[Judged]:
        """Judge a state, a broken one twice; then those whose prediction turned out wrong."""
        if state in self._dealer.again:
            yield from self._check_prediction(state)
            return
        found = self.judge(state)
        found = self._confirm(state, found) if found.verdict.broken else found
        if found.repeats:
            self._repeats_left -= 1
            self.share.repeats += 1
            self._dealer.free += state not in self._free
            self._free.add(state)
        else:
            self.share.judged += 1
        # In a second life only the contract is checked.
        if found.verdict is Verdict.SAFE and found.recovered and self._in_first_life(found):
            self._safe.setdefault(found.recovered, (state, found))
            self.share.safe[self._key(found.digest, state.cut)] = found.recovered, found.kind
        yield found
        for each in self.prediction.refuted():
            yield from self.judge_surely(each)

    def _check_prediction(self, state: CrashState) -> Iterator[Judged]:
        """Mount a state whose outcome was judged already; yield its verdict only if the prediction was wrong."""
        found = self._mount(state, self._dealer.events(state.cut))
        if not self.prediction.holds:
            yield found
            for each in self.prediction.refuted():
                yield from self.judge_surely(each)

    def judge(self, state: CrashState) -> Judged:
        """Judge a state, with its second life if that is wanted."""
        found = self._first_life(state)
        resumes = self._resumes and found.verdict is Verdict.SAFE and self._in_first_life(found)
        return self.second_life(state, found) if resumes else found

    def _in_first_life(self, judged: Judged) -> bool:
        return judged.events <= self._recording.first_life_lines

    def _second_lives(self, number: int, most: int) -> Iterator[Judged]:
        """Choose folders that recovery led to and no second life began with; yield the states whose second life is not safe."""
        if not self._can_resume:
            return
        new = sorted(folder for folder in self._safe if resumed_at(folder) not in self._folders.checks)
        kinds = {folder: kind_of_life(self._safe[folder][1]) for folder in new}
        seen = [kind for kind in kinds.values() if resumed_kind(kind) in self._folders.checks]
        for folder in varied(kinds, most, f"{self._recording.seed} {self._recording.name} {number} second lives", seen):
            state, first = self._safe[folder]
            found = self.second_life(state, first)
            if found.verdict.broken:
                again = self.second_life(state, first)
                found = again if again.verdict is found.verdict else self._disagree(found, again)
            self._folders.checks |= {resumed_at(folder), resumed_kind(kinds[folder])}
            if found.verdict is not Verdict.SAFE:
                yield found

    def second_life(self, state: CrashState, first: Judged) -> Judged:
        """Mount a state found safe, and judge the life after its recovery."""
        violation: Violation | Judged | None
        try:
            with self._watch.timed("resume"), self._images.mounted(state) as root:
                self.share.mounted += 1
                violation = self._lives.judge(root)
        except MountRefused as error:  # Its folder may have been predicted only.
            violation = self._refused(state, first.events, error)
        if violation is None:
            return first
        return replace(first, verdict=violation.verdict, explanation=violation.explanation, repeats=False)

    def _first_life(self, state: CrashState) -> Judged:
        """Judge a state: by what is known of its folder, if that is predicted, else mounted."""
        events = self._dealer.events(state.cut)
        with self._watch.timed("predict"):
            predicted = self.prediction.folder(state)
        known = self._known(predicted, state.cut, events) if predicted else None
        if known and self.prediction.suffices(state):
            return self._of_state(known, state)
        return self._mount(state, events)

    def _mount(self, state: CrashState, events: int) -> Judged:
        try:
            with self._images.mounted(state) as root:
                self.share.mounted += 1
                return self._mounted(root, state, events)
        except MountRefused as error:
            return self._refused(state, events, error)

    def _refused(self, state: CrashState, events: int, error: MountRefused) -> Judged:
        if not self.prediction.saw(state, _REFUSED):
            return Judged(str(state), Verdict.UNKNOWN, WRONG, events=events)
        return Judged(str(state), Verdict.UNMOUNTABLE, str(error), events=events)

    def _mounted(self, root: Path, state: CrashState, events: int) -> Judged:
        with self._watch.timed("snapshot"):
            tree = snapshot_of(self._store, root)
        folder = self._name(tree, state)
        if not self.prediction.saw(state, folder):
            return Judged(str(state), Verdict.UNKNOWN, WRONG, digest=folder, events=events)
        if tree.unusable:
            return self._of_state(Judged("", *tree.unusable, digest=folder, events=events), state)
        with self._watch.timed("check"):
            known = self._known(folder, state.cut, events)
            return self._of_state(known or self._folders.check(root, tree, folder, state.cut, events), state)

    def _known(self, folder: str, cut: int, events: int) -> Judged | None:
        """The verdict of a folder that need not be recovered: found safe in an earlier recording, after the same promises, or
        recovered in this one."""
        found = self._before.get(self._key(folder, cut)) if self._repeats_left else None
        if found is None:
            return self._folders.known(folder, cut, events)
        recovered, kind = found
        return Judged("", Verdict.SAFE, digest=folder, events=events, recovered=recovered, kind=kind, repeats=True)

    def _key(self, folder: str, cut: int) -> str:
        """A folder on this filesystem, and the promises made before a position of the trace."""
        return blake2b(
            f"{self._trace.filesystem} {folder} {self._promises_before(cut).text}".encode(), digest_size=12
        ).hexdigest()

    def _promises_before(self, cut: int) -> Promises:
        """The promises made before a position of the trace; those before the same journal line are made once."""
        events = self._dealer.events(cut)
        if events not in self._promises:
            self._promises[events] = promises_before(self._trace, cut, self._recording)
        return self._promises[events]

    def _name(self, tree: Tree, state: CrashState) -> str:
        """The folder's name. On `posix`, where the image is the folder, it also tells times apart (see `posix.tree`)."""
        return tree.digest if self._on_disk else named(tree.digest, f"{self._states.digests.of(state):x}")

    def _of_state(self, judged: Judged, state: CrashState) -> Judged:
        return replace(judged, state=str(state), differs=judged.digest != self._clean)

    def _confirm(self, state: CrashState, found: Judged) -> Judged:
        self._folders.forget(found)
        again = self.judge(state)
        if again.verdict is found.verdict:
            return again
        return self._disagree(found, again)

    def _disagree(self, found: Judged, again: Judged) -> Judged:
        return disagreement(found, again, TIMES_DIFFER if self._on_disk else "")
