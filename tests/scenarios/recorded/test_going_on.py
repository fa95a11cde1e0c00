"""Going on after a kill: the promises of both lives, the recording of such a restart, and the bugs that only it shows."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from crashmatrix import Item
from crashmatrix.faults.disk import Note, load_trace
from crashmatrix.faults.disk.linux.containment import anonymous_file
from crashmatrix.reports import Verdict
from crashmatrix.scenarios.campaign.plan import Plan
from crashmatrix.scenarios.campaign.workbench import workbench
from crashmatrix.scenarios.experiment import StoredRun
from crashmatrix.scenarios.judging.checker import Checker
from crashmatrix.scenarios.power.experiment import POWER, PowerExperiment
from crashmatrix.scenarios.power.rounds import RESUMED_AFTER_KILL
from crashmatrix.scenarios.power.schedule import Recordings
from crashmatrix.scenarios.recorded.going_on import gone_on, went_on_at
from crashmatrix.scenarios.recorded.recording import Recording, journal_before, promises_before
from crashmatrix.scenarios.recorded.restarts import KillPoint
from crashmatrix.scenarios.target.contract import contract_named, judge_safely
from tests.faults.disk.support import synthetic_trace
from tests.scenarios.experiments import power_of
from tests.scenarios.toy_systems import Store

TOYS = "tests.scenarios.second_life_systems"
KILLED, RESUMED = "hit workload.killed 1", "hit workload.resumed 1"
QUEUE = {"name": "exactly-once", "queue": True}
RETRIES = {"name": "exactly-once", "retries": True}
RETRIED_LOG = {"name": "prefix", "retries": True}
WITHIN = {"name": "within", "absolute": 0.5}
TABLES = {"name": "tables", "tables": {"t": "prefix"}}


class ByContract(Store):
    """Never run: its contract counts."""


def two_lives(first: Sequence[str], later: Sequence[str]) -> list[Note]:
    return [Note(line.encode()) for line in (*first, KILLED, RESUMED, *later)]


def completed(notes: Sequence[Note], recovered: Sequence[Item], contract: Any = "exactly-once") -> tuple[Any, ...]:
    ByContract.contract = contract
    with anonymous_file("items") as items:
        os.pwrite(items, json.dumps(recovered).encode(), 0)
        return gone_on(ByContract, synthetic_trace(notes), items)


def stored(*items: Item, writer: str = "") -> list[str]:
    return [f"{kind}{writer and ':'}{writer} {json.dumps(item)}" for item in items for kind in ("attempt", "ack")]


IN_FLIGHT = [
    # The contract, the item in flight at the kill, those before it and those of the second life; what may come back.
    ("exactly-once", 1, [0], [7, 8], [[0, 7, 8], [0, 1, 7, 8]]),
    ("exactly-once", 1, [0], [1, 8], [[0, 1, 8], [0, 1, 1, 8]]),  # Not recovered, and so stored once more.
    (RETRIES, 1, [0], [1, 8], [[0, 1, 8]]),
    (RETRIES, 1, [0], [0, 8], [[0, 8], [0, 1, 8]]),
    (RETRIED_LOG, 1, [0], [1, 8], [[0, 1, 8]]),
    (RETRIED_LOG, 1, [0], [0, 1, 8], [[0, 1, 8]]),
    ("at-least-once", 1, [0], [7], [[0, 7], [0, 1, 1, 7]]),
    ("at-most-once", 1, [0], [7], [[0, 7], [0, 1, 7], []]),
    ("prefix", 1, [0], [7, 8], [[0, 7, 8], [0, 1, 7, 8]]),
    ("prefix", 1, [0], [1, 8], [[0, 1, 8], [0, 1, 1, 8]]),
    ("latest", ["k", 2], [["k", 1]], [["l", 1]], [[["k", 1], ["l", 1]], [["k", 2], ["l", 1]]]),
    ("latest", ["k", 2], [["k", 1]], [["k", 3]], [[["k", 3]]]),
    ("latest", ["k"], [["k", 1]], [["l", 1]], [[["k", 1], ["l", 1]], [["l", 1]]]),
    (WITHIN, ["k", 2.0], [["k", 1.0]], [["l", 1.0]], [[["k", 1.2], ["l", 1.0]], [["k", 2.1], ["l", 1.0]]]),
    ("transactions", [["k", 2], ["l", 2]], [[["k", 1]]], [[["m", 1]]], [[["k", 1], ["m", 1]], [["k", 2], ["l", 2], ["m", 1]]]),
    ("counter", 10, [1], [100], [[101], [111]]),
    (QUEUE, ["put", 1], [["put", 0]], [["put", 7]], [[0, 7], [0, 1, 7]]),
    (QUEUE, ["done", 0], [["put", 0]], [["put", 7]], [[0, 7], [7]]),
    (QUEUE, ["done", 0], [["put", 0]], [["put", 0]], [[0, 0], [0]]),
    (TABLES, ["t", 1], [["t", 0]], [["t", 7]], [[["t", 0], ["t", 7]], [["t", 0], ["t", 1], ["t", 7]]]),
]  # fmt: skip


@pytest.mark.parametrize(("contract", "in_flight", "before", "later", "found"), IN_FLIGHT)
@pytest.mark.parametrize("writer", ["", "a"])
def test_an_item_in_flight_at_the_kill_is_not_owed(
    contract: Any, in_flight: Item, before: list[Item], later: list[Item], found: list[list[Item]], writer: str
) -> None:
    """It may be there or gone after the power cut, whatever the system has stored since; everything acknowledged is owed."""
    attempt = f"attempt{writer and ':'}{writer} {json.dumps(in_flight)}"
    trace, went_on, problem = completed(two_lives([*stored(*before), attempt], stored(*later)), [], contract)
    assert (went_on, problem) == (2 * len(before) + 1, "")
    promises = promises_before(trace, len(trace.operations), Recording("n", "ext4", "none", 0, Path("t")))
    for items in found:
        assert judge_safely(contract_named(contract), promises, items) is None
    if contract != "at-most-once":
        gone = [0] if contract == "counter" else []
        violation = judge_safely(contract_named(contract), promises, gone)
        assert violation and violation.verdict.broken


@pytest.mark.parametrize(
    ("first", "failed"),
    [
        (stored(0), []),
        ([*stored(0), "attempt 1"], ["fail 1"]),
        (["attempt 0", "attempt 1", "ack 1"], ["fail 0"]),
        (["attempt:a 0", "attempt:b 0", "ack:b 0"], ["fail:a 0"]),
        (["attempt 0", "attempt 0"], ["fail 0", "fail 0"]),
        (["attempt 0", "fail 0", "attempt 1"], ["fail 1"]),
        (["ack 0", "nonsense"], []),  # The judge says what is wrong with such a journal.
    ],
)
def test_attempts_in_flight_have_failed(first: list[str], failed: list[str]) -> None:
    """The journal says so where the second life begins, and nowhere else; times stay with their changes."""
    notes = two_lives(first, stored(7))
    trace, went_on, _ = completed(notes, [])
    lines = [line.decode() for line in journal_before(trace, len(trace.operations))]
    assert lines == [*first, *failed, *stored(7)]
    assert went_on == len(first)
    assert journal_before(trace, went_on_at(trace)) == [line.encode() for line in first]


def test_times_of_changes_stay_with_them() -> None:
    """The clock of a trace counts its operations."""
    trace = synthetic_trace(two_lives(["attempt 0"], stored(7)))
    at = went_on_at(trace)
    with anonymous_file("items") as items:
        os.pwrite(items, b"[]", 0)
        timed, _, _ = gone_on(ByContract, replace(trace, clock=((1, 100), (at, 1000), (at + 1, 2000))), items)
    assert timed.clock == ((1, 100), (at + 1, 1000), (at + 2, 2000))
    assert timed.time_at(at + 2) == 2000


def test_a_trace_without_a_second_life() -> None:
    """It stays as it is."""
    notes = [Note(b"attempt 0"), Note(KILLED.encode()), Note(b"hit recover.done 1")]
    trace, went_on, problem = completed(notes, [])
    assert (trace, went_on, problem) == (synthetic_trace(notes), None, "")
    assert went_on_at(trace) == 0


@pytest.mark.parametrize(
    ("contract", "again"),
    [("exactly-once", True), ("prefix", True), ("counter", False), ("transactions", False), (RETRIES, False)],
)
def test_items_stored_again(contract: Any, again: bool) -> None:
    """A second life that stores what recovery had returned says nothing, where items are stored one by one."""
    item: Item = [["k", 0]] if contract == "transactions" else 0
    _, _, problem = completed(two_lives(stored(item), stored(item)), [item], contract)
    assert problem.startswith("resume attempted what recovery had returned before: 0") is again


@pytest.mark.parametrize("contract", [RETRIES, RETRIED_LOG])
def test_a_retry_of_what_was_in_flight_at_the_kill(contract: Any) -> None:
    """Recovery had returned it, and it was sent again: it must be there once, whichever of both tries took effect."""
    trace, _, problem = completed(two_lives([*stored(0), "attempt 1"], stored(1, 7)), [0, 1], contract)
    assert problem == ""
    promises = promises_before(trace, len(trace.operations), Recording("n", "ext4", "none", 0, Path("t")))
    assert judge_safely(contract_named(contract), promises, [0, 1, 7]) is None
    for items, verdict in (([0, 1, 1, 7], Verdict.DUPLICATE), ([0, 7], Verdict.HOLE), ([0, 1], Verdict.LOSES)):
        violation = judge_safely(contract_named(contract), promises, items)
        assert violation and violation.verdict is verdict


@contextmanager
def recordings(toy: str, report: Path) -> Iterator[Recordings]:
    with workbench(Plan(target=f"{TOYS}:{toy}", report=report)) as (checker, _):
        yield Recordings(checker.jobs, checker.target, checker.folder(), 0, [])


@contextmanager
def checker_of(plan: Plan) -> Iterator[Checker]:
    with workbench(plan) as (checker, _):
        yield checker


def run(toy: str, report: Path, module: str = TOYS) -> PowerExperiment:
    plan = Plan(target=f"{module}:{toy}", filesystems=("posix",), budget=60, report=report)
    with workbench(plan) as (checker, _):
        experiment = power_of(plan, checker)
        experiment.restarts = 1
        experiment.run()
        experiment.explained = experiment.explain()  # type: ignore[attr-defined]
    return experiment


def restarts(experiment: PowerExperiment) -> list[Any]:
    return [result for result in experiment.ordered() if "~restart" in result.point]


@pytest.mark.experiment
@pytest.mark.usefixtures("fuse")
@pytest.mark.parametrize("toy", ["GoesOnSynced", "LeavesALock"])
def test_one_recording_has_both_lives(toy: str, tmp_path: Path) -> None:
    """The item in flight at the kill has failed; recovery has ended, its lock with it, when the second life begins."""
    with recordings(toy, tmp_path / "report") as making:
        recording = making.record("posix", "restart1", KillPoint(3, 1))
        trace = load_trace(recording.trace)
    assert (recording.killed, recording.went_on, recording.problem) == (KillPoint(3, 1), 3, "")
    lines = [note.text.decode() for note in trace.operations if isinstance(note, Note)]
    assert [line for line in lines if not line.startswith("hit journal.")] == [
        "attempt 0", "ack 0", "attempt 1", KILLED, RESUMED, "fail 1", *stored(6, 7, 8),
    ]  # fmt: skip
    again = Recording.from_account(json.loads(json.dumps(recording.account())), 0, recording.trace)
    assert again.first_life_lines == recording.first_life_lines == 3


@pytest.mark.experiment
@pytest.mark.usefixtures("fuse")
@pytest.mark.parametrize(
    ("toy", "said"),
    [
        ("RefusesSynced", "it could not go on: .*resume ended with status 1: .*ValueError: there are 2 items already"),
        ("StoresAgainSynced", "resume attempted what recovery had returned before: 0, 1"),
    ],
)
def test_one_that_cannot_go_on(toy: str, said: str, tmp_path: Path) -> None:
    """The recording says why; nothing of it is judged."""
    with recordings(toy, tmp_path / "report") as making:
        recording = making.record("posix", "restart1", KillPoint(3, 1))
    assert re.search(said, recording.problem), recording.problem


@pytest.mark.experiment
@pytest.mark.usefixtures("fuse")
def test_a_recorded_second_life_that_stores_again(tmp_path: Path) -> None:
    """It says nothing either: a store may rightly keep one of two equal items."""
    with workbench(Plan(target=f"{TOYS}:StoresAgainSynced", report=tmp_path / "report")) as (checker, _):
        kinds = [("posix", RESUMED_AFTER_KILL)]
        with Recordings(checker.jobs, checker.target, checker.folder(), 0, kinds) as making:
            (recording,) = making
    assert recording.problem.startswith("resume attempted what recovery had returned before: 0")


@pytest.mark.experiment
@pytest.mark.usefixtures("fuse")
def test_recovery_that_syncs_nothing_is_found(tmp_path: Path) -> None:
    """Only this shows it: acknowledged items of the second life stand behind what the power cut took. A replay shows it again."""
    experiment = run("GoesOnElsewhere", tmp_path / "report")
    broken = [result for result in experiment.ordered() if result.verdict is not Verdict.SAFE]
    assert broken and all("~restart1~" in result.point for result in broken)
    assert {result.verdict for result in broken} == {Verdict.CANNOT_OPEN}
    assert "items were there before" in broken[0].explanation
    findings, _ = experiment.explained  # type: ignore[attr-defined]
    assert findings[0].cause == "recovery built upon what only the page cache had" and findings[0].tested
    plan = Plan(target=f"{TOYS}:GoesOnElsewhere", filesystems=("posix",), report=tmp_path / "report")
    scenario = POWER.scenario(broken[0].id, StoredRun(plan.experiment_options, experiment.details))
    again = scenario.replay(lambda: checker_of(plan), None)
    assert (again.verdict, again.explanation) == (broken[0].verdict, broken[0].explanation)


@pytest.mark.experiment
@pytest.mark.usefixtures("fuse")
@pytest.mark.parametrize(
    "toy",
    ["GoesOnElsewhereSynced", pytest.param("ForgetsTheUnsynced", marks=pytest.mark.slow)],
)
def test_right_ones_are_safe(toy: str, tmp_path: Path) -> None:
    """Nobody is accused of losing what nothing promised, nor checked for items of a life that its own check does not know."""
    experiment = run(toy, tmp_path / "report")
    assert {result.verdict for result in experiment.ordered()} == {Verdict.SAFE}
    killed = [account for account in experiment.details["recordings"] if account["killed_at"]]
    assert len(killed) == 1 and killed[0]["went_on"] is not None
    assert any(result.method == "power-cut" for result in restarts(experiment))
    assert any(
        "and in 1 restart that went on, nothing synced since the kill" in note for note in experiment.details["notes"]
    )


@pytest.mark.experiment
@pytest.mark.usefixtures("fuse")
@pytest.mark.parametrize(("toy", "verdict"), [("Retries", ""), ("RetriesTwice", "duplicate")])
def test_a_client_that_retries(toy: str, verdict: str, tmp_path: Path) -> None:
    """It sends again what recovery had returned: such a restart is judged, and a request that is carried out twice is found."""
    experiment = run(toy, tmp_path / "report", module="tests.scenarios.retrying_systems")
    assert {*verdict.split()} == {result.verdict.value for result in experiment.ordered()} - {"safe"}
    assert {result.verdict.value for result in restarts(experiment)} >= {*verdict.split()}


@pytest.mark.slow
@pytest.mark.experiment
@pytest.mark.usefixtures("fuse")
def test_a_second_life_that_does_not_sync_is_found(tmp_path: Path) -> None:
    """It owes what it acknowledges; the sync before that helps, though the process was killed before."""
    experiment = run("AcknowledgesUnsynced", tmp_path / "report")
    assert any(result.verdict is Verdict.LOSES for result in restarts(experiment))
