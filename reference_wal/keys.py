"""Columns by which rows are grouped and sorted, whatever their names are.

Arrow takes the name of a column for a path where it groups and sorts: ``.x`` is the column ``x``, ``[0]`` the first one. Where it
looks for a column of that name, it finds none. So key columns are known to Arrow by their places, ``0``, ``1`` and so on.
"""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa
import pyarrow.compute as pc

__all__ = ["by_place", "order"]


def by_place(rows: pa.Table, columns: Sequence[str]) -> pa.Table:
    """Return these columns, named by their places."""
    return pa.table([rows[name] for name in columns], names=[str(place) for place in range(len(columns))])


def order(rows: pa.Table, columns: Sequence[str]) -> pa.Array:
    """Return the places of the rows, ascending by these columns. Raises pa.ArrowException for a type that Arrow cannot sort."""
    keys = by_place(rows, columns)
    return pc.sort_indices(keys, sort_keys=[(name, "ascending") for name in keys.column_names])
