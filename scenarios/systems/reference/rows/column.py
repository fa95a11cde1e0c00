"""Columns of `typed` tables, and arrays as Arrow's own functions do not make them: with damage, and with what nobody sees."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

__all__ = [
    "DAY",
    "ROWS",
    "Column",
    "dates",
    "inner",
    "ints",
    "listed",
    "mapped",
    "names",
    "required",
    "structs_of",
    "texts",
]

ROWS = 4
DAY = 24 * 60 * 60 * 1_000
"""In milliseconds, of which a ``date64`` has whole days only."""


@dataclass(frozen=True)
class Column:
    """A column of a table.

    Attributes:
        array: of `ROWS` places.
        values: what a reader finds in them; dates and times are counts in the type's own unit.
        bad: arrays that the table must refuse, by what is wrong with them.
        in_delta: whether a table of the engine can have the column, or only a log.
    """

    field: pa.Field
    array: pa.Array
    values: Sequence[Any]
    bad: Mapping[str, pa.Array]
    in_delta: bool = True


def required(name: str, kind: pa.DataType) -> pa.Field:
    """Return a field that allows no null."""
    return pa.field(name, kind, nullable=False)


def ints(*values: int | None) -> pa.Array:
    """Return integers of eight bytes."""
    return pa.array(values, pa.int64())


def dates(*days: int | None) -> pa.Array:
    """Return dates that are so many days from 1970."""
    return ints(*(None if day is None else day * DAY for day in days)).view(pa.date64())


def texts(*values: bytes | None) -> pa.Array:
    """Return text that may not be UTF-8."""
    return pa.array(values, pa.binary()).view(pa.string())


def names(indices: Sequence[int | None], values: Sequence[str | None]) -> pa.DictionaryArray:
    """Return names by dictionary; an index may be beyond its values."""
    return pa.DictionaryArray.from_arrays(pa.array(indices, pa.int8()), pa.array(values, pa.string()), safe=False)


def listed(kind: pa.DataType, items: pa.Array, ends: Sequence[int], *, null: int | None = None) -> pa.Array:
    """Return lists (of any kind with offsets) that end at these items; the one at ``null`` has items that nobody sees."""
    large = pa.types.is_large_list(kind) or pa.types.is_large_list_view(kind)
    form, starts = "q" if large else "i", [0, *ends]
    bits = sum(1 << place for place in range(len(ends)) if place != null)
    buffers = [None if null is None else pa.py_buffer(bytes([bits, 0, 0, 0, 0, 0, 0, 0]))]
    if pa.types.is_list_view(kind) or pa.types.is_large_list_view(kind):
        sizes = [end - start for start, end in zip(starts, ends, strict=False)]
        offsets = [starts[:-1], sizes]
    else:
        offsets = [starts]
    buffers += [pa.py_buffer(struct.pack(f"<{len(some)}{form}", *some)) for some in offsets]
    return pa.Array.from_buffers(kind, len(ends), buffers, children=[items])


def structs_of(kind: pa.DataType, *parts: pa.Array, null: int | None = None) -> pa.StructArray:
    """Return structs; the one at ``null`` has fields that nobody sees."""
    mask = pa.array([place == null for place in range(len(parts[0]))])
    return pa.StructArray.from_arrays(parts, fields=list(kind), mask=mask)


def mapped(
    kind: pa.DataType, keys: pa.Array, items: pa.Array, ends: Sequence[int], null: int | None = None
) -> pa.Array:
    """Return maps whose entries end at these places; the one at ``null`` has entries that nobody sees."""
    entries = pa.StructArray.from_arrays([keys, items], fields=[kind.key_field, kind.item_field])
    bits = sum(1 << place for place in range(len(ends)) if place != null)
    offsets = pa.py_buffer(struct.pack(f"<{len(ends) + 1}i", 0, *ends))
    return pa.Array.from_buffers(kind, len(ends), [pa.py_buffer(bytes([bits] + [0] * 7)), offsets], children=[entries])


def inner(array: pa.Array) -> pa.Array:
    """Return an array without its first and last place, which nobody sees then."""
    return array.slice(1, len(array) - 2)
