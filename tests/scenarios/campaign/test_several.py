"""Several targets in one run: each has its report, one that cannot be run costs none of the others."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from crashmatrix.reports import ReportError, Verdict, read_report
from crashmatrix.reports.several.pages import read_targets
from crashmatrix.reports.several.targets import TARGETS
from crashmatrix.scenarios.campaign import experiments
from crashmatrix.scenarios.campaign.campaign import Campaign
from crashmatrix.scenarios.campaign.plan import Plan
from crashmatrix.scenarios.campaign.several import Several
from crashmatrix.scenarios.errors import EnvironmentLacks
from tests.scenarios.campaign.test_resume import STORE
from tests.scenarios.toy_experiment import EMPTY

pytestmark = pytest.mark.experiment

TOYS = "tests.scenarios.toy_systems"


@pytest.fixture
def plan(monkeypatch: pytest.MonkeyPatch) -> Plan:
    monkeypatch.setitem(experiments.EXPERIMENTS, EMPTY.name, EMPTY)
    return Plan(target=STORE, experiments=("empty",))


def test_each_target(plan: Plan, tmp_path: Path) -> None:
    """The verdicts are those of single runs; a target that fails by itself is unknown, and says why."""
    safe = replace(plan, budget=1)  # Nothing is emptied.
    plans = [safe, replace(plan, target=f"{TOYS}:DiesByItself"), plan]
    targets = Several(plans, tmp_path / "all", Campaign.run).run()
    first, failed, last = targets.runs
    assert (first.verdict, first.scenarios, first.findings) == (Verdict.SAFE, 1, 0)
    assert (failed.verdict, failed.scenarios) == (Verdict.UNKNOWN, 0)
    assert failed.headline.startswith(f"not run: the workload of {TOYS}:DiesByItself exited with status 7")
    assert last.verdict.broken
    assert last.findings
    assert targets.verdict is last.verdict
    assert read_targets(tmp_path / "all") == targets
    assert len({run.report for run in targets.runs}) == 3
    for run in (first, last):
        summary, results = read_report(tmp_path / "all" / run.report)
        assert (summary.verdict, len(results)) == (run.verdict, run.scenarios)


def test_an_interrupt_keeps_what_was_found(plan: Plan, tmp_path: Path) -> None:
    """The page has the targets before it; the run goes on with --resume, and judges nothing twice."""
    ran: list[str] = []

    def interrupted(campaign: Campaign) -> None:
        if ran:
            raise KeyboardInterrupt
        campaign.run()
        ran.append(campaign.plan.name)

    plans = [replace(plan, budget=1), replace(plan, target="tests.scenarios.toy_systems:Store")]
    with pytest.raises(KeyboardInterrupt):
        Several(plans, tmp_path / "all", interrupted).run()
    kept = read_targets(tmp_path / "all")
    assert kept is not None
    assert [(run.scenarios, run.headline) for run in kept.runs] == [(1, "safe"), (0, "")]
    before = (tmp_path / "all" / kept.runs[0].report / "results.jsonl").stat().st_mtime_ns
    again = Several([replace(plan, resume=True) for plan in plans], tmp_path / "all", Campaign.run).run()
    assert all(run.scenarios for run in again.runs)
    assert (tmp_path / "all" / again.runs[0].report / "results.jsonl").stat().st_mtime_ns == before
    assert (tmp_path / "all" / TARGETS).exists()


def test_the_time_limit_is_shared(plan: Plan, tmp_path: Path) -> None:
    """Each target has an equal part of the time that is left."""
    limits: list[float | None] = []

    def look(campaign: Campaign) -> None:
        limits.append(campaign.plan.seconds_max)

    Several([replace(plan, seconds_max=3000.0)] * 3, tmp_path / "all", look).run()
    assert [round(limit or 0, -2) for limit in limits] == [1000, 1500, 3000]
    limits.clear()
    Several([replace(plan, seconds_max=1.0)] * 3, tmp_path / "all", look).run()
    assert limits == [1.0, 1.0, 1.0]
    limits.clear()
    Several([plan] * 2, tmp_path / "all", look).run()
    assert limits == [None, None]


def test_one_reason_for_all(plan: Plan, tmp_path: Path) -> None:
    """If none can be run, all for the same reason, the reason is the error, as for a single target."""
    plans = [replace(plan, experiments=("power",), filesystems=("nosuch",), budget=budget) for budget in (1, 2)]

    def refused(campaign: Campaign) -> None:
        if campaign.plan.filesystems == ("nosuch",):
            raise EnvironmentLacks("there is no such filesystem")
        campaign.run()

    with pytest.raises(EnvironmentLacks, match="no such filesystem"):
        Several(plans, tmp_path / "all", refused).run()
    targets = Several([*plans, replace(plan, budget=1)], tmp_path / "some", refused).run()
    assert [run.headline for run in targets.runs] == [*["not run: there is no such filesystem"] * 2, "safe"]


def test_files_of_others_stay(plan: Plan, tmp_path: Path) -> None:
    """Another program's `targets.json` does not make a directory ours."""
    for name in (TARGETS, "index.html"):
        (tmp_path / name).write_text('{"targets": ["mine"]}')
    with pytest.raises(ReportError, match=r"targets\.json: .*name a new directory"):
        Several([plan, plan], tmp_path, Campaign.run).run()
    assert (tmp_path / "index.html").read_text() == '{"targets": ["mine"]}'
