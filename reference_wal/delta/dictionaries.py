"""Dictionaries as they come and go: each batch brings its own, a Parquet file keeps values only.

The indices of a column's type may have room for one batch's values and not for those of all batches: ``dictionary<int8, string>``
holds 128. So rows of several batches are never put under one dictionary. They are *decoded* to their values, sorted and stored as
such; rows that are read are *encoded* again, in as many chunks as their indices need. (Arrow, when it joins
arrays with dictionaries within lists or structs, mixes up the indices or fails.)
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import accumulate

import pyarrow as pa
import pyarrow.compute as pc

from crashmatrix.reference_wal.delta.hidden_nulls import without_hidden_nulls

__all__ = ["decoded", "decoded_type", "encoded"]


def decoded(rows: pa.Table) -> pa.Table:
    """Return the rows without dictionaries, at any depth. Raises pa.ArrowNotImplementedError for a type that hides one."""
    for index, field in enumerate(rows.schema):
        if (kind := decoded_type(field.type)) != field.type:
            chunks = [_rebuilt(chunk, kind) for chunk in rows.column(index).chunks]
            rows = rows.set_column(index, field.with_type(kind), pa.chunked_array(chunks, kind))
    return rows


def encoded(rows: pa.Table, schema: pa.Schema) -> pa.Table:
    """Return rows without dictionaries as rows of ``schema``. Raises pa.ArrowException."""
    rows = without_hidden_nulls(rows).cast(pa.schema([field.with_type(decoded_type(field.type)) for field in schema]))
    for index, field in enumerate(schema):
        if rows.schema.field(index).type != field.type:
            chunks = [part for chunk in rows.column(index).chunks for part in _in_parts(chunk, field.type)]
            rows = rows.set_column(index, field, pa.chunked_array(chunks, field.type))
    return pa.Table.from_arrays(rows.columns, schema=schema)  # A cast would refuse nulls beneath null structs.


def _in_parts(array: pa.Array, kind: pa.DataType) -> Iterator[pa.Array]:
    """Encode an array whole if the indices suffice, else its halves."""
    try:
        yield _rebuilt(array, kind)
    except pa.ArrowInvalid:
        if len(array) < 2:
            raise
        half = len(array) // 2
        yield from _in_parts(array.slice(0, half), kind)
        yield from _in_parts(array.slice(half), kind)


def decoded_type(kind: pa.DataType) -> pa.DataType:
    """Return the type with the values of its dictionaries in their place. Raises pa.ArrowNotImplementedError."""
    if pa.types.is_dictionary(kind):
        return decoded_type(kind.value_type)
    if pa.types.is_struct(kind):
        return pa.struct([field.with_type(decoded_type(field.type)) for field in kind])
    if pa.types.is_list(kind):
        return pa.list_(kind.value_field.with_type(decoded_type(kind.value_type)))
    if pa.types.is_large_list(kind):
        return pa.large_list(kind.value_field.with_type(decoded_type(kind.value_type)))
    if any(decoded_type(kind.field(index).type) != kind.field(index).type for index in range(kind.num_fields)):
        raise pa.ArrowNotImplementedError(f"dictionaries within {kind}")
    return kind


def _rebuilt(array: pa.Array, kind: pa.DataType) -> pa.Array:
    """Return the array as one of a type that differs in its dictionaries only."""
    if array.type == kind:
        return array
    if pa.types.is_dictionary(array.type):
        return _rebuilt(array.dictionary_decode(), kind)
    if pa.types.is_dictionary(kind):
        found = _rebuilt(array, kind.value_type).dictionary_encode()
        return pa.DictionaryArray.from_arrays(
            found.indices.cast(kind.index_type), found.dictionary, ordered=kind.ordered
        )
    if pa.types.is_struct(kind):
        parts = [_rebuilt(part, field.type) for part, field in zip(array.flatten(), kind, strict=True)]
        return pa.StructArray.from_arrays(parts, fields=list(kind), mask=array.is_null())
    if make := _list_of(kind):
        lengths = pc.fill_null(pc.list_value_length(array), 0).to_pylist()
        return make(pa.array(accumulate([0, *lengths]), pa.int64()), array.flatten(), array.is_null())
    raise pa.ArrowNotImplementedError(f"dictionaries within {array.type}")


def _list_of(kind: pa.DataType) -> Callable[[pa.Array, pa.Array, pa.Array], pa.Array] | None:
    """Return what makes an array of this type of list from offsets, values and the places of nulls."""
    if pa.types.is_list(kind):
        return lambda offsets, values, nulls: pa.ListArray.from_arrays(
            offsets.cast(pa.int32()), _rebuilt(values, kind.value_type), type=kind, mask=nulls
        )
    if pa.types.is_large_list(kind):
        return lambda offsets, values, nulls: pa.LargeListArray.from_arrays(
            offsets, _rebuilt(values, kind.value_type), type=kind, mask=nulls
        )
    return None
