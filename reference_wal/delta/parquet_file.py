"""Committed Parquet files: each is named by its content, and read only while it still has that content.

    {lo}-{hi}-{checksum}.parquet       (first and last batch, 20 digits each; XXH3-64 of all bytes, 16 hexadecimal digits)

Why a checksum of the whole file: Parquet's own cover the bodies of pages only. Headers of pages, and the footer with its
offsets, encodings, counts and schema, have none, and a byte changed there can read as other rows.

Why in the name: it stands in the Delta commit, and in every checkpoint after it, so the proof is kept apart from what it proves.
The file stays a plain Parquet file and the table a plain Delta table. A copy made by a transfer keeps the end of its name. A
file that lies under another file's name does not fit it. Pages carry checksums as well (CRC-32), for readers who do not know
what the name means.

Reading: the whole file into memory (as large as a generation, compressed), the checksum, then Arrow, from those same bytes.

    | the file                                    | read as                                                           |
    |---------------------------------------------|-------------------------------------------------------------------|
    | named with a checksum, and fits it          | the rows that were committed                                      |
    | named with a checksum, anything else        | ParquetDamaged, naming the file; nothing is returned              |
    | named ``{lo}-{hi}.parquet``                 | written before there were checksums: what Arrow makes of it, or   |
    |                                             | ParquetDamaged                                                    |
    | gone                                        | ParquetDamaged                                                    |

No damage makes a file with a checksum pass for one without: the name comes from the commit, and `commit.check_files`
refuses a table that lacks a file of exactly that name.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from crashmatrix.reference_wal.delta.compression import NOT_PARQUET, read_parquet
from crashmatrix.reference_wal.delta.dictionaries import decoded, encoded
from crashmatrix.reference_wal.errors import ParquetDamaged
from crashmatrix.reference_wal.log.segments.seal import checksum
from crashmatrix.reference_wal.models.segments import Shape, from_segments

__all__ = ["file_name", "last_batch", "read_bytes", "read_files", "read_rows", "rows_in", "rows_of", "types_in"]

_CHECKED = re.compile(r"\d{20}-\d{20}-([0-9a-f]{16})\.parquet$")


def file_name(lo: int, hi: int, parquet: pa.Buffer) -> str:
    """Return the name of a file with these bytes, which hold the batches ``lo`` to ``hi``."""
    return f"{lo:020d}-{hi:020d}-{checksum(parquet):016x}.parquet"


def last_batch(file: Path) -> int:
    """Return the last batch id that a committed file of ours holds, from its name."""
    return int(file.stem.split("-")[1])


def read_bytes(path: Path) -> pa.Buffer:
    """Return all bytes of a file, which are those that were written. Raises ParquetDamaged, OSError."""
    try:
        with pa.OSFile(str(path)) as file:
            data = file.read_buffer()
    except FileNotFoundError:
        raise ParquetDamaged(path, "is gone") from None
    match = _CHECKED.search(path.name)
    if match is not None and checksum(data) != int(match[1], 16):
        raise ParquetDamaged(path, f"has the checksum {checksum(data):016x}, not the one in its name")
    return data


def read_rows(path: Path) -> pa.Table:
    """Return all rows of a file. Raises ParquetDamaged, OSError."""
    data = read_bytes(path)
    try:
        return read_parquet(pa.BufferReader(data))
    except NOT_PARQUET as error:
        raise ParquetDamaged(path, f"is not readable as Parquet ({error})") from error


def read_files(files: Collection[Path], schema: pa.Schema, shape: Shape | None = None) -> pa.Table:
    """Return the rows of these files, each of which has the schema's columns, or segments. Raises ParquetDamaged, OSError."""
    tables = [_with_schema(file, schema, shape) for file in files]
    return pa.concat_tables(tables) if tables else _without_rows(schema)


def _without_rows(schema: pa.Schema) -> pa.Table:
    """Return an empty table; Arrow's own `empty_table` fails for most dictionaries within lists and structs."""
    return pa.Table.from_arrays([pa.nulls(0, field.type) for field in schema], schema=schema)


def _with_schema(path: Path, schema: pa.Schema, shape: Shape | None) -> pa.Table:
    rows = read_rows(path)
    try:
        return _shaped(rows, schema, shape)
    except (KeyError, TypeError, ValueError, pa.ArrowException) as error:  # TypeError: a segment with a null.
        raise ParquetDamaged(path, f"has other columns than its table ({error})") from error


def _shaped(rows: pa.Table, schema: pa.Schema, shape: Shape | None) -> pa.Table:
    if shape is not None:
        return from_segments(rows.select(shape.segments.names), shape)
    return encoded(decoded(rows.select(schema.names)), schema)


def rows_of(parquet: pa.Buffer, schema: pa.Schema, shape: Shape | None = None) -> pa.Table:
    """Return the rows of bytes that are not in a file yet, as `read_files` returns them later."""
    return _shaped(read_parquet(pa.BufferReader(parquet)), schema, shape)


def rows_in(path: Path, data: pa.Buffer) -> int:
    """Return how many rows the bytes of a file hold. Raises ParquetDamaged."""
    try:
        return int(pq.read_metadata(pa.BufferReader(data)).num_rows)
    except NOT_PARQUET as error:
        raise ParquetDamaged(path, f"is not readable as Parquet ({error})") from error


def types_in(path: Path, data: pa.Buffer, columns: Collection[str]) -> list[pa.DataType]:
    """Return the types that these columns have in the bytes of a file. Raises ParquetDamaged."""
    try:
        schema = pq.read_schema(pa.BufferReader(data))
        return [schema.field(name).type for name in columns]
    except NOT_PARQUET as error:
        raise ParquetDamaged(path, f"is not readable as Parquet ({error})") from error
    except KeyError as error:
        raise ParquetDamaged(path, f"has other columns than its table ({error})") from error
