"""A trial's judgement of a remedy, from the states broken with it and without. `campaign/test_explain.py` has whole trials."""

from __future__ import annotations

import pytest

from crashmatrix.scenarios.power.explain.trials import STATES_TRIED, Trial, Trials
from crashmatrix.scenarios.recorded.remedies import BEFORE_ACK, Remedy

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


@pytest.mark.parametrize(
    ("judged", "seconds", "states"),
    [(0, 0.0, STATES_TRIED), (100, 100.0, STATES_TRIED), (100, 2.0, 150), (1000, 1.0, 300)],
)
def test_affordable(judged: int, seconds: float, states: int) -> None:
    """A trial judges as many states as take three seconds, within bounds."""
    assert Trials.affordable(judged, seconds) == states
