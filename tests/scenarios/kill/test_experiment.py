"""The kill experiment tells right systems from wrong ones, and knows when it knows nothing."""

from __future__ import annotations

import random
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest

from crashmatrix.reports import ScenarioResult, Verdict
from crashmatrix.scenarios.campaign.plan import Plan
from crashmatrix.scenarios.campaign.workbench import workbench
from crashmatrix.scenarios.errors import UsageError
from crashmatrix.scenarios.judging.checker import Checked, CrashState
from crashmatrix.scenarios.judging.snapshot import Tree
from crashmatrix.scenarios.kill.experiment import KillExperiment
from crashmatrix.scenarios.kill.profile import prepare
from crashmatrix.scenarios.kill.real_kills import crash
from tests.scenarios.experiments import kill_of

TOYS = "tests.scenarios.toy_systems"

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


def run(toy: str, **changes: object) -> KillExperiment:
    plan = Plan(target=f"{TOYS}:{toy}", **changes)  # type: ignore[arg-type]
    with workbench(plan) as (checker, _):
        experiment = kill_of(plan, checker)
        experiment.run()
    return experiment


def is_gone(pid: int) -> bool:
    """Wait for a killed process to be over; who reaps it is not our business."""
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        try:
            if psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
                return True
        except psutil.NoSuchProcess:
            return True
    return False


def verdicts(results: list[ScenarioResult]) -> set[str]:
    return {result.verdict.value for result in results}


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


def test_a_fault_that_did_not_fire_is_unknown() -> None:
    """A hit of the undisturbed run that does not come again is unknown, never safe."""
    missed = next(result for result in run("FiresOnce").ordered() if result.point == "toy.put.between_halves")
    assert missed.verdict is Verdict.UNKNOWN
    assert "not in the next" in missed.explanation


def test_a_workload_without_any_crash_point_is_unknown() -> None:
    """A run that could not have failed is not safe."""
    assert verdicts(run("DoesNothing").ordered()) == {"unknown"}


def test_a_workload_that_dies_by_itself_is_refused() -> None:
    """The workload must work before it can be crashed; its last words are quoted."""
    with pytest.raises(UsageError, match=r"exited with status 7; it printed: no way"):
        run("DiesByItself")


def test_crashes_during_recovery_are_found() -> None:
    """A recovery that is safe only if it is not interrupted is found out by interrupting it."""
    results = run("ForgetsOnRecovery").ordered()
    assert {result.depth for result in results if result.verdict is Verdict.LOSES} == {1, 2}


def test_every_hit_is_a_scenario() -> None:
    """Each hit of each failpoint, journal positions and the end among them, is crashed at exactly once."""
    results = [result for result in run("Store").ordered() if result.depth == 0]
    points = [(result.point, result.hit) for result in results]
    assert len(points) == len(set(points)) == 4 * 6 + 1
    assert points[-1] == ("workload.end", 1)
    assert results[0].fault == "journal.after_attempt=kill"
    assert results[5].fault == "toy.put.before_write=1*off->kill"


def test_real_kills_agree_with_snapshots() -> None:
    """Scenarios killed for real leave the folder of the snapshot and get its verdict; the report says which they were."""
    experiment = run("Buffered")
    assert experiment.details["killed_for_real"] == experiment.details["agreed_with_snapshot"] > 0
    killed = [result for result in experiment.ordered() if result.method == "sigkill"]
    assert len(killed) == experiment.details["killed_for_real"]


def test_a_snapshot_that_lies_is_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    """If a real kill leaves another folder than the snapshot shows, the scenario is unknown."""

    def crash_and_lose(*args: Any) -> CrashState | Checked:
        state = crash(*args)
        assert isinstance(state, CrashState)
        return replace(state, tree=Tree(state.tree.entries[:-1]))

    monkeypatch.setattr("crashmatrix.scenarios.kill.real_kills.crash", crash_and_lose)
    experiment = run("Store")
    assert experiment.details["agreed_with_snapshot"] < experiment.details["killed_for_real"]
    unknown = next(result for result in experiment.ordered() if result.verdict is Verdict.UNKNOWN)
    assert unknown.explanation == "the killed process left another folder than the snapshot shows: data"


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


def test_what_the_workload_started_is_ended() -> None:
    """A process that the workload leaves behind is ended with it."""
    plan = Plan(target=f"{TOYS}:Spawning")
    with workbench(plan) as (checker, _):
        prepare(checker)
        pid = int((Path(checker.target.workspace) / "pid").read_text())
        assert is_gone(pid)


def test_random_names_are_compared_by_verdict_only() -> None:
    """A system whose runs never write the same bytes is still judged, and the report says how."""
    experiment = run("Random", seed=random.Random(1).randrange(100))
    assert any("different folders" in note for note in experiment.details["notes"])
