"""A real SIGKILL leaves what the snapshot shows, or the scenario is unknown."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

import pytest

from crashmatrix.reports import Verdict
from crashmatrix.scenarios.judging.checker import Checked, CrashState
from crashmatrix.scenarios.judging.tree import Tree
from crashmatrix.scenarios.kill.real_kills import crash
from tests.scenarios.kill.test_experiment import run


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


def test_random_names_are_compared_by_verdict_only() -> None:
    """A system whose runs never write the same bytes is still judged, and the report says how."""
    experiment = run("Random", seed=random.Random(1).randrange(100))
    assert any("different folders" in note for note in experiment.details["notes"])
