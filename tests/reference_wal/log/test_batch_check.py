"""A table takes batches of its own schema, with nulls only where the schema allows them."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from crashmatrix.reference_wal import InvalidInput, StorageEngine, WriteAheadLog
from crashmatrix.reference_wal.log.batch_check import BatchCheck, check_loggable
from crashmatrix.reference_wal.log.segments.segment import read_opening, read_records
from tests.reference_wal.support import encode

TIME, VALUE = pa.field("time", pa.int64(), nullable=False), pa.field("value", pa.float64())
SCHEMA = pa.schema([TIME, VALUE])


def rows(*fields: pa.Field, time: int | None = 1) -> pa.RecordBatch:
    columns = [pa.array([time if field.name == "time" else None], field.type) for field in fields]
    return pa.RecordBatch.from_arrays(columns, schema=pa.schema(fields))


TAKEN = {
    "its own schema": rows(TIME, VALUE),
    "no rows": rows(TIME, VALUE).slice(0, 0),
    "other metadata": rows(TIME, VALUE).replace_schema_metadata({"made": "today"}),
}
REFUSED = {
    "a column less": (rows(TIME), "has schema"),
    "a column more": (rows(TIME, VALUE, pa.field("more", pa.int8())), "has schema"),
    "another order": (rows(VALUE, TIME), "has schema"),
    "another type": (rows(TIME, pa.field("value", pa.float32())), "other types"),
    "another name": (rows(TIME, pa.field("values", pa.float64())), "has schema"),
    "nullable instead": (rows(pa.field("time", pa.int64()), VALUE), "has schema"),
    "a null that is not allowed": (rows(TIME, VALUE, time=None), "column 'time' of table 't' takes no nulls"),
}


@pytest.mark.parametrize("batch", TAKEN.values(), ids=TAKEN)
def test_taken(batch: pa.RecordBatch) -> None:
    """A batch of the table's schema passes."""
    BatchCheck("t", SCHEMA)(batch)


@pytest.mark.parametrize(("batch", "message"), REFUSED.values(), ids=REFUSED)
def test_refused(batch: pa.RecordBatch, message: str) -> None:
    """Any other batch is refused, and the message names the table."""
    with pytest.raises(InvalidInput, match=message) as caught:
        BatchCheck("t", SCHEMA)(batch)
    assert "'t'" in str(caught.value)


# --- nulls that are not on top

NAMES = pa.dictionary(pa.int8(), pa.string())


def required(name: str, kind: pa.DataType) -> pa.Field:
    return pa.field(name, kind, nullable=False)


NUMBERS, WORDS = pa.list_(required("item", pa.int64())), pa.list_(required("item", NAMES))
POINT = pa.struct([required("x", pa.int64()), pa.field("y", pa.int64())])
MARKS = pa.map_(pa.string(), required("value", pa.int64()))


def names(indices: list[int | None], values: list[str | None]) -> pa.DictionaryArray:
    return pa.DictionaryArray.from_arrays(pa.array(indices, pa.int8()), pa.array(values, pa.string()))


def lists(kind: pa.DataType, values: pa.Array, *, null: int | None = None, length: int = 3) -> pa.ListArray:
    """One item in each list, a null list among them or none."""
    mask = pa.array([place == null for place in range(length)])
    return pa.ListArray.from_arrays(pa.array(range(length + 1), pa.int32()), values, type=kind, mask=mask)


def structs(kind: pa.DataType, *parts: pa.Array, null: int | None = None) -> pa.StructArray:
    mask = pa.array([place == null for place in range(len(parts[0]))])
    return pa.StructArray.from_arrays(parts, fields=list(kind), mask=mask)


def nested(null: int | None = None) -> tuple[pa.Field, pa.Array]:
    """A list of structs of a map of lists; the second item of a deep list is a null, or the struct above it is."""
    deep = pa.map_(pa.string(), required("value", NUMBERS))
    kind = pa.struct([required("deep", deep)])
    values = pa.array([[("k", [1])], [("k", [None])], [("k", [3])]], deep)
    return pa.field("c", pa.list_(required("item", kind) if null is None else pa.field("item", kind))), lists(
        pa.list_(required("item", kind) if null is None else pa.field("item", kind)), structs(kind, values, null=null)
    )


