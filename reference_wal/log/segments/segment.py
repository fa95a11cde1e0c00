"""A segment of the log: an Arrow IPC stream that any Arrow reader opens, with a seal before every record.

Format (https://arrow.apache.org/docs/format/Columnar.html#ipc-streaming-format), a sequence of IPC messages:

    schema
    zero-row batch, metadata {log: IDENTITY, table: TABLE, start: ID}   ┐ the header, with the schema:
    zero-row batch, metadata {seal: TEXT}                               ┘ one write
    zero-row batch, metadata {seal: TEXT}     ┐ one record
    data batch, after its dictionaries        ┘
    ...
    zeros                                       while the segment is active

`seal` describes TEXT. The header's seal follows the header, since a stream begins with its schema; its id is ``start``, and its
checksum covers the header and the bytes that all seals of the segment share. A record's seal precedes the record: a reader
knows the record's end, and verifies the record before Arrow sees a byte of it. The stream alone proves nothing: a torn append
may read as a batch of zeros, and a flipped bit as other numbers or, in the schema, as another column.

An active segment is filled with zeros ahead of its records, which Arrow takes for the stream's end (four zero bytes where a
message should begin), as it does the end of the file. A closed segment ends with its last record.

Names: ``{start}-.arrows`` while the segment grows, ``{start}-{end}.arrows`` once closed, ids inclusive, as in ModelarDB
(https://github.com/ModelarData/ModelarDB-RS/pull/376).

Invariants: ids in a segment are consecutive from ``start``; a segment is created whole (header synced before its name
appears); a closed segment never changes. Records do not depend on each other: each brings its own dictionaries.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from crashmatrix.reference_wal.log.segments.seal import BLANK, SealForm, checksum
from crashmatrix.reference_wal.log.segments.tear import is_zero, proof_of_damage

__all__ = [
    "Codec",
    "Damage",
    "Opening",
    "Record",
    "Scan",
    "SegmentEncoder",
    "SegmentHeader",
    "SegmentName",
    "open_segment",
    "read_opening",
    "read_records",
    "scan",
]

_NAME = re.compile(r"(\d+)-(\d*)\.arrows")
_UNREADABLE = (StopIteration, pa.ArrowException, OSError, MemoryError, KeyError, TypeError, ValueError)
_END_OF_STREAM_BYTES = 8


@dataclass(frozen=True)
class SegmentName:
    """A segment's file name: the first id and, once closed, the last."""

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
    """The log that a segment belongs to. ``identity`` is drawn once per table log, so a table made anew is another log."""

    identity: str
    table: str
    start: int

    def metadata(self) -> dict[str, str]:
        """Return the header as the metadata of its zero-row batch."""
        return {"log": self.identity, "table": self.table, "start": str(self.start)}

    @classmethod
    def of(cls, metadata: Mapping[bytes, bytes]) -> SegmentHeader:
        """Read it back. Raises KeyError, ValueError."""
        return cls(metadata[b"log"].decode(), metadata[b"table"].decode(), int(metadata[b"start"]))


@dataclass(frozen=True)
class Opening:
    """The beginning of a segment: its header, the table's schema, the form of its seals, and the first record's offset."""

    header: SegmentHeader
    schema: pa.Schema
    form: SealForm
    size_bytes: int


@dataclass(frozen=True)
class Record:
    """A batch as read back, its checksum verified. ``offset`` and ``end`` delimit seal and message, in bytes."""

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
    proof: str | None
    """Why no torn write left this; None if one may have. `tear` has the argument."""


@dataclass(frozen=True)
class Scan:
    """The result of a pass over a whole segment. ``good_bytes`` is where the last whole record ends, ``size_bytes`` the file."""

    opening: Opening | None
    records: int
    good_bytes: int
    size_bytes: int
    damage: Damage | None


class Codec:
    """Turns batches of one schema into IPC messages and back."""

    def __init__(self, schema: pa.Schema) -> None:
        self.schema = schema
        self.empty = pa.RecordBatch.from_arrays([pa.nulls(0, field.type) for field in schema], schema=schema)
        schema_only = self._stream(None)
        self._schema_message = schema_only[: len(schema_only) - _END_OF_STREAM_BYTES].to_pybytes()
        one_message = len(self._schema_message) + len(self.empty.serialize())
        self._has_dictionaries = len(self._stream(self.empty)) > one_message

    def encode(self, batch: pa.RecordBatch) -> pa.Buffer:
        """Return the batch's message, after those of its dictionaries, if any."""
        if not self._has_dictionaries:
            return batch.serialize()
        return self._stream(batch)[len(self._schema_message) :]

    def decode(self, message: pa.Buffer) -> pa.RecordBatch:
        """Return the batch that `encode` was given. Raises pyarrow.ArrowException."""
        if not self._has_dictionaries:
            return pa.ipc.read_record_batch(message, self.schema)
        with pa.ipc.open_stream(self._schema_message + memoryview(message)) as stream:
            return stream.read_next_batch()

    def _stream(self, batch: pa.RecordBatch | None) -> pa.Buffer:
        """Return a stream of the schema and this batch, or of the schema alone and the stream's end."""
        sink = pa.BufferOutputStream()
        writer = pa.ipc.new_stream(sink, self.schema)
        if batch is None:
            writer.close()
        else:
            writer.write_batch(batch)
        return sink.getvalue()


