"""Rows as nobody wishes them, drawn with the seed: whatever a column may hold, some row holds.

Nulls in every column that takes them; NaNs of several kinds, -0.0, the least and the largest values; times out of order,
twice, and with microseconds; dictionaries, of tags and within lists and structs; maps; metadata of the schema and of a column; a
batch without rows, batches of one row, and batches of a few kilobytes in one row, which are larger than a segment.

The dictionaries of tags have each value under two indices, and those that have room for it have a null as a value. Fields that
allow no null lie beneath null structs and null lists.
"""

from __future__ import annotations

import random
import struct
from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

__all__ = ["HOSTILE_TAGS", "HOSTILE_TIMESTAMP", "PLACE", "SIZES", "SIZES_NESTED", "hostile_rows", "nested_rows"]

HOSTILE_TIMESTAMP, HOSTILE_TAGS = "at", ["site", ".live", "live"]

SIZES = (5, 0, 1, 24, 3, 1, 40, 1, 0, 2, 1, 12, 3, 0, 1, 9, 2, 1, 0, 14, 3)
"""Rows of each batch, in order."""

SIZES_NESTED = (3, 0, 1, 110, 100, 1, 8)
"""Likewise, of a table without tags, whose only dictionaries are those within lists and structs: of the two large batches in one
generation, with more values than indices."""

_NESTED = ["labels", "at", "place", "coarse", "marks"]

_CROWD = 90
"""So many names has the last row of a batch that has more rows than that: two such rows have more than there are indices."""

_WIDE = 3
"""One row in so many of the batches of one row is wide."""

_NAMES = pa.dictionary(pa.int8(), pa.string())
_MANY = pa.large_list(_NAMES)
PLACE = pa.struct(
    [
        pa.field("name", _NAMES),
        pa.field("spot", pa.list_(pa.field("item", pa.float64(), nullable=False))),
        pa.field("floor", pa.int16(), nullable=False),
    ]
)
_SCHEMA = pa.schema(
    [
        pa.field("at", pa.timestamp("us", "UTC"), metadata={"unit": "µs"}),
        pa.field("site", pa.dictionary(pa.int16(), pa.string())),
        pa.field(".live", pa.int16()),
        pa.field("live", pa.bool_()),
        pa.field("reading", pa.float64()),
        pa.field("coarse", pa.float32()),
        pa.field("count", pa.int64()),
        pa.field("step", pa.int32(), nullable=False),
        pa.field("level", pa.int8()),
        pa.field("price", pa.decimal128(20, 4)),
        pa.field("day", pa.date32()),
        pa.field("local", pa.timestamp("us")),
        pa.field("note", pa.string()),
        pa.field("raw", pa.binary()),
        pa.field("labels", pa.list_(_NAMES)),
        pa.field("place", PLACE),
        pa.field("state", pa.dictionary(pa.int8(), pa.string()), nullable=False),
        pa.field("marks", pa.map_(pa.string(), pa.int64())),
    ],
    metadata={"made by": "nobody", "": "\x00"},
)

_LARGEST_INDEX = {pa.int8(): 2**7 - 1, pa.int16(): 2**15 - 1}

_NOON = 1_262_347_200_000_000
"""2010-01-01 12:00 UTC, in microseconds."""
_TIMES = (-62_135_596_800_000_000, 253_402_300_799_999_999, -1, 0, 1)
_TEXTS = ("", " ", "0", "null", "NaN", "ß\u0301🜨", "a\x00b", "'\"\\\n", "x" * 300)


def _float(bits: int) -> float:
    return float(struct.unpack("<d", struct.pack("<Q", bits))[0])


_FLOATS = (
    _float(0x7FF8000000000000), _float(0xFFF8000000000ABC), _float(0x7FF8000000000001), -0.0, 0.0, 5e-324, -2.5e-310,
    float("inf"), float("-inf"), 1.7976931348623157e308, 0.1,
)  # fmt: skip
_COARSE = (float("nan"), -0.0, 0.0, 1.401298464324817e-45, 3.4028234663852886e38, float("-inf"), 0.5)


def hostile_rows(seed: int) -> list[pa.RecordBatch]:
    """Return the batches. Each has dictionaries of its own, which together have more values than their indices have."""
    draw = random.Random(f"{seed} hostile")
    ones = [place for place, size in enumerate(SIZES) if size == 1]
    wide = [place in ones[::_WIDE] for place in range(len(SIZES))]
    batches = [_batch(draw, size, wide=one) for size, one in zip(SIZES, wide, strict=True)]
    return [batch.drop_columns("marks") for batch in batches]


def nested_rows(seed: int) -> list[pa.RecordBatch]:
    """Return the batches of the table without tags. Its lists of names are large ones, too."""
    draw = random.Random(f"{seed} nested")
    batches = [_batch(draw, size, wide=False).select(_NESTED) for size in SIZES_NESTED]
    return [_with_many(batch, number) for number, batch in enumerate(batches)]


