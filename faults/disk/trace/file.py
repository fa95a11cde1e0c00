"""A trace as a file.

    save_trace(trace, path)
    trace = load_trace(path)

File format, version 3, all numbers little-endian: a *head* (`MAGIC`), then frames. A frame is the length of its payload
(u32), the payload's CRC-32 (u32), and the payload, compressed by zstd. The first frame is the header: JSON with the format's
version, the trace's identity, the number of rows and all fields of the trace except its content. The others hold rows, about
`_FRAME_BYTES` of them each: kind (u8), offset (i64), number (i64), length (u32), data. Rows of kind BASE come first: the
runs of the first content that are not zero. In version 2, a tree has neither
attributes nor a clock; such traces can still be read.

Write order of `save_trace`: (1) the file beside the target, (2) synced, (3) renamed over it, (4) the directory synced.
After (4) the trace survives a power cut. At no moment does the target's name lead to half a trace.

Every byte lies in the head, a length, a checksum or a payload; `load_trace` checks all of them, the number of rows and the
identity, so a damaged file is refused.
"""

import json
import os
import struct
import sys
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

from crashmatrix.faults.disk.errors import InvalidTrace
from crashmatrix.faults.disk.trace.operations import Row, operation_from_row, operation_row
from crashmatrix.faults.disk.trace.trace import Trace

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

__all__ = ["load_trace", "save_trace", "sync_directory"]

MAGIC = b"crashmatrix trace\r\n\x1a\n"  # A transfer that changes line ends damages it.
_VERSION, _READ = 3, (2, 3)
_BASE = 0  # beside the recorder's kinds, which start at 1
_CONTENT = {"base", "operations"}
_FRAME_BYTES = 4 << 20
_FRAME = struct.Struct("<II")
_ROW = struct.Struct("<BqqI")


def save_trace(trace: Trace, path: Path) -> None:
    """Write a trace to a file, durably. Raises OSError."""
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with beside.open("wb") as file:
            file.write(MAGIC)
            for payload in _payloads(trace):
                compressed = zstd.compress(payload)
                file.write(_FRAME.pack(len(compressed), zlib.crc32(compressed)))
                file.write(compressed)
            file.flush()
            os.fsync(file.fileno())  # Contents first: a name must never show up without them.
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)
    sync_directory(path.parent)  # The rename was losable until here.


def load_trace(path: Path) -> Trace:
    """Read a trace that `save_trace` wrote. Raises InvalidTrace, OSError."""
    data = memoryview(path.read_bytes())
    try:
        payloads = _decompressed(data)
        header = json.loads(next(payloads))
        version, identity, count = header.pop("version"), header.pop("identity"), header.pop("rows")
        if version not in _READ:
            known = f"{_READ[0]} to {_VERSION}"
            raise InvalidTrace(f"{path} is a trace of format {version}; this program reads {known}", "record anew")
        rows = [row for payload in payloads for row in _rows(payload)]
        base = tuple((offset, data) for kind, offset, data, _ in rows if kind == _BASE)
        operations = tuple(operation_from_row(*row) for row in rows if row[0] != _BASE)
        clock = tuple((int(position), int(time)) for position, time in header.pop("clock", ()))
        trace = Trace(base=base, operations=operations, clock=clock, **header)
    except (struct.error, zstd.ZstdError, AttributeError, StopIteration, KeyError, TypeError, ValueError) as error:
        raise InvalidTrace(f"{path} is not a trace, or a damaged one: {error}", "record anew") from error
    if count != len(rows) or identity != trace.identity:
        raise InvalidTrace(f"{path} is a damaged trace: its content is not what was recorded", "record anew")
    return trace


def _payloads(trace: Trace) -> Iterator[bytes]:
    rows = [*((_BASE, offset, data, 0) for offset, data in trace.base), *map(operation_row, trace.operations)]
    about = {field.name: getattr(trace, field.name) for field in fields(trace) if field.name not in _CONTENT}
    header = {"version": _VERSION, "identity": trace.identity, "rows": len(rows), **about}
    yield json.dumps(header).encode()
    yield from _packed(rows)


def _packed(rows: Iterable[Row]) -> Iterator[bytes]:
    payload = bytearray()
    for kind, offset, data, number in rows:
        payload += _ROW.pack(kind, offset, number, len(data))
        payload += data
        if len(payload) >= _FRAME_BYTES:
            yield bytes(payload)
            payload.clear()
    if payload:
        yield bytes(payload)


def _decompressed(data: memoryview) -> Iterator[bytes]:
    if data[: len(MAGIC)] != MAGIC:
        raise ValueError("it does not begin as one")
    position = len(MAGIC)
    while position < len(data):
        length, checksum = _FRAME.unpack_from(data, position)
        position += _FRAME.size
        compressed = data[position : position + length]
        if len(compressed) != length or zlib.crc32(compressed) != checksum:
            raise ValueError(f"the frame at byte {position - _FRAME.size} is damaged or cut short")
        position += length
        yield zstd.decompress(compressed)


def _rows(payload: Any) -> Iterator[Row]:
    position = 0
    while position < len(payload):
        kind, offset, number, length = _ROW.unpack_from(payload, position)
        position += _ROW.size + length
        yield kind, offset, payload[position - length : position], number


def sync_directory(path: Path) -> None:
    """Make the names in a directory durable: creations, renames, removals. Raises OSError."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