def integers(*values: int | None) -> pa.Array:
    return pa.array(values, pa.int64())


HIDDEN: dict[str, tuple[pa.Field, pa.Array, str]] = {
    "a dictionary's value": (required("c", NAMES), names([0, 1], ["a", None]), "c"),
    "a dictionary's index": (required("c", NAMES), names([0, None], ["a", None]), "c"),
    "a list's item": (pa.field("c", NUMBERS), lists(NUMBERS, integers(1, None, 3)), "c.item"),
    "a large list's": (
        pa.field("c", pa.large_list(NUMBERS.value_field)), pa.array([[1, None]], pa.large_list(NUMBERS.value_field)), "c.item",
    ),
    "one of few items": (
        pa.field("c", pa.list_(NUMBERS.value_field, 2)), pa.array([[1, None]], pa.list_(NUMBERS.value_field, 2)), "c.item",
    ),
    "a list's item by dictionary": (pa.field("c", WORDS), lists(WORDS, names([0, 1, 0], ["a", None])), "c.item"),
    "a struct's field": (pa.field("c", POINT), structs(POINT, integers(1, None), integers(None, None)), "c.x"),
    "of a required struct": (required("c", POINT), structs(POINT, integers(1, None), integers(1, 1)), "c.x"),
    "besides one beneath a null": (
        pa.field("c", POINT), structs(POINT, integers(None, None), integers(1, 1), null=0), "c.x",
    ),
    "a map's value": (pa.field("c", MARKS), pa.array([[("k", 1)], [("k", None)]], MARKS), "c.value"),
    "a map's value in a slice": (pa.field("c", MARKS), pa.array([[("k", 1)], [("k", None)]], MARKS).slice(1), "c.value"),
    "a list view's": (
        pa.field("c", pa.list_view(NUMBERS.value_field)), pa.array([[1, None]], pa.list_view(NUMBERS.value_field)), "c.item",
    ),
    "a large list view's": (
        pa.field("c", pa.large_list_view(NUMBERS.value_field)),
        pa.array([[1, None]], pa.large_list_view(NUMBERS.value_field)),
        "c.item",
    ),
    "within a map's key": (
        pa.field("c", pa.map_(POINT, pa.int64())), pa.array([[({"x": None}, 1)]], pa.map_(POINT, pa.int64())), "c.key.x",
    ),
    "a struct within a struct": (
        pa.field("c", pa.struct([required("s", POINT)])), pa.array([{"s": None}], pa.struct([required("s", POINT)])), "c.s",
    ),
    "a list within a list": (
        pa.field("c", pa.list_(required("item", NUMBERS))), pa.array([[[1], None]], pa.list_(required("item", NUMBERS))),
        "c.item",
    ),
    "deep down": (*nested(), "c.item.deep.value.item"),
}  # fmt: skip
NOT_THERE: dict[str, tuple[pa.Field, pa.Array]] = {
    "a value that no index names": (required("c", NAMES), names([0, 0], ["a", None])),
    "beneath a null list": (pa.field("c", NUMBERS), lists(NUMBERS, integers(1, None, 3), null=1)),
    "by dictionary beneath a null list": (pa.field("c", WORDS), lists(WORDS, names([0, 1, 0], ["a", None]), null=1)),
    "before a slice": (pa.field("c", NUMBERS), lists(NUMBERS, integers(None, 2, 3)).slice(1)),
    "after a slice": (pa.field("c", NUMBERS), lists(NUMBERS, integers(1, 2, None)).slice(0, 2)),
    "beneath a null struct": (pa.field("c", POINT), structs(POINT, integers(1, None), integers(1, 1), null=1)),
    "beneath a null struct in a slice": (
        pa.field("c", POINT), structs(POINT, integers(None, 1, None), integers(1, 1, 1), null=2).slice(1),
    ),
    "beside a slice of a map": (pa.field("c", MARKS), pa.array([[("k", None)], [("k", 1)], [("k", None)]], MARKS).slice(1, 1)),
    "where nulls are allowed": (pa.field("c", POINT), structs(POINT, integers(1, 1), integers(None, 1))),
    "two structs up": (
        pa.field("c", pa.struct([required("s", POINT)])), pa.array([None, {"s": {"x": 1}}], pa.struct([required("s", POINT)])),
    ),
    "deep down beneath a null struct": nested(null=1),
    "a dictionary for which there are no values": (
        pa.field("c", pa.struct([pa.field("name", NAMES)])), pa.array([None], pa.struct([pa.field("name", NAMES)])),
    ),
}  # fmt: skip


