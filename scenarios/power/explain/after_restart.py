"""A finding that shows after a restart, beside those of the same run that need no restart.

After a restart, a missing sync breaks promises as before, and recovery may have built upon data that only the page cache had. A
sync of everything before recovery hides both. So the syncs that helped elsewhere in the run are tried first, on the workload that
is killed and restarted:

    one of them helps     that sync was missing, and recovery is not to blame. The finding is the other one if, besides, it breaks
                          the same promise in the same words, and lost something of the same files, as far as that is known
    none of them helps    recovery is suspected, and everything is synced before it (`causes.cause_of_restart`)

If neither of the two helps, and crash states without a restart break the same promise in the same words, it may be their bug.

Where a recorded second life breaks a promise in the words of a finding in the first life, it may be that bug, too.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from crashmatrix.reports import Finding, ScenarioResult
from crashmatrix.reports.findings import finding_id
from crashmatrix.scenarios.judging import second_life
from crashmatrix.scenarios.judging.words import NOT_CONFIRMED, counted
from crashmatrix.scenarios.power.explain.causes import Suspect
from crashmatrix.scenarios.power.explain.explain import Explanation
from crashmatrix.scenarios.power.explain.trials import Trial
from crashmatrix.scenarios.power.results import circumstances
from crashmatrix.scenarios.recorded.recording import Recording
from crashmatrix.scenarios.recorded.remedies import BEFORE_RECOVERY, Remedy

__all__ = [
    "Explained",
    "as_one",
    "as_without_restart",
    "id_without_restart",
    "in_both_lives",
    "is_another",
    "not_recovery",
    "others_first",
    "tried_with_others",
    "with_others",
]

_OTHERS_MAX = 3
_MARK = "\0"


@dataclass(frozen=True)
class Explained:
    """A finding with its explanation, the recording that it was explained from, and the trial of its remedy."""

    finding: Finding
    recording: Recording
    told: Explanation
    trial: Trial | None = None
    plain: str = ""
    """The id that it would have without the restart; empty if it shows without one."""

    @property
    def suspect(self) -> Suspect | None:
        """The missing sync, if it was confirmed on states that show this finding."""
        if not (self.trial and self.trial.helps and not self.trial.in_any_way):
            return None
        return Suspect(self.finding.cause, self.trial.remedy)


def id_without_restart(recording: Recording, results: Sequence[ScenarioResult]) -> str:
    """Return the id that a finding would have if there had been one life and no kill before; empty if there was just that."""
    if not recording.resumed and (not recording.killed or recording.of):
        return ""
    prefix = circumstances(recording, _MARK).removesuffix(_MARK)
    mine = next((each for each in results if each.explanation.startswith(prefix)), None)
    return finding_id(replace(mine, explanation=mine.explanation.removeprefix(prefix))) if mine else ""


def others_first(plain: str, recording: Recording, told: Explanation, others: Sequence[Explained]) -> list[Suspect]:
    """Return the missing syncs that explain other findings on the filesystem: first those of the same broken promise.

    None if recovery is not suspected: then a sync of everything before it is not tried either.
    """
    if not plain or all(suspect.remedy.before != BEFORE_RECOVERY for suspect in told.cause.suspects):
        return []
    near = sorted(others, key=lambda other: other.finding.id != plain)
    found = [other.suspect for other in near if other.recording.filesystem == recording.filesystem and not other.plain]
    distinct = {suspect.remedy: suspect for suspect in reversed(found) if suspect}
    return list(reversed(distinct.values()))[:_OTHERS_MAX]


def with_others(told: Explanation, suspects: Sequence[Suspect]) -> Explanation:
    """Return an explanation whose first suspects are those of other findings."""
    return replace(told, cause=replace(told.cause, suspects=(*suspects, *told.cause.suspects)))


def tried_with_others(
    plain: str,
    recording: Recording,
    told: Explanation,
    others: Sequence[Explained],
    first_that_helps: Callable[[Sequence[Remedy]], Trial | None],
) -> tuple[Explanation, Trial | None]:
    """Try the syncs that helped elsewhere, then the finding's own; returns what was suspected, and the trial.

    A sync that another broken promise lacks is suspected here only if the trial confirms it.
    """

    def tried(some: Sequence[Suspect]) -> tuple[Explanation, Trial | None]:
        suspected = with_others(told, some)
        trial = first_that_helps([suspect.remedy for suspect in suspected.cause.every])
        return suspected if trial else told, trial

    every = others_first(plain, recording, told, others)
    same = others_first(plain, recording, told, [other for other in others if other.finding.id == plain])
    found = tried(every)
    return found if same == every or (found[1] and found[1].helps) else tried(same)


def is_another(found: Explained, others: Sequence[Explained]) -> tuple[Explained | None, bool]:
    """Return the finding whose sync helps against this one, too, which shows after a restart; and whether the two are one."""
    if not found.plain or not (found.trial and found.trial.helps):
        return None, False
    same = [other for other in others if other.suspect and other.suspect.remedy == found.trial.remedy]
    near = sorted(same, key=lambda other: other.finding.id != found.plain)
    if not near:
        return None, False
    one = near[0]
    words = one.finding.id == found.plain and not found.trial.in_any_way
    return one, words and found.told.files <= one.told.files


def as_one(other: Explained, again: Explained) -> Finding:
    """Return a finding that counts the states which show it after a restart, and says so."""
    known, more = other.finding, again.finding
    assert again.trial is not None
    said = (
        f"It shows without a restart in {counted(known.count, 'crash state')}, and after the process was killed and restarted in "
        f"{more.count:,} more. The sync suggested here helps there, too. {again.trial.text}"
    )
    return replace(
        known, count=known.count + more.count, explanation=(*known.explanation, said), also=(*known.also, more.id)
    )


def as_without_restart(again: Explained, first: Finding) -> Finding:
    """Return a finding after a restart that refers to one without, if the sync that was tried for it did not help."""
    if not again.finding.cause.startswith(NOT_CONFIRMED):
        return again.finding
    said = (
        f"Without a restart, {counted(first.count, 'crash state')} broke the same promise in the same words. "
        "If this stays once that is fixed, it has another cause."
    )
    known = f": {first.cause}" if first.cause and not first.cause.startswith(NOT_CONFIRMED) else ""
    cause = f"perhaps as without a restart{known}"
    return replace(again.finding, cause=cause, explanation=(*again.finding.explanation, said))


def in_both_lives(again: Finding, first: Finding) -> Finding:
    """Return a finding in a second life which says that the same promise is broken in the first one, perhaps by the same bug."""
    told = tuple(each for each in again.explanation if each != second_life.CAUSE[1])
    said = (
        f"In the first life, {counted(first.count, 'crash state')} broke the same promise in the same words. "
        "If this stays once that is fixed, look at how the system goes on from what recovery left."
    )
    cause = f"perhaps as in the first life: {first.cause}" if first.cause else ""
    return replace(again, cause=cause, explanation=(*told, said))


def not_recovery(again: Finding, other: Finding) -> Finding:
    """Return a finding after a restart which says that another finding's sync helps against it, too."""
    said = f"The sync suggested here helps against a finding that needs no restart ({other.title}). So recovery is not to blame."
    return replace(again, explanation=(*again.explanation, said))
