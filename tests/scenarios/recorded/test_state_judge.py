"""A judge of one trace: the work that it skips changes no verdict.

The tests count skipped work on the `posix` filesystem only: its traces hold the system's calls, and no writes of the kernel.
"""

from __future__ import annotations

import errno
import itertools
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path

import pytest

from crashmatrix.faults.disk import CrashImages, CrashState, MountRefused
from crashmatrix.faults.disk.state import StateNames
from crashmatrix.reports import Verdict
from crashmatrix.scenarios.campaign.plan import Plan
from crashmatrix.scenarios.campaign.workbench import workbench
from crashmatrix.scenarios.power.judge import load_alone
from crashmatrix.scenarios.power.schedule import Recordings
from crashmatrix.scenarios.processes.jobs import Channel
from crashmatrix.scenarios.recorded.prediction import MOUNTED_EACH, WRONG, Prediction
from crashmatrix.scenarios.recorded.recording import Recording
from crashmatrix.scenarios.recorded.state_judge import StateJudge
from crashmatrix.scenarios.recorded.state_verdict import Judged, Share
from crashmatrix.scenarios.systems.loading import Target
from tests.processes import value

TOYS = "tests.scenarios.toy_systems"


class RightAtFirst:
    """Outcomes that are right for a number of calls, then the same for every state."""

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


PREDICTIONS: dict[str, Callable[[StateNames], Prediction]] = {
    "right": Prediction,
    "none": lambda _: Prediction(AllDifferent()),
    "misleading": lambda outcomes: Prediction(RightAtFirst(outcomes, 25)),
}


def judge_all(_: Channel, target: Target, recording: Recording, kind: str) -> tuple[list[Judged], Share, int]:
    trace = load_alone(recording)
    with StateJudge(target, recording, trace, frozenset(), predict=PREDICTIONS[kind]) as judge:
        return list(judge.all(0, 1, 100)), judge.share, judge.prediction.count


def judge_again(_: Channel, target: Target, recording: Recording, budget: int) -> tuple[list[Judged], Share, Share]:
    """Judge a recording, then a second time with what is known from the first."""
    trace = load_alone(recording)
    with StateJudge(target, recording, trace, frozenset()) as judge:
        list(judge.all(0, 1, 100))
    with StateJudge(target, recording, trace, frozenset()) as second:
        return list(second.all(0, 1, budget, before=judge.share.safe)), judge.share, second.share


def refuse(self: CrashImages, state: CrashState) -> AbstractContextManager[Path]:
    """Be a filesystem that mounts no image."""
    del self
    raise MountRefused(f"mounting {state}", errno.EUCLEAN, "look at dmesg")


def resume_what_does_not_mount(_: Channel, target: Target, recording: Recording) -> list[Judged]:
    """The judgements of a state and of two second lives, before which its filesystem refuses to be mounted."""
    trace = load_alone(recording)
    state = CrashState.whole(trace, len(trace.operations))
    with StateJudge(target, recording, trace, frozenset()) as judge:
        (first,) = judge.judge_surely(state)
        CrashImages.mounted = refuse  # type: ignore[method-assign]  # in this job's process only
        return [first, *(judge.second_life(state, first) for _ in range(2))]


def second_life_of_a_repeat(_: Channel, target: Target, recording: Recording) -> Judged:
    """The judgement of a state that repeats an earlier recording, once its second life is judged."""
    trace = load_alone(recording)
    state = CrashState.whole(trace, len(trace.operations))
    with StateJudge(target, recording, trace, frozenset()) as judge:
        (first,) = judge.judge_surely(state)
        return judge.second_life(state, replace(first, repeats=True))


def judged(store: str, kinds: tuple[str, ...], report: Path) -> list[tuple[dict[str, Judged], Share, int]]:
    """Every judgement of one judge on a recording, by state; for each kind of prediction, with its account and predictions."""
    with workbench(Plan(target=f"{TOYS}:{store}", report=report)) as (checker, _):
        recording = Recordings(checker.jobs, checker.target, checker.folder(), 1, []).record("posix", "none")
        found = [
            value(checker.jobs.run(judge_all, checker.target, recording, kind, seconds_max=250.0)) for kind in kinds
        ]
    return [({each.state: each for each in states}, share, count) for states, share, count in found]


