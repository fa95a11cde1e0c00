"""Judge one crashed folder: recover it, judge the contract, recover again, let the system check itself.

    1. recover in a fresh process (copied at each hit, if crashes during recovery are to follow)
    2. judge the recovered items against the promises made before the crash
    3. recover a second time in another process: the same items, and for systems that say so the same folder
    4. the system's own `verify`, in the process that recovered last

3 is done once for each recovered folder and its items, since recovery knows nothing else; 4 once for these and the promises.
The order of the files' times makes another folder, too, but for what the recovery itself has just changed.
A state that a second life left gets 1 and 2 only (`second_life`).

The first broken promise is the verdict. A check that cannot finish is ``unknown``.
"""

from __future__ import annotations

import hashlib
import itertools
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from pathlib import Path
from typing import TypeVar, TypeVarTuple

from crashmatrix.faults.disk.linux.removal import remove_tree
from crashmatrix.reports import Verdict
from crashmatrix.scenarios.errors import ForkServerDied, ScenarioError, TargetFails, UsageError
from crashmatrix.scenarios.judging import second_life, second_recovery, worker as work
from crashmatrix.scenarios.judging.patience import Patience
from crashmatrix.scenarios.judging.recovering import CheckEnded, Recovering, failed_check, failed_recovery
from crashmatrix.scenarios.judging.second_life import Recovered
from crashmatrix.scenarios.judging.snapshots.of_jobs import Snapshot, snapshot_job
from crashmatrix.scenarios.judging.snapshots.snapshot import SnapshotStore
from crashmatrix.scenarios.judging.snapshots.tree import Tree
from crashmatrix.scenarios.judging.tasks.memory import Memory
from crashmatrix.scenarios.judging.tasks.pool import Pool
from crashmatrix.scenarios.judging.undisturbed import judge_undisturbed
from crashmatrix.scenarios.judging.words import advice_on, by_server, where
from crashmatrix.scenarios.processes.jobs import Channel, Jobs
from crashmatrix.scenarios.processes.result import JobResult, Raised, Returned, TimedOut
from crashmatrix.scenarios.processes.sandbox.view import ROOT_NAME, View, without_paths
from crashmatrix.scenarios.systems.loading import Target, load
from crashmatrix.scenarios.target.contract import Contract, Violation, contract_named, is_ours, judge_safely
from crashmatrix.scenarios.target.journal import Item, Promises
from crashmatrix.scenarios.target.system import SystemUnderTest

__all__ = ["Checked", "Checker", "CrashState"]

T = TypeVar("T")
Ts = TypeVarTuple("Ts")


@dataclass(frozen=True)
class CrashState:
    """The state that a crash left: the folder, and the promises made by then."""

    tree: Tree
    promises: Promises
    resumed: bool = False
    """Whether the promises are those of a second life."""

    @cached_property
    def digest(self) -> str:
        """The state's name: equal for equal folders and promises, whenever their files were changed."""
        text = f"{self.tree.digest} {self.promises.text}".encode()
        return hashlib.blake2b(text, digest_size=12).hexdigest()

    @cached_property
    def key(self) -> str:
        """States with one key are judged once. It also has the order in which files were changed."""
        return f"{self.digest} {self.tree.order}"


@dataclass(frozen=True)
class Checked:
    """The judgement of one state, the snapshots of its recovery, and what that led to, if safe; ``passed`` is as in `Found`."""

    verdict: Verdict
    explanation: str = ""
    recovery: tuple[Snapshot, ...] = ()
    declared: dict[str, tuple[str, str]] = field(default_factory=dict)
    recovered: Recovered | None = None
    passed: tuple[str, ...] = ()
    unmet: bool = False  # Nothing was crashed: the run came to its end without coming to the scenario's place.


