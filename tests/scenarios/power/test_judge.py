"""One judge, one trace: what it spares itself changes no verdict."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path

import pytest

from crashmatrix.faults.disk import CrashImages, CrashState, CrashStates, Flush, Write
from crashmatrix.faults.disk.block.base import BaseDisk
from crashmatrix.faults.disk.block.ext4.layout import Ext4Layout
from crashmatrix.faults.disk.block.sectors import content
from crashmatrix.faults.disk.state import StateNames
from crashmatrix.reports import Verdict
from crashmatrix.scenarios.campaign.plan import Plan
from crashmatrix.scenarios.campaign.workbench import workbench
from crashmatrix.scenarios.power import judge as power_judge
from crashmatrix.scenarios.power.prediction import FORETOLD_TO_MOUNTED, WRONG, Prediction
from crashmatrix.scenarios.power.recording import Recording
from crashmatrix.scenarios.power.schedule import Recordings
from crashmatrix.scenarios.power.state_verdict import Judged, Share
from crashmatrix.scenarios.processes.jobs import Channel
from crashmatrix.scenarios.systems.loading import Target

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


class RightAtFirst:
    """Outcomes that are right when asked so often, and then all the same."""

    def __init__(self, right: StateNames, times: int) -> None:
        self._right, self._times = right, times

    def of(self, state: CrashState, /) -> int:
        self._times -= 1
        return self._right.of(state) if self._times >= 0 else 0


class AllDifferent:
    """Outcomes by which nothing is ever predicted."""

    def __init__(self) -> None:
        self._numbers = itertools.count()

    def of(self, _: CrashState, /) -> int:
        return next(self._numbers)


def judge_prediction(_: Channel, target: Target, recording: Recording, kind: str) -> tuple[list[Judged], Share, int]:
    trace = power_judge._trace_of(recording)
    with power_judge._Judge(target, recording, trace) as judge:
        if kind == "none":
            judge._prediction = Prediction(AllDifferent())
        elif kind == "misleading":
            judge._prediction = Prediction(RightAtFirst(judge._states.outcomes, 75))
        return list(judge.all(0, 1, 300)), judge.share, judge._prediction.count


@pytest.mark.usefixtures("disk")
def test_a_folder_that_is_predicted_need_not_be_mounted(tmp_path: Path) -> None:
    """It spares most mounts, and changes no verdict; what is predicted wrongly is found out, and never safe."""
    with workbench(Plan(target=f"{TOYS}:Unsynced", report=tmp_path / "report")) as (checker, _):
        recording = Recordings(checker.jobs, checker.target, checker.folder(), 1, []).record("ext4", "mixed")
        ended = [
            checker.jobs.run(judge_prediction, checker.target, recording, kind, seconds_max=60.0)
            for kind in ("right", "none", "misleading")
        ]
    assert all(each.returned for each in ended), ended
    (predicted, share, count), (mounted, all_of_them, _), (wrong, _, misled) = (each.value for each in ended)
    truth = {each.state: each for each in mounted}
    assert {each.state: each for each in predicted} == truth
    assert any(each.verdict is Verdict.LOSES for each in predicted)
    assert share.mounted < 0.6 * all_of_them.mounted
    confirmed = sum(each.verdict.broken for each in predicted)
    looked_at = share.judged + confirmed + 1  # The clean end is not counted.
    assert share.mounted == looked_at - count + count // FORETOLD_TO_MOUNTED
    found_out = [each for each in wrong if WRONG in each.explanation]
    assert [each.verdict for each in found_out] == [Verdict.UNKNOWN]
    assert len(wrong) - len(truth) >= 0.9 * misled > 10  # What was predicted until then was judged once more.
    assert {each.state: each for each in wrong} == {**truth, found_out[0].state: found_out[0]}


def judge_damaged(_: Channel, target: Target, recording: Recording) -> Judged:
    """Judge what is left of an orderly end while the inode of a file in it is damaged."""
    trace = power_judge._trace_of(recording)
    clean = CrashStates(trace).clean
    with CrashImages(trace) as images, images.mounted(clean) as root:
        number = min(path.stat().st_ino for path in root.iterdir())
    layout = Ext4Layout.read(BaseDisk(trace).block)
    assert layout
    place = (layout._tables[0] * 4096 + (number - 1) * 256) // 512 * 512
    runs = [(at, data) for at, data in content(trace, clean) if at <= place < at + len(data)]
    whole = bytes(runs[-1][1][place - runs[-1][0] :][:512])
    damage, repair = Write(place, b"damaged." * 64), Write(place, whole)
    damaged = replace(trace, operations=(*trace.operations, Flush(), damage, Flush(), repair))
    with power_judge._Judge(target, recording, damaged) as judge:
        return judge.judge(CrashState.whole(damaged, len(trace.operations) + 2))


@pytest.mark.usefixtures("disk")
def test_a_folder_that_cannot_be_read_is_the_filesystems_loss(tmp_path: Path) -> None:
    with workbench(Plan(target=f"{TOYS}:Synced", report=tmp_path / "report")) as (checker, _):
        recording = Recordings(checker.jobs, checker.target, checker.folder(), 1, []).record("ext4", "none")
        ended = checker.jobs.run(judge_damaged, checker.target, recording, seconds_max=60.0)
    assert ended.returned, ended
    assert ended.value.verdict is Verdict.UNMOUNTABLE
    assert "reading ROOT/" in ended.value.explanation
