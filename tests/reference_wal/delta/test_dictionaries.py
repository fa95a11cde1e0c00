"""Dictionaries of any depth are decoded and encoded again, whatever number of values several batches have together."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from crashmatrix.reference_wal import EngineOptions, StorageEngine
from crashmatrix.reference_wal.delta.dictionaries import decoded, decoded_type, encoded

FEW = pa.dictionary(pa.int8(), pa.string())
TYPES = {
    "plain": FEW,
    "list": pa.list_(FEW),
    "large list": pa.large_list(FEW),
    "struct": pa.struct([pa.field("a", FEW), pa.field("b", pa.list_(pa.struct([pa.field("c", FEW)])))]),
    "numbers": pa.dictionary(pa.int8(), pa.int64()),
    "dates": pa.dictionary(pa.int8(), pa.date32()),
    "struct of dates": pa.struct([pa.field("a", pa.dictionary(pa.int8(), pa.date32()))]),
    "list of decimals": pa.list_(pa.dictionary(pa.int8(), pa.decimal128(9, 2))),
}


VALUES: dict[pa.DataType, Callable[[int], object]] = {
    pa.int64(): lambda number: number,
    pa.date32(): lambda number: date.fromordinal(700_000 + 97 * number),
    pa.decimal128(9, 2): lambda number: Decimal(number - 90) / 4,
}


def value(kind: pa.DataType, number: int) -> Any:
    """Values, nulls, nulls above them and nulls below them: all in a row."""
    if number % 7 == 0:
        return None
    if pa.types.is_struct(kind):
        return {field.name: value(field.type, number * 3 + place) for place, field in enumerate(kind)}
    if pa.types.is_dictionary(kind):
        return VALUES.get(kind.value_type, "v{}".format)(number)
    return [value(kind.value_type, number + place) for place in range(number % 3)]


def rows(kind: pa.DataType) -> pa.Table:
    """Three batches, each with a dictionary of its own, that together have more values than the indices can name."""
    values = [[None, None], *([value(kind, number) for number in range(start, start + 60)] for start in (0, 60, 120))]
    try:
        return pa.table({"x": pa.chunked_array([pa.array(part, kind) for part in values])})
    except pa.ArrowNotImplementedError:  # Arrow makes some dictionaries from their values only.
        plain = pa.table({"x": pa.chunked_array([pa.array(part, decoded_type(kind)) for part in values])})
        table = encoded(plain, pa.schema([("x", kind)]))
        assert table.to_pylist() == plain.to_pylist()
        return table


@pytest.mark.parametrize("kind", TYPES.values(), ids=TYPES)
def test_there_and_back(kind: pa.DataType) -> None:
    """The values are the same before, between and after; in one piece or cut anywhere."""
    for table in (rows(kind), rows(kind).slice(31, 90), rows(kind).slice(0, 1), rows(kind).slice(0, 0)):
        between = decoded(table)
        assert between.schema.field("x").type == decoded_type(kind)
        assert between.to_pylist() == table.to_pylist()
        again = encoded(between.combine_chunks(), table.schema)
        again.validate(full=True)
        assert again.schema == table.schema and again.to_pylist() == table.to_pylist()


def test_columns_side_by_side() -> None:
    """Several columns of one type, each with more values than the indices can name, are decoded and encoded."""
    column = rows(FEW)["x"]
    table = pa.table({"x": column, "y": column, "n": range(len(column)), "z": column})
    again = encoded(decoded(table).combine_chunks(), table.schema)
    again.validate(full=True)
    assert again.schema == table.schema and again.to_pylist() == table.to_pylist()


def test_other_types_become_those_of_the_schema() -> None:
    """Values that were read as other types, or under other names, have the types of the schema to the letter."""
    found = pa.table(
        {"x": pa.array([1, None], pa.int32()), "y": pa.array([[1], None], pa.list_(pa.field("z", pa.int8())))}
    )
    schema = pa.schema([("x", pa.int64()), ("y", pa.list_(pa.field("item", pa.int8())))])
    rows = encoded(found, schema)
    rows.validate(full=True)
    assert [str(column.type) for column in rows.columns] == [str(kind) for kind in schema.types]
    assert rows.to_pylist() == found.to_pylist()


def test_a_value_that_no_index_names() -> None:
    """One row with more values than its type can name is refused, not cut."""
    kind = pa.list_(FEW)
    with pytest.raises(pa.ArrowInvalid):
        encoded(pa.table({"x": [[f"v{number}" for number in range(300)]]}), pa.schema([("x", kind)]))


def test_two_rows_whose_values_need_two_dictionaries() -> None:
    """They are split, down to one row each."""
    texts = [[f"v{number}" for number in range(start, start + 100)] for start in (0, 100)]
    found = encoded(pa.table({"x": texts}), pa.schema([("x", pa.list_(FEW))]))
    assert found["x"].to_pylist() == texts and found["x"].num_chunks == 2


def test_hidden_ones_are_refused() -> None:
    """A dictionary within a type that cannot be rebuilt is an error, not left where it is."""
    with pytest.raises(pa.ArrowNotImplementedError, match="dictionaries within map"):
        decoded_type(pa.map_(pa.string(), FEW))
    with pytest.raises(pa.ArrowNotImplementedError, match="dictionaries within sparse_union"):
        decoded_type(pa.sparse_union([pa.field("a", pa.int8()), pa.field("b", FEW)]))
    for kind in (
        pa.map_(pa.string(), pa.int8()),
        pa.sparse_union([pa.field("a", pa.int8()), pa.field("b", pa.string())]),
    ):
        assert decoded_type(kind) == kind


@pytest.mark.parametrize("memory", [1, 1 << 20], ids=["spilled", "in memory"])
@pytest.mark.parametrize("kind", TYPES.values(), ids=TYPES)
def test_an_engine_keeps_them(kind: pa.DataType, memory: int, tmp_path: Path) -> None:
    """Acknowledged batches, each with a dictionary of its own, can be replayed, spilled, committed and read."""
    table = rows(kind).append_column("at", pa.array(range(182), pa.timestamp("us")))
    options = EngineOptions(memory_bytes_max=memory)
    with StorageEngine.open(tmp_path, options=options) as engine:
        engine.create_table("t", table.schema, timestamp="at")
        for batch in table.to_batches():
            engine.ingest("t", batch)
    with StorageEngine.open(tmp_path, options=options) as engine:
        engine.ingest("t", table.to_batches()[0])
        assert len(engine.read("t")) == 184
        engine.flush()
        found = engine.read("t")
    assert found.schema == table.schema
    assert sorted(map(repr, found.to_pylist())) == sorted(
        map(repr, (*table.to_pylist(), *table.slice(0, 2).to_pylist()))
    )
