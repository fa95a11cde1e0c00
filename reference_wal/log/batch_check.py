"""Checks that a batch fits its table: the table's own schema, whole arrays, and nulls only where the schema allows them.

Each check comes before the batch is logged. A batch that is promised and cannot be stored would stop every later flush.

Values must be what Arrow's format allows: an index that is outside of its dictionary, text that is not UTF-8, offsets that go
back, decimals with too many digits. Rows with such values fail when they are sorted or read, or come back as others.

Values must be what Parquet keeps, too. It has the days of a ``date64`` in four bytes, and Arrow drops the others when it
writes: 2**31 days after 1970 came back as 2**31 days before it. No other type that a table can have is narrowed: Delta takes
neither times, durations, floats of two bytes, timestamps in seconds, nor decimals other than of 128 bits. A ``date64`` that
fits is taken: every date that a calendar has does.

Arrow counts a null where it lies, and that is not always where it is seen. A dictionary's index may point to a null. A list or a
struct has nulls of its own, and those of its values. On the other hand, a null beneath a null parent is not there, nor is one
outside of the slice that the batch is. So a column that may hide a null is searched at every depth (`_null_in`).
"""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow as pa
import pyarrow.compute as pc

from crashmatrix.reference_wal.errors import InvalidInput
from crashmatrix.reference_wal.log.segments.segment import Codec

__all__ = ["BatchCheck", "check_loggable"]

_DAY_MILLISECONDS = 24 * 60 * 60 * 1_000
_DAY_MIN, _DAY_MAX = -(2**31), 2**31 - 1


def check_loggable(schema: pa.Schema) -> None:
    """Raise InvalidInput if a log could not read its batches back: Arrow writes some types that it cannot read."""
    for field in schema:
        if _has_empty_union(field.type):  # Arrow dies of a null of that type.
            raise InvalidInput(
                f"column {field.name!r} cannot be logged: a union in {field.type} has no types to choose from"
            )
        try:
            codec = Codec(pa.schema([field]))
            nulls = pa.RecordBatch.from_arrays([pa.nulls(1, field.type)], schema=codec.schema)
            same = all(codec.decode(codec.encode(batch)).equals(batch) for batch in (codec.empty, nulls))
        except (OSError, pa.ArrowException) as error:  # From bytes in memory: Arrow raises OSError for nonsense, too.
            raise _unloggable(field, str(error).splitlines()[0]) from error
        if not same:
            raise _unloggable(field, "it comes back as another type, or with other values")


def _has_empty_union(kind: pa.DataType) -> bool:
    parts = [kind.field(number).type for number in range(kind.num_fields)]
    parts += [kind.value_type] if pa.types.is_dictionary(kind) or pa.types.is_run_end_encoded(kind) else []
    return (pa.types.is_union(kind) and not parts) or any(map(_has_empty_union, parts))


def _unloggable(field: pa.Field, why: str) -> InvalidInput:
    return InvalidInput(
        f"column {field.name!r} cannot be logged: Arrow does not read back what it writes of {field.type} ({why})"
    )


class BatchCheck:
    """``check(batch)`` for the table of this name and schema; cheap, since every append calls it."""

    def __init__(self, table: str, schema: pa.Schema) -> None:
        self._table, self._schema = table, schema
        self._required = [(number, field.name) for number, field in enumerate(schema) if not field.nullable]
        self._hiding = [(number, field) for number, field in enumerate(schema) if _may_hide_nulls(field)]
        self._dated = [(number, field) for number, field in enumerate(schema) if _has_date64(field.type)]

    def __call__(self, batch: pa.RecordBatch) -> None:
        """Raise InvalidInput unless the batch has the table's schema, whole arrays, and no null where that allows none."""
        if not batch.schema.equals(self._schema):
            raise InvalidInput(
                f"batch has schema {batch.schema.names}, table {self._table!r} has {self._schema.names} or other types"
            )
        try:
            batch.validate(full=True)
        except pa.ArrowException:
            self._refuse_damage(batch)
        for number, name in self._required:
            if batch.column(number).null_count:
                raise self._refusal(name)
        for number, field in self._hiding:
            if name := _null_in(batch.column(number), field):
                raise self._refusal(name)
        for number, field in self._dated:
            if any(_is_beyond_parquet(dates) for dates in _date64s(batch.column(number), field.type)):
                raise InvalidInput(
                    f"column {field.name!r} of the batch for table {self._table!r} has a date64 more than 2**31 days from 1970,"
                    " which Parquet cannot store; use int64 for it"
                )

    def _refuse_damage(self, batch: pa.RecordBatch) -> None:
        """Raise InvalidInput unless the damage is where nobody sees it."""
        for number, field in enumerate(self._schema):
            try:
                _validate_visible(batch.column(number), field.type)
            except pa.ArrowException as error:
                said = f"column {field.name!r} of the batch for table {self._table!r} is not what Arrow's format allows"
                raise InvalidInput(f"{said}: {error}") from error

    def _refusal(self, name: str) -> InvalidInput:
        return InvalidInput(f"column {name!r} of table {self._table!r} takes no nulls, the batch has some")


