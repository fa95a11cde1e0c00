"""A log's files, written from the description of their format alone, with seals and checksums that fit.

The oracle changes what a file says, and not only its bytes: another id, another table, another length. Such a file has every
checksum right, so a reader must compare what it says with its place. The engine's own writer would not write it, and a mistake in
it would be the reader's as well. The format is in `reference_wal.log.segments.segment` and `seal`, `log.persisted`, `log.end`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import pyarrow as pa
from xxhash import xxh3_64_intdigest

__all__ = ["Written", "note_of_end", "set_of_persisted"]

_BLANK = b":".join([b"0" * 16] * 6)
_END_OF_STREAM_BYTES = 8


@dataclass(frozen=True)
class Written:
    """A segment.

    Attributes:
        start: the first id, as the header says.
        messages: of each record: the batch, or bytes in its place.
        ids: the ids in the seals of records, if they are not those from ``start`` on.
        grouped: whether all records were written, and synced, together; otherwise each by itself.
        lost: how many bytes of the records, from the first one on, are zeros.
        cut: how many bytes the last record lacks at its end.
        zeros: how many bytes of them follow.
    """

    identity: str
    table: str
    start: int
    schema: pa.Schema
    messages: Sequence[pa.RecordBatch | bytes] = ()
    ids: Sequence[int] = ()
    grouped: bool = False
    lost: int = 0
    cut: int = 0
    zeros: int = 0

    @property
    def header(self) -> bytes:
        """The beginning of the file, up to its first record."""
        head, blank, salt = self._parts
        return head + _sealed(blank, (self.start, 0, 0, len(head + blank), salt), 0)

    @cached_property
    def records(self) -> list[bytes]:
        """Each record, after its seal."""
        head, blank, salt = self._parts
        offset = begin = len(head + blank)
        found = []
        ids = self.ids or range(self.start, self.start + len(self.messages))
        for batch_id, message in zip(ids, self.messages, strict=True):
            data = message if isinstance(message, bytes) else message.serialize().to_pybytes()
            synced = begin if self.grouped else offset
            numbers = (batch_id, offset, synced, len(data), xxh3_64_intdigest(data))
            found.append(_sealed(blank, numbers, salt) + data)
            offset += len(found[-1])
        return found

    @cached_property
    def data(self) -> bytes:
        """The file."""
        whole = self.header + bytes(self.lost) + b"".join(self.records)[self.lost :]
        return whole[: len(whole) - self.cut] + bytes(self.zeros)

    @cached_property
    def _parts(self) -> tuple[bytes, bytes, int]:
        """The header without its seal, a seal that is not filled in, and the salt of all seals but the header's."""
        header = {"log": self.identity, "table": self.table, "start": str(self.start)}
        length = len(_stream(self.schema))
        head, blank = _stream(self.schema, header), _stream(self.schema, {"seal": _BLANK.decode()})[length:]
        return head, blank, xxh3_64_intdigest(head + blank)


def _stream(schema: pa.Schema, metadata: Mapping[str, str] | None = None) -> bytes:
    """Return a stream without its end: the schema, and a batch without rows if it has metadata."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, schema) as stream:
        if metadata is not None:
            empty = pa.RecordBatch.from_arrays([pa.array([], field.type) for field in schema], schema=schema)
            stream.write_batch(empty, custom_metadata=metadata)
    data: bytes = sink.getvalue().to_pybytes()
    return data[:-_END_OF_STREAM_BYTES]


def _sealed(blank: bytes, numbers: Sequence[int], salt: int) -> bytes:
    text = b":".join(b"%016x" % number for number in numbers)
    text += b":%016x" % xxh3_64_intdigest(text, salt)
    return blank.replace(_BLANK, text)


def set_of_persisted(ranges: str, identity: str) -> bytes:
    """Return the file of a log's persisted batches, ``0-57,60-61`` for example."""
    check = xxh3_64_intdigest(ranges.encode(), xxh3_64_intdigest(identity.encode()))
    return b"%b %016x\n" % (ranges.encode(), check)


def note_of_end(next_id: int, identity: str) -> bytes:
    """Return the note of a log's end."""
    check = xxh3_64_intdigest(b"%d" % next_id, xxh3_64_intdigest(identity.encode()))
    return b"%d\n%016x\n" % (next_id, check)
