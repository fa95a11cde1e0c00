"""A generation as Parquet bytes, in memory: nothing is written here, spilled rows are read back.

Sorted by tags, then time, so that each series is contiguous; zstd pages; timestamps delta-encoded, strings and repetitive
floats by dictionary, other floats byte-stream-split (https://parquet.apache.org/docs/file-format/data-pages/encodings/).
A table by models has segments instead (`models.segments`).

The dictionaries that batches bring are decoded first (`dictionaries`), and nulls that nobody sees become values that nobody sees
(`hidden_nulls`). Pages carry checksums; `parquet_file` has what covers the rest.
"""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from crashmatrix.reference_wal.buffers import Generation
from crashmatrix.reference_wal.delta.dictionaries import decoded
from crashmatrix.reference_wal.delta.hidden_nulls import without_hidden_nulls
from crashmatrix.reference_wal.durable_io import step
from crashmatrix.reference_wal.keys import order
from crashmatrix.reference_wal.models.segments import Shape, to_segments

__all__ = ["DISTINCT_SHARE_MAX", "NOT_PARQUET", "compress", "read_parquet", "to_parquet"]

COMPRESS = step(
    "compress.encode", "the generation in memory and in the log", "its Parquet bytes in memory, rows still logged"
)

DISTINCT_SHARE_MAX = 0.25
"""A float column with at most this share of distinct values is encoded by dictionary."""

NOT_PARQUET = (OSError, pa.ArrowException, UnicodeDecodeError)
"""Arrow's errors for bytes in memory that are not a Parquet file, or one in which the name of a column is not text."""


def compress(
    generation: Generation, *, timestamp: str, tags: list[str], shape: Shape | None = None
) -> tuple[pa.Buffer, int]:
    """Return the generation as the bytes of one Parquet file, and its number of rows, or of segments. Raises SpillCorrupted.

    Args:
        shape: of a table by models; None for one that keeps rows.
    """
    with COMPRESS:
        rows = generation.rows()
        if shape is not None:
            segments = to_segments(rows, shape)
            return _segments_to_parquet(segments), segments.num_rows
        return to_parquet(rows, timestamp=timestamp, tags=tags), rows.num_rows


def to_parquet(rows: pa.Table, *, timestamp: str, tags: list[str]) -> pa.Buffer:
    """Return rows as the bytes of one Parquet file, sorted and encoded as the module says. Raises pa.ArrowException."""
    rows = decoded(rows)
    rows = without_hidden_nulls(rows.take(order(rows, [*tags, timestamp])))
    dictionary = [name for name in rows.column_names if _by_dictionary(rows[name])]
    others = [name for name in rows.column_names if name not in dictionary and "." not in name]  # A path to Parquet.
    encodings = {name: encoding for name in others if (encoding := _encoding(rows[name].type))}
    sink = pa.BufferOutputStream()
    pq.write_table(
        rows,
        sink,
        compression="zstd",
        use_dictionary=dictionary,
        column_encoding=encodings,
        write_page_checksum=True,
    )
    return sink.getvalue()


def _segments_to_parquet(segments: pa.Table) -> pa.Buffer:
    """Return segments, in their order, as the bytes of one Parquet file."""
    sink = pa.BufferOutputStream()
    repetitive = [field.name for field in segments.schema if pa.types.is_string(field.type)]
    pq.write_table(segments, sink, compression="zstd", use_dictionary=repetitive, write_page_checksum=True)
    return sink.getvalue()


def read_parquet(source: Path | pa.NativeFile) -> pa.Table:
    """Return all of one Parquet file, its pages' checksums verified where it has some. Raises OSError and `NOT_PARQUET`.

    Takes a quarter of the time of `pq.read_table`, which first makes a dataset of the file, and starts threads.
    """
    with pq.ParquetFile(source, page_checksum_verification=True) as file:
        return file.read(use_threads=False)


def _by_dictionary(column: pa.ChunkedArray) -> bool:
    kind = column.type
    if pa.types.is_floating(kind):
        return bool(pc.count_distinct(column).as_py() <= DISTINCT_SHARE_MAX * len(column))
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _encoding(kind: pa.DataType) -> str | None:
    if any(test(kind) for test in (pa.types.is_timestamp, pa.types.is_int64, pa.types.is_int32)):
        return "DELTA_BINARY_PACKED"
    if any(test(kind) for test in (pa.types.is_float32, pa.types.is_float64)):
        return "BYTE_STREAM_SPLIT"
    return None
