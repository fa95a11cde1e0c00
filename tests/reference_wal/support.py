"""Data and small tools that the tests of the reference log share."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from threading import Thread
from typing import Any

import pyarrow as pa
import pytest

from crashmatrix.reference_wal.log.segments.segment import Codec, SegmentEncoder, SegmentHeader

__all__ = [
    "SCHEMA", "at_each_sync", "batch", "contents", "each_with_one_a_day", "encode", "flipped", "meanwhile", "numbers",
    "open_files", "opened_as",
]  # fmt: skip

SCHEMA = pa.schema([("timestamp", pa.timestamp("us")), ("station", pa.string()), ("value", pa.float64())])
"""The schema of the table that most tests use; ``value`` differs in every row."""


def batch(*values: float, station: str | None = "a", schema: pa.Schema = SCHEMA) -> pa.RecordBatch:
    """Make one row for each value."""
    times = pa.array([int(value) for value in values], pa.timestamp("us"))
    columns = [times, pa.array([station] * len(values), pa.string()), pa.array(values, pa.float64())]
    return pa.RecordBatch.from_arrays(columns, schema=schema)


def each_with_one_a_day(points: Sequence[str], ways: Sequence[str]) -> list[Any]:
    """Return each pair of a failpoint and a fault: one of each failpoint for each day, the others slow.

    The faults take turns, among the failpoints before steps and among those after them.
    """
    return [
        pytest.param(point, way, marks=[] if (number + number // 2 - at) % len(ways) == 0 else pytest.mark.slow)
        for number, point in enumerate(points)
        for at, way in enumerate(ways)
    ]


def opened_as(descriptor: int) -> Path:
    """Return the path of an open file."""
    return Path(f"/proc/self/fd/{descriptor}").readlink()


def open_files(below: Path) -> list[str]:
    """Return the files and folders below a folder that this process has open: others may be opened or closed by anyone."""
    found = []
    for descriptor in Path("/proc/self/fd").iterdir():
        with suppress(FileNotFoundError):  # It was closed meanwhile.
            found.append(str(descriptor.readlink()))
    return sorted(path for path in found if path.startswith(f"{below}/") or path == str(below))


def at_each_sync(monkeypatch: pytest.MonkeyPatch, look: Callable[[Path], object]) -> None:
    """Call ``look`` with the path of each file or folder that is about to be synced."""
    fsync = os.fsync

    def looked_at(descriptor: int) -> None:
        look(opened_as(descriptor))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", looked_at)


def meanwhile(other: Thread) -> None:
    """Start another thread, the first time, and give it a moment: it is through by then, unless it has to wait."""
    if other.ident is None:
        other.start()
        other.join(0.1)


def numbers(rows: pa.Table | pa.RecordBatch) -> list[float]:
    """Return the values of the rows, sorted."""
    return sorted(rows["value"].to_pylist())


def encode(
    batches: Sequence[pa.RecordBatch],
    *,
    schema: pa.Schema = SCHEMA,
    start: int = 0,
    identity: str = "log",
    table: str = "t",
    grouped: bool = False,
) -> tuple[bytes, list[int]]:
    """Return a segment's bytes, and where in them its records begin and the last one ends.

    Args:
        grouped: all records were one group, with one sync; else each is its own.
    """
    encoder, codec = SegmentEncoder(schema, SegmentHeader(identity, table, start)), Codec(schema)
    data = bytearray(encoder.header_bytes)
    bounds, synced = [len(data)], len(data)
    for number, rows in enumerate(batches, start):
        message = codec.encode(rows)
        data += encoder.form.write(number, len(data), synced, message)
        data += message
        bounds.append(len(data))
        synced = synced if grouped else len(data)
    return bytes(data), bounds


def flipped(data: bytes, position: int, mask: int = 0xFF) -> bytes:
    """Return the bytes with one of them changed."""
    return data[:position] + bytes([data[position] ^ mask]) + data[position + 1 :]


def contents(folder: Path) -> dict[str, bytes]:
    """Return every file below the folder, to tell whether anything changed."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
