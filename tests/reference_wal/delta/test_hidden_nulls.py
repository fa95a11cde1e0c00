"""Parquet takes rows with nulls beneath null structs, and the rows are the same; a null that can be seen is not hidden."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from crashmatrix.reference_wal import EngineOptions, StorageEngine
from crashmatrix.reference_wal.delta.hidden_nulls import without_hidden_nulls


def required(name: str, kind: pa.DataType) -> pa.Field:
    return pa.field(name, kind, nullable=False)


NAMES = pa.dictionary(pa.int8(), pa.string())
MANY = pa.large_list(pa.int64())
FIELDS = {
    "numbers": required("x", pa.int64()),
    "text": required("x", pa.string()),
    "booleans": required("x", pa.bool_()),
    "names": required("x", NAMES),
    "structs": required("x", pa.struct([required("deep", pa.int16())])),
    "lists": required("x", pa.list_(required("item", pa.int64()))),
    "views": required("x", pa.list_view(pa.int64())),
    "large views": required("x", pa.large_list_view(pa.int64())),
    "structs of lists": required("x", pa.struct([required("deep", pa.list_(pa.string())), pa.field("large", MANY)])),
}
VALUES: dict[str, list[Any]] = {
    "numbers": [1, 2],
    "text": ["", "a"],
    "booleans": [True, False],
    "names": ["a", "b"],
    "structs": [{"deep": 1}, {"deep": 2}],
    "lists": [[1], []],
    "views": [[1], [2, None]],
    "large views": [[], [3]],
    "structs of lists": [{"deep": ["a"], "large": None}, {"deep": [], "large": [1]}],
}


def structs(values: list[Any], kind: pa.StructType) -> pa.StructArray:
    """Structs whose fields are null where the structs are."""
    found = pa.array(values, kind)
    return pa.StructArray.from_arrays(found.flatten(), fields=list(kind), mask=found.is_null())


def rows(name: str) -> pa.Table:
    """Null structs as they are, in lists, and in maps; a field beside the one that allows no null does."""
    kind = pa.struct([FIELDS[name], pa.field("beside", pa.int64())])
    one, other = ({"x": value, "beside": None} for value in VALUES[name])
    items, offsets = structs([None, one, None, other], kind), [0, 1, 3, None, 3, 4]
    columns = {
        "struct": structs([one, None, other, None, one], kind),
        "list": pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), items),
        "large": pa.LargeListArray.from_arrays(pa.array(offsets, pa.int64()), items),
    }
    if name != "names":
        columns["map"] = pa.MapArray.from_arrays(pa.array(offsets, pa.int32()), pa.array(["k"] * 4), items)
    return pa.table({"at": pa.array(range(5), pa.timestamp("us")), **columns})


@pytest.mark.parametrize("name", [name for name in FIELDS if name != "names"])
def test_parquet_takes_them(name: str) -> None:
    """In one piece or cut anywhere, the rows are the same, and Arrow finds them valid."""
    whole = rows(name)
    for table in (whole, whole.slice(1), whole.slice(2, 2), whole.slice(0, 0), whole.select(whole.column_names[::-1])):
        table = table.take(pa.array(range(len(table)), pa.int64()))
        found = without_hidden_nulls(table)
        found.validate(full=True)
        assert found.schema == table.schema and found.to_pylist() == table.to_pylist()
        sink = pa.BufferOutputStream()
        pq.write_table(found, sink)
        assert pq.read_table(pa.BufferReader(sink.getvalue())).to_pylist() == table.to_pylist()


@pytest.mark.parametrize("large", [False, True])
def test_items_that_no_view_shows(large: bool, tmp_path: Path) -> None:
    """Items of null list views, and those between views, stay when Arrow takes rows: they are left out, and cost no flush."""
    make, offset = (pa.LargeListViewArray, pa.int64()) if large else (pa.ListViewArray, pa.int32())
    kind = pa.struct([required("x", pa.int64())])
    items = structs([{"x": 1}, None, {"x": 3}, None, {"x": 5}], kind)
    unseen = pa.StructArray.from_arrays([pa.array([None, None, 3, None, 5])], fields=list(kind), mask=items.is_null())
    views = make.from_arrays(
        pa.array([3, 0, 2, 4], offset),
        pa.array([2, 1, 1, 0], offset),
        unseen,
        mask=pa.array([False, True, False, False]),
    )
    table = pa.table({"at": pa.array(range(4), pa.timestamp("us")), "views": views})
    due = [[None, {"x": 5}], None, [{"x": 3}], []]
    assert table["views"].to_pylist() == due
    with StorageEngine.open(tmp_path / "engine") as engine:
        engine.create_table("t", table.schema, timestamp="at")
        engine.ingest("t", table.to_batches()[0])
        engine.flush()
        found = engine.read("t")
    found.validate(full=True)
    assert found.schema == table.schema and found["views"].to_pylist() == due


def test_a_null_that_is_seen_stays() -> None:
    """It must not become a value: the writer refuses it. Plain rows are left as they are."""
    kind = pa.struct([required("x", pa.int64())])
    table = pa.table({"c": pa.array([{"x": None}, None], kind)})
    found = without_hidden_nulls(table)
    assert found.to_pylist() == table.to_pylist()
    with pytest.raises(pa.ArrowInvalid, match="declared non-nullable"):
        pq.write_table(found, pa.BufferOutputStream())


SHOWN: dict[str, pa.DataType] = {
    "numbers": pa.int64(),
    "structs": pa.struct([pa.field("x", pa.int64())]),
    "lists": pa.list_(required("item", pa.int64())),
    "lists of structs": pa.list_(pa.struct([pa.field("x", pa.int64())])),
    "maps": pa.map_(pa.string(), pa.struct([pa.field("x", pa.int64())])),
}


@pytest.mark.parametrize("kind", SHOWN.values(), ids=SHOWN)
def test_rows_that_hide_none(kind: pa.DataType) -> None:
    """They are left as they are."""
    table = pa.table({"c": pa.nulls(3, kind)})
    assert without_hidden_nulls(table) is table


def test_a_map_by_structs() -> None:
    """The keys of a map may hide nulls as well as its values."""
    inner = pa.struct([required("x", pa.int64())])
    keys = pa.StructArray.from_arrays([structs([{"x": 1}, None], inner)], fields=[pa.field("a", inner)])
    table = pa.table({"c": pa.MapArray.from_arrays(pa.array([0, 1, 2], pa.int32()), keys, pa.array([1, 2]))})
    with pytest.raises(pa.ArrowInvalid, match="declared non-nullable"):
        pq.write_table(table, pa.BufferOutputStream())
    pq.write_table(without_hidden_nulls(table), pa.BufferOutputStream())
    assert without_hidden_nulls(table).to_pylist() == table.to_pylist()


def test_structs_that_are_never_null() -> None:
    """Their required fields hide nothing, and are left as they are, of whatever type."""
    kind = pa.struct([required("x", pa.int64()), required("pair", pa.list_(pa.int64(), 2))])
    table = pa.table({"c": pa.array([{"x": 1, "pair": [1, None]}] * 3, kind)})
    assert without_hidden_nulls(table).equals(table)


def test_a_field_beside_a_required_one(tmp_path: Path) -> None:
    """A field that may be null keeps its own nulls, whatever its type."""
    pairs = pa.list_(pa.int64(), 2)
    kind = pa.struct([required("x", pa.int64()), pa.field("pair", pairs), pa.field("none", pa.null())])
    due = [{"x": 1, "pair": [1, 2], "none": None}, None, {"x": 2, "pair": [3, None], "none": None}]
    table = pa.table({"at": pa.array(range(3), pa.timestamp("us")), "c": structs(due, kind)})
    with StorageEngine.open(tmp_path) as engine:
        engine.create_table("t", table.schema, timestamp="at")
        engine.ingest("t", table.to_batches()[0])
        engine.flush()
        assert engine.read("t").to_pylist() == table.to_pylist()


@pytest.mark.parametrize("memory", [1, 1 << 20], ids=["spilled", "in memory"])
@pytest.mark.parametrize("name", FIELDS)
def test_an_engine_keeps_them(name: str, memory: int, tmp_path: Path) -> None:
    """Acknowledged batches can be replayed, spilled, committed, read and moved."""
    table, options = rows(name), EngineOptions(memory_bytes_max=memory)
    with StorageEngine.open(tmp_path / "engine", options=options) as engine:
        engine.create_table("t", table.schema, timestamp="at")
        for batch in table.to_batches(max_chunksize=2):
            engine.ingest("t", batch)
    with StorageEngine.open(tmp_path / "engine", options=options) as engine:
        assert engine.read("t").sort_by("at").to_pylist() == table.to_pylist()
        engine.flush()
        found = engine.read("t")
        assert found.schema == table.schema and found.to_pylist() == table.to_pylist()
        found.validate(full=True)
        assert engine.transfer("t", tmp_path / "moved") == 5
