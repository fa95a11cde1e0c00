"""Rows are sorted by columns of any names."""

from __future__ import annotations

import pyarrow as pa
import pytest

from crashmatrix.reference_wal.keys import by_place, order


@pytest.mark.parametrize("names", [("x", ".x"), (".x", "x"), ("[1]", "a"), ("1", "0"), ("", "a.b")])
def test_names(names: tuple[str, str]) -> None:
    """A column is found by its name, whatever Arrow would take the name for."""
    rows = pa.table([[1, 1, 0], [2, 1, 3]], names=names)
    assert order(rows, names).to_pylist() == [2, 1, 0]
    assert order(rows, names[1:]).to_pylist() == [1, 0, 2]
    assert by_place(rows, names[::-1]).to_pydict() == {"0": [2, 1, 3], "1": [1, 1, 0]}
