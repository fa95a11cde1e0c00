"""The kill experiment tells right systems from wrong ones, and knows when it knows nothing."""

from __future__ import annotations

from typing import Any

import pytest

from crashmatrix.reports import ScenarioResult, Verdict
from crashmatrix.scenarios.campaign.plan import Plan
from crashmatrix.scenarios.campaign.workbench import workbench
from crashmatrix.scenarios.kill.experiment import KillExperiment
from tests.scenarios.experiments import kill_of, run_kill

TOYS = "tests.scenarios.toy_systems"

pytestmark = pytest.mark.experiment

VERDICTS = [
    ("Store", {"safe"}),
    ("Random", {"safe"}),
    ("Buffered", {"safe", "loses"}),
    ("Torn", {"safe", "phantom"}),
    ("ForgetsOnRecovery", {"safe", "loses"}),
    ("RepeatsOnRecovery", {"safe", "duplicate"}),
    pytest.param("Stirring", {"corrupt"}, marks=pytest.mark.slow),
    ("Raising", {"cannot-open"}),
    ("Crashing", {"cannot-open"}),
    ("CheckerObjects", {"hole"}),
    ("Nonsense", {"unknown"}),
    ("CheckerCrashes", {"unknown"}),
    ("AcknowledgesTwice", {"unknown"}),
    ("NeverWrites", {"unknown"}),
]


def run(toy: str, *, real_kills: int = 3, **changes: Any) -> KillExperiment:
    return run_kill(f"{TOYS}:{toy}", real_kills=real_kills, **changes)


def verdicts(results: list[ScenarioResult]) -> set[str]:
    return {result.verdict.value for result in results}


@pytest.mark.daily(3)
@pytest.mark.parametrize(("toy", "expected"), VERDICTS)
def test_verdicts(toy: str, expected: set[str]) -> None:
    """Every toy gets the verdicts that its one mistake deserves, and no others."""
    assert verdicts(run(toy).ordered()) == expected


def test_hanging_recovery_is_a_verdict() -> None:
    """A recovery that never ends is stopped at its time limit, and called hanging."""
    experiment = run("Hanging", budget=1)
    assert verdicts(experiment.ordered()) == {"hangs"}


def test_explanations_name_what_was_lost() -> None:
    """A broken promise is explained by the item that is gone."""
    broken = next(result for result in run("Buffered").ordered() if result.verdict is Verdict.LOSES)
    assert broken.explanation == "acknowledged, but gone: 0 (of 1 acknowledged)"
    assert broken.id in broken.replay


def test_a_workload_without_any_crash_point_is_unknown() -> None:
    """A run that could not have failed is not safe."""
    assert verdicts(run("DoesNothing").ordered()) == {"unknown"}


def test_same_seed_same_scenarios_same_verdicts() -> None:
    """A run is a function of its seed, its order included; another seed draws another sample."""
    one, again, other = (run("Buffered", seed=seed).ordered() for seed in (3, 3, 4))
    assert one == again
    assert [result.id for result in one] == [result.id for result in other]
    assert one != other


def test_thinning_is_logged() -> None:
    """With a budget below the number of hits, the rule is in the notes and the extremes are in the plan."""
    experiment = run("Store", budget=10)
    results = [result for result in experiment.ordered() if result.depth == 0]
    assert len(results) == 11
    assert any("24 hits thinned to 10" in note for note in experiment.details["notes"])
    assert {(f"toy.put.{side}_write", hit) for side in ("before", "after") for hit in (1, 6)} <= {
        (result.point, result.hit) for result in results
    }


@pytest.mark.parametrize("toy", ["Diary", "Store"])
def test_checks_besides_the_contract_are_counted(toy: str) -> None:
    """A note says how often the system checked itself, as its own diary says, and how many folders were recovered again."""
    plan = Plan(target=f"{TOYS}:{toy}", budget=10)
    with workbench(plan) as (checker, _):
        experiment = kill_of(plan, checker)
        experiment.sample_min = experiment.depth_max = 0
        experiment.run()
        diary = checker.target.make().workspace / "diary"
        checks = diary.read_text().count("verify") if diary.exists() else 0
    folders = len({checked.recovered.key for checked in experiment.checked.values() if checked.recovered})
    verified = f"the system's own verify passed in {checks} states; " if toy == "Diary" else ""
    assert f"besides the contract: {verified}recovery was repeated in {folders} recovered folders" in experiment.notes


@pytest.mark.daily(1)
@pytest.mark.parametrize("toy", ["ByWorkers", "RecoversByWorkers"])
def test_hits_in_other_processes(toy: str) -> None:
    """A system that forks is crashed whole, wherever its failpoints are hit, and what it forked goes on as without us."""
    experiment = run(toy, budget=20)
    assert verdicts(experiment.ordered()) == {"safe"}
    noted = any("processes that the workload forked hit failpoints" in note for note in experiment.notes)
    assert noted == (toy == "ByWorkers")
