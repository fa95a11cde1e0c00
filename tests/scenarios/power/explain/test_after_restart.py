"""A finding after a restart is another one, or has its cause, only where that can be shown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from crashmatrix.reports import Finding, Verdict
from crashmatrix.reports.findings import finding_id
from crashmatrix.scenarios.judging import second_life
from crashmatrix.scenarios.power.explain.after_restart import (
    Explained,
    as_one,
    as_without_restart,
    id_without_restart,
    in_both_lives,
    is_another,
    not_recovery,
    others_first,
    tried_with_others,
    with_others,
)
from crashmatrix.scenarios.power.explain.causes import Cause, Suspect, cause_of_restart
from crashmatrix.scenarios.power.explain.explain import Explanation
from crashmatrix.scenarios.power.explain.trials import Trial
from crashmatrix.scenarios.power.results import result_of
from crashmatrix.scenarios.recorded.recording import Recording
from crashmatrix.scenarios.recorded.remedies import BEFORE_ACK, BEFORE_RECOVERY, Remedy
from crashmatrix.scenarios.recorded.restarts import KillPoint
from crashmatrix.scenarios.recorded.state_verdict import Judged

LOG, FOLDER = Remedy(BEFORE_ACK, ("log",)), Remedy(BEFORE_ACK, ("./",))
RUN = Recording("run", "ext4", "none", 0, Path("trace"))
RESTART = replace(RUN, name="restart1", killed=KillPoint(4, 1))
FINDING = Finding(
    id="here", experiment="power", verdict=Verdict.LOSES, title="gone", count=5, example="e", cause="no fsync of log"
)
TOLD = Explanation("5-none", 1, ("Why.",), Cause("no fsync of log", "", (Suspect("no fsync of log", LOG),)), (), (), 0)
AFTER = replace(TOLD, cause=cause_of_restart())
HELPS = Trial(LOG, 9, 0, 80, 20, 80)
ONE = Explained(FINDING, RUN, replace(TOLD, files=frozenset({"log"})), HELPS)
AGAIN = Explained(
    replace(FINDING, id="again", count=2),
    RESTART,
    replace(AFTER, files=frozenset({"log"})),
    Trial(LOG, 3, 0, 8, 4, 8),
    "here",
)


def test_id_without_restart() -> None:
    """It is the id that the same broken promise has where nothing was restarted; there is none for other recordings."""
    judged = Judged("5-none", Verdict.LOSES, "acknowledged, but gone: 1")
    results = [result_of(replace(RESTART, killed=KillPoint(9, 1)), judged), result_of(RESTART, judged)]
    assert id_without_restart(RESTART, results) == id_of(RUN, judged) != id_of(RESTART, judged)
    assert id_without_restart(RUN, [result_of(RUN, judged)]) == ""
    assert id_without_restart(replace(RESTART, of=("run", "5-none")), results) == ""


def test_id_of_a_second_life() -> None:
    """It is the id that the same broken promise has in a first life."""
    judged = Judged("5-none", Verdict.CANNOT_OPEN, "recovery raised ValueError: bad block 7")
    for recording in (
        replace(RUN, name="run/5-all~resumed", of=("run", "5-all"), resumed="5-all"),
        replace(RUN, name="resumed", killed=KillPoint(4, 1), resumed="kill"),
    ):
        results = [result_of(recording, judged)]
        assert id_without_restart(recording, results) == id_of(RUN, judged) != id_of(recording, judged)


def test_in_both_lives() -> None:
    """A finding in a second life names the cause of the one in the first, and does not blame the second."""
    again = replace(FINDING, id="again", cause=second_life.CAUSE[0], explanation=("Where.", second_life.CAUSE[1]))
    found = in_both_lives(again, FINDING)
    assert found.cause == "perhaps as in the first life: no fsync of log"
    assert found.explanation[0] == "Where." and second_life.CAUSE[1] not in found.explanation
    assert "In the first life, 5 crash states broke the same promise in the same words. If" in found.explanation[1]


@pytest.mark.parametrize(
    ("cause", "first", "referred"),
    [
        ("not confirmed: recovery", "no fsync of log", "perhaps as without a restart: no fsync of log"),
        ("not confirmed: recovery", "not confirmed: no fsync of log", "perhaps as without a restart"),
        ("not confirmed: recovery", "", "perhaps as without a restart"),
        ("recovery built upon what only the page cache had", "no fsync of log", ""),
    ],
)
def test_as_without_restart(cause: str, first: str, referred: str) -> None:
    """If a sync before recovery does not help, the finding refers to the one that needs no restart."""
    again = replace(AGAIN, finding=replace(AGAIN.finding, cause=cause))
    found = as_without_restart(again, replace(FINDING, cause=first))
    assert found.cause == (referred or cause)
    said = "Without a restart, 5 crash states broke the same promise in the same words."
    assert any(each.startswith(said) for each in found.explanation) is bool(referred)


def id_of(recording: Recording, judged: Judged) -> str:
    return finding_id(result_of(recording, judged))


def test_others_first() -> None:
    """Confirmed syncs of findings on the filesystem are tried before recovery is suspected, those of the same promise first."""
    other = Explained(replace(FINDING, id="other", cause="no fsync of ./"), RUN, TOLD, replace(HELPS, remedy=FOLDER))
    suspects = others_first("here", RESTART, AFTER, [other, ONE, AGAIN])
    assert [suspect.cause for suspect in suspects] == ["no fsync of log", "no fsync of ./"]
    tried = [suspect.remedy.before for suspect in with_others(AFTER, suspects).cause.every]
    assert tried == [BEFORE_ACK, BEFORE_ACK, BEFORE_RECOVERY]


@pytest.mark.parametrize(
    ("plain", "broken", "suspected"),
    [
        ("here", 20, ["no fsync of log"]),
        ("elsewhere", 20, ["no fsync of log"]),
        ("here", 1, ["no fsync of log"]),
        ("elsewhere", 1, []),
    ],
)
def test_a_sync_of_another_promise_is_suspected_once_confirmed(plain: str, broken: int, suspected: list[str]) -> None:
    """So few states may be safe by chance with any sync; then only a sync that the same promise lacks is suspected."""

    def first_that_helps(remedies: Sequence[Remedy]) -> Trial:
        return replace(HELPS, remedy=remedies[0], broken_without=broken)

    told, trial = tried_with_others(plain, RESTART, AFTER, [ONE], first_that_helps)
    own = [suspect.cause for suspect in AFTER.cause.every]
    assert [suspect.cause for suspect in told.cause.every] == [*suspected, *own]
    assert trial is not None and trial.remedy == (LOG if suspected else AFTER.cause.every[0].remedy)


@pytest.mark.parametrize(
    ("plain", "recording", "told", "other"),
    [
        ("", RUN, AFTER, ONE),
        ("here", RESTART, TOLD, ONE),
        ("here", replace(RESTART, filesystem="xfs"), AFTER, ONE),
        ("here", RESTART, AFTER, replace(ONE, plain="elsewhere")),
        ("here", RESTART, AFTER, replace(ONE, trial=None)),
        ("here", RESTART, AFTER, replace(ONE, trial=replace(HELPS, broken=1))),
        ("here", RESTART, AFTER, replace(ONE, trial=replace(HELPS, in_any_way=True))),
    ],
)
def test_nothing_to_try(plain: str, recording: Recording, told: Explanation, other: Explained) -> None:
    """Nothing is tried without a restart, where recovery is not suspected, or of findings without a confirmed sync here."""
    assert others_first(plain, recording, told, [other]) == []


@pytest.mark.parametrize(
    ("change", "helps", "one"),
    [
        ({}, True, True),
        ({"told": AFTER}, True, True),
        ({"told": replace(AFTER, files=frozenset({"index"}))}, True, False),
        ({"plain": "another"}, True, False),
        ({"trial": Trial(LOG, 3, 0, 8, 4, 8, in_any_way=True)}, True, False),
        ({"trial": Trial(LOG, 3, 1, 8, 4, 8)}, False, False),
        ({"trial": Trial(Remedy(BEFORE_RECOVERY, ("*",)), 3, 0, 8, 4, 8)}, False, False),
        ({"trial": None}, False, False),
        ({"plain": ""}, False, False),
    ],
)
def test_is_another(change: dict[str, Any], helps: bool, one: bool) -> None:
    """Two are one only with the same words, the same confirmed sync, and no other file that is known to have lost something."""
    assert is_another(replace(AGAIN, **change), [ONE]) == (ONE if helps else None, one)


def test_words() -> None:
    """A finding says that it shows after a restart, too, with counts and trial; or that recovery is not to blame."""
    both = as_one(ONE, AGAIN)
    assert (both.count, both.also, both.id) == (7, ("again",), "here")
    assert both.explanation == (
        "It shows without a restart in 5 crash states, and after the process was killed and restarted in 2 more. The sync "
        "suggested here helps there, too. Recorded again with it: 0 of 8 crash states broken; without it: 4 of 8.",
    )
    assert (
        "against a finding that needs no restart (gone). So recovery is not to blame."
        in not_recovery(AGAIN.finding, ONE.finding).explanation[-1]
    )
