"""Files that the engine writes are encoded as it says; other files are noticed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from crashmatrix.reference_wal.delta.compression import to_parquet
from crashmatrix.scenarios.errors import PromiseBroken
from crashmatrix.scenarios.systems.reference.rows.encodings import check_encodings

ROWS = pa.table(
    {
        "at": pa.array(range(100), pa.timestamp("us")),
        "number": pa.array(range(100), pa.int64()),
        "small": pa.array(range(100), pa.int8()),
        "site": ["a", "b"] * 50,
        "steady": [1.5, 2.5] * 50,
        "noisy": [number / 7 for number in range(100)],
        "within": [{"at": number} for number in range(100)],
    }
)
RIGHT: dict[str, Any] = {
    "compression": "zstd",
    "use_dictionary": ["site", "steady"],
    "column_encoding": {"at": "DELTA_BINARY_PACKED", "number": "DELTA_BINARY_PACKED", "noisy": "BYTE_STREAM_SPLIT"},
}


def check(data: pa.Buffer) -> None:
    with pq.ParquetFile(pa.BufferReader(data)) as parquet:
        check_encodings(parquet.metadata, parquet.read(), "here")


DOTTED = ROWS.rename_columns([f"a.{name}" if name in ("number", "noisy") else name for name in ROWS.column_names])


@pytest.mark.parametrize("rows", [ROWS, ROWS.slice(0, 0), ROWS.slice(0, 1), DOTTED])
def test_the_engine(rows: pa.Table) -> None:
    """Columns of every kind, none and one of them, and names with dots."""
    check(to_parquet(rows, timestamp="at", tags=["site"]))


@pytest.mark.parametrize(
    ("other", "text"),
    [
        ({}, None),
        ({"compression": "snappy"}, "the column at is SNAPPY"),
        ({"use_dictionary": ["site"]}, "the column steady is ZSTD, .* not ZSTD, RLE_DICTIONARY"),
        ({"use_dictionary": ["steady"]}, "the column site is"),
        ({"column_encoding": {"at": "DELTA_BINARY_PACKED", "noisy": "BYTE_STREAM_SPLIT"}}, "the column number is"),
        ({"column_encoding": {"number": "DELTA_BINARY_PACKED", "noisy": "BYTE_STREAM_SPLIT"}}, "the column at is"),
        ({"column_encoding": {"at": "DELTA_BINARY_PACKED", "number": "DELTA_BINARY_PACKED"}}, "the column noisy is"),
    ],
)
def test_other_encodings(other: dict[str, Any], text: str | None, tmp_path: Path) -> None:
    """One column at a time is encoded in another way, or the file compressed in another."""
    file = tmp_path / "file.parquet"
    pq.write_table(ROWS, file, **(RIGHT | other))
    if text is None:
        check(pa.py_buffer(file.read_bytes()))
    else:
        with pytest.raises(PromiseBroken, match=text):
            check(pa.py_buffer(file.read_bytes()))
