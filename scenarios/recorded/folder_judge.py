"""The verdict of one mounted folder that a power cut left: recover it, judge the contract, check further where due.

    1. recover in a forked process, unless this folder was recovered before, whatever had been acknowledged then
    2. judge the items that came back against the promises made before the cut
    3. recover a second time, in another process: the same items, and for systems that promise it the same folder
    4. the system's own `verify`, in the process that recovered last: it may change the folder, so nothing comes after it

Steps 1 and 2 are done for every folder. Step 4 is done for every folder that recovery leads to, and for the first one after each
journal line. Step 3 is a sample: once after each journal line, and once for each set of paths that a first recovery changed, over
all recordings of a run; numbers in paths count as equal. It is left out where the first recovery changed nothing, since a second
one then starts from the same bytes. Where single states are judged, to replay or to minimise one, each folder gets all four.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import partial
from hashlib import sha256
from pathlib import Path

from crashmatrix.reports import Verdict
from crashmatrix.scenarios.errors import PromiseBroken
from crashmatrix.scenarios.judging import second_recovery
from crashmatrix.scenarios.judging.forked_check import Apart, judge_apart, run_checker
from crashmatrix.scenarios.judging.patience import Patience
from crashmatrix.scenarios.judging.snapshots.tree import Tree, folded
from crashmatrix.scenarios.judging.words import by_server
from crashmatrix.scenarios.judging.worker import recovered_items
from crashmatrix.scenarios.processes.sandbox.cell import Cell
from crashmatrix.scenarios.processes.sandbox.view import without_paths
from crashmatrix.scenarios.recorded.state_verdict import REPEATED, VERIFIED, Check, Judged, for_
from crashmatrix.scenarios.systems.loading import Target, load
from crashmatrix.scenarios.systems.server import printed_last
from crashmatrix.scenarios.target.contract import Contract, Violation, contract_named, is_ours, judge_safely
from crashmatrix.scenarios.target.journal import Item, Promises, item_key
from crashmatrix.scenarios.target.lives import repeating
from crashmatrix.scenarios.target.system import SystemUnderTest

__all__ = ["FolderJudge"]

Recovery = tuple[list[Item], str]
"""The items that recovery returned, and the digest of the folder that it left."""


class FolderJudge:
    """Judges folders of one recording, and remembers them by their digests.

    Args:
        promises_at: the promises made before a position of the trace.
        capture: takes a snapshot of a folder, in the process of a check.
        checks: those of steps 3 and 4 that need not be made again; None if every folder is to get them.
        cell: where the checks run, if there is one.
        patience: the time limits of recoveries; by default the target's own.
        first_life: how many lines the journal has when a second life begins, whose recoveries are judged by the contract alone.
        boot: the machine's boot id (`boots`); empty for its own.
    """

    def __init__(
        self,
        target: Target,
        promises_at: Callable[[int], Promises],
        capture: Callable[[Path], Tree],
        checks: Iterable[Check] | None = None,
        cell: Cell | None = None,
        patience: Patience | None = None,
        *,
        first_life: float = math.inf,
        boot: str = "",
    ) -> None:
        self._cell, self._view = cell, replace(target.view(), boot=boot)
        self._target, self._promises_at, self._capture = target, promises_at, capture
        self._kind = load(target.name)
        self._contract: Contract = contract_named(self._kind.contract)
        self._patience = patience or Patience(self._kind.seconds_max)
        self._verdicts: dict[tuple[str, int], Judged] = {}
        self._recoveries: dict[str, Recovery] = {}
        self._kinds: dict[str, tuple[str, str]] = {}
        self._repeatable: set[tuple[str, str]] = set()
        self._thorough, self._first_life = checks is None, first_life
        self.checks: set[Check] = set(checks or ())
        """The checks of steps 3 and 4 that were passed, by this judge or before."""
        self.second_recoveries = 0
        """How often this judge repeated a recovery."""

    @property
    def folders(self) -> int:
        """How many different folders have a verdict."""
        return len({folder for folder, _ in self._verdicts})

    @property
    def recovered(self) -> int:
        """How many different folders recovery led to."""
        return len({judged.recovered for judged in self._verdicts.values()} - {""})

    def undisturbed(self, root: Path, cut: int, *, unusable: bool) -> tuple[Promises, list[Item] | None]:
        """Recover the orderly end of a recording; returns what was promised, and what came back, None if nothing did.

        An ``unusable`` folder, such as a link in its place, is not recovered: that would leave the folder under test.
        """
        if unusable:
            return self._promises_at(cut), None
        root, apart = self._inside(root)
        verdict, items = run_checker(
            lambda _: recovered_items(self._target.make().recover(root)), self._kind.seconds_max, apart
        )
        return self._promises_at(cut), items if verdict is Verdict.SAFE else None

    def violation_apart(self, promises: Promises, items: Iterable[Item]) -> Violation | None:
        """Apply the contract in a process of its own."""
        apart = Apart(self._cell, self._view) if self._cell else None
        return judge_apart(self._contract, self._kind.seconds_max, promises, list(items), apart)

    def _inside(self, root: Path) -> tuple[Path, Apart | None]:
        """Return where a check finds the folder, and the cell that it runs in."""
        if self._cell is None:
            return root, None
        view = replace(self._view, folder=root.parent)
        return view.inside(root), Apart(self._cell, view)

    def known(self, folder: str, cut: int, events: int) -> Judged | None:
        """Return the verdict of a folder that was recovered before, without doing so again; None if it takes a process.

        Args:
            events: how many journal lines were written before the cut.
        """
        known, recovery = self._verdicts.get((folder, events)), self._recoveries.get(folder)
        if known or not recovery or self._verifies(events, recovery[1]) or not is_ours(self._contract):
            return known
        items, left = recovery
        kind = self._kinds.get(folder, ("", ""))
        judged = Judged("", Verdict.SAFE, digest=folder, events=events, recovered=left, kind=kind)
        if violation := judge_safely(self._contract, self._promises_at(cut), items):
            judged = replace(judged, verdict=violation.verdict, explanation=violation.explanation, recovered="")
        self._verdicts[folder, events] = judged
        return judged

    def check(self, root: Path, tree: Tree, folder: str, cut: int, events: int) -> Judged:
        """Judge a folder that lies at ``root``, and is this tree; its state is not named yet."""
        known = self._recoveries.get(folder)
        if known and self._verifies(events, known[1]):
            known = None
        verifies = self._checks_itself(events) and not known
        promises = self._promises_at(cut)
        inside, apart = self._inside(root)
        begun, limit = time.monotonic(), self._limit(verifies)
        verdict, content = run_checker(
            partial(self._first_recovery, inside, tree, promises, events, known), limit, apart
        )
        if verdict is Verdict.HANGS:
            self._patience.hung(limit)
        elif known is None and verdict is not Verdict.UNKNOWN:  # Then it may not have begun.
            self._patience.ended(time.monotonic() - begun)
        left = ""
        if verdict is Verdict.SAFE:
            items, left, kind = content
            violation = None
            if known is None:
                self._kinds[folder] = (*kind,)
                if self._repeats((items, left), kind[1], events):
                    violation = self._second_recovery(root, (items, left), kind[1], promises, events)
            if violation:
                verdict, content, left = violation.verdict, violation.explanation, ""
            else:
                self._recoveries[folder] = items, left
                self.checks.update({(VERIFIED, events), for_(VERIFIED, left)} if verifies else ())
        explanation = "" if verdict is Verdict.SAFE else without_paths(str(content), root)
        kind = self._kinds.get(folder, ("", "")) if left else ("", "")
        judged = Judged("", verdict, explanation, digest=folder, events=events, recovered=left, kind=kind)
        self._verdicts[folder, events] = judged
        return judged

    def forget(self, judged: Judged) -> None:
        """Judge this folder anew when it comes again."""
        self._verdicts.pop((judged.digest, judged.events), None)
        self._recoveries.pop(judged.digest, None)

    def _checks_itself(self, events: int) -> bool:
        return events <= self._first_life and self._kind.verify is not SystemUnderTest.verify

    def _verifies(self, events: int, left: str) -> bool:
        """Whether the system is to check itself in a folder that recovery left."""
        return self._checks_itself(events) and self._is_due(VERIFIED, events, left)

    def _is_due(self, check: str, events: int, what: str) -> bool:
        made = (check, events) in self.checks and for_(check, what) in self.checks
        return events <= self._first_life and (self._thorough or not made)

    def _first_recovery(
        self,
        root: Path,
        tree: Tree,
        promises: Promises,
        events: int,
        known: Recovery | None,
        recovered: Callable[[], None],
    ) -> tuple[list[Item], str, tuple[str, str]]:
        """Recover, unless it is known what that leads to; and compare. Runs in a process of its own.

        Returns the recovery, and its kind; that of a known one is of no use.
        """
        system = self._target.make()
        recovery, kind = (known, ("", "")) if known else self._recover(system, root, tree)
        recovered()
        if violation := judge_safely(self._contract, promises, recovery[0]):
            printed = "" if known else by_server(printed_last())
            raise PromiseBroken(violation.verdict, violation.explanation + printed)
        if self._verifies(events, recovery[1]) and not self._repeats(recovery, kind[1], events):
            system.verify(root, promises)
        return *recovery, kind

    def _recover(self, system: SystemUnderTest, root: Path, tree: Tree) -> tuple[Recovery, tuple[str, str]]:
        items = recovered_items(system.recover(root))
        left = self._left(root)
        changed = folded(tree.difference(left))
        return (items, left.digest), (left.shape, sha256(changed.encode()).hexdigest() if changed else "")

    def _left(self, root: Path) -> Tree:
        """Take a snapshot of a recovered folder, if it still is one."""
        tree = self._capture(root)
        if tree.unusable:
            verdict, text = tree.unusable
            raise PromiseBroken(verdict, f"after recovery, {text}")
        return tree

    def _repeats(self, first: Recovery, changed: str, events: int) -> bool:
        """Whether a second recovery is due after a first one, which changed such paths."""
        return bool(changed) and _key(first) not in self._repeatable and self._is_due(REPEATED, events, changed)

    def _second_recovery(
        self, root: Path, first: Recovery, changed: str, promises: Promises, events: int
    ) -> Violation | None:
        """Recover the recovered folder again; returns what is wrong then."""
        verifies = self._verifies(events, first[1])
        self.second_recoveries += 1
        root, apart = self._inside(root)
        verdict, content = run_checker(
            partial(self._repeat, root, first[0], promises, verifies), self._seconds_max(verifies), apart
        )
        if verdict is not Verdict.SAFE:
            return Violation(verdict, second_recovery.named(str(content)))
        if content:
            return Violation(Verdict(content[0]), content[1])
        self._repeatable.add(_key(first))
        self.checks |= {(REPEATED, events), for_(REPEATED, changed)}
        return None

    def _limit(self, verifies: bool) -> float:
        """The time limit of a first recovery; the whole one where a user's checks follow in the same process."""
        own = not verifies and is_ours(self._contract)
        return self._patience.limit if own else self._seconds_max(verifies)

    def _seconds_max(self, verifies: bool) -> float:
        return (3 if verifies else 1) * self._kind.seconds_max

    def _repeat(
        self, root: Path, items: list[Item], promises: Promises, verifies: bool, recovered: Callable[[], None]
    ) -> tuple[str, str] | None:
        """Recover again, and compare with the first recovery; returns what the system's own check found.

        Runs in a process of its own.
        """
        before, system = self._capture(root), self._target.make()
        with repeating():
            again = recovered_items(system.recover(root))
        changed = before.difference(self._left(root))
        recovered()
        judge = partial(judge_safely, self._contract, promises)
        violation = second_recovery.other_items(items, again, judge, self._contract)
        if violation is None and self._kind.stable_recovery:
            violation = second_recovery.changed_folder(changed)
        if violation:
            raise PromiseBroken(violation.verdict, violation.explanation)
        try:
            if verifies:
                system.verify(root, promises)
        except PromiseBroken as error:  # Not the second recovery's fault.
            return error.verdict.value, error.explanation
        return None


def _key(recovery: Recovery) -> tuple[str, str]:
    items, left = recovery
    return left, "\n".join(map(item_key, items))
