"""What the fixture ``crash_matrix`` of the pytest plugin does. Imported when a test first asks for it.

    def test_my_store_survives(crash_matrix):
        crash_matrix(MyStore(), experiments=["kill", "power"]).assert_safe()

All else is imported at the first call.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from crashmatrix.reports import RunSummary, ScenarioResult
    from crashmatrix.scenarios.target.system import SystemUnderTest

__all__ = ["CrashMatrix", "Outcome"]

_SHOWN_MAX = 3


class CrashMatrix:
    """What the fixture gives: call it with a system."""

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
    ) -> Outcome:
        """Run the experiments, by default all that this machine can; see what came of it with `Outcome.assert_safe`.

        Args:
            budget, seed: instead of ``--crash-budget`` and ``--crash-seed``.
            filesystems: those that power cuts are tried on.
        """
        __tracebackhide__ = True
        from crashmatrix.reports import ReportError
        from crashmatrix.scenarios.campaign.campaign import EXPERIMENTS, Campaign, Plan
        from crashmatrix.scenarios.errors import ScenarioError
        from crashmatrix.scenarios.power.experiment import lacking
        from crashmatrix.scenarios.systems.loading import Target

        asked = list(self._experiments or experiments or EXPERIMENTS)
        if unknown := [name for name in asked if name not in EXPERIMENTS]:
            pytest.fail(
                f"crash_matrix: no experiment {unknown[0]!r}; there are {', '.join(EXPERIMENTS)}", pytrace=False
            )
        not_run = {"power": reason} if "power" in asked and (reason := lacking(tuple(filesystems))) else {}
        runnable = tuple(name for name in asked if name not in not_run)
        self._runs += 1
        options = self._config.option
        try:
            target = Target.of(system)
            plan = Plan(
                target=target.name,
                options=target.options,
                experiments=runnable,
                seed=options.crash_seed if seed is None else seed,
                budget=options.crash_budget if budget is None else budget,
                workers=max(1, len(os.sched_getaffinity(0)) // int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))),
                filesystems=tuple(filesystems),
                report=self._folder / f"crashmatrix-report-{self._runs}",
            )
            campaign = Campaign(plan)
            if runnable:
                campaign.run()
        except (ScenarioError, ReportError) as error:
            pytest.fail(f"crash_matrix: {error}", pytrace=False)
        campaign.summary.not_run.update(not_run)
        return Outcome(type(system), campaign.summary, campaign.results, plan.report, not_run)


class Outcome:
    """What the crashes left. ``summary`` and ``results`` have it all; ``report`` is the report directory."""

    def __init__(
        self,
        system: type[SystemUnderTest],
        summary: RunSummary,
        results: Sequence[ScenarioResult],
        report: Path,
        not_run: dict[str, str],
    ) -> None:
        self.summary, self.results, self.report, self.not_run = summary, results, report, not_run
        self._system = system

    def assert_safe(self) -> None:
        """Fail unless every promise was kept in every crash; skip if that could not be told for want of an experiment."""
        __tracebackhide__ = True
        if self.results and self.summary.verdict != "safe":
            pytest.fail(self._explanation(), pytrace=False)
        if self.not_run:
            from crashmatrix.reports.headline import headline

            pytest.skip(f"{self._system.__name__}: {headline(self.summary, reasons=True)}")

    def _explanation(self) -> str:
        wrong = [result for result in self.results if result.verdict != "safe"]
        wrong.sort(key=lambda result: (not result.verdict.broken, result.depth))
        first: dict[tuple[str, str], ScenarioResult] = {}
        for result in wrong:
            first.setdefault((result.experiment, result.verdict), result)
        name, contract = self._system.__name__, self._system.contract
        promise = contract if isinstance(contract, str) else type(contract).__name__
        from crashmatrix.reports.headline import headline

        head = f"{name} breaks its promise" if self.summary.verdict.broken else f"{name}: nothing can be said"
        lines = [f"{head} ({promise}): {headline(self.summary)} in {len(wrong)} of {len(self.results)} crashes"]
        from crashmatrix.reports.findings import finding_id

        causes = {finding.id: finding.cause for finding in self.summary.findings if finding.cause}
        for result in list(first.values())[:_SHOWN_MAX]:
            cause = causes.get(finding_id(result), "")
            lines += [
                f"  {result.verdict}: {result.explanation}",
                *([f"    why: {cause}"] if cause else []),
                f"    crash: {result.experiment} at {result.id.partition(':')[2]}",
                f"    again: {result.replay}",
            ]
        return "\n".join([*lines, f"  all of them: crashmatrix report {self.report}"])
