"""The undisturbed run of the workload, from which a kill experiment learns where to crash."""

from __future__ import annotations

import time
from pathlib import Path

import psutil
import pytest

from crashmatrix.scenarios.campaign.plan import Plan
from crashmatrix.scenarios.campaign.workbench import workbench
from crashmatrix.scenarios.errors import UsageError
from crashmatrix.scenarios.kill.profile import prepare
from tests.scenarios.kill.test_experiment import TOYS, run


def is_gone(pid: int) -> bool:
    """Wait for a killed process to be over; who reaps it is not our business."""
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        try:
            if psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
                return True
        except psutil.NoSuchProcess:
            return True
    return False


def test_what_the_workload_started_is_ended() -> None:
    """A process that the workload leaves behind is ended with it."""
    plan = Plan(target=f"{TOYS}:Spawning")
    with workbench(plan) as (checker, _):
        prepare(checker)
        pid = int((Path(checker.target.workspace) / "pid").read_text())
        assert is_gone(pid)


def test_a_workload_that_dies_by_itself_is_refused() -> None:
    """The workload must work before it can be crashed; its last words are quoted."""
    with pytest.raises(UsageError, match=r"exited with status 7; it printed: no way"):
        run("DiesByItself")


def test_hits_and_promises() -> None:
    """The profile has every hit in order, each failpoint's place, and what was promised by the end."""
    with workbench(Plan(target=f"{TOYS}:Store")) as (checker, _):
        prepared = prepare(checker)
    names = [name for name, _ in prepared.profile.hits]
    assert names[:4] == ["journal.after_attempt", "toy.put.before_write", "toy.put.after_write", "journal.after_ack"]
    assert [number for name, number in prepared.profile.hits if name == "toy.put.after_write"] == [1, 2, 3, 4, 5, 6]
    assert set(names) <= set(prepared.profile.declared)
    assert len(prepared.promises.events) == 12
    assert prepared.note == prepared.unseen == ""
    assert not checker.target.watch_calls
