"""One judge, one trace: what it spares itself changes no verdict."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from faults.disk import CrashState
from reports import Verdict
from scenarios import power_judge
from scenarios.campaign import Plan, workbench
from scenarios.jobs import Channel
from scenarios.power_account import Judged, Share
from scenarios.power_record import Recording
from scenarios.recordings import Recordings
from scenarios.system import Target

TOYS = "tests.scenarios.toy_systems"


def judged(target: str, report: Path, verified: frozenset[int]) -> list[Judged]:
    """All that one judge says of a recording on the weakest filesystem."""
    with workbench(Plan(target=target, report=report)) as (checker, _):
        recording = Recordings(checker.jobs, checker.target, checker.folder(), 0, []).record("posix", "none")
        job = checker.jobs.start(power_judge.judge, checker.target, recording, 0, 1, 200, verified, seconds_max=60.0)
        found = []
        while (message := job.next_message()) is not None:
            found.append(message)
        assert job.ended is not None and job.ended.returned, job.ended
    return found


@pytest.mark.parametrize("verified", [frozenset(), frozenset(range(100))], ids=["verifies", "spares itself that"])
def test_a_folder_met_before_is_judged_by_what_was_promised_since(verified: frozenset[int], tmp_path: Path) -> None:
    """One folder, recovered once, keeps the promises made by the first cut and breaks those made by the last."""
    found = judged(f"{TOYS}:Unsynced", tmp_path / "report", verified)
    safe = {one.digest: one for one in found if one.verdict is Verdict.SAFE}
    broken = [one for one in found if one.verdict is Verdict.LOSES]
    again = [one for one in broken if one.digest in safe]
    assert again
    assert all(one.events > safe[one.digest].events for one in again)


class Outcomes:
    """Says of every state that it becomes a folder like no other's, or the same as all."""

    def __init__(self, *, all_the_same: bool) -> None:
        self._numbers = itertools.repeat(0) if all_the_same else itertools.count()

    def of(self, _: CrashState, /) -> int:
        return next(self._numbers)


def judge_foretelling(
    _: Channel, target: Target, recording: Recording, outcomes: Outcomes | None
) -> tuple[list[Judged], Share]:
    trace = power_judge._trace_of(recording)
    with power_judge._Judge(target, recording, trace) as judge:
        if outcomes:
            vars(judge._states)["outcomes"] = outcomes
        return list(judge.all(0, 1, 300)), judge.share


@pytest.mark.usefixtures("disk")
def test_a_folder_that_is_foretold_need_not_be_mounted(tmp_path: Path) -> None:
    """It spares most mounts, and changes no verdict; what is foretold wrongly is found out, and never safe."""
    with workbench(Plan(target=f"{TOYS}:Unsynced", report=tmp_path / "report")) as (checker, _):
        recording = Recordings(checker.jobs, checker.target, checker.folder(), 1, []).record("ext4", "mixed")
        ended = [
            checker.jobs.run(judge_foretelling, checker.target, recording, outcomes, seconds_max=60.0)
            for outcomes in (None, Outcomes(all_the_same=False), Outcomes(all_the_same=True))
        ]
    assert all(each.returned for each in ended), ended
    (foretold, share), (mounted, all_of_them), (wrong, _) = (each.value for each in ended)
    assert {each.state: each for each in foretold} == {each.state: each for each in mounted}
    assert any(each.verdict is Verdict.LOSES for each in foretold)
    assert share.mounted < 0.6 * all_of_them.mounted
    confirmed = sum(
        each.verdict.broken for each in foretold
    )  # What is broken is looked at twice, and one is the clean end.
    looked_at = share.judged + 1 + confirmed
    assert share.mounted == looked_at - share.foretold + share.foretold // power_judge._FORETOLD_TO_MOUNTED
    assert {each.verdict for each in wrong if "another folder than was foretold" in each.explanation} == {
        Verdict.UNKNOWN
    }
