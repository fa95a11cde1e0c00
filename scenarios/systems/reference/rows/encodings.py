"""How the columns of a Parquet file are encoded: no reader sees it in the rows, and files grow many times over without it."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from crashmatrix.scenarios.errors import PromiseBroken

__all__ = ["check_encodings"]

_REPEATED_SHARE_MAX = 0.25
"""Floats with at most this share of distinct values are repetitive. The engine's own number is under test."""


def check_encodings(metadata: pq.FileMetaData, rows: pa.Table, where: str) -> None:
    """Raise PromiseBroken unless each column that is not nested is encoded as `delta.compression` says."""
    for number in range(metadata.num_row_groups if rows.num_rows else 0):
        group = metadata.row_group(number)
        for chunk in (group.column(place) for place in range(group.num_columns)):
            path = chunk.path_in_schema
            # One with a dot may be a field in a struct: the engine leaves its encoding to Arrow.
            due = _due(rows[path]) if path in rows.column_names and "." not in path else None
            if chunk.compression != "ZSTD" or (due is not None and due not in chunk.encodings):
                said = f"{chunk.compression}, {', '.join(chunk.encodings)}"
                raise PromiseBroken("corrupt", f"{where}: the column {path} is {said}, not ZSTD, {due}")


def _due(column: pa.ChunkedArray) -> str | None:
    """Return the encoding that a column has; None if the engine leaves it to Arrow."""
    kind = column.type
    if pa.types.is_timestamp(kind) or kind in (pa.int32(), pa.int64()):
        return "DELTA_BINARY_PACKED"
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return "RLE_DICTIONARY"
    if kind in (pa.float32(), pa.float64()):
        repeated = pc.count_distinct(column).as_py() <= _REPEATED_SHARE_MAX * len(column)
        return "RLE_DICTIONARY" if repeated else "BYTE_STREAM_SPLIT"
    return None
