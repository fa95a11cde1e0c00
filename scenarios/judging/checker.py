"""Judge one crashed folder: recover it, judge the contract, recover again, let the system check itself.

    1. recover in a fresh process (copied at each hit, if crashes during recovery are to follow)
    2. judge the recovered items against the promises made before the crash
    3. recover a second time in another process: the same items, and for systems that say so the same folder
    4. the system's own `verify`

3 and 4 are done once for each folder that recovery leads to: the same bytes, items and promises have the same verdict.

The first broken promise is the verdict. A check that cannot finish is ``unknown``.
"""

from __future__ import annotations

import errno
import hashlib
import itertools
import os
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from pathlib import Path
from typing import TypeVar, TypeVarTuple

from crashmatrix.faults.disk.linux.removal import remove_tree
from crashmatrix.reports import Verdict
from crashmatrix.scenarios.errors import ForkServerDied, ScenarioError, UsageError, claimed
from crashmatrix.scenarios.judging import second_recovery, worker as work
from crashmatrix.scenarios.judging.snapshot import SnapshotStore, Tree
from crashmatrix.scenarios.judging.undisturbed import judge_undisturbed
from crashmatrix.scenarios.judging.worker import Hit
from crashmatrix.scenarios.processes.jobs import Channel, Job, Jobs
from crashmatrix.scenarios.processes.result import Died, JobResult, Raised, Returned, TimedOut
from crashmatrix.scenarios.processes.sandbox.view import ROOT_NAME, View, without_paths
from crashmatrix.scenarios.processes.stopping import frozen
from crashmatrix.scenarios.systems.loading import Target, load
from crashmatrix.scenarios.target.contract import Contract, Violation, contract_named, is_built_in, judge_safely
from crashmatrix.scenarios.target.journal import Item, Promises, item_key
from crashmatrix.scenarios.target.system import SystemUnderTest

__all__ = ["Checked", "Checker", "CrashState", "Snapshot", "snapshot_job"]

T = TypeVar("T")
Ts = TypeVarTuple("Ts")


@dataclass(frozen=True)
class CrashState:
    """The state that a crash left: the folder, and the promises made by then."""

    tree: Tree
    promises: Promises

    @cached_property
    def digest(self) -> str:
        """Equal states are judged once."""
        text = f"{self.tree.digest} {self.promises}".encode()
        return hashlib.blake2b(text, digest_size=12).hexdigest()


@dataclass(frozen=True)
class Snapshot:
    """The folder at one hit. ``journal_bytes`` is how long the journal was."""

    hit: Hit
    tree: Tree
    journal_bytes: int = 0


@dataclass(frozen=True)
class Checked:
    """The judgement of one state, and the snapshots of its recovery."""

    verdict: Verdict
    explanation: str = ""
    recovery: tuple[Snapshot, ...] = ()
    declared: dict[str, tuple[str, str]] = field(default_factory=dict)


class _Found(Exception):
    """Ends a check with its verdict."""

    def __init__(self, verdict: Verdict, explanation: str) -> None:
        self.verdict, self.explanation = verdict, explanation


