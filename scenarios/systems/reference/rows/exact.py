"""Rows compared bit by bit, however Arrow lays them out.

Two tables with equal rows may differ in chunks, in dictionaries, and in what lies under their nulls; and Arrow takes -0.0 for 0.0
in one comparison, and no NaN for itself in another. So each column is first made *plain*: floats become the integers of their
bits, dictionaries their values, at every depth. Plain columns are equal exactly if their values are.
"""

from __future__ import annotations

from itertools import accumulate

import pyarrow as pa
import pyarrow.compute as pc

__all__ = ["first_difference", "plain", "undictionaried"]

_BITS = {2: pa.int16(), 4: pa.int32(), 8: pa.int64()}


def plain(rows: pa.Table) -> pa.Table:
    """Return rows whose equality is equality of every value's bits."""
    columns = [_plain_column(rows.column(index)) for index in range(rows.num_columns)]
    return pa.Table.from_arrays(columns, names=rows.column_names)


def _plain_column(column: pa.ChunkedArray) -> pa.Array:
    chunks = [_plain(chunk) for chunk in column.chunks]
    return pa.concat_arrays(chunks) if chunks else _plain(pa.array([], column.type))


def _plain(array: pa.Array) -> pa.Array:
    kind = array.type
    if pa.types.is_dictionary(kind):
        return _plain(array.dictionary_decode())
    if pa.types.is_floating(kind):
        return array.view(_BITS[kind.bit_width // 8])
    if pa.types.is_struct(kind):
        names = [field.name for field in kind]
        return pa.StructArray.from_arrays([_plain(part) for part in array.flatten()], names, mask=array.is_null())
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        lengths = pc.fill_null(pc.list_value_length(array), 0).to_pylist()
        offsets = pa.array([0, *accumulate(lengths)], pa.int32())
        return pa.ListArray.from_arrays(offsets, _plain(array.flatten()), mask=array.is_null())
    return array


def undictionaried(kind: pa.DataType) -> pa.DataType:
    """Return the type as another reader of the files has it: values in place of dictionaries, and nulls wherever they may lie
    beneath the top, since a field that allows none has nulls beneath null structs.
    """
    if pa.types.is_dictionary(kind):
        return undictionaried(kind.value_type)
    if pa.types.is_struct(kind):
        return pa.struct([_read_by_another(field) for field in kind])
    if pa.types.is_list(kind):
        return pa.list_(_read_by_another(kind.value_field))
    if pa.types.is_large_list(kind):
        return pa.large_list(_read_by_another(kind.value_field))
    return kind


def _read_by_another(field: pa.Field) -> pa.Field:
    return field.with_type(undictionaried(field.type)).with_nullable(True)


def first_difference(stored: pa.Table, found: pa.Table) -> tuple[str, int] | None:
    """Return the first column and row, from 0, where plain tables of one length differ; None if they are equal."""
    for name, one, other in zip(stored.column_names, stored.columns, found.columns, strict=True):
        if not one.equals(other):
            pairs = zip(one.to_pylist(), other.to_pylist(), strict=True)
            return name, next((row for row, (a, b) in enumerate(pairs) if a != b), 0)
    return None