def alone(field: pa.Field, array: pa.Array) -> pa.RecordBatch:
    return pa.RecordBatch.from_arrays([array], schema=pa.schema([field]))


@pytest.mark.parametrize(("field", "array", "path"), HIDDEN.values(), ids=HIDDEN)
def test_a_hidden_null(field: pa.Field, array: pa.Array, path: str) -> None:
    """A null is refused wherever it can be seen, and the message says in which field."""
    batch = alone(field, array)
    with pytest.raises(InvalidInput, match=f"column '{path}' of table 't' takes no nulls, the batch has some"):
        BatchCheck("t", batch.schema)(batch)


@pytest.mark.parametrize(("field", "array"), NOT_THERE.values(), ids=NOT_THERE)
def test_a_null_that_is_not_there(field: pa.Field, array: pa.Array, tmp_path: Path) -> None:
    """A null beneath a null, outside of the slice, or that no index names, is not one: the batch is taken, and stored."""
    times = pa.array(range(len(array)), pa.timestamp("us"))
    batch = alone(field, array).append_column(required("at", times.type), times)
    BatchCheck("t", batch.schema)(batch)
    with StorageEngine.open(tmp_path) as engine:
        engine.create_table("t", batch.schema, timestamp="at")
        engine.ingest("t", batch)
        engine.flush()
        assert engine.read("t").to_pylist() == batch.to_pylist()


# --- damage


def offsets(kind: pa.DataType, *children: pa.Array) -> pa.Array:
    """An array whose offsets go back."""
    buffers = [None, pa.py_buffer(struct.pack("<3i", 0, 3, 1))]
    return pa.Array.from_buffers(
        kind, 2, [*buffers, *([] if children else [pa.py_buffer(b"abc")])], children=[*children]
    )


NOT_TEXT = pa.array([b"a", b"\xff"]).view(pa.string())
WIDE = pa.array([Decimal("12345.67")], pa.decimal128(30, 2))
DAMAGED: dict[str, pa.Array] = {
    "not UTF-8": NOT_TEXT,
    "not UTF-8 in a list": lists(pa.list_(pa.string()), NOT_TEXT, length=2),
    "not UTF-8 in a dictionary": pa.DictionaryArray.from_arrays(pa.array([1], pa.int8()), NOT_TEXT),
    "an index beyond the dictionary": pa.DictionaryArray.from_arrays(pa.array([1]), pa.array(["a"]), safe=False),
    "an index beyond it in a struct": pa.StructArray.from_arrays(
        [pa.DictionaryArray.from_arrays(pa.array([1]), pa.array(["a"]), safe=False)], ["name"]
    ),
    "offsets of text": offsets(pa.string()),
    "offsets of a list": offsets(NUMBERS, integers(1, 2, 3)),
    "too many digits": pa.Array.from_buffers(pa.decimal128(5, 2), 1, WIDE.buffers()),
}


@pytest.mark.parametrize("array", DAMAGED.values(), ids=DAMAGED)
def test_damage(array: pa.Array) -> None:
    """Values that would fail later, or come back as others, are refused."""
    batch = alone(pa.field("c", array.type), array)
    with pytest.raises(InvalidInput, match="column 'c' of the batch for table 't' is not what Arrow's format allows"):
        BatchCheck("t", batch.schema)(batch)


def test_damage_that_is_not_there() -> None:
    """Beneath a null, and outside of the slice, any values may lie."""
    text = lists(pa.list_(pa.string()), NOT_TEXT, length=2)
    beneath = lists(pa.list_(pa.string()), NOT_TEXT, null=1, length=2)
    for array in (text.slice(0, 1), beneath, NOT_TEXT.slice(0, 1)):
        batch = alone(pa.field("c", array.type), array)
        BatchCheck("t", batch.schema)(batch)


