"""Nulls that nobody sees: in a field that allows none, beneath a null struct. Arrow takes none of them, neither in Parquet, nor
when it casts what it read from Parquet.

    struct<x: int64 not null>    [{x: 1}, null]    x may hold [1, null] or [1, whatever]

Both are the same rows. So before rows are written, and once they are read, such a field says of every place that it holds a
value, as the second does. A null that can be seen is left, for Arrow to refuse: it must not become a value.
"""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

__all__ = ["without_hidden_nulls"]


def without_hidden_nulls(rows: pa.Table) -> pa.Table:
    """Return the same rows. Nothing may lie beneath null lists, as after `pyarrow.Table.take` or a read, but for list views:
    Arrow takes those with all their items, shown or not.
    """
    for index, field in enumerate(rows.schema):
        if _has_required(field.type):
            chunks = [_shown(chunk, field.type) for chunk in rows.column(index).chunks]
            rows = rows.set_column(index, field, pa.chunked_array(chunks, field.type))
    return rows


def _has_required(kind: pa.DataType) -> bool:
    """Whether a struct within the type may be null, and has a field that allows no null."""
    if pa.types.is_map(kind):  # Its entries are structs, and never null.
        return _has_required(kind.key_type) or _has_required(kind.item_type)
    parts = [kind.field(number) for number in range(kind.num_fields)]
    required = pa.types.is_struct(kind) and any(not part.nullable for part in parts)
    return required or any(_has_required(part.type) for part in parts)


def _shown(array: pa.Array, kind: pa.DataType) -> pa.Array:
    """Return the array as one of this type, without hidden nulls."""
    if not _has_required(kind):
        return array
    if pa.types.is_struct(kind):  # `flatten` hands the struct's nulls down to its fields.
        parts = zip(array.flatten(), kind, strict=True)
        fields = [_field(part, field, array.null_count) for part, field in parts]
        return pa.StructArray.from_arrays(fields, fields=list(kind), mask=array.is_null())
    if _is_view(kind):
        return _shown_view(array, kind)
    items = _shown(array.values, kind.field(0).type)
    return pa.Array.from_buffers(kind, len(array), _own_buffers(array), offset=array.offset, children=[items])


def _shown_view(array: pa.Array, kind: pa.DataType) -> pa.Array:
    """Return list views without items that no list shows, and without hidden nulls in the others."""
    items, sizes = _shown(array.flatten(), kind.field(0).type), pc.fill_null(pc.list_value_length(array), 0)
    make = pa.ListViewArray if pa.types.is_list_view(kind) else pa.LargeListViewArray
    return make.from_arrays(pc.subtract(pc.cumulative_sum(sizes), sizes), sizes, items, type=kind, mask=array.is_null())


def _field(part: pa.Array, field: pa.Field, beneath: int) -> pa.Array:
    """Return a struct's field. If it has as many nulls as lie beneath null structs, all of them are hidden."""
    hidden = not field.nullable and 0 < beneath == part.null_count
    part = _shown(part, field.type)
    return _valid(part) if hidden else part


def _valid(array: pa.Array) -> pa.Array:
    """Return the array with a value in each place, whatever lies there."""
    kind = array.type
    if pa.types.is_struct(kind):
        return pa.StructArray.from_arrays([array.field(number) for number in range(kind.num_fields)], fields=list(kind))
    children = [array.values] if kind.num_fields else []
    buffers = [None, *_own_buffers(array)[1:]]
    return pa.Array.from_buffers(kind, len(array), buffers, offset=array.offset, children=children)


def _own_buffers(array: pa.Array) -> list[pa.Buffer | None]:
    """Return the buffers of an array that is not a struct, without those of what it holds."""
    buffers: list[pa.Buffer | None] = array.buffers()
    return buffers[: 3 if _is_view(array.type) else 2] if array.type.num_fields else buffers


def _is_view(kind: pa.DataType) -> bool:
    return bool(pa.types.is_list_view(kind) or pa.types.is_large_list_view(kind))
