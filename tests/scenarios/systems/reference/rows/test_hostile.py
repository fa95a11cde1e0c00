"""Hostile rows have with every seed what they are said to have."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import duckdb
import pyarrow as pa
import pytest

from crashmatrix.reference_wal.delta.compression import to_parquet
from crashmatrix.reference_wal.delta.dictionaries import decoded
from crashmatrix.reference_wal.keys import order
from crashmatrix.reference_wal.options import check_columns, check_storable
from crashmatrix.scenarios.systems.reference.engine import OPTIONS
from crashmatrix.scenarios.systems.reference.rows.exact import first_difference, plain, undictionaried
from crashmatrix.scenarios.systems.reference.rows.hostile import (
    HOSTILE_TAGS,
    HOSTILE_TIMESTAMP,
    SIZES,
    hostile_rows,
    nested_rows,
)


@pytest.mark.parametrize("seed", range(8))
def test_what_there_is(seed: int) -> None:
    """Nulls in every nullable column, special values, times out of order and twice, batches of every size."""
    batches = hostile_rows(seed)
    rows = pa.Table.from_batches(batches)
    assert [batch.num_rows for batch in batches] == list(SIZES) and {0, 1} < set(SIZES)
    assert max(batch.nbytes for batch in batches if batch.num_rows == 1) > OPTIONS.segment_bytes_max
    assert [field.name for field in rows.schema if not field.nullable] == ["step", "state"]
    assert all(rows[field.name].null_count for field in rows.schema if field.nullable)
    readings = [value for value in rows["reading"].to_pylist() if value is not None]
    assert any(map(math.isnan, readings)) and "-0.0" in map(repr, readings) and math.inf in readings
    times = [time for time in rows["at"].cast(pa.int64()).to_pylist() if time is not None]
    assert times != sorted(times) and len(set(times)) < len(times) and any(time % 1000 for time in times)
    names = [name for labels in rows["labels"].to_pylist() for name in labels or () if name]
    assert len(set(names)) > 128 // 4


@pytest.mark.parametrize("seed", range(8))
def test_dictionaries_are_ambiguous(seed: int) -> None:
    """In one batch, equal tags have different indices; nulls are indices and values, within lists and structs, too."""
    for batches in (hostile_rows(seed), nested_rows(seed)):
        columns = set(batches[0].schema.names) & INNER.keys()
        found = {column: [INNER[column](batch[column]) for batch in batches] for column in columns}
        for column, arrays in found.items():
            assert any(array.null_count and None in used(array) for array in arrays), column
        sites = found.get("site", [])
        assert not sites or any(len(used(array)) > len(set(used(array))) for array in sites)
        for batch in batches:
            batch.validate(full=True)


@pytest.mark.parametrize("seed", range(8))
def test_nulls_beneath_nulls(seed: int) -> None:
    """Null structs have fields that allow none."""
    places = [batch["place"] for batch in (*hostile_rows(seed), *nested_rows(seed))]
    assert any(place.field(2).null_count for place in places)


@pytest.mark.parametrize("seed", range(8))
def test_crowded_rows_lie_side_by_side(seed: int) -> None:
    """Sorted by time, one row of each large batch comes last, and two of them have more names than there are indices."""
    rows = pa.concat_tables([pa.Table.from_batches([batch]) for batch in nested_rows(seed) if batch.num_rows > 90])
    many = decoded(rows).take(order(rows, ["at"]))["many"].to_pylist()
    assert len(set(many[-2])) == len(set(many[-1])) == 90 and len({*many[-2], *many[-1]}) > 128
    assert max(map(len, many[:-2])) == 3


INNER: dict[str, Callable[[pa.Array], pa.DictionaryArray]] = {
    "site": lambda array: array,
    "labels": lambda array: array.flatten(),
    "many": lambda array: array.flatten(),
    "place": lambda array: array.flatten()[0],
}


def used(array: pa.DictionaryArray) -> list[str | None]:
    """The values of the indices that occur, of each index once."""
    return [array.dictionary[index].as_py() for index in array.indices.drop_null().unique().to_pylist()]


def test_the_engine_takes_them() -> None:
    """The table can be made, and each seed has its own rows."""
    schema = hostile_rows(0)[0].schema
    check_columns(schema, HOSTILE_TIMESTAMP, HOSTILE_TAGS)
    check_storable(schema, HOSTILE_TIMESTAMP, HOSTILE_TAGS)
    assert hostile_rows(1) != hostile_rows(2)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(("make", "tags"), [(hostile_rows, HOSTILE_TAGS), (nested_rows, [])])
def test_another_reader(
    seed: int, make: Callable[[int], list[pa.RecordBatch]], tags: list[str], tmp_path: Path
) -> None:
    """DuckDB finds the same rows in the files that the engine writes of them, and knows no schema but the file's."""
    stored = pa.Table.from_batches(make(seed))
    stored = stored.append_column("row", pa.array(range(stored.num_rows)))
    file = tmp_path / "rows.parquet"
    file.write_bytes(to_parquet(stored, timestamp=HOSTILE_TIMESTAMP, tags=tags))
    with duckdb.connect() as connection:
        found = connection.read_parquet(str(file)).order("row").to_arrow_table()
    schema = pa.schema([field.with_type(undictionaried(field.type)) for field in stored.schema])
    found = found.select(stored.column_names).cast(schema)
    assert first_difference(plain(stored), plain(found)) is None
