"""The script of the reference workload: every batch once, every operation on tables that are there."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest

from crashmatrix.scenarios.systems.reference.data import LATE, MAIN, SCRATCH, DataSet, numbered
from crashmatrix.scenarios.systems.reference.operations import PLACES, Operation, operations, operations_later

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
    assert {one.kind for one in during} == KINDS | {"segment-size", "reopen"}
    assert {one.kind for one in later} == KINDS


def test_transfers_move_what_was_flushed(data: DataSet) -> None:
    """A transfer follows a flush, as the contract takes for granted; each has a number and a place of its own."""
    steps = [one for part in operations(data) for one in part] + operations_later(data, {MAIN, SCRATCH, LATE})
    places = [place for place, one in enumerate(steps) if one.kind == "transfer"]
    assert all(steps[place - 1].kind == "flush" for place in places)
    assert [steps[place].number for place in places] == list(range(len(PLACES)))
    assert 1 < len(set(PLACES)) < len(PLACES)  # Some are new, some are not.


def test_what_promises_nothing_is_no_item(data: DataSet) -> None:
    """A flush, a segment's size and a batch without rows leave nothing that recovery could return."""
    before, during = operations(data)
    silent = [one for one in (*before, *during) if not one.item]
    assert {one.kind for one in silent} == {"flush", "segment-size", "reopen", "ingest"}
    assert all(one.batch is None or not one.batch.rows for one in silent)
