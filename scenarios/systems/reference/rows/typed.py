"""Small batches of every type, with nulls and damage where nobody sees them; and columns that a table must refuse.

A column comes with the values that a reader finds in it, written by hand, so that no code of the engine says them. Most arrays
are slices of longer ones, whose first and last places hold what their type does not allow. Such things lie beneath null lists
and structs, too, and in dictionaries at places that no index names.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import pyarrow as pa

from crashmatrix.scenarios.systems.reference.rows.column import (
    DAY,
    ROWS,
    Column,
    dates,
    inner,
    ints,
    listed,
    mapped,
    required,
    structs_of,
    texts,
)
from crashmatrix.scenarios.systems.reference.rows.nested import (
    encoded_columns,
    list_columns,
    map_columns,
    struct_columns,
)

__all__ = ["TYPED_TIME", "batch_with", "columns", "values_of"]

TYPED_TIME = "at"

_LAST_DAY = 2**31 - 1
"""Parquet counts the days of a date in four bytes."""


def batch_with(
    some: Sequence[Column], times: Sequence[int], *, instead: tuple[str, pa.Array] | None = None
) -> pa.RecordBatch:
    """Return a batch of the columns, with these times; ``instead`` replaces the column of that name."""
    arrays = {column.field.name: column.array for column in some} | dict([instead] if instead else [])
    fields = [pa.field(TYPED_TIME, pa.int64(), nullable=False), *(column.field for column in some)]
    return pa.RecordBatch.from_arrays([pa.array(times, pa.int64()), *arrays.values()], schema=pa.schema(fields))


def values_of(rows: pa.Table | pa.RecordBatch) -> list[dict[str, Any]]:
    """Return the rows as Python's own values; dates and times as counts, since Arrow has more of them than Python."""
    columns = [[_value(scalar) for scalar in column] for column in rows.columns]
    return [dict(zip(rows.schema.names, row, strict=True)) for row in zip(*columns, strict=True)]


def _value(scalar: pa.Scalar) -> Any:
    kind = scalar.type
    if not scalar.is_valid:
        return None
    if pa.types.is_dictionary(kind):
        return _value(scalar.value)
    if pa.types.is_struct(kind):
        return {field.name: _value(scalar[number]) for number, field in enumerate(kind)}
    if pa.types.is_map(kind):
        return [(_value(entry["key"]), _value(entry["value"])) for entry in scalar.values]
    if any(test(kind) for test in _LISTS):
        return [_value(item) for item in scalar.values]
    if pa.types.is_date32(kind):  # A file has it in place of a ``date64``.
        return scalar.value * DAY
    if any(test(kind) for test in _COUNTED):
        return scalar.value
    return scalar.as_py()


_LISTS = (
    *(pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list),
    *(pa.types.is_list_view, pa.types.is_large_list_view),
)
_COUNTED = (pa.types.is_date64, pa.types.is_timestamp, pa.types.is_time, pa.types.is_duration)


def columns(*, in_delta: bool) -> list[Column]:
    """Return a column of every type that a log takes, or of those that a table of the engine can have."""
    made = [*_plain(), *_dated(), *encoded_columns(), *list_columns(), *struct_columns(), *map_columns()]
    return [column for column in made if column.in_delta or not in_delta]


# Types without others inside


def _plain() -> list[Column]:
    ends = {kind: 2 ** (kind.bit_width - 1) for kind in (pa.int8(), pa.int16(), pa.int32(), pa.int64())}
    numbers = [(kind, [-end, None, end - 1, 0]) for kind, end in ends.items()]
    unsigned = (pa.uint8(), pa.uint16(), pa.uint32(), pa.uint64())
    numbers += [(kind, [2**kind.bit_width - 1, None, 0, 1]) for kind in unsigned]
    others: list[tuple[pa.DataType, list[Any]]] = [
        *((pa.null(), [None] * 4), (pa.bool_(), [True, None, False, True])),
        *((pa.float32(), [0.5, None, float("-inf"), 3.4028234663852886e38]), (pa.float64(), [5e-324, None, 0.1, -1.5])),
        (pa.decimal128(38, 0), [Decimal("9" * 38), None, Decimal(-1), Decimal(0)]),
        *((pa.string(), ["", None, "ß\x00", "a"]), (pa.large_string(), ["", None, "ß", "b" * 99])),
        *((pa.binary(), [b"", None, b"\xff", b"\x00"]), (pa.large_binary(), [b"", None, b"\xff", b"\x00"])),
        (pa.binary(3), [b"abc", None, b"\xff\xff\xff", b"\x00\x00\x00"]),
        (pa.date32(), [DAY * 2, None, 0, -DAY]),
        *((pa.timestamp(unit, zone), [-1, None, 0, 2**62]) for unit, zone in _STORED_TIMES),
    ]
    logged: list[tuple[pa.DataType, list[Any]]] = [
        *((pa.string_view(), ["", None, "ß" * 20, "b"]), (pa.binary_view(), [b"", None, b"\xff" * 20, b"b"])),
        *(
            (pa.float16(), [0.5, None, -2.0, 0.0]),
            (pa.decimal128(5, -2), [Decimal("1E+2"), None, Decimal("-3E+2"), Decimal("0E+2")]),
        ),
        (pa.decimal256(50, 3), [Decimal("1.250"), None, Decimal("-3.000"), Decimal("0.000")]),
        *((kind, [1, None, 0, 9]) for kind in (pa.time32("s"), pa.time64("ns"), pa.duration("us"))),
        *((kind, [1, None, 0, -9]) for kind in (pa.timestamp("s"), pa.timestamp("us", "Europe/Rome"))),
    ]
    made = [_simple(kind, values, True) for kind, values in (*numbers, *others)]
    made += [_simple(kind, values, False) for kind, values in logged]
    return [*made, *_strict()]