def _validate_visible(array: pa.Array, kind: pa.DataType) -> None:
    """Raise pa.ArrowException if a value is damaged that is there.

    `pyarrow.Array.validate` looks beneath nulls, too. It refuses arrays that Arrow itself makes: in place of a null struct, a
    field with an empty dictionary has the index 0.
    """
    if pa.types.is_map(kind) or pa.types.is_list(kind) or pa.types.is_large_list(kind):
        array.validate()
        offsets = pa.large_list(pa.null()) if pa.types.is_large_list(kind) else pa.list_(pa.null())
        _as_list(array, pa.nulls(len(array.values)), offsets).validate(full=True)
    elif not pa.types.is_struct(kind):
        array.validate(full=True)
        return
    for part, field, _ in _inside(array, kind):
        _validate_visible(part, field.type)


def _may_hide_nulls(field: pa.Field) -> bool:
    """Whether a null that is not allowed may lie deeper than the column's own nulls."""
    kind = field.type
    if pa.types.is_dictionary(kind):
        return not field.nullable or _may_hide_nulls(field.with_type(kind.value_type))
    if pa.types.is_map(kind):  # Arrow makes no map with a null for a key.
        return _may_hide_nulls(kind.key_field) or not kind.item_field.nullable or _may_hide_nulls(kind.item_field)
    parts = [kind.field(number) for number in range(kind.num_fields)]
    return any(not part.nullable or _may_hide_nulls(part) for part in parts)


def _null_in(array: pa.Array, field: pa.Field, beneath: int = 0) -> str:
    """Return the path of a field that allows no null and has one, ``column.item.name`` for example; empty if there is none.

    Args:
        beneath: how many of the array's nulls lie beneath a null parent. No value is there, and so no null either.
    """
    if not field.nullable and _nulls(array) > beneath:
        return str(field.name)
    if pa.types.is_dictionary(field.type):
        value = field.with_type(field.type.value_type)
        return _null_in(array.dictionary.take(array.indices), value, beneath) if _may_hide_nulls(value) else ""
    for inside in _inside(array, field.type):
        if path := _null_in(*inside):
            return f"{field.name}.{path}"
    return ""


def _has_date64(kind: pa.DataType) -> bool:
    if pa.types.is_dictionary(kind):
        return _has_date64(kind.value_type)
    return pa.types.is_date64(kind) or any(_has_date64(kind.field(number).type) for number in range(kind.num_fields))


def _date64s(array: pa.Array, kind: pa.DataType) -> Iterator[pa.Array]:
    """Yield the dates that can be seen."""
    if pa.types.is_date64(kind):
        yield array
    elif pa.types.is_dictionary(kind):
        yield from _date64s(array.dictionary.take(array.indices), kind.value_type)
    for part, field, _ in _inside(array, kind):
        yield from _date64s(part, field.type)


def _is_beyond_parquet(dates: pa.Array) -> bool:
    ends = [end // _DAY_MILLISECONDS for end in pc.min_max(dates.view(pa.int64())).as_py().values() if end is not None]
    return any(not _DAY_MIN <= end <= _DAY_MAX for end in ends)


def _nulls(array: pa.Array) -> int:
    """Count the nulls of an array, those in its dictionary as often as they are used."""
    if pa.types.is_dictionary(array.type) and array.dictionary.null_count:
        found = array.dictionary.is_null().take(array.indices)
        return int(found.null_count + found.true_count)
    return int(array.null_count)


def _inside(array: pa.Array, kind: pa.DataType) -> Iterator[tuple[pa.Array, pa.Field, int]]:
    """Yield what a struct, list or map holds, within the slice that it is: arrays, their fields, and nulls beneath its own."""
    if pa.types.is_struct(kind):  # `flatten` hands the struct's nulls down to its fields.
        for part, field in zip(array.flatten(), kind, strict=True):
            yield part, field, array.null_count
    elif pa.types.is_map(kind):  # `MapArray.keys` and `items` have what lies outside of the slice, too.
        for part, field in zip(array.values.flatten(), (kind.key_field, kind.item_field), strict=True):
            yield _as_list(array, part, pa.list_(part.type)).flatten(), field, 0
    elif any(test(kind) for test in _LISTS):  # `flatten` leaves out what lies beneath null lists.
        yield array.flatten(), kind.field(0), 0


def _as_list(array: pa.Array, part: pa.Array, kind: pa.DataType) -> pa.Array:
    """Return an array of lists with the same offsets and nulls, and other values."""
    return pa.Array.from_buffers(kind, len(array), array.buffers()[:2], offset=array.offset, children=[part])


_LISTS = (
    *(pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list),
    *(pa.types.is_list_view, pa.types.is_large_list_view),
)
