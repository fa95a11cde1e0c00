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
    assert prepared.unseen == ""
    assert not checker.target.watch_calls


def test_a_failpoint_takes_no_system_call_away() -> None:
    """A system with a failpoint is crashed there and at its system calls, in its workload and in its recovery."""
    experiment = run("MarkedInOnePlace")
    results = experiment.ordered()
    first = {result.point for result in results if result.depth == 0}
    assert {"toy.put.before_write", "call.write", "journal.line"} <= first
    assert not any(name.startswith("journal.after") for name in first | set(experiment.declared))
    broken = {result.point for result in results if result.depth == 0 and result.verdict.broken}
    assert broken == {"call.write"}
    assert {"toy.recover.before_return", "call.openat"} <= {result.point for result in results if result.depth}
    assert experiment.confirmed
    assert not experiment.details["uncovered"]


def test_failpoints_that_suffice_are_noted() -> None:
    """A system may say that its failpoints suffice: it is crashed at those only, and the report says so."""
    experiment = run("SaysMarkedEverywhere")
    assert not any(result.verdict.broken or result.point.startswith("call.") for result in experiment.ordered())
    assert any(note.endswith("because it says failpoints_suffice") for note in experiment.notes)


def test_calls_that_cannot_be_watched_are_uncovered(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where calls cannot be watched, the verdict line says that they were no crash points."""
    monkeypatch.setattr("crashmatrix.scenarios.kill.profile.lacking", lambda: "seccomp is refused here")
    experiment = run("MarkedInOnePlace")
    assert experiment.details["uncovered"] == ["system calls, because seccomp is refused here"]
    assert "killed at its own failpoints and journal lines only: seccomp is refused here" in experiment.notes
