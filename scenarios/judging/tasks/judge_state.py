"""The task of judging one crash state."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from crashmatrix.reports import Verdict
from crashmatrix.scenarios.judging.checker import Checked, Checker, CrashState
from crashmatrix.scenarios.judging.snapshots.tree import Tree
from crashmatrix.scenarios.judging.tasks.pool import Task

__all__ = ["JudgeState", "trees_of"]


def trees_of(checked: Checked) -> list[Tree]:
    """Return the snapshots in a judgement."""
    recovered = [checked.recovered.tree] if checked.recovered else []
    return [*(snapshot.tree for snapshot in checked.recovery), *recovered]


@dataclass(frozen=True)
class JudgeState(Task[Checker, CrashState, Checked]):
    """Judges states of `experiment`; with ``snapshot``, takes snapshots of their recovery."""

    result = Checked
    experiment: str  # type: ignore[misc]  # of each task its own
    snapshot: bool = False

    def key(self, item: CrashState) -> str:
        """The state's key."""
        return f"{'judged, recovery followed' if self.snapshot else 'judged'}: {item.key}"

    def carry_out(self, checker: Checker, item: CrashState) -> Checked:
        """Judge it."""
        return checker.check(item, snapshot=self.snapshot)

    def lost(self, item: CrashState, reason: str) -> Checked:
        """It is unknown."""
        del item
        return Checked(Verdict.UNKNOWN, reason)

    def needs(self, item: CrashState) -> Iterable[Tree]:
        """The folder."""
        return [item.tree]

    def leaves(self, result: Checked) -> Iterable[Tree]:
        """The snapshots of recovery, and the folder that it led to."""
        return trees_of(result)
