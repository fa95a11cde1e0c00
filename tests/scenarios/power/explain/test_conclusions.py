"""A finding's cause and suggestion, given the result of its trial."""

from __future__ import annotations

from dataclasses import replace

import pytest

from crashmatrix.scenarios.power.explain.causes import Cause, Suspect, cause_of_restart
from crashmatrix.scenarios.power.explain.conclusions import cause_with, sentences_with, suggestion_with
from crashmatrix.scenarios.power.explain.explain import Explanation
from crashmatrix.scenarios.power.explain.trials import Trial
from crashmatrix.scenarios.recorded.remedies import BEFORE_ACK, Remedy

LOG, FOLDER = Remedy(BEFORE_ACK, ("log",)), Remedy(BEFORE_ACK, ("./",))
ONE = Cause("no fsync of log", "", (Suspect("no fsync of log", LOG),))
TWO = Cause("no fsync of log; and 1 more", "", (Suspect("no fsync of log", LOG), Suspect("no fsync of ./", FOLDER)))
STEP = Cause("no fsync of log", "", (Suspect("no fsync of log", LOG),), otherwise="this step")
NONE = Cause("a second recovery differs")
HELPS, EASES = Trial(FOLDER, 9, 0, 80, 20, 80), Trial(FOLDER, 9, 10, 80, 20, 80)
REFUTED, UNTRIED = Trial(LOG, 9, 4, 89, 4, 89), Trial(LOG, 0, 4, 89, 4, 89)
BY_CHANCE = Trial(FOLDER, 9, 0, 48, 1, 37)
TRY_LOG, TRY_FOLDER = f"Try {LOG.text}.", f"Try {FOLDER.text}."


@pytest.mark.parametrize(
    ("cause", "trial", "concluded", "suggestion"),
    [
        (NONE, None, "a second recovery differs", ""),
        (ONE, None, "no fsync of log", TRY_LOG),
        (TWO, None, "no fsync of log; and 1 more", TRY_LOG),
        (TWO, HELPS, "no fsync of ./", f"{TRY_FOLDER} {HELPS.text}"),
        (TWO, EASES, "among other things: no fsync of ./", f"{TRY_FOLDER} {EASES.text}"),
        (TWO, BY_CHANCE, "perhaps: no fsync of ./", f"{TRY_FOLDER} {BY_CHANCE.text}"),
        (STEP, replace(BY_CHANCE, remedy=LOG), "this step", f"{TRY_LOG} {BY_CHANCE.text}"),
        (ONE, REFUTED, "not confirmed: no fsync of log", ""),
        (TWO, REFUTED, "not confirmed: no fsync of log; and 1 more", ""),
        (ONE, UNTRIED, "no fsync of log", f"{TRY_LOG} {UNTRIED.text}"),
        (TWO, UNTRIED, "not confirmed: no fsync of log; and 1 more", f"{TRY_LOG} {UNTRIED.text}"),
        (STEP, REFUTED, "this step", ""),
        (STEP, Trial(LOG, 9, 0, 80, 20, 80), "no fsync of log", f"{TRY_LOG} {Trial(LOG, 9, 0, 80, 20, 80).text}"),
    ],
)
def test_conclusions(cause: Cause, trial: Trial | None, concluded: str, suggestion: str) -> None:
    """The sync that helped is the cause; one that was refuted is not suggested, and the explanation says that it was tried."""
    found = Explanation("5-none", 1, ("Why.",), cause, (), (), 0)
    assert cause_with(found, trial) == concluded
    assert suggestion_with(found, trial) == suggestion
    refuted = ("Why.", f"It did not help to add {LOG.text}. {REFUTED.text}")
    assert sentences_with(found, trial) == (refuted if trial is REFUTED else ("Why.",))


def test_a_supposition_about_recovery_is_dropped() -> None:
    """Recovery is said to have read what the disk never had until a sync of everything before it did not help."""
    cause = cause_of_restart()
    (suspect,) = cause.suspects
    found = Explanation("5-none", 1, ("Where.", cause.because), cause, (), (), 0)
    helps, refuted = Trial(suspect.remedy, 9, 0, 80, 20, 80), Trial(suspect.remedy, 9, 4, 89, 4, 89)
    assert sentences_with(found, helps) == sentences_with(found, None) == ("Where.", cause.because)
    assert sentences_with(found, refuted) == ("Where.", f"It did not help to add {suspect.remedy.text}. {refuted.text}")
    assert cause_with(found, refuted) == f"not confirmed: {cause.cause}"
    untried = Trial(suspect.remedy, 0, 4, 89, 4, 89)
    assert cause_with(found, helps) == cause.cause
    assert cause_with(found, None) == cause_with(found, untried) == f"perhaps: {cause.cause}"
    known = replace(cause, refuted=("a torn write", "Recovery must cope."))
    found = Explanation("5-none", 1, ("Where.", cause.because), known, (), (), 0)
    assert cause_with(found, refuted) == "a torn write"
    assert cause_with(found, helps) == cause.cause
    assert sentences_with(found, refuted)[:2] == ("Where.", "Recovery must cope.")
