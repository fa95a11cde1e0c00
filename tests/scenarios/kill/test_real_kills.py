"""A real SIGKILL leaves what the snapshot shows, or the scenario is unknown."""

from __future__ import annotations

import copy
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from crashmatrix.reports import Verdict
from crashmatrix.scenarios.judging.checker import Checked, Checker, CrashState
from crashmatrix.scenarios.judging.snapshots.of_jobs import snapshot_job
from crashmatrix.scenarios.judging.snapshots.snapshot import SnapshotStore
from crashmatrix.scenarios.judging.snapshots.tree import Tree
from crashmatrix.scenarios.kill.experiment import KillExperiment
from crashmatrix.scenarios.kill.plan import SAMPLE_MIN
from crashmatrix.scenarios.kill.real_kills import _THIS_TIME, RealKills, crash
from tests.scenarios.experiments import run_kill
from tests.scenarios.kill.test_experiment import run

pytestmark = pytest.mark.experiment


def test_real_kills_agree_with_snapshots() -> None:
    """Scenarios killed for real leave the folder of the snapshot and get its verdict; the report says which they were."""
    experiment = run("Buffered", real_kills=SAMPLE_MIN)
    assert experiment.details["killed_for_real"] == experiment.details["agreed_with_snapshot"] > 0
    killed = [result for result in experiment.ordered() if result.method == "sigkill"]
    assert len(killed) == experiment.details["killed_for_real"]


def run_with_kills_that_lose(toy: str, monkeypatch: pytest.MonkeyPatch, lost: str) -> KillExperiment:
    """Run an experiment whose kills leave one file too few."""

    def crash_and_lose(*args: Any) -> CrashState | Checked:
        state = crash(*args)
        assert isinstance(state, CrashState)
        return replace(state, tree=Tree(tuple((path, entry) for path, entry in state.tree.entries if path != lost)))

    monkeypatch.setattr("crashmatrix.scenarios.kill.real_kills.crash", crash_and_lose)
    return run(toy, real_kills=12)


