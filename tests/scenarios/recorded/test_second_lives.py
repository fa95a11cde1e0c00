"""Life after a power cut: judged on an ordinary folder here, on recorded disks below."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from crashmatrix.reports import Verdict
from crashmatrix.scenarios.campaign.plan import Plan
from crashmatrix.scenarios.campaign.workbench import workbench
from crashmatrix.scenarios.experiment import StoredRun
from crashmatrix.scenarios.judging import second_life
from crashmatrix.scenarios.judging.checker import Checker
from crashmatrix.scenarios.judging.patience import Patience
from crashmatrix.scenarios.power.experiment import POWER, PowerExperiment
from crashmatrix.scenarios.recorded.second_lives import LifeJudge, resumed_at
from crashmatrix.scenarios.systems.loading import Target, load
from tests.scenarios.experiments import power_of

TOYS = "tests.scenarios.second_life_systems"

LIVES = [
    ("GoesOn", "0\n1\n", None, ""),
    ("TwoHalves", "10\n", None, ""),
    ("TwoHalves", "10\n1", Verdict.HOLE, "after it was resumed: acknowledged, but gone: 6 (of 4 acknowledged)"),
    ("OwnContract", "10\n1", Verdict.LOSES, "after it was resumed: gone: [6]. Items there when it was resumed: 1"),
    (
        "Refuses",
        "0\n1\n2\n",
        Verdict.CANNOT_OPEN,
        "it could not be resumed after recovery: resume raised ValueError: ROOT",
    ),
    ("HangsResumed", "0\n", Verdict.HANGS, "when it was resumed: resume was still running at its time limit (8 s, 10"),
    ("StoresAgain", "0\n", Verdict.UNKNOWN, "resume attempted what recovery had returned before: 0"),
    ("Torn", "x\n", Verdict.UNKNOWN, "recovered once more, to be resumed: recovery raised ValueError"),
]


@pytest.mark.parametrize(("toy", "data", "verdict", "words"), LIVES)
def test_a_life(toy: str, data: str, verdict: Verdict | None, words: str, tmp_path: Path) -> None:
    """A recovered folder is gone on from, and judged after a restart."""
    root = tmp_path / "root"
    root.mkdir()
    (root / "data").write_text(data)
    target = Target(f"{TOYS if toy != 'Torn' else 'tests.scenarios.toy_systems'}:{toy}")
    patience = Patience(load(target.name).seconds_max, tries=2)
    lives = LifeJudge(target, tmp_path, None, patience)
    violation = lives.judge(root)
    assert (violation and violation.verdict) == verdict
    assert violation is None or violation.explanation.startswith(words), violation.explanation
    assert patience.learnt.hung_resumed == (verdict is Verdict.HANGS)  # The next ones get less.
    assert lives.lives == (toy != "Torn")


def test_folders_have_checks_of_their_own() -> None:
    """Each recovered folder is gone on from once."""
    assert resumed_at("a") != resumed_at("b")


@contextmanager
def checker_of(plan: Plan) -> Iterator[Checker]:
    with workbench(plan) as (checker, _):
        yield checker


def run(toy: str, report: Path, **changes: object) -> PowerExperiment:
    plan = Plan(target=f"{TOYS}:{toy}", filesystems=("posix",), budget=80, report=report, **changes)  # type: ignore[arg-type]
    with workbench(plan) as (checker, _):
        experiment = power_of(plan, checker)
        experiment.restarts = 0
        experiment.run()
        experiment.explained = experiment.explain()  # type: ignore[attr-defined]
    return experiment


@pytest.mark.experiment
@pytest.mark.usefixtures("fuse")
def test_a_right_one_is_safe(tmp_path: Path) -> None:
    """Second lives of a right store are safe, some of them recorded and cut short; the notes say how many."""
    experiment = run("GoesOnSynced", tmp_path / "report")
    assert {result.verdict for result in experiment.ordered()} == {Verdict.SAFE}
    recordings = experiment.details["recordings"]
    assert sum(bool(recording["resumed"]) for recording in recordings) == 2
    lives = sum(recording["second_lives"] for recording in recordings)
    assert lives > 2
    text = (
        f"resumed from {lives} crash states, once in a recovered folder; power was cut again in 2 recorded second lives"
    )
    assert any(text in note for note in experiment.details["notes"])


@pytest.mark.experiment
@pytest.mark.usefixtures("fuse")
def test_a_wrong_one_is_found(tmp_path: Path) -> None:
    """A log that goes on behind a torn record: mounted states show it, and a recorded second life; both are explained."""
    experiment = run("TwoHalvesSynced", tmp_path / "report")
    broken = [result for result in experiment.ordered() if result.verdict.broken]
    assert all("resumed" in result.point or second_life.is_about(result.explanation) for result in broken)
    assert any("~resumed~" in result.point for result in broken)
    found = next(result for result in broken if second_life.is_about(result.explanation))
    findings, _ = experiment.explained  # type: ignore[attr-defined]
    assert {finding.cause for finding in findings} >= {second_life.CAUSE[0]}
    plan = Plan(target=f"{TOYS}:TwoHalvesSynced", filesystems=("posix",), report=tmp_path / "report")
    scenario = POWER.scenario(found.id, StoredRun(plan.experiment_options, experiment.details))
    again = scenario.replay(lambda: checker_of(plan), None)
    assert (again.verdict, again.explanation) == (found.verdict, found.explanation)


@pytest.mark.slow
@pytest.mark.experiment
@pytest.mark.usefixtures("fuse")
def test_one_that_stores_nothing_says_nothing(tmp_path: Path) -> None:
    """Second lives without a promise are unknown."""
    experiment = run("StoresNothingSynced", tmp_path / "report")
    unknown = [result for result in experiment.ordered() if result.verdict is Verdict.UNKNOWN]
    assert any("resume acknowledged nothing after any crash" in result.explanation for result in unknown)
