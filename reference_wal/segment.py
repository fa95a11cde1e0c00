"""One segment of the log: an Arrow IPC stream that any Arrow reader opens, with a checksum for every record.

Format (https://arrow.apache.org/docs/format/Columnar.html#ipc-streaming-format), a sequence of IPC messages:

    schema
    zero-row batch, metadata {seal: "begin", log: IDENTITY, table: TABLE, start: ID}  ┐ the header, with the schema:
    zero-row batch, metadata {seal: SEAL}                                             ┘ one write
    data batch, metadata {batch_id: ID}        ┐
    zero-row batch, metadata {seal: SEAL}      ┘ one record: one buffer, one write
    ...

SEAL is ``id:offset:length:crc``: the record's id, where in the file its data message starts and how long it is, and the
CRC-32 of ``id:offset`` followed by the message; the header's message starts with the schema, and its id is ``start``. The
stream alone is no proof: a tail of zero bytes, which is what a torn append leaves, reads as a clean end or as a batch of
zeros, and a flipped bit as other numbers or, in the schema, as another column.

Names: ``{start}-.arrows`` while the segment grows, ``{start}-{end}.arrows`` once closed, ids inclusive, as in ModelarDB
(https://github.com/ModelarData/ModelarDB-RS/pull/376).

Invariants: ids in a segment are consecutive from ``start``; a segment is born whole (header synced before its name
appears); a closed segment never changes.
"""

from __future__ import annotations

import io
import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

__all__ = [
    "Damage",
    "Record",
    "Scan",
    "SegmentEncoder",
    "SegmentHeader",
    "SegmentName",
    "map_file",
    "read_header",
    "read_records",
    "scan",
]

_NAME = re.compile(r"(\d+)-(\d*)\.arrows")
_SEAL = re.compile(rb"(\d{1,19}):(\d{1,19}):(\d{1,19}):([0-9a-f]{8})")
_UNREADABLE = (StopIteration, pa.ArrowException, OSError, MemoryError, KeyError, TypeError, ValueError)


@dataclass(frozen=True)
class SegmentName:
    """What a segment's file name says: the first id and, once closed, the last."""

    start: int
    end: int | None = None

    @classmethod
    def parse(cls, file_name: str) -> SegmentName | None:
        """Read a file name; None if it is not a segment's."""
        match = _NAME.fullmatch(file_name)
        if match is None:
            return None
        return cls(int(match[1]), int(match[2]) if match[2] else None)

    def __str__(self) -> str:
        return f"{self.start}-{'' if self.end is None else self.end}.arrows"


@dataclass(frozen=True)
class SegmentHeader:
    """Which log a segment belongs to. ``identity`` is drawn once per table log, so a table made anew is another log."""

    identity: str
    table: str
    start: int

    def metadata(self) -> dict[str, str]:
        """Return the header as the metadata of its zero-row batch."""
        return {"seal": "begin", "log": self.identity, "table": self.table, "start": str(self.start)}


@dataclass(frozen=True)
class Record:
    """One batch as read back, its checksum verified. ``offset`` and ``end`` delimit data and seal, in bytes."""

    id: int
    batch: pa.RecordBatch
    offset: int
    end: int


@dataclass(frozen=True)
class Damage:
    """The first place where a segment stops making sense."""

    offset: int
    record: int
    problem: str
    sealed_after: int | None
    """Id of a whole record found further on; its presence proves that this is no torn tail."""


@dataclass(frozen=True)
class Scan:
    """What a whole pass over a segment found. ``good_bytes`` is where the last whole record ends."""

    header: SegmentHeader | None
    schema: pa.Schema | None
    records: int
    good_bytes: int
    damage: Damage | None


class SegmentEncoder:
    """Turns batches into the bytes of one segment's stream; writes nothing."""

    def __init__(self, schema: pa.Schema, header: SegmentHeader) -> None:
        self._sink = io.BytesIO()
        self._writer = pa.ipc.new_stream(self._sink, schema)
        self._empty = pa.RecordBatch.from_arrays([pa.array([], field.type) for field in schema], schema=schema)
        self._writer.write_batch(self._empty, custom_metadata=header.metadata())
        with self._sink.getbuffer() as message:
            seal = _seal(header.start, 0, message)
        self._writer.write_batch(self._empty, custom_metadata={"seal": seal})
        self.header_bytes = self._take()

    def encode(self, batch_id: int, batch: pa.RecordBatch, offset: int) -> bytes:
        """Return the record of ``batch`` for position ``offset`` (bytes) of the file."""
        self._writer.write_batch(batch, custom_metadata={"batch_id": str(batch_id)})
        with self._sink.getbuffer() as message:
            seal = _seal(batch_id, offset, message)
        self._writer.write_batch(self._empty, custom_metadata={"seal": seal})
        return self._take()

    def _take(self) -> bytes:
        data = self._sink.getvalue()
        self._sink.seek(0)
        self._sink.truncate()
        return data