def _with_many(batch: pa.RecordBatch, number: int) -> pa.RecordBatch:
    """Add the lists of names that are large ones.

    In a large batch the last row has as many names as fit, and alone has no time: so it lies beside that of the next large batch
    in a file, and no two such rows share a dictionary.
    """
    rows = batch.num_rows
    if rows <= _CROWD:
        return batch.append_column("many", batch["labels"].cast(_MANY))
    names = [f"n{number}-{place}" for place in range(_CROWD)]
    many = pa.array([*([name, None, None] for name in (names * 2)[: rows - 1]), names], _MANY)
    crowded = pa.LargeListArray.from_arrays(many.offsets, _ambiguous(many.values), type=_MANY)
    times = pa.concat_arrays([pc.fill_null(batch["at"], 0)[:-1], pa.nulls(1, batch["at"].type)])
    return batch.set_column(_NESTED.index("at"), batch.schema.field("at"), times).append_column("many", crowded)


def _batch(draw: random.Random, size: int, *, wide: bool) -> pa.RecordBatch:
    series = [(_tag(draw, "north", "süd", ""), _tag(draw, -32768, 7), _tag(draw, True, False)) for _ in range(4)]
    rows = [_row(draw, draw.choice(series), wide=wide) for _ in range(size)]
    columns = zip(*rows, strict=True) if rows else [()] * len(_SCHEMA)
    arrays = [_array(column, field) for column, field in zip(columns, _SCHEMA, strict=True)]
    return pa.RecordBatch.from_arrays(arrays, schema=_SCHEMA)


def _array(values: Sequence[Any], field: pa.Field) -> pa.Array:
    array = pa.array(values, field.type)
    match field.name:
        case "site":
            return _ambiguous(array, twice=True)
        case "labels":
            return pa.ListArray.from_arrays(
                array.offsets, _ambiguous(array.values), type=array.type, mask=array.is_null()
            )
        case "place":
            name, *others = array.flatten()  # With the nulls of the structs.
            return pa.StructArray.from_arrays([_ambiguous(name), *others], fields=list(PLACE), mask=array.is_null())
    return array


def _ambiguous(array: pa.DictionaryArray, *, twice: bool = False) -> pa.DictionaryArray:
    """Return the same values, every other null of them as a value of the dictionary, if the indices have room for one more.

    Args:
        twice: have each value in the dictionary twice, and every other row take the second one.
    """
    values = array.dictionary.to_pylist()
    null, count = len(values) * (1 + twice), len(values) * twice
    if null > _LARGEST_INDEX[array.type.index_type]:
        return array
    indices = [
        (null if row % 2 else None) if index is None else index + row % 2 * count
        for row, index in enumerate(array.indices.to_pylist())
    ]
    dictionary = pa.array([*values, *(values * twice), None], array.type.value_type)
    return pa.DictionaryArray.from_arrays(pa.array(indices, array.type.index_type), dictionary)


def _tag(draw: random.Random, *values: Any) -> Any:
    return draw.choice([*values, None])


def _row(draw: random.Random, series: tuple[Any, ...], *, wide: bool) -> tuple[Any, ...]:
    def often(value: Callable[[], Any]) -> Any:
        return None if draw.random() < 0.2 else value()

    def one_of(values: tuple[Any, ...]) -> Callable[[], Any]:
        return lambda: draw.choice(values)

    def name() -> str | None:
        return draw.choice((None, "", *[f"n{draw.randrange(999)}"] * 4))

    row = (
        often(lambda: draw.choice((*_TIMES, *(_NOON + second * 1_000_001 for second in range(10))))),
        *series,
        often(one_of(_FLOATS)),
        often(one_of(_COARSE)),
        often(one_of((-(2**63), 2**63 - 1, 0, -1))),
        draw.choice((-(2**31), 2**31 - 1, 0)),
        often(one_of((-128, 127, 0))),
        often(one_of(tuple(map(Decimal, ("9999999999999999.9999", "-0.0001", "0.0000"))))),
        often(one_of((-719_162, 2_932_896, 0))),
        often(one_of(_TIMES)),
        "w" * 9_000 if wide else often(one_of(_TEXTS)),
        draw.randbytes(8_000) if wide else often(one_of((b"", b"\x00", b"\xff" * 9))),
        often(lambda: [name() for _ in range(draw.randrange(4))]),
        often(lambda: {"name": name(), "spot": often(lambda: [draw.choice(_FLOATS)] * draw.randrange(3)), "floor": -1}),
        draw.choice(("on", "off")),
    )  # fmt: skip
    labels = row[-3]
    return (*row, labels and [(label or "", count or None) for count, label in enumerate(labels)])
