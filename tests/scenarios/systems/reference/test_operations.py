"""The script of the reference workload: every batch once, every operation on tables that are there."""

from __future__ import annotations

import errno
from pathlib import Path

import pyarrow as pa
import pytest

from crashmatrix.scenarios.errors import PromiseBroken
from crashmatrix.scenarios.systems.reference.data import LATE, MAIN, SCRATCH, DataSet, numbered
from crashmatrix.scenarios.systems.reference.operations import (
    PLACES,
    Operation,
    follow_ups,
    go_on,
    operations,
    operations_later,
)
from crashmatrix.scenarios.target.journal import Journal, Promises

KINDS = {"ingest", "drop", "truncate", "transfer", "flush", "create"}


@pytest.fixture
def data(tmp_path: Path) -> DataSet:
    times = pa.array(range(300), pa.timestamp("us"))
    DataSet.store(numbered(pa.table({"at": times, "sensor": ["a"] * 300})), tmp_path, 0)
    return DataSet(tmp_path, 0, "at", ["sensor"])


def play(steps: list[Operation], there: set[str]) -> None:
    for operation in steps:
        if operation.kind == "create":
            assert operation.table not in there
            there.add(operation.table)
        elif operation.kind == "drop":
            there.remove(operation.table)
        else:
            assert not operation.table or operation.table in there


def test_operations(data: DataSet) -> None:
    """Each table's batches come in order, those of a second life last; it has every kind of operation, too."""
    before, during = operations(data)
    there: set[str] = set()
    play([*before, *during], there)
    later = operations_later(data, there)
    play(later, set(there))
    play(operations_later(data, {SCRATCH}), {SCRATCH})
    for table in (MAIN, SCRATCH, LATE):
        done = [one.batch for one in (*before, *during, *later) if one.kind == "ingest" and one.table == table]
        assert done == data.batches[table]
    assert {one.kind for one in during} == KINDS | {"segment-size", "reopen", "misuse"}
    assert {one.kind for one in later} == KINDS


def test_transfers_move_what_was_flushed(data: DataSet) -> None:
    """A transfer follows a flush, as the contract takes for granted; each has a number and a place of its own."""
    steps = [one for part in operations(data) for one in part] + operations_later(data, {MAIN, SCRATCH, LATE})
    places = [place for place, one in enumerate(steps) if one.kind == "transfer"]
    assert all(steps[place - 1].kind == "flush" for place in places)
    assert [steps[place].number for place in places] == list(range(len(PLACES)))
    assert 1 < len(set(PLACES)) < len(PLACES)  # Some are new, some are not.


def test_what_promises_nothing_is_no_item(data: DataSet) -> None:
    """A flush, a segment's size, calls to be refused and a batch without rows leave nothing that recovery could return."""
    before, during = operations(data)
    silent = [one for one in (*before, *during) if not one.item]
    assert {one.kind for one in silent} == {"flush", "segment-size", "reopen", "misuse", "ingest"}
    assert all(one.batch is None or not one.batch.rows for one in silent)


def test_a_caller_goes_on(data: DataSet, tmp_path: Path) -> None:
    """A refused call has failed, one that is done is acknowledged, a flush acknowledges what waited. Other errors show.

    A table whose log has failed takes no batch and no truncation.
    """
    _, during = operations(data)
    steps = [Operation("flush"), *[one for one in during if one.item and one.kind == "ingest"][:2]]
    journal = Journal(tmp_path / "journal")
    waits = journal.attempt(["ingest", "other", 0])

    def refuses_the_second(one: Operation) -> None:
        if one is steps[2]:
            raise OSError(errno.EIO, "refused")

    go_on(steps, refuses_the_second, journal, [waits], logged=True)
    events = [(one.kind, one.item) for one in Promises.parse((tmp_path / "journal").read_bytes()).events]
    second, third = steps[1].item, steps[2].item
    assert events[1:] == [
        ("ack", waits.item), ("attempt", second), ("ack", second), ("attempt", third), ("fail", third)
    ]  # fmt: skip
    with pytest.raises(PromiseBroken, match="flush after a call that failed raised KeyError"):
        go_on(steps, dict[Operation, object]().__getitem__, journal, [], logged=True)
    for step in (steps[1], Operation("truncate", steps[1].table)):
        with pytest.raises(PromiseBroken, match=f"takes another {step.kind}"):
            go_on([step], lambda _: None, journal, [], logged=True, refusing=step.table)


def test_a_caller_without_a_log_goes_on(data: DataSet, tmp_path: Path) -> None:
    """A batch that was stored after the error is acknowledged by the next flush, not before."""
    step = next(one for one in operations(data)[1] if one.item and one.kind == "ingest")
    journal = Journal(tmp_path / "journal")
    go_on([step], lambda _: None, journal, [], logged=False)
    go_on([step, Operation("flush")], lambda _: None, journal, [], logged=False)
    events = [one.kind for one in Promises.parse((tmp_path / "journal").read_bytes()).events]
    assert events == ["attempt", "attempt", "ack"]


@pytest.mark.parametrize(
    ("kind", "number", "others", "tables"),
    [
        ("ingest", 0, ["flush", "truncate"], {SCRATCH, LATE}),
        ("transfer", 0, ["transfer", "flush"], {SCRATCH, LATE}),
        ("transfer", 1, ["flush", "transfer"], {SCRATCH, LATE}),
        ("truncate", 0, ["flush"], {SCRATCH, LATE}),
        ("drop", 0, ["flush"], {LATE}),
        ("flush", 0, ["flush"], {LATE}),
    ],
)
def test_follow_ups(kind: str, number: int, others: list[str], tables: set[str], data: DataSet) -> None:
    """A flush, a batch for the table of the call, if it is still there, and for another one; a transfer again, early or late."""
    _, during = operations(data)
    found = follow_ups(Operation(kind, SCRATCH, number=number), during)
    assert [one.kind for one in found if not one.batch] == others
    assert {one.table for one in found if one.batch} == tables
    assert all(one.item for one in found if one.batch)
    if kind == "transfer":  # At once, or when there are more rows.
        assert found[-1 if number else 0].kind == "transfer"
