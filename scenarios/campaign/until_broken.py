"""Experiments on a target, in turn, until one breaks a promise: the quickest proof that a bug is found."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from crashmatrix.reports import ScenarioResult, Verdict, worst
from crashmatrix.scenarios.campaign.plan import Plan
from crashmatrix.scenarios.campaign.workbench import workbench
from crashmatrix.scenarios.experiment import Experiment
from crashmatrix.scenarios.judging.checker import Checker

__all__ = ["Search", "search"]


@dataclass
class Search:
    """The outcome of a search. ``confirmed`` says that the finding held when it was tried a second time."""

    results: list[ScenarioResult] = field(default_factory=list)
    confirmed: bool = True

    @property
    def found(self) -> ScenarioResult | None:
        """The first scenario that broke a promise; None if none did."""
        return next((result for result in self.results if result.verdict.broken), None)

    @property
    def verdict(self) -> Verdict:
        """The worst verdict."""
        return worst(result.verdict for result in self.results)


def search(plan: Plan, experiments: Callable[[Checker], Iterable[Experiment]]) -> Search:
    """Run the experiments on a workbench of the plan's target, until one of them breaks a promise.

    Raises:
        UsageError: the target cannot be tested.
        EnvironmentLacks: this machine cannot run them.
    """
    done = Search()
    with workbench(plan) as (checker, _):
        for experiment in experiments(checker):
            experiment.run()
            done.results += experiment.ordered()
            done.confirmed = experiment.confirmed
            if done.found is not None:
                break
    return done
