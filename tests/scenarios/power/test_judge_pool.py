"""Judges side by side say together what one says alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from crashmatrix.scenarios.campaign.plan import Plan
from crashmatrix.scenarios.campaign.workbench import workbench
from crashmatrix.scenarios.power.judge_pool import JudgeShare, judge_together, judges_for
from crashmatrix.scenarios.power.schedule import Recordings
from crashmatrix.scenarios.recorded.recording import Recording
from crashmatrix.scenarios.recorded.state_verdict import Judged
from tests.processes import value

TOYS = "tests.scenarios.toy_systems"


def test_shares_add_up(tmp_path: Path) -> None:
    """Every state once, with the same verdict; the shares' accounts count them."""
    with workbench(Plan(target=f"{TOYS}:Synced", report=tmp_path / "report")) as (checker, _):
        recording = Recordings(checker.jobs, checker.target, checker.folder(), 0, []).record("posix", "none")
        found: dict[int, list[Judged]] = {1: [], 2: []}
        for workers, judged in found.items():
            ends = judge_together(
                checker.jobs, checker.target, JudgeShare(recording, workers, 200 // workers), judged.append
            )
            assert len(ends) == workers
            assert sum(value(ended).judged for ended in ends) == len(judged) - 1  # The clean end is not counted.
    alone, together = ({(one.state, one.verdict) for one in judged} for judged in found.values())
    assert alone == together
    assert len(alone) == len(found[1]) == len(found[2])


@pytest.mark.parametrize(
    ("weight", "budget", "judges"), [(1.0, 600, 1), (7.9, 600, 1), (8.0, 600, 4), (300.0, 8, 4), (300.0, 7, 1)]
)
def test_few_states_have_one_judge(weight: float, budget: int, judges: int) -> None:
    """Little can differ in the recording, or the budget is small: a second judge would take longer to start than to judge."""
    recording = Recording("a", "ext4", "mixed", 0, Path("a.trace"), weight=weight)
    assert judges_for(recording, budget, 4) == judges


def test_until_broken(tmp_path: Path) -> None:
    """A judge stops at the first broken promise if the run needs no more."""
    with workbench(Plan(target=f"{TOYS}:Unsynced", report=tmp_path / "report")) as (checker, _):
        recording = Recordings(checker.jobs, checker.target, checker.folder(), 0, []).record("posix", "none")
        judged: list[Judged] = []
        judge_together(checker.jobs, checker.target, JudgeShare(recording, 1, 200, until_broken=True), judged.append)
    assert [one.verdict.broken for one in judged] == [*[False] * (len(judged) - 1), True]
