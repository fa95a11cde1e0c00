"""How long a run has still to go: what its present experiment expects, and the experiments that follow.

An experiment that follows is expected to take as long as in the report that this run replaces, if that was of the same run. Else
it is expected to judge as many crashes as its budget allows, each as fast as those of the present experiment.
"""

from __future__ import annotations

from collections.abc import Sequence

from crashmatrix.reports import ReportError, RunSummary, read_summary
from crashmatrix.scenarios.campaign.plan import Plan
from crashmatrix.scenarios.experiment import ExperimentKind

__all__ = ["Estimate"]


class Estimate:
    """The estimate of one run."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._before = _seconds_before(plan)
        self._later: Sequence[ExperimentKind] = ()

    def begin(self, kinds: Sequence[ExperimentKind]) -> None:
        """The first of these experiments begins; the others follow."""
        self._later = kinds[1:]

    def left(self, seconds: float, each: float) -> float:
        """Return the seconds that the run takes still, from what its present experiment takes, and each crash of it."""
        return seconds + sum(self._of(kind, each) for kind in self._later)

    def _of(self, kind: ExperimentKind, each: float) -> float:
        return self._before.get(kind.name, (self._plan.budget or kind.budget) * each)


def _seconds_before(plan: Plan) -> dict[str, float]:
    """The seconds that each experiment took in the report that is there, if it is of the same run."""
    try:
        before = read_summary(plan.report)
    except ReportError:
        return {}
    same = before.target == plan.name and before.shard == str(plan.shard) and not before.interrupted
    return (
        {name: part.seconds for name, part in before.experiments.items()}
        if same and _budget(before) == plan.budget
        else {}
    )


def _budget(summary: RunSummary) -> object:
    return summary.options.get("budget")
