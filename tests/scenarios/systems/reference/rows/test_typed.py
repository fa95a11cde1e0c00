"""Columns of every type hold the values that they say, and what is wrong with a bad one can be seen."""

from __future__ import annotations

import pyarrow as pa
import pytest

from crashmatrix.scenarios.systems.reference.rows.column import ROWS, Column
from crashmatrix.scenarios.systems.reference.rows.typed import TYPED_TIME, batch_with, columns, values_of

TYPED = columns(in_delta=False)
TIMES = range(ROWS)


@pytest.mark.parametrize("column", TYPED, ids=[column.field.name for column in TYPED])
def test_values(column: Column) -> None:
    """A reader finds the values that are written beside the array, whichever way Arrow lays it out."""
    batch = batch_with([column], TIMES)
    assert batch.schema.names == [TYPED_TIME, column.field.name]
    assert [row[column.field.name] for row in values_of(batch)] == [*column.values]
    assert [row[TYPED_TIME] for row in values_of(batch.slice(1, 2))] == [1, 2]
    assert column.array.type == column.field.type


def test_bad_columns() -> None:
    """They have the type of the column that they replace, and as many rows."""
    for column in TYPED:
        for array in column.bad.values():
            assert batch_with([column], TIMES, instead=(column.field.name, array)).schema.field(1) == column.field
            assert len(array) == ROWS


def test_types() -> None:
    """No name comes twice; a table of the engine has fewer types than a log; every kind of list and a map is there."""
    names = [column.field.name for column in TYPED]
    kept = [column.field.name for column in columns(in_delta=True)]
    assert len(set(names)) == len(names) and set(kept) < set(names)
    assert {str(column.field.type).partition("<")[0] for column in TYPED} >= {
        *("list", "large_list", "fixed_size_list", "list_view", "large_list_view", "map", "struct", "dictionary"),
        *("date64[ms]", "null", "uint64", "decimal128(38, 0)"),
    }


def test_something_lies_where_nobody_sees_it() -> None:
    """Beneath null lists and structs, and around slices, are nulls that the type does not allow."""
    lists = next(column.array for column in TYPED if column.field.name == "large list of numbers")
    assert lists.values.null_count > 0 and lists.flatten().null_count == 0
    point = next(column.array for column in TYPED if column.field.name == "point")
    assert point.field(0).null_count == 1 == point.null_count
    with pytest.raises(pa.ArrowInvalid, match="UTF8"):
        next(column.array for column in TYPED if column.field.name == "list of words").validate(full=True)
