"""Segments as ModelarDB writes and reads them: Arrow IPC streams, in the pieces in which arrow-rs writes a message.

A message is five writes (marker, length, metadata, padding, body), or four without a body. Reading follows arrow-rs: 0 to 3 bytes
behind a message, or four zeros, are the stream's end, with or without the marker of the end. An end within a message is an error.
"""

from __future__ import annotations

import io
import zlib
from collections.abc import Iterator

import pyarrow as pa

__all__ = ["END", "HEADER", "SCHEMA", "CutShort", "NoSchema", "Torn", "message", "pieces", "read"]

SCHEMA = pa.schema([("number", pa.int64()), ("series", pa.string()), ("row", pa.int64()), ("value", pa.binary())])
END = b"\xff\xff\xff\xff\0\0\0\0"
HEADER: bytes = SCHEMA.serialize().to_pybytes()
_MARKER = END[:4]


class NoSchema(ValueError):
    """The stream is empty."""


class CutShort(ValueError):
    """The stream ends within a message."""


class Torn(ValueError):
    """A message has the right length, and arrow cannot read it: some of its bytes did not reach the disk."""


def message(batch: pa.RecordBatch | None) -> bytes:
    """Return the batch as a message of a stream that has begun, with a checksum beside it; None for the schema."""
    if batch is None:
        return HEADER
    stream = io.BytesIO()
    with pa.ipc.new_stream(stream, SCHEMA) as writer:
        writer.write_batch(batch, custom_metadata={"crc": _checksum(batch)})
    return stream.getvalue()[len(HEADER) : -len(END)]


def pieces(data: bytes) -> Iterator[bytes]:
    """Yield what arrow-rs hands to the kernel in one call each."""
    length = int.from_bytes(data[4:8], "little")
    metadata, body = data[8 : 8 + length], data[8 + length :]
    bare = metadata.rstrip(b"\0")
    padding = min(len(metadata) - len(bare), 4)
    cut = len(metadata) - padding
    yield from (part for part in (data[:4], data[4:8], metadata[:cut], metadata[cut:], body) if part)


def read(content: bytes, *, checked: bool) -> Iterator[pa.RecordBatch]:
    """Yield the batches of a segment.

    Args:
        checked: end before a batch that does not fit its checksum.

    Raises:
        NoSchema: "Expected schema message, found empty stream".
        CutShort, Torn: after the batches before it.
    """
    offset = _end_of(content, 0)
    if offset is None:
        raise NoSchema("Expected schema message, found empty stream")
    while (end := _end_of(content, offset)) is not None:
        batch, checksum = _batch(content[: len(HEADER)] + content[offset:end])
        if checked and checksum != _checksum(batch):
            return
        yield batch
        offset = end


def _batch(stream: bytes) -> tuple[pa.RecordBatch, bytes | None]:
    """Return the batch of a stream of one, and the checksum beside it, if it is there. Raises Torn."""
    try:
        batch, metadata = pa.ipc.open_stream(stream).read_next_batch_with_custom_metadata()
        return batch, dict(metadata or {}).get(b"crc")
    except (pa.ArrowException, OSError) as error:  # OSError: flatbuffers that are not valid.
        raise Torn(f"no batch can be read: {error}") from error


def _end_of(content: bytes, offset: int) -> int | None:
    """Return where the message that begins here ends; None at the end of the stream."""
    marker = content[offset : offset + 4]
    if len(marker) < 4 or marker == bytes(4):
        return None
    if marker != _MARKER:
        raise CutShort(f"no message begins at byte {offset}")
    length = int.from_bytes(_exactly(content, offset + 4, 4), "little")
    if not length:
        return None
    metadata = _exactly(content, offset + 8, length)
    return offset + 8 + length + len(_exactly(content, offset + 8 + length, _body_length(metadata)))


def _exactly(content: bytes, offset: int, length: int) -> bytes:
    found = content[offset : offset + length]
    if len(found) < length:
        raise CutShort(f"failed to fill whole buffer: {length} bytes due at {offset}, {len(found)} there")
    return found


def _body_length(metadata: bytes) -> int:
    """Return field 3 of the table `Message`, https://github.com/apache/arrow/blob/main/format/Message.fbs."""
    table = int.from_bytes(metadata[:4], "little")
    vtable = table - int.from_bytes(metadata[table : table + 4], "little", signed=True)
    slot = 4 + 2 * 3
    if int.from_bytes(metadata[vtable : vtable + 2], "little") <= slot:
        return 0
    field = int.from_bytes(metadata[vtable + slot : vtable + slot + 2], "little")
    return int.from_bytes(metadata[table + field : table + field + 8], "little") if field else 0


def _checksum(batch: pa.RecordBatch) -> bytes:
    return b"%d" % zlib.crc32(batch.serialize())
