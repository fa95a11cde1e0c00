"""The experiments that follow are expected to take as long as last time, or as long as their budget says."""

from __future__ import annotations

from pathlib import Path

import pytest

from crashmatrix.reports import ExperimentSummary, ReportWriter, RunSummary
from crashmatrix.scenarios.campaign.experiments import EXPERIMENTS
from crashmatrix.scenarios.campaign.plan import Plan
from crashmatrix.scenarios.campaign.timing.estimate import Estimate


@pytest.mark.parametrize(("target", "later"), [("", 50 * 0.1), ("sqlite:wal-full", 7.0), ("lmdb:default", 50 * 0.1)])
def test_experiments_that_follow(target: str, later: float, tmp_path: Path) -> None:
    """With a report of the same run in the directory, its seconds count; without one, the budget at the present speed."""
    plan = Plan(target="sqlite:wal-full", budget=50, report=tmp_path)
    if target:
        summary = RunSummary(target=target, seed=0, options={"budget": 50}, versions={})
        summary.experiments["power"] = ExperimentSummary.of([], 7.0, {})
        with ReportWriter(tmp_path) as writer:
            writer.finish(summary, [])
    estimate = Estimate(plan)
    estimate.begin([EXPERIMENTS["kill"], EXPERIMENTS["power"]])
    assert estimate.left(3.0, 0.1) == pytest.approx(3.0 + later)
    estimate.begin([EXPERIMENTS["power"]])
    assert estimate.left(3.0, 0.1) == 3.0
