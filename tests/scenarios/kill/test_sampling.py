"""A sample has some of each kind of crash, those near to a changed file first, and no more than the budget."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from crashmatrix.reports import Verdict
from crashmatrix.scenarios.campaign.plan import Plan
from crashmatrix.scenarios.campaign.workbench import workbench
from crashmatrix.scenarios.judging.worker import Profile
from crashmatrix.scenarios.kill.experiment import KILL, KillExperiment
from crashmatrix.scenarios.kill.plan import END, RESUMED, parse_id
from crashmatrix.scenarios.kill.sampling import declared_near, sampled_hits

HITS = tuple((name, number) for number in range(1, 31) for name in ("near", "far.a", "far.b", "far.c"))
PROFILE = Profile(
    HITS, {"near": ("", f"{__file__}:3"), **{f"far.{letter}": ("", "/elsewhere.py:1") for letter in "abc"}}
)


def test_failpoints_of_a_file() -> None:
    """They are known by the place of their declaration; a file without any has those of its folder, or of one above."""
    assert declared_near(PROFILE, __file__) == {"near"}
    assert declared_near(PROFILE, str(Path(__file__).with_name("other.py"))) == {"near"}
    assert declared_near(PROFILE, str(Path(__file__).parent / "folder" / "other.py")) == {"near"}
    assert declared_near(PROFILE, "/elsewhere.py") == {"far.a", "far.b", "far.c"}
    assert declared_near(PROFILE, "") == set()


@pytest.mark.parametrize(("first", "near"), [({"near"}, 9), (set(), 1)])
def test_half_of_the_hits_are_near(first: set[str], near: int) -> None:
    """Each other failpoint is there; all keep their order, and another seed draws others."""
    chosen, rule = sampled_hits(PROFILE, 30, 0, first)
    assert len(chosen) == 18 and "18 of 120 hits" in rule
    found = Counter(name for name, _ in chosen)
    assert set(found) == set(dict(HITS)) and found["near"] >= near
    assert chosen == [hit for hit in HITS if hit in chosen]
    assert chosen != sampled_hits(PROFILE, 30, 1, first)[0]


def sampled(toy: str, budget: int) -> KillExperiment:
    plan = Plan(target=f"tests.scenarios.{toy}", budget=budget)
    with workbench(plan) as (checker, _):
        options = replace(plan.experiment_options, until_broken=True, sampled=True)
        experiment = KILL.experiment(checker, options)
        experiment.run()
    return experiment


@pytest.mark.experiment
def test_a_sample_keeps_to_its_budget() -> None:
    """It has crashes in the workload and in second lives, and the undisturbed end; all together are few."""
    experiment = sampled("second_life_systems:GoesOn", 10)
    paths = [parse_id(result.id) for result in experiment.ordered()]
    assert {result.verdict for result in experiment.ordered()} == {Verdict.SAFE}
    assert (END,) in paths and len(paths) <= 12
    assert any(RESUMED in path and path[-1] == END for path in paths)
    assert sum(RESUMED in path and path[-1] != END for path in paths) <= 2


@pytest.mark.experiment
@pytest.mark.parametrize(
    ("toy", "second_life"), [("second_life_systems:TwoHalves", True), ("toy_systems:ForgetsOnRecovery", False)]
)
def test_a_sample_finds_what_shows_late_only(toy: str, second_life: bool) -> None:
    """In a second life, or after a crash in recovery."""
    broken = [parse_id(result.id) for result in sampled(toy, 40).ordered() if result.verdict.broken]
    assert broken and all(len(path) > 1 and (RESUMED in path) is second_life for path in broken)
