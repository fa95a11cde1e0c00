"""The fixture ``crash_matrix`` of the pytest plugin. Imported when a test first requests it.

    def test_my_store_survives(crash_matrix):
        crash_matrix(MyStore(), experiments=["kill", "power"]).assert_safe()

The modules that run a campaign are imported at the first call.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from crashmatrix.reports.headline import headline
from crashmatrix.scenarios.campaign.outcome import Outcome

if TYPE_CHECKING:
    from crashmatrix.scenarios.target.system import SystemUnderTest

__all__ = ["CrashMatrix", "FixtureOutcome"]


class CrashMatrix:
    """The fixture's value: call it with a system."""

    def __init__(self, config: pytest.Config, folder: Path, experiments: Sequence[str]) -> None:
        self._config, self._folder, self._experiments = config, folder, experiments
        self._runs = 0

    def __call__(
        self,
        system: SystemUnderTest,
        *,
        experiments: Iterable[str] = (),
        budget: int | None = None,
        seed: int | None = None,
        filesystems: Iterable[str] = ("ext4",),
    ) -> FixtureOutcome:
        """Run experiments. `FixtureOutcome.assert_safe` passes or fails the test.

        Args:
            experiments: by default those that ``crashmatrix run`` runs by default, as far as this machine can run them.
            budget, seed: instead of ``--crash-budget`` and ``--crash-seed``.
            filesystems: those on which power cuts are tried.
        """
        __tracebackhide__ = True
        from crashmatrix.reports import ReportError
        from crashmatrix.scenarios.campaign.experiments import experiment_named
        from crashmatrix.scenarios.campaign.library import outcome_of
        from crashmatrix.scenarios.campaign.plan import Plan
        from crashmatrix.scenarios.errors import ScenarioError
        from crashmatrix.scenarios.systems.loading import Target

        self._runs += 1
        options = self._config.option
        try:
            target = Target.of(system)
            names = [experiment_named(name).name for name in self._experiments or experiments]
            plan = Plan(
                target=target.name,
                options=target.options,
                experiments=tuple(names),
                leave_out=True,
                seed=options.crash_seed if seed is None else seed,
                budget=options.crash_budget if budget is None else budget,
                workers=max(1, len(os.sched_getaffinity(0)) // int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))),
                filesystems=tuple(filesystems),
                report=self._folder / f"crashmatrix-report-{self._runs}",
            )
            outcome = outcome_of(plan)
        except (ScenarioError, ReportError) as error:
            pytest.fail(f"crash_matrix: {error}", pytrace=False)
        return FixtureOutcome(outcome.system, outcome.promise, outcome.summary, outcome.results, outcome.report)


class FixtureOutcome(Outcome):
    """A run's outcome as the result of a test."""

    def assert_safe(self) -> None:
        """Fail unless every promise was kept in every crash; skip if an experiment could not be run here."""
        __tracebackhide__ = True
        if self.verdict != "safe" and (self.results or self.summary.chosen or not self.not_run):
            pytest.fail(str(self), pytrace=False)
        if self.not_run:
            pytest.skip(f"{self.system}: {headline(self.summary, reasons=True)}")
