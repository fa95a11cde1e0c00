"""The reference log by itself: killed at its failpoints, its power cut while threads append, it keeps every promise."""

from __future__ import annotations

from pathlib import Path

import pytest

from crashmatrix.reports import Verdict
from crashmatrix.scenarios.campaign.mutation import try_mutant
from crashmatrix.scenarios.campaign.plan import Plan
from crashmatrix.scenarios.campaign.workbench import workbench
from crashmatrix.scenarios.power.experiment import lacking
from tests.scenarios.experiments import kill_of, power_of


def test_killed(tmp_path: Path) -> None:
    """Every failpoint of the log is hit, every scenario is safe, real kills agree."""
    plan = Plan(target="reference-log", budget=30, report=tmp_path / "report")
    with workbench(plan) as (checker, _):
        experiment = kill_of(plan, checker)
        experiment.run()
    assert {result.verdict for result in experiment.ordered()} == {Verdict.SAFE}
    assert experiment.details["failpoints_never_hit"] == []
    assert experiment.details["killed_for_real"] == experiment.details["agreed_with_snapshot"] > 0


@pytest.mark.skipif(bool(lacking(["ext4"])), reason=lacking(["ext4"]))
@pytest.mark.parametrize("target", ["reference-log", "reference-log:threads"])
def test_power_cut(target: str, tmp_path: Path) -> None:
    """What a power cut leaves of groups, sets and segments is recovered."""
    plan = Plan(target=target, budget=60, report=tmp_path / "report")
    with workbench(plan) as (checker, _):
        experiment = power_of(plan, checker)
        experiment.run()
    assert {result.verdict for result in experiment.ordered()} == {Verdict.SAFE}


@pytest.mark.skipif(bool(lacking(["ext4"])), reason=lacking(["ext4"]))
def test_an_id_before_its_sync_is_found() -> None:
    """A follower told too early shows: its batch is acknowledged, and gone after the power cut."""
    found = try_mutant("ids-before-sync").found
    assert found is not None and found.verdict.broken