class Checker:
    """Judges states of one target. Thread-safe."""

    def __init__(self, jobs: Jobs, store: SnapshotStore, target: Target, scratch: Path) -> None:
        self.jobs, self.store, self.target = jobs, store, target
        self.system: type[SystemUnderTest] = load(target.name)
        self.contract: Contract = contract_named(self.system.contract)
        self._scratch = scratch
        self._view = target.view()
        self._numbers = itertools.count()
        self._verified: set[tuple[str, str]] = set()

    def folder(self) -> Path:
        """Return a new, empty folder of its own under the scratch directory."""
        path = self._scratch / f"state-{next(self._numbers)}"
        path.mkdir()
        return path

    def view(self, root: Path | None = None) -> View:
        """Return what a job of the target sees of the machine's files, if ``root`` is its folder under test."""
        return replace(self._view, folder=root and root.parent)

    def run(self, function: Callable[[Channel, Target, *Ts], T], *args: *Ts, root: Path | None = None) -> JobResult[T]:
        """Run a job on the target to its end, with the time limit of a workload; ``root`` is its folder under test."""
        seconds_max = 10 * self.system.seconds_max
        return self.jobs.run(function, self.target, *args, seconds_max=seconds_max, view=self.view(root))

    def must(self, what: str, result: JobResult[T]) -> T:
        """Return the value that a job returned. Raises UsageError if the job ended otherwise."""
        if not isinstance(result, Returned):
            how = without_paths(str(result))
            raise UsageError(f"{what} of {self.target.name} {how}; it must work before it can be crashed{_advice(how)}")
        return result.value

    def difference(self, one: Tree, other: Tree) -> str | None:
        """Return the first difference between two folders that the system's fingerprint does not explain, else None."""
        difference = one.difference(other)
        if not difference or self._fingerprint(one) == self._fingerprint(other) is not None:
            return None
        return difference[0]

    def _fingerprint(self, tree: Tree) -> str | None:
        if tree.unusable:
            return None
        folder = self.folder()
        root = folder / ROOT_NAME
        self.store.restore(tree, root)
        result = self.run(work.fingerprint, root, root=root)
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
            result = self.jobs.run(
                work.recover, self.target, root, False, None,
                seconds_max=self.system.seconds_max, view=self.view(root),
            )  # fmt: skip
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
        self.store.restore(state.tree, root)
        recovery: list[Snapshot] = []
        try:
            items, declared = self._recover(root, recovery, snapshot)
            self._judge(state.promises, items)
            self._verify(root, items, state.promises)
        except _Found as found:
            return Checked(found.verdict, without_paths(found.explanation, root), tuple(recovery))
        except ForkServerDied:
            raise
        except (OSError, ScenarioError) as error:
            return Checked(Verdict.UNKNOWN, f"the check could not be carried out: {error}")
        return Checked(Verdict.SAFE, "", tuple(recovery), declared)

    def _recover(
        self, root: Path, recovery: list[Snapshot], snapshot: bool
    ) -> tuple[list[Item], dict[str, tuple[str, str]]]:
        job = self.jobs.start(
            work.recover, self.target, root, snapshot, None,
            seconds_max=self.system.seconds_max, view=self.view(root),
        )  # fmt: skip
        snapshot_job(job, self.store, root, recovery)
        result = job.wait()
        if not isinstance(result, Returned):
            raise _failed_recovery("recovery", result)
        return result.value

    def _judge(self, promises: Promises, items: Sequence[Item]) -> None:
        if violation := self._violation(promises, items):
            raise _Found(violation.verdict, violation.explanation)

    def _violation(self, promises: Promises, items: Sequence[Item]) -> Violation | None:
        """Apply the contract: a user's own in a process of its own, for it may do anything."""
        if is_built_in(self.contract):
            return judge_safely(self.contract, promises, items)
        seconds_max = self.system.seconds_max
        match self.jobs.run(work.judge, self.target, promises, items, seconds_max=seconds_max, view=self.view()):
            case Returned(violation):
                return violation
            case TimedOut():
                return Violation(Verdict.UNKNOWN, "the contract's check was still running at its time limit")
            case failed:
                return Violation(Verdict.UNKNOWN, f"the contract's check {failed}")

    def _verify(self, root: Path, items: Sequence[Item], promises: Promises) -> None:
        """Recover again and let the system check itself, once for each recovered folder, its items and promises.

        Many crashes, above all those within a recovery, are recovered to the very same folder.
        """
        recovered = CrashState(self._capture(root), promises)
        key = recovered.digest, "\n".join(map(item_key, items))
        if key not in self._verified:
            self._recover_again(root, items, promises, recovered.tree)
            self._verified.add(key)

    def _capture(self, root: Path) -> Tree:
        """Snapshot a recovered folder, if it still is one."""
        tree = self.store.capture(root)
        if tree.unusable:
            verdict, text = tree.unusable
            raise _Found(verdict, f"after recovery, {text}")
        return tree

    def _recover_again(self, root: Path, items: Sequence[Item], promises: Promises, before: Tree) -> None:
        job = self.jobs.start(
            work.recover_again, self.target, root, promises,
            seconds_max=2 * self.system.seconds_max, view=self.view(root),
        )  # fmt: skip
        again = job.next_message()
        if again is None:
            raise _failed_recovery("a second recovery", job.wait())
        try:
            self._compare(promises, items, again, before, root)
        finally:
            job.answer()
            result = job.wait()
        if not isinstance(result, Returned):
            raise _failed_check(result)

    def _compare(
        self, promises: Promises, items: Sequence[Item], again: Sequence[Item], before: Tree, root: Path
    ) -> None:
        if violation := second_recovery.other_items(items, again, partial(self._violation, promises)):
            raise _Found(violation.verdict, violation.explanation)
        changed = before.difference(self._capture(root))
        if self.system.stable_recovery and (violation := second_recovery.changed_folder(changed)):
            raise _Found(violation.verdict, violation.explanation)


def snapshot_job(
    job: Job[T], store: SnapshotStore, root: Path, into: list[Snapshot], journal: Path | None = None
) -> None:
    """Drive a job to its end, taking a snapshot of ``root`` at each hit that the job reports."""
    while (hit := job.next_message()) is not None:
        begun = time.monotonic()
        with suppress(ProcessLookupError), frozen(job.process()):  # it died meanwhile
            size = journal.stat().st_size if journal is not None and journal.exists() else 0
            into.append(Snapshot(hit, store.capture(root), size))
        job.grant(time.monotonic() - begun)  # Being copied does not count as being slow.


def _advice(how: str) -> str:
    if os.strerror(errno.EROFS) not in how:
        return ""
    return ". It may write to its folder, its workspace and /tmp only; `setup`, or `build`, may write anywhere"


def _failed_recovery(which: str, result: JobResult[object]) -> _Found:
    match result:
        case TimedOut():
            return _Found(Verdict.HANGS, f"{which} was still running at its time limit")
        case Raised(claim=(verdict, explanation)):
            return _Found(*claimed(verdict, explanation))
        case Raised() as raised if raised.is_a(UsageError):
            return _Found(Verdict.UNKNOWN, raised.message)
        case _:
            return _Found(Verdict.CANNOT_OPEN, f"{which} {result}")


def _failed_check(result: Raised | Died | TimedOut) -> _Found:
    match result:
        case Raised(claim=(verdict, explanation)):
            return _Found(*claimed(verdict, explanation))
        case _:
            return _Found(Verdict.UNKNOWN, f"the system's own check {result}")