class SegmentEncoder:
    """Makes the beginning of one segment, ``header_bytes``, and the ``form`` of its seals; writes nothing."""

    def __init__(self, schema: pa.Schema, header: SegmentHeader) -> None:
        sink = pa.BufferOutputStream()
        writer = pa.ipc.new_stream(sink, schema)
        empty = Codec(schema).empty
        writer.write_batch(empty, custom_metadata=header.metadata())
        length = sink.tell()
        writer.write_batch(empty, custom_metadata={"seal": BLANK.decode()})
        data = sink.getvalue().to_pybytes()
        form = SealForm.of(data[length:])
        assert form is not None
        self.form = SealForm(form.prefix, form.suffix, _salt(data[:length], form))
        self.header_bytes = data[:length] + form.write(header.start, 0, 0, data[:length] + form.filled)


def _salt(head: bytes, form: SealForm) -> int:
    return checksum(head + form.filled)


def read_opening(file: pa.NativeFile) -> Opening | None:
    """Read how the segment begins; None if that is damaged."""
    try:
        file.seek(0)
        stream = pa.ipc.open_stream(file)
        header = SegmentHeader.of(stream.read_next_batch_with_custom_metadata().custom_metadata)
        length = file.tell()
        stream.read_next_batch()
        end = file.tell()
        file.seek(0)
        data = file.read(end)
    except _UNREADABLE:
        return None
    form = SealForm.of(data[length:])
    seal = form.read(data[length:], 0) if form else None
    if form is None or seal is None or (seal.id, seal.checksum) != (header.start, _salt(data[:length], form)):
        return None
    return Opening(header, stream.schema, SealForm(form.prefix, form.suffix, seal.checksum), end)


def read_records(file: pa.NativeFile, opening: Opening, end: int | None = None) -> Iterator[Record | Damage]:
    """Yield every whole record up to ``end`` (the file's), in order, then the damage that stopped it, if any."""
    codec = Codec(opening.schema)
    offset, expected = opening.size_bytes, opening.header.start
    end = file.size() if end is None else end
    while offset < end:
        found = _read_record(file, opening.form, codec, offset, expected)
        if isinstance(found, str):
            file.seek(offset)
            tail = file.read(end - offset)
            if not is_zero(tail):
                yield Damage(offset, expected, found, proof_of_damage(tail, offset, opening.form, expected))
            return
        yield found
        offset, expected = found.end, expected + 1


def _read_record(file: pa.NativeFile, form: SealForm, codec: Codec, offset: int, expected: int) -> Record | str:
    file.seek(offset)
    seal = form.read(file.read(form.size), offset)
    if seal is None:
        return "the record's seal is damaged or cut short"
    if seal.id != expected:
        return f"record {seal.id} stands where {expected} is due"
    message = file.read_buffer(seal.length)
    if len(message) < seal.length:
        return "the record is cut short"
    if checksum(message) != seal.checksum:
        return "the record does not match its checksum"
    try:
        return Record(seal.id, codec.decode(message), offset, offset + form.size + seal.length)
    except _UNREADABLE as error:  # The bytes are those that were written: another version's Arrow wrote them.
        return f"Arrow cannot read the record ({error})"


def scan(file: pa.NativeFile) -> Scan:
    """Verify a whole segment without keeping its batches."""
    opening, size = read_opening(file), file.size()
    if opening is None:
        damage = Damage(
            0, 0, "the segment's header is damaged or missing", "a segment is named once its header is durable"
        )
        return Scan(None, 0, 0, size, damage)
    records, good_bytes = 0, opening.size_bytes
    for found in read_records(file, opening):
        if isinstance(found, Damage):
            return Scan(opening, records, good_bytes, size, found)
        records, good_bytes = records + 1, found.end
    return Scan(opening, records, good_bytes, size, None)


def open_segment(path: Path) -> pa.NativeFile:
    """Open a segment for the functions here. Read, not mapped: of a disk that fails, an OSError is heard, not a SIGBUS."""
    return pa.OSFile(str(path))
