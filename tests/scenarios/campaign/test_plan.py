"""A plan goes into the report, and comes back out of it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from crashmatrix.reports import RunSummary
from crashmatrix.scenarios.campaign.plan import Plan
from crashmatrix.scenarios.errors import UsageError
from crashmatrix.scenarios.shards import Shard

PLANS = [
    Plan(),
    Plan(target="sqlite:wal-full", seed=7, budget=12, filesystems=("ext4", "posix")),
    Plan(target="a.py:B", options={"name": "x", "n": [1, None]}, mutant=""),
    Plan(mutant="ack-before-write", filesystems=("posix",)),
]


def summary_of(plan: Plan) -> RunSummary:
    return RunSummary(target=plan.name, seed=plan.seed, options=plan.settings(), versions={})


@pytest.mark.parametrize("plan", PLANS, ids=lambda plan: plan.name)
def test_a_report_stores_it(plan: Plan) -> None:
    """A replay rebuilds the plan from the summary, with the report's present directory."""
    stored = RunSummary.from_json(summary_of(plan).to_json())
    assert Plan.from_summary(stored, Path("r")) == replace(plan, report=Path("r"))


@pytest.mark.parametrize(
    "damage", [{"target": 7}, {"filesystems": "ext4"}, {"budget": "many"}, {"options": []}, {"mutant": None}]
)
def test_a_damaged_report_is_refused(damage: dict[str, Any]) -> None:
    """A report without a valid plan is an error that names the report, not a crash."""
    summary = replace(summary_of(Plan()), options={**Plan().settings(), **damage})
    with pytest.raises(UsageError, match=r"r/summary\.json: .*run again to replace it"):
        Plan.from_summary(summary, Path("r"))


def test_its_experiments_options() -> None:
    """Each experiment gets the plan's options; those with which it runs instead go back into the plan."""
    plan = Plan(workers=3, seed=5, budget=9, shard=Shard(2, 3), report=Path("r"))
    options = plan.experiment_options
    assert (options.workers, options.seed, options.budget, options.shard, options.report) == (
        3,
        5,
        9,
        Shard(2, 3),
        Path("r"),
    )
    assert not options.until_broken
    assert options.keep_evidence
    assert plan.with_options(replace(options, filesystems=("posix",))) == replace(plan, filesystems=("posix",))


@pytest.mark.parametrize(
    ("scenario", "report", "command"),
    [
        ("kill:a@1", "r", "crashmatrix replay kill:a@1 --report r"),
        ("kill:a b@1", "my report", "crashmatrix replay 'kill:a b@1' --report 'my report'"),
        ("kill:$(x)@1", "r", "crashmatrix replay 'kill:$(x)@1' --report r"),
    ],
)
def test_the_replay_command_is_quoted_for_a_shell(scenario: str, report: str, command: str) -> None:
    """A name with any characters is quoted in the replay command."""
    assert Plan(report=Path(report)).experiment_options.replay_command(scenario) == command


@pytest.mark.parametrize(("mutant", "name"), [("", "reference"), ("a-bug", "reference+a-bug")])
def test_its_name(mutant: str, name: str) -> None:
    """A planted bug is part of the name."""
    assert Plan(mutant=mutant).name == name