_STORED_TIMES = (("ms", None), ("us", None), ("ns", None), ("us", "UTC"))


def _simple(kind: pa.DataType, values: list[Any], in_delta: bool) -> Column:
    if pa.types.is_date32(kind):
        return Column(pa.field(str(kind), kind), pa.array([2, None, 0, -1], kind), values, {})
    whole = pa.array([values[-1], *values, values[0]], kind)
    return Column(pa.field(str(kind), kind), inner(whole), values, {}, in_delta)


def _strict() -> list[Column]:
    """Columns that allow no null, or whose values can be damaged."""
    narrow, wide = pa.decimal128(5, 2), pa.array([Decimal("12345.67")] * ROWS, pa.decimal128(30, 2))
    text = texts(b"\xff", b"a", None, "ß".encode(), b"", b"\xff")
    return [
        Column(
            required("strict", pa.int64()), inner(ints(None, 1, 2, 3, 4, None)), [1, 2, 3, 4],
            {"a null": ints(1, None, 3, 4), "a null at the end": inner(ints(0, 1, 2, 3, None, 0))},
        ),
        Column(
            pa.field("text", pa.string()), inner(text), ["a", None, "ß", ""],
            {
                "no UTF-8": text.slice(0, ROWS), "no UTF-8 at the end": text.slice(2),
                "offsets that go back": pa.Array.from_buffers(
                    pa.string(), ROWS, [None, pa.py_buffer(struct.pack("<5i", 0, 3, 1, 1, 1)), pa.py_buffer(b"abc")]
                ),
            },
        ),
        Column(
            pa.field("narrow", narrow), pa.array([Decimal("999.99"), None, Decimal("-0.01"), Decimal(0)], narrow),
            [Decimal("999.99"), None, Decimal("-0.01"), Decimal("0.00")],
            {"too many digits": pa.Array.from_buffers(narrow, ROWS, wide.buffers())},
        ),
    ]  # fmt: skip


def _dated() -> list[Column]:
    """Dates that Parquet has, and others where nobody sees them."""
    far, before, day = _LAST_DAY + 1, -_LAST_DAY - 2, pa.date64()
    ends = [_LAST_DAY * DAY, None, -(_LAST_DAY + 1) * DAY, 0]
    beyond = {
        "a date too late": dates(0, None, 0, far),
        "a date too early": dates(before, None, 0, 0),
        "a part of a day": ints(1, 0, 0, 0).view(day),
    }
    lists, points = pa.list_(day), pa.struct([pa.field("day", day), required("due", day)])
    calendar = pa.map_(day, day)
    return [
        Column(pa.field("days", day), inner(dates(far, _LAST_DAY, None, -_LAST_DAY - 1, 0, before)), ends, beyond),
        Column(
            pa.field("lists of days", lists), listed(lists, dates(1, far, 2, None), [1, 2, 3, 4], null=1),
            [[DAY], None, [2 * DAY], [None]],
            {"a date too late": listed(lists, dates(1, 1, 2, far), [1, 2, 3, 4], null=1)},
        ),
        Column(
            pa.field("structs of days", points),
            structs_of(points, dates(1, far, 2, None), dates(1, None, 2, 3), null=1),
            [{"day": DAY, "due": DAY}, None, {"day": 2 * DAY, "due": 2 * DAY}, {"day": None, "due": 3 * DAY}],
            {
                "a date too early": structs_of(points, dates(1, 1, before, 1), dates(1, 1, 1, 1), null=1),
                "a due date too late": structs_of(points, dates(1, 1, 1, 1), dates(1, 1, 1, far), null=1),
                "no due date": structs_of(points, dates(1, 1, 1, 1), dates(1, None, None, 1), null=1),
            },
        ),
        Column(
            pa.field("maps of days", calendar),
            mapped(calendar, dates(1, far, 2, 3), dates(None, far, 5, 6), [1, 2, 3, 4], 1),
            [[(DAY, None)], None, [(2 * DAY, 5 * DAY)], [(3 * DAY, 6 * DAY)]],
            {
                "a key too late": mapped(calendar, dates(1, 1, 2, far), dates(1, 1, 1, 1), [1, 2, 3, 4], 1),
                "a value too early": mapped(calendar, dates(1, 1, 2, 3), dates(before, 1, 1, 1), [1, 2, 3, 4], 1),
            },
        ),
    ]  # fmt: skip