REFUSALS: list[tuple[pa.Field, pa.Array, Any]] = [
    (required("c", NAMES), names([0, 1], ["a", None]), ["c"]),
    (pa.field("c", pa.string()), NOT_TEXT, ["c"]),
    (pa.field("c", NUMBERS), lists(NUMBERS, integers(1, None, 3)), []),
]


@pytest.mark.parametrize("logged", [True, False])
@pytest.mark.parametrize(("field", "array", "tags"), REFUSALS)
def test_an_engine_goes_on(field: pa.Field, array: pa.Array, tags: list[str], logged: bool, tmp_path: Path) -> None:
    """The batch gets no id, and the next one is stored."""
    batch = alone(field, array).append_column("at", pa.array(range(len(array)), pa.timestamp("us")))
    with StorageEngine.open(tmp_path, logged) as engine:
        engine.create_table("t", batch.schema, timestamp="at", tags=tags)
        with pytest.raises(InvalidInput):
            engine.ingest("t", batch)
        assert engine.ingest("t", batch.slice(0, 1)) == 0
        engine.flush()
    with StorageEngine.open(tmp_path, logged) as engine:
        assert engine.read("t").num_rows == 1


# --- dates that Parquet cannot store

DATE = pa.date64()
FAR, FARTHER, NEAR = (day * 86_400_000 for day in (2**31, -(2**31) - 1, 2**31 - 1))


def dates(*values: int | None) -> pa.Array:
    return integers(*values).view(DATE)


TOO_FAR: dict[str, pa.Array] = {
    "a date": dates(0, None, FAR),
    "a date before": dates(FARTHER),
    "in a list": lists(pa.list_(DATE), dates(0, 0, FAR)),
    "in a struct": pa.StructArray.from_arrays([dates(FAR)], ["day"]),
    "in a map": pa.MapArray.from_arrays(pa.array([0, 1], pa.int32()), pa.array(["k"]), dates(FAR)),
    "in a dictionary": pa.DictionaryArray.from_arrays(pa.array([0], pa.int8()), dates(FAR)),
}
NEAR_ENOUGH: dict[str, pa.Array] = {
    "the last date": dates(NEAR, None),
    "the first date": dates(-(2**31) * 86_400_000, NEAR),
    "no dates": dates(None),
    "beneath a null": lists(pa.list_(DATE), dates(0, FAR, 0), null=1),
    "outside of the slice": dates(FAR, 0).slice(1),
    "not used": pa.DictionaryArray.from_arrays(pa.array([0], pa.int8()), dates(0, FAR)),
}


@pytest.mark.parametrize("array", TOO_FAR.values(), ids=TOO_FAR)
def test_dates_too_far(array: pa.Array) -> None:
    """A date that would come back as another one is refused."""
    batch = alone(pa.field("c", array.type), array)
    with pytest.raises(InvalidInput, match="column 'c' of the batch for table 't' has a date64 more than"):
        BatchCheck("t", batch.schema)(batch)


@pytest.mark.parametrize("array", NEAR_ENOUGH.values(), ids=NEAR_ENOUGH)
def test_dates_near_enough(array: pa.Array) -> None:
    """Every other date is taken."""
    batch = alone(pa.field("c", array.type), array)
    BatchCheck("t", batch.schema)(batch)


REE = pa.run_end_encoded(pa.int32(), pa.string())
UNLOGGABLE = {
    "dictionaries of dictionaries": pa.dictionary(pa.int8(), NAMES),
    "and in a list": pa.list_(pa.dictionary(pa.int8(), NAMES)),
    "runs in a struct, which have nulls nowhere": pa.struct([("a", REE)]),
    "a union of nothing": pa.sparse_union([]),
    "and deeper": pa.list_(pa.struct([("a", pa.dictionary(pa.int8(), pa.dense_union([])))])),
}


