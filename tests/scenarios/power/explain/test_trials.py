"""A trial's judgement of a remedy, from the states broken with it and without. `campaign/test_explain.py` has whole trials."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest

from crashmatrix.reports import Verdict
from crashmatrix.scenarios.power.explain.trials import STATES_TRIED, Trial, Trials
from crashmatrix.scenarios.power.judge_pool import JudgeShare
from crashmatrix.scenarios.processes.jobs import Jobs
from crashmatrix.scenarios.processes.result import Returned
from crashmatrix.scenarios.recorded.recording import Recording
from crashmatrix.scenarios.recorded.remedies import BEFORE_ACK, Remedy
from crashmatrix.scenarios.recorded.restarts import KillPoint
from crashmatrix.scenarios.recorded.state_verdict import Judged
from crashmatrix.scenarios.systems.loading import Target

REMEDY = Remedy(BEFORE_ACK, ("log",))


NOT_SHOWN = "Recorded again, this did not show in 80 crash states: whether it helps is not known."
NOTHING_TO_SYNC = "It could not be tried: the harness found nothing to sync, or the program writes its journal itself."
NONE_BROKEN = "It could not be tried: recorded again without it, none of 80 crash states was broken."


def figures(broken: int, judged: int = 80, how: str = "") -> str:
    return f"Recorded again with it: {broken} of {judged} crash states broken{how}; without it: 20 of 80."


TRIALS = [
    (Trial(REMEDY, 9, 0, 80, 20, 80), True, False, figures(0)),
    (Trial(REMEDY, 9, 0, 80, 20, 80, in_any_way=True), True, False, figures(0, how=" in any way")),
    (Trial(REMEDY, 9, 10, 80, 20, 80), False, True, figures(10)),
    (Trial(REMEDY, 9, 11, 80, 20, 80), False, False, figures(11)),
    (Trial(REMEDY, 9, 10, 40, 20, 80), False, False, figures(10, 40)),
    (Trial(REMEDY, 9, 4, 80, 20, 80, in_any_way=True), None, False, NOT_SHOWN),
    (Trial(REMEDY, 9, 0, 0, 20, 80), None, False, NOT_SHOWN),
    (Trial(REMEDY, 0, 20, 80, 20, 80), None, False, NOTHING_TO_SYNC),
    (Trial(REMEDY, 1, 0, 0, 0, 80), None, False, NONE_BROKEN),
]


@pytest.mark.parametrize(("trial", "helps", "eases", "text"), TRIALS)
def test_trial(trial: Trial, helps: bool | None, eases: bool, text: str) -> None:
    """A remedy helps if no state breaks with it. It eases if at most half as many break. Otherwise it is refuted, or open."""
    assert (trial.helps, trial.eases, trial.text) == (helps, eases, text)


def test_each_place_of_a_kill_is_tried(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another place of the kill is another recording, and one that ended before its place of the kill says nothing."""
    made: list[Recording] = []

    def record(_: Any, __: Any, ___: Any, recording: Recording, *notes: int) -> Returned[Any]:
        if notes:
            return Returned([])
        made.append(recording)
        return Returned(replace(recording, killed=None if recording.remedy else recording.killed))

    def judge(_: Any, __: Any, task: JudgeShare, judged: Callable[[Judged], None]) -> None:
        judged(Judged("5-none", Verdict.LOSES if not task.recording.remedy else Verdict.SAFE, "gone"))

    monkeypatch.setattr("crashmatrix.scenarios.power.explain.trials.run_recorder", record)
    monkeypatch.setattr("crashmatrix.scenarios.power.explain.trials.judge_together", judge)
    monkeypatch.setattr("crashmatrix.scenarios.power.explain.trials.syncs_made", lambda _: 3)
    trials = Trials(cast("Jobs", None), cast("Target", None), tmp_path, 1)
    likes = [Recording(f"restart{at}", "ext4", "none", 0, tmp_path / "t", killed=KillPoint(at, 1)) for at in (1, 2)]
    found = [trials.first_that_helps(like, "none of this run", [REMEDY], 0) for like in likes]
    assert [(each.judged, each.helps) for each in found if each] == [(0, None), (0, None)]
    assert {recording.killed for recording in made} == {KillPoint(1, 1), KillPoint(2, 1)}


@pytest.mark.parametrize(
    ("judged", "seconds", "states"),
    [(0, 0.0, STATES_TRIED), (100, 100.0, STATES_TRIED), (100, 2.0, 150), (1000, 1.0, 300)],
)
def test_affordable(judged: int, seconds: float, states: int) -> None:
    """A trial judges as many states as take three seconds, within bounds."""
    assert Trials.affordable(judged, seconds) == states
