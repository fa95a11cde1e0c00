"""The rows of the reference workload: each once, cut and dealt with the seed; other rows are recognised."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from crashmatrix.scenarios.errors import PromiseBroken, UsageError
from crashmatrix.scenarios.systems.reference.data import (
    BATCHES,
    LATE,
    MAIN,
    ROW,
    ROWS_MAX,
    ROWS_MIN,
    SCRATCH,
    DataSet,
    read_source,
)
from crashmatrix.scenarios.systems.reference.rows.hostile import SIZES, SIZES_NESTED

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
    return made(tmp_path, seed=3)


def made(folder: Path, seed: int) -> DataSet:
    DataSet.store(read(folder, source())[0], folder, seed)
    return DataSet(folder, seed, "at", ["sensor"])


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
    "too few rows": (source(ROWS_MIN - 1), {}, f"has {ROWS_MIN - 1} rows, the workload needs {ROWS_MIN}"),
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
    """The batches are the rows, without holes; each table numbers its own; one seed cuts one way."""
    found = made(tmp_path, seed)
    counts = {MAIN: COUNT, SCRATCH: sum(SIZES), LATE: sum(SIZES_NESTED)}
    assert len(found.batches[MAIN]) == BATCHES and found.batches.keys() == counts.keys()
    for name, batches in found.batches.items():
        assert batches[0].start == 0 and batches[-1].start + batches[-1].rows == counts[name]
        assert all(before.start + before.rows == after.start for before, after in pairwise(batches))
        assert [(batch.table, batch.index) for batch in batches] == [(name, index) for index in range(len(batches))]
    assert made(tmp_path, seed).batches == found.batches
    assert made(tmp_path, seed + 100).batches != found.batches


# --- recognising


def table(data: DataSet, number: int) -> pa.Table:
    return pa.Table.from_batches([data.record_batch(data.batches[SCRATCH][number])])


@pytest.mark.parametrize("name", [MAIN, SCRATCH, LATE])
def test_batches_are_recognised(name: str, data: DataSet) -> None:
    """Rows in any order and any chunks are the batches that they were cut into, as often as they are there."""
    first, second, none = data.batches[name][0], data.batches[name][3], data.batches[SCRATCH][1]
    found = pa.concat_tables([pa.Table.from_batches([data.record_batch(one)]) for one in (second, first, second)])
    source = data.source(name)
    assert source.batches_in(found, "here") == [first, second, second]
    assert source.batches_in(source.schema.empty_table(), "here") == []
    assert not none.rows and not none.item and data.record_batch(none).schema == data.source(SCRATCH).schema


def swapped(name: str, change: Callable[[pa.ChunkedArray], pa.Array]) -> Callable[[pa.Table], pa.Table]:
    return lambda rows: rows.set_column(rows.schema.get_field_index(name), rows.schema.field(name), change(rows[name]))


def null_for(value: object) -> Callable[[pa.ChunkedArray], pa.Array]:
    return lambda column: pa.array([value if one is None else one for one in column.to_pylist()], column.type)


NAN = pa.scalar(float("nan"), pa.float32())
CHANGES: dict[str, tuple[Callable[[pa.Table], pa.Table], str]] = {
    "-0.0 is 0.0": (swapped("reading", lambda column: pc.add(column, 0.0)), "came back with reading"),
    "a NaN is itself": (
        swapped("coarse", lambda column: pc.if_else(pc.is_nan(column), pa.scalar(float("nan"), pa.float32()), column)),
        "",
    ),
    "a NaN is null": (swapped("reading", lambda column: pc.if_else(pc.is_nan(column), None, column)), "reading None"),
    "null is a value": (swapped("count", null_for(5)), "came back with count 5, not None"),
    "null is empty": (swapped("labels", null_for([])), r"came back with labels \[\], not None"),
    "no microseconds": (
        swapped("at", lambda column: column.cast(pa.timestamp("s", "UTC"), safe=False).cast(column.type)),
        "came back with at",
    ),
    "a name within": (swapped("place", null_for({"name": "x", "spot": None, "floor": 0})), "came back with place"),
    "never stored": (swapped(ROW, lambda column: pa.array([9_999] * len(column))), "that were never stored"),
    "in part": (lambda rows: rows.slice(1), r"\d+ rows of batch"),
    "another schema": (lambda rows: rows.rename_columns([*rows.column_names[:-1], "time"]), "another schema"),
    "a column less": (lambda rows: rows.drop_columns(["note"]), "another schema"),
    "without numbers": (lambda rows: rows.drop_columns([ROW]), "without the column"),
}


@pytest.mark.parametrize(("change", "message"), CHANGES.values(), ids=CHANGES)
def test_other_rows_are_corrupt(change: Callable[[pa.Table], pa.Table], message: str, data: DataSet) -> None:
    """One bit of one value, a type, a name, a row more or less: each is a finding that says what and where."""
    largest = table(data, SIZES.index(max(SIZES)))
    changed = change(largest)
    if message:
        with pytest.raises(PromiseBroken, match=message) as caught:
            data.source(SCRATCH).batches_in(changed, "here")
        assert caught.value.verdict == "corrupt"
    else:  # The very NaN that was stored.
        assert data.source(SCRATCH).batches_in(changed, "here")