@pytest.mark.parametrize("kind", UNLOGGABLE.values(), ids=UNLOGGABLE)
def test_a_log_that_could_not_be_read_is_not_made(kind: pa.DataType, tmp_path: Path) -> None:
    """Its batches would be acknowledged; nothing of it is on disk, and the name is free."""
    with closing(WriteAheadLog(tmp_path)) as wal:
        with pytest.raises(InvalidInput, match="column 'bad' cannot be logged"):
            wal.create_table_log("t", pa.schema([("x", pa.int64()), ("bad", kind)]))
        assert not list(tmp_path.iterdir())
        wal.create_table_log("t", pa.schema([("x", pa.int64())]))


@pytest.mark.parametrize("mode", ["sparse", "dense"])
def test_a_union_of_something(mode: str, tmp_path: Path) -> None:
    """A log takes unions, also within others, and within lists that may be null."""
    kind = pa.union([pa.field("a", pa.int64()), pa.field("b", pa.union([pa.field("c", pa.string())], mode=mode))], mode)
    with closing(WriteAheadLog(tmp_path)) as wal:
        wal.create_table_log("t", pa.schema([("u", kind), ("l", pa.list_(kind))]))
        assert wal.tables == ["t"]


class Own(pa.ExtensionType):  # type: ignore[misc]  # pyarrow has no types
    """A type of the user's, which may have lost the ability to be read."""

    error: BaseException | None = None

    def __init__(self) -> None:
        super().__init__(pa.int64(), "crashmatrix.tests.own")

    def __arrow_ext_serialize__(self) -> bytes:
        return b""

    @classmethod
    def __arrow_ext_deserialize__(cls, storage_type: pa.DataType, serialized: bytes) -> Own:
        if cls.error is not None:
            raise cls.error
        return cls()


@pytest.fixture
def own() -> Iterator[pa.DataType]:
    """A type with a part of the user's own, that Arrow makes anew whenever it reads a schema."""
    kind = Own()
    pa.register_extension_type(kind)
    yield pa.struct([("own", kind), ("name", NAMES)])
    pa.unregister_extension_type("crashmatrix.tests.own")


def test_errors_of_a_type_of_the_users(own: pa.DataType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A mistake in the user's own type is neither called damage nor a type that cannot be logged."""
    rows = alone(pa.field("x", own), pa.nulls(1, own))
    file = pa.BufferReader(encode([rows], schema=rows.schema)[0])
    with closing(WriteAheadLog(tmp_path)) as wal:
        wal.create_table_log("t", rows.schema)
    opening = read_opening(file)
    assert opening is not None and len(list(read_records(file, opening))) == 1

    calls: list[Callable[[], object]] = [lambda: WriteAheadLog(tmp_path), lambda: check_loggable(rows.schema)]
    calls += [lambda: read_opening(file), lambda: list(read_records(file, opening))]
    with monkeypatch.context() as patch:
        patch.setattr(Own, "error", AttributeError("mine"))
        for call in calls:
            with pytest.raises(AttributeError, match=r"^mine$"):
                call()
    with closing(WriteAheadLog(tmp_path)) as wal:
        assert wal.append("t", rows) == 0


@pytest.mark.parametrize(
    "values",
    [
        pa.array([date(2020, 1, 1), None, date(1960, 2, 3)]),
        pa.array([Decimal("1.25"), None, Decimal(-3)], pa.decimal128(5, 2)),
        pa.array([{"a": 1}, {"a": 2}, None]),
        pa.array([[1], None, [2, 3]]),
        pa.nulls(3),
    ],
    ids=lambda values: str(values.type),
)
@pytest.mark.parametrize("deep", [False, True])
def test_dictionaries_of_any_values(values: pa.Array, deep: bool, tmp_path: Path) -> None:
    """They come back as they were, though Arrow makes most of them from indices and values only."""
    array: pa.Array = pa.DictionaryArray.from_arrays(pa.array([2, None, 0, 1], pa.int8()), values)
    array = pa.StructArray.from_arrays([array], ["a"]) if deep else array
    logged = pa.record_batch([array], names=["x"])
    with closing(WriteAheadLog(tmp_path)) as wal:
        wal.create_table_log("t", logged.schema)
        wal.append("t", logged)
        wal.append("t", logged.slice(1, 2))
    with closing(WriteAheadLog(tmp_path)) as wal:
        found = [batch for _, batch in wal.unpersisted("t")]
    assert found[0].equals(logged) and found[1].equals(logged.slice(1, 2))
