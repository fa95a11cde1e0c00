"""The rows of the reference workload: each once, cut and dealt with the seed; other rows are recognised."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from crashmatrix.scenarios.errors import PromiseBroken, UsageError
from crashmatrix.scenarios.systems.reference.data import (
    BATCHES,
    LATE,
    MAIN,
    PREPARED,
    ROW,
    ROWS_MAX,
    SCRATCH,
    SPARE,
    DataSet,
    operations,
    read_source,
)

COUNT = 300


def source(rows: int = COUNT) -> pa.Table:
    times = pa.array(range(rows), pa.timestamp("ns"))
    return pa.table({"at": times, "sensor": ["ab"[n % 2] for n in range(rows)], "value": [n / 7 for n in range(rows)]})


def read(
    folder: Path, rows: pa.Table, *, timestamp: str = "at", tags: tuple[str, ...] = ("sensor",)
) -> tuple[pa.Table, str]:
    pq.write_table(rows, folder / "mine.parquet")
    return read_source(folder / "mine.parquet", timestamp, list(tags))


@pytest.fixture
def data(tmp_path: Path) -> DataSet:
    return DataSet(read(tmp_path, source())[0], seed=3)


# --- reading


@pytest.mark.parametrize(
    ("rows", "remark"), [(COUNT, ""), (ROWS_MAX, ""), (ROWS_MAX + 1, "the first 20,000 of 20,001 rows")]
)
def test_rows_are_numbered(rows: int, remark: str, tmp_path: Path) -> None:
    """Each row has its number; there are not more than a run can check, and the remark says so."""
    found, said = read(tmp_path, source(rows))
    assert found[ROW].to_pylist() == list(range(min(rows, ROWS_MAX)))
    assert found.schema.field("at").type == pa.timestamp("us")
    assert said.startswith(remark) and bool(said) == bool(remark)


UNFIT = {
    "no timestamp": (source(), {"timestamp": "time"}, "no column 'time' (--timestamp); it has at, sensor, value"),
    "no tag": (source(), {"tags": ("city",)}, "no column 'city' (--tags)"),
    "a float as a tag": (source(), {"tags": ("value",)}, "column 'value' of type double cannot be a tag"),
    "too few rows": (source(2 * BATCHES - 1), {}, f"has {2 * BATCHES - 1} rows, the workload needs {2 * BATCHES}"),
    "our own column": (source().append_column(ROW, [list(range(COUNT))]), {}, "which crashmatrix needs for itself"),
}


@pytest.mark.parametrize(("rows", "options", "message"), UNFIT.values(), ids=UNFIT)
def test_unfit_data(rows: pa.Table, options: dict[str, object], message: str, tmp_path: Path) -> None:
    """Data that cannot be used is refused with what to change."""
    with pytest.raises(UsageError) as caught:
        read(tmp_path, rows, **options)  # type: ignore[arg-type]
    assert message in str(caught.value)


@pytest.mark.parametrize("name", ["gone.parquet", "text.parquet", "text.csv"])
def test_unreadable_files(name: str, tmp_path: Path) -> None:
    """A file that is not there or not what its name says is refused."""
    (tmp_path / "text.parquet").write_text("text")
    (tmp_path / "text.csv").write_bytes(b'"open quote')
    with pytest.raises(UsageError, match=r"--data|no column"):
        read_source(tmp_path / name, "at", [])


# --- cutting


@pytest.mark.parametrize("seed", range(5))
def test_every_row_is_in_one_batch(seed: int, tmp_path: Path) -> None:
    """The batches are the rows, in order, without holes; each table numbers its own; one seed cuts one way."""
    rows = read(tmp_path, source())[0]
    found = DataSet(rows, seed)
    batches = [*found.batches, *found.spare]
    assert (len(found.batches), len(found.spare)) == (BATCHES, SPARE)
    assert [number for batch in batches for number in range(batch.start, batch.start + batch.rows)] == list(
        range(COUNT)
    )
    seen = Counter[str]()
    for batch in batches:
        assert batch.index == seen[batch.table]
        seen[batch.table] += 1
    assert set(seen) == {MAIN, SCRATCH, LATE}
    assert DataSet(rows, seed).batches == found.batches
    assert DataSet(rows, seed + 100).batches != found.batches


# --- recognising


def test_batches_are_recognised(data: DataSet) -> None:
    """Rows in any order are the batches that they were cut into, as often as they are there."""
    first, second = data.batches[0], data.batches[3]
    found = pa.concat_tables([pa.Table.from_batches([data.record_batch(batch)]) for batch in (second, first, second)])
    assert data.batches_in(found, "here") == [first, second, second]
    assert data.batches_in(data.rows.slice(0, 0), "here") == []


def test_other_rows_are_corrupt(data: DataSet) -> None:
    """A changed value, a number never stored, part of a batch: each is a finding that says what and where."""
    whole = pa.Table.from_batches([data.record_batch(max(data.batches, key=lambda batch: batch.rows))])
    at = whole.schema.get_field_index("value")
    changed = whole.set_column(at, "value", [[-1.0, *whole["value"].to_pylist()[1:]]])
    strange = whole.set_column(whole.schema.get_field_index(ROW), ROW, [[COUNT] * whole.num_rows])
    for found, message in (
        (changed, r"here: row \d+ came back with value -1.0, not"),
        (strange, "here: rows came back that were never stored"),
        (whole.slice(1), r"here: \d+ rows of batch"),
    ):
        with pytest.raises(PromiseBroken, match=message) as caught:
            data.batches_in(found, "here")
        assert caught.value.verdict == "corrupt"


# --- operations


def test_operations(data: DataSet) -> None:
    """Every batch is ingested once, after its table was created; the first ones before the first crash point."""
    before, during = operations(data)
    done = [*before, *during]
    assert [operation.batch for operation in done if operation.kind == "ingest"] == [
        *(batch for batch in data.batches if batch.index < PREPARED.get(batch.table, 0)),
        *(batch for batch in data.batches if batch.index >= PREPARED.get(batch.table, 0)),
    ]
    there: set[str] = set()
    for operation in done:
        if operation.kind == "create":
            assert operation.table not in there
            there.add(operation.table)
        elif operation.kind == "drop":
            there.remove(operation.table)
        else:
            assert not operation.table or operation.table in there
    assert {operation.kind for operation in during} == {
        "ingest",
        "create",
        "drop",
        "truncate",
        "transfer",
        "flush",
        "segment-size",
    }
    assert [
        operation.item for operation in done if operation.kind in ("flush", "segment-size") and operation.item
    ] == []
