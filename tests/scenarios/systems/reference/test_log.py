"""The reference log by itself: killed at its failpoints, its power cut while threads append, it keeps every promise."""

from __future__ import annotations

from pathlib import Path

import pytest

from crashmatrix.reports import Verdict
from crashmatrix.scenarios.campaign.mutation import try_mutant
from crashmatrix.scenarios.campaign.plan import Plan
from crashmatrix.scenarios.campaign.workbench import workbench
from crashmatrix.scenarios.shards import Shard
from tests.scenarios.experiments import kill_of, power_of

pytestmark = pytest.mark.experiment


@pytest.mark.parametrize(
    ("budget", "depth", "real_kills", "shard"),
    [(10, 1, 4, "1/4"), pytest.param(30, 2, 20, "1/1", marks=pytest.mark.slow)],
)
def test_killed(budget: int, depth: int, real_kills: int, shard: str, tmp_path: Path) -> None:
    """Every failpoint of the log is hit, every scenario is safe, real kills agree; in a share of the run at least."""
    plan = Plan(target="reference-log", budget=budget, shard=Shard.parse(shard), report=tmp_path / "report")
    with workbench(plan) as (checker, _):
        experiment = kill_of(plan, checker)
        experiment.depth_max, experiment.sample_min = depth, real_kills
        experiment.run()
    assert {result.verdict for result in experiment.ordered()} == {Verdict.SAFE}
    assert experiment.details["failpoints_never_hit"] == []
    assert experiment.details["killed_for_real"] == experiment.details["agreed_with_snapshot"] > 0


@pytest.mark.usefixtures("disk")
@pytest.mark.parametrize(
    ("target", "budget", "nudges"),
    [
        ("reference-log:threads", 20, ("mixed",)),
        pytest.param("reference-log:threads", 60, ("mixed", "storm"), marks=pytest.mark.slow),
        pytest.param("reference-log", 60, ("mixed", "storm"), marks=pytest.mark.slow),
    ],
)
def test_power_cut(target: str, budget: int, nudges: tuple[str, ...], tmp_path: Path) -> None:
    """The log recovers the groups, sets and segments that a power cut leaves."""
    plan = Plan(target=target, budget=budget, report=tmp_path / "report")
    with workbench(plan) as (checker, _):
        experiment = power_of(plan, checker)
        experiment.nudges, experiment.restarts = nudges, 1
        experiment.run()
    assert {result.verdict for result in experiment.ordered()} == {Verdict.SAFE}


@pytest.mark.usefixtures("disk")
def test_an_id_before_its_sync_is_found() -> None:
    """A batch acknowledged before its sync is found to be gone after the power cut."""
    found = try_mutant("ids-before-sync").found
    assert found is not None and found.verdict.broken