@pytest.mark.daily(1)
@pytest.mark.parametrize(("toy", "lost"), [("Store", "data"), ("Replacing", "k")])
def test_a_snapshot_that_lies_is_unknown(toy: str, lost: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """If a real kill leaves another folder than the snapshot shows, the scenario is unknown, whatever else varies there."""
    experiment = run_with_kills_that_lose(toy, monkeypatch, lost)
    assert experiment.details["agreed_with_snapshot"] < experiment.details["killed_for_real"]
    unknown = {result.explanation for result in experiment.ordered() if result.verdict is Verdict.UNKNOWN}
    assert unknown == {f"the killed process left another folder than the snapshot shows: {lost}"}


@pytest.mark.parametrize("toy", ["Replacing", pytest.param("Random", marks=pytest.mark.slow)])
def test_what_differs_in_passing_is_no_difference(toy: str) -> None:
    """Random names and process ids differ between undisturbed runs, too. All kills agree but for those, and a note says so."""
    experiment = run(toy, real_kills=12, seed=random.Random(1).randrange(100))
    assert experiment.details["killed_for_real"] == experiment.details["agreed_with_snapshot"] > 0
    assert {result.verdict for result in experiment.ordered()} == {Verdict.SAFE}
    assert any("only where undisturbed runs differ" in note for note in experiment.details["notes"])


@pytest.mark.parametrize("toy", ["Chatty", "ChattyCalls"])
def test_a_file_that_varies_is_compared_by_its_form(toy: str) -> None:
    """A word of a log that was the same in all undisturbed runs is another one in a killed run; a note counts these."""
    experiment = run(toy, real_kills=12)
    assert {result.verdict for result in experiment.ordered()} == {Verdict.SAFE}
    assert experiment.details["killed_for_real"] == experiment.details["agreed_with_snapshot"] > 0
    assert any("was compared by its length or number of lines only" in note for note in experiment.details["notes"])
    assert not any("in the order in which a folder lists them" in note for note in experiment.details["notes"])


class Misreading(SnapshotStore):
    """Reads the end of a note otherwise than it is."""

    def capture(self, root: Path, names: int | None = None) -> Tree:
        note = root / "note"
        text = note.read_text() if note.exists() else ""
        if text:
            note.write_text(f"{text[:-1]}.\n")
        tree = super().capture(root, names)
        if text:
            note.write_text(text)
        return tree


@pytest.mark.parametrize("toy", ["Chatty", "ChattyCalls"])
def test_a_wrong_snapshot_of_a_file_that_varies_is_unknown(toy: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """If snapshots show a file otherwise than the killed process leaves it, the form alone does not excuse that."""

    def misreading(job: Any, store: SnapshotStore, *rest: Any) -> Any:
        wrong = copy.copy(store)
        wrong.__class__ = Misreading
        return snapshot_job(job, wrong, *rest)

    monkeypatch.setattr("crashmatrix.scenarios.kill.exploring.snapshot_job", misreading)
    monkeypatch.setattr("crashmatrix.scenarios.kill.real_kills.snapshot_job", misreading)
    experiment = run(toy, real_kills=12)
    unknown = {result.explanation for result in experiment.ordered() if result.verdict is Verdict.UNKNOWN}
    assert unknown == {"the killed process left another folder than the snapshot shows: note"}


def test_a_kill_is_judged_in_place() -> None:
    """Recovery runs in the very folder that the killed process left. A system that sees copies makes the snapshots disagree."""
    experiment = run("SeesCopies", real_kills=12)
    killed = {result.explanation for result in experiment.ordered() if result.verdict is Verdict.UNKNOWN}
    assert killed == {"safe when killed, cannot-open as in the snapshot"}
    assert experiment.details["agreed_with_snapshot"] == 0


def test_a_recovery_that_takes_files_as_they_are_listed() -> None:
    """A copy of a folder may list its files in another order; a recovery that depends on it is right all the same."""
    experiment = run("AsListed", real_kills=24)
    assert {result.verdict for result in experiment.ordered()} == {Verdict.SAFE}
    assert experiment.details["killed_for_real"] == experiment.details["agreed_with_snapshot"] > 0


def test_why_a_kill_is_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    """If a kill gets no verdict, but its snapshot does, the reason is given."""
    unusable = Checked(Verdict.UNKNOWN, "the contract's check raised ValueError: bad")
    check_in_place = Checker.check_in_place

    def check(*args: Any, **of_snapshots: Any) -> Checked:
        return check_in_place(*args, **of_snapshots) if of_snapshots else unusable

    monkeypatch.setattr(Checker, "check_in_place", check)
    experiment = run("Store", real_kills=2, budget=4)
    unknown = {result.explanation for result in experiment.ordered() if result.verdict is Verdict.UNKNOWN}
    assert unknown == {f"unknown when killed ({unusable.explanation}), safe as in the snapshot"}


def test_a_kill_that_breaks_a_promise_is_a_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    """A promise that a killed run broke is broken, though the snapshot of another run is safe."""
    check_in_place = Checker.check_in_place

    def check(*args: Any, **of_snapshots: Any) -> Checked:
        return check_in_place(*args, **of_snapshots) if of_snapshots else Checked(Verdict.LOSES, "1 is gone")

    monkeypatch.setattr(Checker, "check_in_place", check)
    experiment = run("Store", real_kills=2, budget=4)
    broken = {result.explanation for result in experiment.ordered() if result.verdict is Verdict.LOSES}
    assert broken == {f"1 is gone; {_THIS_TIME}"}
    assert experiment.details["agreed_with_snapshot"] == 0


@pytest.mark.parametrize("comparable", [True, False])
def test_a_kill_that_does_not_come_about(comparable: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that repeats itself must die as planned; one that takes another order may end before, and says nothing then."""
    snapshot_workload = KillExperiment.snapshot_workload

    def in_any_order(*args: Any) -> bool:
        return snapshot_workload(*args) and comparable

    late = Checked(Verdict.UNKNOWN, "was to be killed at journal.line@3, but returned")
    monkeypatch.setattr(KillExperiment, "snapshot_workload", in_any_order)
    monkeypatch.setattr("crashmatrix.scenarios.kill.real_kills.crash", lambda *_: late)
    experiment = run("Store", real_kills=2, budget=4)
    verdicts = {result.verdict for result in experiment.ordered()}
    assert (Verdict.UNKNOWN in verdicts) == comparable
    assert (experiment.details["killed_for_real"] > 0) == comparable


def test_what_breaks_in_copies_only_is_noted() -> None:
    """A copy has other inode numbers. For a system that compares them, a note says that findings may be false."""
    experiment = run_kill("tests.scenarios.toy_systems:KeepsInodeNumber", real_kills=6)
    assert any("a copy has other inode numbers" in note for note in experiment.notes)


def test_what_breaks_in_another_run_is_not_blamed_on_copies(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where runs take another order, a killed run that is safe may have left another folder; a recovery that hangs is slow."""
    snapshot_workload, check_in_place = KillExperiment.snapshot_workload, Checker.check_in_place

    def in_any_order(*args: Any) -> bool:
        snapshot_workload(*args)
        return False

    def safe(*args: Any, **of_snapshots: Any) -> Checked:
        return check_in_place(*args, **of_snapshots) if of_snapshots else Checked(Verdict.SAFE)

    monkeypatch.setattr(KillExperiment, "snapshot_workload", in_any_order)
    monkeypatch.setattr(Checker, "check_in_place", safe)
    monkeypatch.setattr(RealKills, "_otherwise", lambda *_: "another folder")
    experiment = run_kill("tests.scenarios.toy_systems:KeepsInodeNumber", real_kills=6)
    assert not any("a copy has other inode numbers" in note for note in experiment.notes)