class Checker:
    """Judges states of one target. Thread-safe."""

    def __init__(self, jobs: Jobs, store: SnapshotStore, target: Target, scratch: Path) -> None:
        self.jobs, self.store, self.target = jobs, store, target
        self.system: type[SystemUnderTest] = load(target.name)
        self.contract: Contract = contract_named(self.system.contract)
        self.patience = Patience(self.system.seconds_max)
        self._patience_again = Patience(2 * self.system.seconds_max, tries=2)
        self.memory = Memory(store)
        self.pool: Pool[Checker] = Pool(jobs, self, self.memory)
        self._scratch, self._view = scratch, target.view()
        self._numbers, self._verifies = itertools.count(), self.system.verify is not SystemUnderTest.verify
        self._waits = True
        """Whether a process that recovered may wait: not in a system that changes its folder when it ends."""
        self._repeated: set[str] = set()
        """The recovered folders, with their items, from which a second recovery was made and passed."""
        self._verified: set[str] = set()
        """The same with promises: those that passed the system's own check."""

    def folder(self) -> Path:
        """Return a new, empty folder of its own under the scratch directory."""
        path = self._scratch / f"state-{next(self._numbers)}"
        path.mkdir()
        return path

    def view(self, root: Path | None = None) -> View:
        """Return what a job of the target sees of the machine's files, if ``root`` is its folder under test."""
        return replace(self._view, folder=root and root.parent)

    def run(
        self, function: Callable[[Channel, Target, Path, *Ts], T], root: Path, *args: *Ts, limit: float = 0.0
    ) -> JobResult[T]:
        """Run a job on the target, in its folder under test, to its end; by default with the time limit of a workload."""
        seconds_max = limit or 10 * self.system.seconds_max
        return self.jobs.run(function, self.target, root, *args, seconds_max=seconds_max, view=self.view(root))

    def must(self, what: str, result: JobResult[T]) -> T:
        """Return the value that a job returned. Raises TargetFails if the job ended otherwise."""
        if not isinstance(result, Returned):
            how, name = without_paths(str(result)) + where(result), self.target.name
            raise TargetFails(f"{what} of {name} {how}; it must work before it can be crashed{advice_on(how)}")
        return result.value

    def prepare(self, root: Path) -> tuple[list[Item], Tree]:
        """Make the folder and have the system lay it out; returns the items that are there from the start, and a snapshot.

        Raises UsageError: preparation failed, or left a folder that cannot be copied.
        """
        root.mkdir()
        items = self.must("prepare", self.run(work.prepare, root))
        tree = self.store.capture(root)
        if tree.unusable:
            raise UsageError(f"prepare of {self.target.name}: {tree.unusable[1]}")
        return list(items), tree

    def difference(self, one: Tree, other: Tree) -> str | None:
        """Return the first difference between two folders that the system's fingerprint does not explain, else None."""
        difference = one.difference(other)
        if not difference or self._fingerprint(one) == self._fingerprint(other) is not None:
            return None
        return difference[0]

    def _fingerprint(self, tree: Tree) -> str | None:
        if tree.unusable or self.system.fingerprint is SystemUnderTest.fingerprint:
            return None
        folder = self.folder()
        root = folder / ROOT_NAME
        self.store.restore(tree, root)
        result = self.run(work.fingerprint, root)
        remove_tree(folder)
        return result.value if isinstance(result, Returned) else None

    def undisturbed(self, end: CrashState) -> Violation | None:
        """Return why the target cannot be crashed, from the end of an undisturbed run; None if it can."""
        if end.tree.unusable:  # Nothing can be recovered from it; each crash has its verdict.
            return judge_undisturbed(end.promises, None, self._violation)
        folder = self.folder()
        try:
            root = folder / ROOT_NAME
            self.store.restore(end.tree, root)
            result, _ = self._try_to_recover(root, [], snapshot=False)
            items = result.value[0] if isinstance(result, Returned) else None
            return judge_undisturbed(end.promises, items, self._violation)
        finally:
            remove_tree(folder)

    def check(self, state: CrashState, *, snapshot: bool = False) -> Checked:
        """Judge one state."""
        folder = self.folder()
        try:
            return self.check_folder(state, folder / ROOT_NAME, snapshot=snapshot)
        finally:
            remove_tree(folder)  # If some of it stays, the removal of the scratch folder reports it.

    def check_folder(self, state: CrashState, root: Path, *, snapshot: bool = False) -> Checked:
        """Judge one state, laying it out at ``root``, which stays there as recovery left it."""
        if state.tree.unusable:
            return Checked(*state.tree.unusable)
        try:
            self.store.restore(state.tree, root)
        except (OSError, ScenarioError) as error:
            return Checked(Verdict.UNKNOWN, f"the folder could not be laid out again: {error}")
        return self.check_in_place(state, root, snapshot=snapshot)

    def check_in_place(self, state: CrashState, root: Path, *, snapshot: bool = False) -> Checked:
        """Judge the state that lies at ``root``, which stays there as recovery left it: no copy is made of it."""
        if state.tree.unusable:
            return Checked(*state.tree.unusable)
        recovery: list[Snapshot] = []
        attempt: Recovering | None = None
        try:
            attempt = self._recover(state, root, recovery, snapshot)
            recovered = self._judge_recovered(state, root, attempt)
            return Checked(Verdict.SAFE, "", tuple(recovery), attempt.found.declared, recovered, attempt.found.passed)
        except CheckEnded as found:
            items = attempt.found.items if attempt else None
            text = second_life.named(found.explanation, state.promises, items) if state.resumed else found.explanation
            return Checked(found.verdict, without_paths(text, root), tuple(recovery))
        except ForkServerDied:
            raise
        except (OSError, ScenarioError) as error:
            return Checked(Verdict.UNKNOWN, f"the check could not be carried out: {error}")
        finally:
            if attempt:
                attempt.let_go()

    def _recover(self, state: CrashState, root: Path, recovery: list[Snapshot], snapshot: bool) -> Recovering:
        """Recover, again if only a learnt limit was reached; the job then waits if the system's own check may follow at once."""
        waits = self._waits and self._verifies and not state.resumed and not (snapshot and self.target.watch_calls)
        promises = state.promises if waits else None
        result, limit = self._try_to_recover(root, recovery, snapshot=snapshot, promises=promises)
        if isinstance(result, Raised) and result.claim and result.claim[0] is Verdict.HANGS:
            self.patience.hung(self.patience.seconds_max)  # The system itself waited in vain, for most of its time.
        if isinstance(result, TimedOut) and not self.patience.hung(limit):
            remove_tree(root)
            recovery.clear()
            self.store.restore(state.tree, root)
            result, _ = self._try_to_recover(root, recovery, snapshot=snapshot)
        if isinstance(result, Recovering):
            return result
        if not isinstance(result, Returned):
            raise failed_recovery("recovery", result)
        return Recovering(result.value)

    def _try_to_recover(
        self, root: Path, recovery: list[Snapshot], *, snapshot: bool, promises: Promises | None = None
    ) -> tuple[JobResult[work.Found] | Recovering, float]:
        """Recover once; returns how that ended, or the job that waits if there are ``promises``, and its time limit."""
        begun, limit = time.monotonic(), self.patience.limit
        job = self.jobs.start(
            work.recover, self.target, root, snapshot, None, promises, seconds_max=limit, view=self.view(root)
        )
        copying, found = snapshot_job(job, self.store, root, recovery)
        result = Recovering(found, job) if found else job.wait()
        if not isinstance(result, TimedOut):
            self.patience.ended(time.monotonic() - begun - copying)
        return result, limit

    def _judge_recovered(self, state: CrashState, root: Path, attempt: Recovering) -> Recovered | None:
        """Judge the items, and whatever else is due, while a job that waits is stopped or when the job has ended."""
        with attempt.stopped() as alone:
            self._judge(state.promises, attempt.found)
            if state.resumed:
                return None
            recovered = Recovered(self._capture(root), tuple(attempt.found.items)) if alone else None
        if recovered is None:
            recovered, attempt = self._ended(root, attempt), Recovering(attempt.found)
        return self._verify(state, root, recovered, attempt)

    def _judge(self, promises: Promises, found: work.Found) -> None:
        if violation := self._violation(promises, found.items):
            raise CheckEnded(violation.verdict, violation.explanation + by_server(found.printed))

    def _violation(self, promises: Promises, items: Sequence[Item]) -> Violation | None:
        """Apply the contract: a user's own in a process of its own, for it may do anything."""
        if is_ours(self.contract):
            return judge_safely(self.contract, promises, items)
        seconds_max = self.system.seconds_max
        match self.jobs.run(work.judge, self.target, promises, items, seconds_max=seconds_max, view=self.view()):
            case Returned(violation):
                return violation
            case TimedOut():
                return Violation(Verdict.UNKNOWN, "the contract's check was still running at its time limit")
            case failed:
                return Violation(Verdict.UNKNOWN, f"the contract's check {failed}")

    def _verify(self, state: CrashState, root: Path, recovered: Recovered, attempt: Recovering) -> Recovered:
        """Recover again, and let the system check itself, where that is due: see the module's head."""
        folder = f"{recovered.tree.order_since(state.tree)} {recovered.key}"
        checked = f"{folder} {CrashState(recovered.tree, state.promises).digest}" if self._verifies else ""
        repeated = folder in self._repeated
        if repeated and (not checked or checked in self._verified):
            return recovered
        if repeated and attempt.job:
            attempt.verify(2 * self.system.seconds_max)
        else:
            ended = self._ended(root, attempt) if attempt.job else recovered
            self._waits = self._waits and not recovered.tree.difference(ended.tree)
            recovered = ended
            self._recover_again(root, recovered.items, state.promises, recovered.tree)
        self._repeated.add(folder)
        self._verified.add(checked)
        return recovered

    def _ended(self, root: Path, attempt: Recovering) -> Recovered:
        """Let a process that waits end; returns what it has left then."""
        attempt.end()
        return Recovered(self._capture(root), tuple(attempt.found.items))

    def _capture(self, root: Path) -> Tree:
        """Snapshot a recovered folder, if it still is one."""
        tree = self.store.capture(root)
        if tree.unusable:
            raise CheckEnded(tree.unusable[0], f"after recovery, {tree.unusable[1]}")
        return tree

    def _recover_again(self, root: Path, items: Sequence[Item], promises: Promises, before: Tree) -> None:
        begun, limit = time.monotonic(), self._patience_again.limit
        job = self.jobs.start(work.recover_again, self.target, root, promises, seconds_max=limit, view=self.view(root))
        if (again := job.next_message()) is None:
            if isinstance(result := job.wait(), TimedOut):
                self._patience_again.hung(limit)
            failed = failed_recovery("a second recovery", result)
            raise CheckEnded(failed.verdict, second_recovery.named(failed.explanation))
        self._patience_again.ended(time.monotonic() - begun)
        job.grant(2 * self.system.seconds_max - limit)  # The system's own check has the whole time.
        try:
            self._compare(promises, items, again, before, root)
        finally:
            job.answer()
            ended = job.wait()
        if not isinstance(ended, Returned):
            raise failed_check(ended)

    def _compare(
        self, promises: Promises, items: Sequence[Item], again: Sequence[Item], before: Tree, root: Path
    ) -> None:
        if violation := second_recovery.other_items(items, again, partial(self._violation, promises), self.contract):
            raise CheckEnded(violation.verdict, violation.explanation)
        changed = before.difference(self._capture(root))
        if self.system.stable_recovery and (violation := second_recovery.changed_folder(changed)):
            raise CheckEnded(violation.verdict, violation.explanation)
