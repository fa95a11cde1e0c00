"""Step 5 of the kill experiment: kill a sample of the scenarios by SIGKILL, and compare what is left with the snapshots.

A snapshot may stand for a kill only as long as both agree: the same promises, the same folder, the same verdict. If they
differ, the scenario is ``unknown``, unless the killed run broke a promise: that is a finding, and the snapshot was of a run that
took other steps. Recovery runs in the very folder that the killed process left: a copy of it would prove
nothing about copies, and each snapshot is judged as a copy.

Two runs of a workload are rarely the same to the byte: temporary names are random, and lock files hold process ids. So
promises and folders may differ where undisturbed runs differ, too (`passing`). A word of a log may have been the same in all
of these by chance. So a file whose content varies among them needs only its form, if one more run, of which a snapshot is
taken right before it is killed, leaves byte for byte what that shows. A copy of a folder may list its files in another
order. So a recovery that takes them as they come may be killed after other steps than the snapshot shows. It is killed once
more, in a copy, and has to leave what the snapshot shows then.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeVar, TypeVarTuple

from crashmatrix.faults.disk.linux.folders import read_file
from crashmatrix.faults.disk.linux.removal import remove_tree
from crashmatrix.reports import Verdict
from crashmatrix.scenarios.judging import worker as work
from crashmatrix.scenarios.judging.checker import Checked, Checker, CrashState
from crashmatrix.scenarios.judging.snapshots.of_jobs import Snapshot, snapshot_job
from crashmatrix.scenarios.judging.snapshots.tree import Tree
from crashmatrix.scenarios.judging.tasks.judge_state import trees_of
from crashmatrix.scenarios.judging.tasks.pool import Task
from crashmatrix.scenarios.judging.words import counted
from crashmatrix.scenarios.kill.exploring import KillExploration
from crashmatrix.scenarios.kill.passing import difference, same_promises
from crashmatrix.scenarios.kill.plan import END, RESUMED, SAMPLE_MIN, SAMPLE_SHARE, CrashPath, scenario_id
from crashmatrix.scenarios.kill.profile import Prepared
from crashmatrix.scenarios.kill.reruns import RERUNS_MAX, Reruns
from crashmatrix.scenarios.kill.second_lives import crash_again
from crashmatrix.scenarios.processes.jobs import Channel
from crashmatrix.scenarios.processes.result import JobResult, Returned, was_killed
from crashmatrix.scenarios.processes.sandbox.view import ROOT_NAME
from crashmatrix.scenarios.systems.loading import Target
from crashmatrix.scenarios.target.journal import Promises

__all__ = ["RealKills", "crash"]

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

_MISSED = Checked(Verdict.UNKNOWN, "the kill did not come about")
_NOT_KILLED = ", but returned"
"""The end of an explanation: the job came to its end before the hit."""

_THIS_TIME = (
    "seen in one run, which was killed for real; the snapshot of another run is safe, so a replay may not show it: the run does "
    "not take the same steps each time"
)


@dataclass(frozen=True)
class _Killed:
    """A real kill: the state that it left, if there was one, and the verdict on it."""

    state: CrashState | None
    checked: Checked


@dataclass(frozen=True)
class _KillForReal(Task[Checker, CrashPath, _Killed]):
    """Kills along a path, and judges what is left in place."""

    result = _Killed
    experiment = "kill"
    prepared: Prepared

    def key(self, item: CrashPath) -> str:
        return f"killed for real: {scenario_id(item)}"

    def needs(self, item: CrashPath) -> Iterable[Tree]:
        del item
        return [self.prepared.tree]

    def leaves(self, result: _Killed) -> Iterable[Tree]:
        return [*([result.state.tree] if result.state else []), *trees_of(result.checked)]

    def lost(self, item: CrashPath, reason: str) -> _Killed:
        del item
        return _Killed(None, Checked(Verdict.UNKNOWN, reason))

    def carry_out(self, checker: Checker, item: CrashPath) -> _Killed:
        folder = checker.folder()
        try:
            state = crash(checker, self.prepared, item, folder)
            if isinstance(state, Checked):
                return _Killed(None, state)
            return _Killed(state, checker.check_in_place(state, folder / ROOT_NAME))
        finally:
            remove_tree(folder)


@dataclass
class RealKills:
    """Kills a sample of explored scenarios. ``comparable``: two runs of the workload meet their crash points in one order."""

    exploration: KillExploration
    prepared: Prepared
    comparable: bool
    sample_min: int = SAMPLE_MIN
    _passing: set[CrashPath] = field(init=False, default_factory=set)
    """Where a killed run differed from its snapshot in passing only."""
    _by_form: set[CrashPath] = field(init=False, default_factory=set)
    """Where a killed run left other contents in files that vary, even where these had not been seen to vary."""
    _copies_only: set[CrashPath] = field(init=False, default_factory=set)
    """Where a copy of the folder broke a promise, and the folder itself did not."""
    _as_listed: set[CrashPath] = field(init=False, default_factory=set)
    """Where a killed recovery left what its snapshot shows only when it began with a copy."""

    def run(self) -> None:
        """Kill the sample; results and details of the exploration say what came of it."""
        explored = self.exploration
        sample = self._sample()
        self._reruns = Reruns(explored.checker, self.prepared, {path[0] for path in sample} - {END})
        explored.listener.planned("killing for real", len(sample))
        agreed, missed, explored.time_left.kills = 0, 0, len(sample)
        kill = _KillForReal(self.prepared)
        for path, killed in explored.checker.pool.each(kill, {path: path for path in sample}, explored.options.workers):
            checked = self._compared(path, killed)
            explored.time_left.kills -= 1
            explored.listener.time_left(explored.time_left.seconds(explored.options.workers), explored.time_left.each)
            if checked is _MISSED:
                missed += 1
                continue
            agreed += checked is None
            result = replace(explored.results[path], method="sigkill")
            if checked is not None:
                result = replace(result, verdict=checked.verdict, explanation=checked.explanation)
            explored.results[path] = result
        explored.details.update(killed_for_real=len(sample) - missed, agreed_with_snapshot=agreed)
        if missed:
            explored.notes.append(
                f"{counted(missed, 'real kill')} did not come about, because the run took another order and ended before it"
            )
        if self._passing:
            explored.notes.append(
                f"{counted(len(self._passing), 'killed run')} differed from the snapshot only where undisturbed runs "
                "differ, too, such as in random names and ids of processes"
            )
        if self._by_form:
            explored.notes.append(
                f"in {counted(len(self._by_form), 'killed run')}, a file that varies between undisturbed runs differed in other "
                "places, too, as logs do; it was compared by its length or number of lines only. Further runs, of which a "
                "snapshot was taken right before they were killed, left what that shows, byte for byte"
            )
        if self._copies_only:
            explored.notes.append(
                f"in {counted(len(self._copies_only), 'scenario')}, recovery broke a promise in a copy of the folder, none in "
                "the folder that the kill left: broken scenarios that were not killed for real may be false, too; a copy has "
                "other inode numbers, so recovery must not depend on these (st_ino)"
            )
        if self._as_listed:
            explored.notes.append(
                f"{counted(len(self._as_listed), 'kill')} of a recovery left another folder than the snapshot, but the same one "
                "in a copy, as if recovery took files in the order in which a folder lists them: a copy may list them in another"
            )

    def _sample(self) -> list[CrashPath]:
        explored = self.exploration
        size = max(self.sample_min, round(SAMPLE_SHARE * len(explored.results)))
        paths = [path for path in sorted(explored.results) if path in explored.states and path != (END,)]
        sample = random.Random(f"{explored.options.seed} sample").sample(paths, min(size, len(paths)))
        if explored.options.until_broken:
            sample = explored.broken()[:1] or sample
        return sample

    def _compared(self, path: CrashPath, killed: _Killed) -> Checked | None:
        """Compare a real kill with its snapshot; None if it left what that shows and has its verdict."""
        state, shown = killed.state, self.exploration.states.get(path)
        if state is None and not self.comparable and killed.checked.explanation.endswith(_NOT_KILLED):
            return _MISSED
        if state is None or shown is None:  # It could not be resumed, in the copy or now.
            same = state is None and killed.checked.verdict is self.exploration.results[path].verdict
            return None if same else _unlike(killed, self.exploration.results[path].verdict)
        # From the results: a search forgets what it has checked when it begins to look at recovery.
        checked, expected = killed.checked, self.exploration.results[path].verdict
        if checked.verdict.broken:  # This happened, and the snapshot is of another run.
            return None if expected.broken else replace(checked, explanation=f"{checked.explanation}; {_THIS_TIME}")
        if self.comparable and (difference := self._difference(path, state, shown)):
            return Checked(Verdict.UNKNOWN, difference)
        if checked.verdict is expected:
            return None
        why = f" ({checked.explanation})" if checked.explanation else ""
        only_copy = expected.broken and expected is not Verdict.HANGS and checked.verdict is Verdict.SAFE
        # Where runs take another order, it may be the verdict of another folder.
        if only_copy and (self.comparable or not self._otherwise(state, shown, ())):
            self._copies_only.add(path)
        return Checked(Verdict.UNKNOWN, f"{checked.verdict} when killed{why}, {expected} as in the snapshot")

    def _difference(self, path: CrashPath, state: CrashState, shown: CrashState) -> str:
        """Return how a state differs from its snapshot, otherwise than in passing; empty if it does not."""
        for number in range(RERUNS_MAX + 1):
            others = self._reruns.states(path, number)
            if not (different := self._otherwise(state, shown, others)):
                self._passing.update({path} if others else ())
                return ""
        if RESUMED in path:
            return different
        by_form = self._leaves_what_was_seen(path)
        if by_form and not self._otherwise(state, shown, others, by_form):
            self._by_form.add(path)
            return ""
        if path[1:] and self._agrees_in_copies(path, shown, others, by_form):
            self._as_listed.add(path)
            return ""
        return different

    def _leaves_what_was_seen(self, path: CrashPath) -> bool:
        """Whether one more run that is killed leaves exactly what a snapshot of this very run showed right before."""
        seen = list[Snapshot]()
        state = self._killed_again(path, seen=seen)
        if not isinstance(state, CrashState) or not seen or seen[-1].hit != path[-1]:
            return False
        return seen[-1].tree.digest == state.tree.digest

    def _agrees_in_copies(
        self, path: CrashPath, shown: CrashState, others: Sequence[CrashState], by_form: bool
    ) -> bool:
        """Whether a recovery that begins with a copy, as that of the snapshot does, leaves what the snapshot shows."""
        state = self._killed_again(path, in_copies=True)
        return isinstance(state, CrashState) and not self._otherwise(state, shown, others, by_form)

    def _killed_again(
        self, path: CrashPath, *, in_copies: bool = False, seen: list[Snapshot] | None = None
    ) -> CrashState | Checked:
        """Kill once more, as `crash` does, and leave nothing behind."""
        folder = self.exploration.checker.folder()
        try:
            return crash(self.exploration.checker, self.prepared, path, folder, in_copies, seen)
        finally:
            remove_tree(folder)

    def _otherwise(
        self, state: CrashState, shown: CrashState, others: Sequence[CrashState], by_form: bool = False
    ) -> str:
        contract = self.exploration.checker.contract
        if not same_promises(state.promises, shown.promises, [other.promises for other in others], contract):
            return "the killed process had promised something else than the one whose snapshot was taken"
        if state.resumed:  # Two workloads left the same bytes; whether two second lives do is not known.
            return ""
        checker = self.exploration.checker
        trees = [other.tree for other in others]
        place = difference(state.tree, shown.tree, trees, checker.store.content, by_form)
        if place and checker.difference(state.tree, shown.tree):
            return f"the killed process left another folder than the snapshot shows: {place}"
        return ""


def _unlike(killed: _Killed, before: Verdict) -> Checked:
    if killed.state is None:
        return killed.checked
    return Checked(Verdict.UNKNOWN, f"{before} as in the snapshot, but once killed it could be resumed")


def crash(
    checker: Checker,
    prepared: Prepared,
    path: CrashPath,
    folder: Path,
    in_copies: bool = False,
    seen: list[Snapshot] | None = None,
) -> CrashState | Checked:
    """Kill for real along ``path``, in ``folder``; returns what is left in its ``root``, or why no kill happened.

    Args:
        in_copies: whether each recovery begins with a copy of what the kill before it left.
        seen: gets snapshots of the run that the last kill ends; the last one is taken right before.
    """
    root, journal = folder / ROOT_NAME, folder / "journal"
    checker.store.restore(prepared.tree, root)
    first = path[: path.index(RESUMED)] if RESUMED in path else path
    for depth, hit in enumerate(first):
        kill = None if hit == END else hit
        into = seen if depth == len(path) - 1 else None
        if depth == 0:
            watch = () if kill is None or into is None else {kill}
            result: JobResult[object] = _run(checker, into, work.workload, root, journal, watch, kill)
        elif unusable := (left := checker.store.capture(root)).unusable:
            return Checked(*unusable)
        else:
            if in_copies:
                remove_tree(root)
                checker.store.restore(left, root)
            result = _run(checker, into, work.recover, root, into is not None, kill)
        if kill is not None and not was_killed(result):
            why = f"was to be killed at {hit[0]}@{hit[1]}, but {result}"
            return Checked(Verdict.UNKNOWN, why, unmet=isinstance(result, Returned))
    if RESUMED in path:
        return crash_again(checker, folder, path[-1])
    written = read_file(journal)
    return CrashState(checker.store.capture(root), Promises.parse(written, prepared.items))


def _run(
    checker: Checker,
    seen: list[Snapshot] | None,
    function: Callable[[Channel, Target, Path, *Ts], T],
    root: Path,
    *args: *Ts,
) -> JobResult[T]:
    """Run a job to its end; with ``seen``, take a snapshot at each hit that it reports."""
    if seen is None:
        return checker.run(function, root, *args)
    seconds_max = 10 * checker.system.seconds_max
    job = checker.jobs.start(function, checker.target, root, *args, seconds_max=seconds_max, view=checker.view(root))
    snapshot_job(job, checker.store, root, seen)
    return job.wait()
