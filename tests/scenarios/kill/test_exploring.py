"""Every chosen hit is a crash, in the workload and in recovery."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from crashmatrix.reports import Verdict
from crashmatrix.scenarios.experiment import ExperimentOptions
from crashmatrix.scenarios.judging.checker import Checked, CrashState
from crashmatrix.scenarios.judging.snapshots.tree import Entry, Tree
from crashmatrix.scenarios.kill.exploring import KillExploration
from crashmatrix.scenarios.kill.plan import CrashPath
from crashmatrix.scenarios.systems.loading import Target
from crashmatrix.scenarios.target.journal import Promises
from tests.scenarios.kill.test_experiment import run

pytestmark = pytest.mark.experiment


def test_a_fault_that_did_not_fire_is_unknown() -> None:
    """A hit of the undisturbed run that does not come again is unknown, never safe."""
    missed = next(result for result in run("FiresOnce").ordered() if result.point == "toy.put.between_halves")
    assert missed.verdict is Verdict.UNKNOWN
    assert "not in the next" in missed.explanation


def test_fewer_hits_are_left_out() -> None:
    """Hits of a failpoint that came in one run and not in the next are left out, and counted, where others came in both."""
    experiment = run("FiresLess")
    results = [result for result in experiment.ordered() if result.depth == 0]
    assert [result.hit for result in results if result.point == "toy.put.between_halves"] == [1]
    assert {result.verdict for result in results} == {Verdict.SAFE}
    assert "2 hits of one run of the workload did not come again in the next" in experiment.details["notes"]


def test_crashes_during_recovery_are_found() -> None:
    """A recovery that is safe only if it is not interrupted is found out by interrupting it."""
    results = run("ForgetsOnRecovery").ordered()
    assert {result.depth for result in results if result.verdict is Verdict.LOSES} == {1, 2}


@pytest.mark.parametrize("seed", range(3))
def test_recovery_is_followed_to_each_failpoint(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where recovery is followed from few states, a failpoint that it passes in one other state only is crashed at, too."""
    monkeypatch.setattr("crashmatrix.scenarios.kill.plan.FOLLOWED_MIN", 1)
    experiment = run("ForgetsSeldom", budget=25, seed=seed)
    found = [result for result in experiment.ordered() if result.verdict is Verdict.LOSES]
    assert {result.point for result in found if result.depth == 1} == {"toy.recover.seldom"}
    assert len([result for result in experiment.ordered() if result.depth == 0]) == 25, "each state has one verdict"
    assert any("was crashed from 1 of " in note for note in experiment.details["notes"])


def test_a_second_judgement_that_is_worse_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    """A state is judged once more to follow its recovery: if that breaks a promise then, each scenario that left it has."""
    monkeypatch.setattr("crashmatrix.scenarios.kill.exploring.followed", lambda *_: ({(("a", 1),)}, "some"))
    states: dict[CrashPath, CrashState] = {
        ((name, 1),): CrashState(Tree(((name[0], Entry("file", 0o600)),)), Promises()) for name in ("a", "b", "b2")
    }
    checker: Any = SimpleNamespace(target=Target("toy"))
    exploration = KillExploration(checker, ExperimentOptions(budget=1), states=dict(states))
    judgements = {
        "a": [Checked(Verdict.SAFE)],
        "b": [Checked(Verdict.SAFE, passed=("x",)), Checked(Verdict.LOSES, "gone")],
    }

    def judge_level(level: dict[CrashPath, CrashState], **_: object) -> list[tuple[CrashPath, CrashState, Checked]]:
        found = {state.key: (path, state) for path, state in reversed(level.items())}
        first = [(path, state) for key, (path, state) in found.items() if key not in exploration.checked]
        for path, state in first:
            exploration.checked[state.key] = judgements[path[0][0][0]].pop(0)
        for path, state in level.items():
            if path not in exploration.results:
                exploration.report(path, exploration.checked[state.key], state)
        return [(path, state, exploration.checked[state.key]) for path, state in first]

    monkeypatch.setattr(exploration, "judge_level", judge_level)
    exploration._judge_and_follow(0, states)
    verdicts = {result.point: (result.verdict, result.explanation) for result in exploration.results.values()}
    assert verdicts == {"a": (Verdict.SAFE, ""), "b": (Verdict.LOSES, "gone"), "b2": (Verdict.LOSES, "gone")}


def test_every_hit_is_a_scenario() -> None:
    """Each hit of each failpoint, journal positions and the end among them, is crashed at exactly once."""
    results = [result for result in run("Store").ordered() if result.depth == 0]
    points = [(result.point, result.hit) for result in results]
    assert len(points) == len(set(points)) == 4 * 6 + 1
    assert points[-1] == ("workload.end", 1)
    assert results[0].fault == "journal.after_attempt=kill"
    assert results[5].fault == "toy.put.before_write=1*off->kill"
