"""Columns with others inside; `test_typed` compares the values of each."""

from __future__ import annotations

import pyarrow as pa

from crashmatrix.scenarios.systems.reference.rows.nested import (
    encoded_columns,
    list_columns,
    map_columns,
    struct_columns,
)


def test_each_kind_can_be_refused() -> None:
    """Every kind of column has a batch that a table must refuse, and a null in its second place, unless it takes none."""
    for made in (encoded_columns(), list_columns(), struct_columns(), map_columns()):
        assert any(column.bad for column in made)
        for column in made:
            assert column.field.nullable or None not in column.values
    kinds = [column.field.type for column in [*list_columns(), *struct_columns(), *map_columns()]]
    assert all(kind.num_fields for kind in kinds)
    assert all(pa.types.is_dictionary(column.field.type) for column in encoded_columns())