def test_a_folder_that_is_predicted_need_not_be_mounted(tmp_path: Path) -> None:
    """A judge spares itself the mounts of predicted folders, but one of so many, and their verdicts are the same."""
    predicted, mounted = judged("Synced", ("right", "none"), tmp_path / "report")
    assert predicted[0] == mounted[0]
    (_, share, count), (_, all_of_them, _) = predicted, mounted
    assert share.mounted == share.judged + 1 - count + count // MOUNTED_EACH  # The clean end is not counted as judged.
    assert share.mounted < 0.6 * all_of_them.mounted


def test_a_wrong_prediction_is_found_out(tmp_path: Path) -> None:
    """The state that shows it is unknown. All others have the verdicts of mounted states, and nothing is exhausted."""
    (truth, _, _), (wrong, share, misled) = judged("Unsynced", ("none", "misleading"), tmp_path / "report")
    found_out = [each for each in wrong.values() if WRONG in each.explanation]
    assert [each.verdict for each in found_out] == [Verdict.UNKNOWN]
    assert wrong == {**truth, found_out[0].state: found_out[0]}
    assert misled
    assert share.judged >= len(truth) - 1
    assert not share.exhaustive


@pytest.mark.usefixtures("disk")
@pytest.mark.parametrize(("store", "budget"), [("Synced", 100), ("Synced", 2), ("SyncedMostly", 100)])
def test_the_folders_of_an_earlier_recording_use_no_budget(tmp_path: Path, store: str, budget: int) -> None:
    """Safe ones are not recovered again, as far as the budget is large; the clean end is, and so is a broken one."""
    with workbench(Plan(target=f"{TOYS}:{store}", report=tmp_path / "report")) as (checker, _):
        recording = Recordings(checker.jobs, checker.target, checker.folder(), 1, []).record("ext4", "none")
        states, first, second = value(
            checker.jobs.run(judge_again, checker.target, recording, budget, seconds_max=250.0)
        )
    end, *others = states
    assert not end.repeats
    assert first.safe
    assert first.repeats == 0
    assert all(each.verdict is Verdict.SAFE for each in others if each.repeats)
    assert second.repeats == sum(each.repeats for each in others) <= 2 * budget
    assert second.judged == sum(not each.repeats for each in others) <= budget
    if budget > len(first.safe):
        assert all(each.repeats == (each.verdict is Verdict.SAFE) for each in others)
        assert second.safe.keys() <= first.safe.keys()
    else:
        assert second.repeats == 2 * budget
    if store == "SyncedMostly":
        assert any(each.verdict.broken for each in others)


def test_an_image_that_does_not_mount_for_a_second_life(tmp_path: Path) -> None:
    """The judge goes on. The state is unknown if another folder was predicted; without predictions, it is unmountable."""
    with workbench(Plan(target=f"{TOYS}:Synced", report=tmp_path / "report")) as (checker, _):
        recording = Recordings(checker.jobs, checker.target, checker.folder(), 1, []).record("posix", "none")
        found = value(checker.jobs.run(resume_what_does_not_mount, checker.target, recording, seconds_max=250.0))
    assert [each.verdict.value for each in found] == ["safe", "unknown", "unmountable"]
    assert found[1].explanation == WRONG
    assert "EUCLEAN" in found[2].explanation
    assert len({each.state for each in found}) == 1


def test_a_broken_second_life_is_reported_wherever_it_begins(tmp_path: Path) -> None:
    """A state that repeats an earlier recording is not listed; once its second life breaks a promise, it is."""
    with workbench(Plan(target="tests.scenarios.second_life_systems:Refuses", report=tmp_path / "r")) as (checker, _):
        recording = Recordings(checker.jobs, checker.target, checker.folder(), 1, []).record("posix", "none")
        found = value(checker.jobs.run(second_life_of_a_repeat, checker.target, recording, seconds_max=250.0))
    assert (found.verdict.broken, found.repeats) == (True, False)