def read_header(data: pa.Buffer) -> tuple[SegmentHeader, pa.Schema, int] | None:
    """Read the segment's header: itself, the table's schema, and where the first record starts; None if damaged."""
    try:
        handle = pa.BufferReader(data)
        stream = pa.ipc.open_stream(handle)
        metadata = stream.read_next_batch_with_custom_metadata().custom_metadata
        if metadata[b"seal"] != b"begin":
            return None
        header = SegmentHeader(metadata[b"log"].decode(), metadata[b"table"].decode(), int(metadata[b"start"]))
        message = memoryview(data)[: handle.tell()]
        seal = stream.read_next_batch_with_custom_metadata()
        seal.batch.validate(full=True)
        text = seal.custom_metadata[b"seal"].decode()
    except _UNREADABLE:
        return None
    if text != _seal(header.start, 0, message):
        return None
    return header, stream.schema, handle.tell()


def read_records(data: pa.Buffer) -> Iterator[Record | Damage]:
    """Yield every whole record of a segment whose header is whole, in order, then the damage that stopped it, if any."""
    handle = pa.BufferReader(data)
    stream = pa.ipc.open_stream(handle)
    expected = int(stream.read_next_batch_with_custom_metadata().custom_metadata[b"start"])
    stream.read_next_batch()  # the header's seal
    while (offset := handle.tell()) < data.size:
        found = _read_record(data, handle, stream, expected)
        if isinstance(found, str):
            yield Damage(offset, expected, found, _sealed_after(data, offset))
            return
        yield found
        expected += 1


def scan(data: pa.Buffer) -> Scan:
    """Verify a whole segment without keeping its batches."""
    start = read_header(data)
    if start is None:
        return Scan(None, None, 0, 0, Damage(0, 0, "the segment's header is damaged or missing", None))
    header, schema, good_bytes = start
    records = 0
    for found in read_records(data):
        if isinstance(found, Damage):
            return Scan(header, schema, records, good_bytes, found)
        records, good_bytes = records + 1, found.end
    return Scan(header, schema, records, good_bytes, None)


def _read_record(data: pa.Buffer, handle: pa.NativeFile, stream: pa.RecordBatchReader, expected: int) -> Record | str:
    offset = handle.tell()
    try:
        message = stream.read_next_batch_with_custom_metadata()
        length = handle.tell() - offset
        seal = stream.read_next_batch_with_custom_metadata()
        seal.batch.validate(full=True)  # The next record uses the seal's dictionaries if its own are as empty.
        batch_id = int(message.custom_metadata[b"batch_id"])
        text = seal.custom_metadata[b"seal"].decode()
    except _UNREADABLE as error:
        return f"the record is cut short or unreadable ({type(error).__name__})"
    if seal.batch.num_rows or text != _seal(batch_id, offset, memoryview(data)[offset : offset + length]):
        return "the record does not match its checksum"
    if batch_id != expected:
        return f"record {batch_id} stands where {expected} is due"
    return Record(batch_id, message.batch, offset, handle.tell())


def _seal(batch_id: int, offset: int, message: memoryview) -> str:
    checksum = zlib.crc32(message, zlib.crc32(f"{batch_id}:{offset}".encode()))
    return f"{batch_id}:{offset}:{len(message)}:{checksum:08x}"


def _sealed_after(data: pa.Buffer, damaged: int) -> int | None:
    """Look for a seal beyond the damage that fits the bytes it names: appends are synced one by one, so a later whole
    record means that the damaged one had been whole as well."""
    view = memoryview(data)
    for match in _SEAL.finditer(view, damaged):
        batch_id, offset, length = int(match[1]), int(match[2]), int(match[3])
        within = damaged < offset < offset + length <= match.start()
        if within and match[0].decode() == _seal(batch_id, offset, view[offset : offset + length]):
            return batch_id
    return None


def map_file(path: Path) -> pa.Buffer:
    """Return the file's bytes as a read-only buffer, mapped rather than read; an empty file gives an empty buffer."""
    if path.stat().st_size == 0:
        return pa.py_buffer(b"")
    with pa.memory_map(str(path)) as file:
        return file.read_buffer()
