"""The conclusion of a finding: its cause, suggestion and explanation, given the trial of its remedy, if any.

the sync helps            it is the cause, and suggested with its figures
it eases                  it is the cause among other things, and suggested with its figures
it may help by chance     perhaps it is the cause; suggested, with its figures
it was refuted            the cause is not confirmed; nothing is suggested, the explanation says that it was tried. It does
                          not say that recovery read what the disk never had, which was only supposed. If the lost changes show
                          what is wrong without that, they are the cause
it could not be tried     the likeliest cause; suggested, with the reason why it was not tried. A recovery is perhaps the cause
"""

from __future__ import annotations

from crashmatrix.scenarios.judging.words import NOT_CONFIRMED
from crashmatrix.scenarios.power.explain.explain import Explanation
from crashmatrix.scenarios.power.explain.trials import Trial
from crashmatrix.scenarios.recorded.remedies import BEFORE_RECOVERY

__all__ = ["cause_with", "sentences_with", "suggestion_with"]


def cause_with(found: Explanation, trial: Trial | None) -> str:
    """Return the cause: the missing sync that helped, if one did."""
    causes = {suspect.remedy: suspect.cause for suspect in reversed(found.cause.every)}
    if trial and trial.helps:
        return causes[trial.remedy]
    if found.cause.otherwise:
        return found.cause.otherwise
    if trial and trial.eases:
        return f"among other things: {causes[trial.remedy]}"
    if trial and trial.perhaps_by_chance:
        return f"perhaps: {causes[trial.remedy]}"
    if _refuted(trial) and found.cause.refuted[0]:
        return found.cause.refuted[0]
    cause = found.cause.cause
    if cause and trial and (trial.helps is False or len(found.cause.suspects) > 1):
        return f"{NOT_CONFIRMED}{cause}"
    return f"perhaps: {cause}" if _is_supposed(found) else cause


def suggestion_with(found: Explanation, trial: Trial | None) -> str:
    """Return what to try, with the figures of the trial; empty if there is nothing, or if the trial refuted it."""
    if _refuted(trial):
        return ""
    remedy = trial.remedy if trial else next((suspect.remedy for suspect in found.cause.suspects), None)
    if remedy is None:
        return ""
    return f"Try {remedy.text}.{f' {trial.text}' if trial else ''}"


def sentences_with(found: Explanation, trial: Trial | None) -> tuple[str, ...]:
    """Return the explanation; one that a trial refuted says so, and what was only supposed of a recovery is left out then."""
    if trial is None or not _refuted(trial):
        return found.explanation
    facts = [each for each in found.explanation if not (_is_supposed(found) and each == found.cause.because)]
    known = [each for each in found.cause.refuted[1:] if each]
    return (*facts, *known, f"It did not help to add {trial.remedy.text}. {trial.text}")


def _is_supposed(found: Explanation) -> bool:
    """Whether recovery is suspected only because the process was restarted, not because of what was lost."""
    return any(suspect.remedy.before == BEFORE_RECOVERY for suspect in found.cause.suspects)


def _refuted(trial: Trial | None) -> bool:
    return trial is not None and trial.helps is False and not trial.eases
