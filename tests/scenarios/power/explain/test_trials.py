"""A trial's judgement of a remedy, from the states broken with it and without. `campaign/test_explain.py` has whole trials."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from math import inf
from pathlib import Path
from typing import Any, cast

import pytest

from crashmatrix.reports import Verdict
from crashmatrix.reports.findings import finding_id
from crashmatrix.scenarios.power.explain.trials import STATES_TRIED, Trial, Trials
from crashmatrix.scenarios.power.judge_pool import JudgeShare
from crashmatrix.scenarios.power.results import result_of
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


def by_chance(broken: int, judged: int, broken_without: int, judged_without: int, how: str = "") -> str:
    text = figures(broken, judged, how).replace("20 of 80", f"{broken_without} of {judged_without}")
    return f"{text} This may be chance: whether it helps is not known."


TRIALS = [
    (Trial(REMEDY, 9, 0, 80, 20, 80), True, False, figures(0)),
    (Trial(REMEDY, 9, 0, 80, 20, 80, in_any_way=True), True, False, figures(0, how=" in any way")),
    (Trial(REMEDY, 9, 10, 80, 20, 80), False, True, figures(10)),
    (Trial(REMEDY, 9, 11, 80, 20, 80), False, False, figures(11)),
    (Trial(REMEDY, 9, 0, 48, 1, 37), None, False, by_chance(0, 48, 1, 37)),
    (Trial(REMEDY, 9, 0, 48, 1, 37, in_any_way=True), None, False, by_chance(0, 48, 1, 37, " in any way")),
    (Trial(REMEDY, 9, 1, 32, 3, 37), None, False, by_chance(1, 32, 3, 37)),
    (Trial(REMEDY, 9, 0, 2, 2, 2), None, False, by_chance(0, 2, 2, 2)),
    (Trial(REMEDY, 9, 0, 4, 4, 4), True, False, figures(0, 4).replace("20 of 80", "4 of 4")),
    (Trial(REMEDY, 9, 2, 62, 2, 52), False, False, figures(2, 62).replace("20 of 80", "2 of 52")),
    (Trial(REMEDY, 9, 10, 40, 20, 80), False, False, figures(10, 40)),
    (Trial(REMEDY, 9, 4, 80, 20, 80, in_any_way=True), None, False, NOT_SHOWN),
    (Trial(REMEDY, 9, 0, 0, 20, 80), None, False, NOT_SHOWN),
    (Trial(REMEDY, 0, 20, 80, 20, 80), None, False, NOTHING_TO_SYNC),
    (Trial(REMEDY, 1, 0, 0, 0, 80), None, False, NONE_BROKEN),
]


@pytest.mark.parametrize(("trial", "helps", "eases", "text"), TRIALS)
def test_trial(trial: Trial, helps: bool | None, eases: bool, text: str) -> None:
    """A remedy helps if no state breaks with it. It eases if at most half as many break. Otherwise it is refuted, or open.

    It is open as well if so few states would break by chance, too.
    """
    assert (trial.helps, trial.eases, trial.text) == (helps, eases, text)


@pytest.mark.parametrize(
    ("late", "broken", "recordings", "helps"),
    [(False, (1, 0), 8, True), (True, (1, 0), 4, None), (False, (1, 1), 2, False), (False, (9, 0), 2, True)],
)
def test_few_states_are_recorded_again(
    late: bool,
    broken: tuple[int, int],
    recordings: int,
    helps: bool | None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """While the figures may be chance and there is time, both are recorded again, and once anyway. A refuted sync is refuted.

    If another finding of the kind comes when there is no more time, the recordings made so far show whether the sync helps.
    """
    made: list[Recording] = []

    def record(_: Any, __: Any, ___: Any, recording: Recording, *notes: int) -> Returned[Any]:
        if not notes:
            made.append(recording)
        return Returned([] if notes else recording)

    def judge(_: Any, __: Any, task: JudgeShare, judged: Callable[[Judged], None]) -> None:
        few = broken[1] if task.recording.remedy else broken[0]
        for state in range(max(2, *broken)):
            judged(Judged(f"{state}-none", Verdict.LOSES if state < few else Verdict.SAFE, "gone"))

    monkeypatch.setattr("crashmatrix.scenarios.power.explain.trials.run_recorder", record)
    monkeypatch.setattr("crashmatrix.scenarios.power.explain.trials.judge_together", judge)
    monkeypatch.setattr("crashmatrix.scenarios.power.explain.trials.syncs_made", lambda _: 3)
    trials = Trials(cast("Jobs", None), cast("Target", None), tmp_path, 1, until=0.0 if late else inf)
    like = Recording("run", "ext4", "none", 0, tmp_path / "t")
    finding = finding_id(result_of(like, Judged("0-none", Verdict.LOSES, "gone")))
    trial = trials.first_that_helps(like, finding, [REMEDY], 0)
    assert trial is not None
    assert (trial.helps, len(made)) == (helps, recordings)
    known = trials.known(replace(like, name="another"), finding, [replace(REMEDY, paths=("./",)), REMEDY])
    assert bool(known) is (broken == (9, 0))
    assert bool(trials.known(like, "none of this run", [REMEDY])) is bool(known)
    assert len(made) == recordings


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
