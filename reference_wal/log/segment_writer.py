"""The writing end of a table's log: the active segment, the next id, and the rotation to the next segment.

One caller at a time: the thread that holds the log's turn (`append_queue`). After an OSError the writer must not be used again;
the next opening decides what the folder then means (`recovery`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from crashmatrix.reference_wal.durable_io import Buffer
from crashmatrix.reference_wal.log.segments.active_segment import ActiveSegment
from crashmatrix.reference_wal.log.segments.segment import Opening, SegmentEncoder, SegmentHeader, SegmentName
from crashmatrix.reference_wal.option_values import check_values

__all__ = ["PREALLOCATE_BYTES", "LogIdentity", "SegmentSizes", "SegmentWriter"]

PREALLOCATE_BYTES = 1024 * 1024
"""Default number of zeros, in bytes, that a segment is filled with ahead of its records; never beyond its maximal size."""


@dataclass(frozen=True)
class LogIdentity:
    """The identity of a log: its folder, and the fields in the header of every segment."""

    folder: Path
    schema: pa.Schema
    identity: str
    table: str


@dataclass(frozen=True, kw_only=True)
class SegmentSizes:
    """How large segments become, in bytes: ``segment_bytes_max`` closes one, ``preallocate_bytes`` is filled with zeros ahead.

    Raises:
        InvalidInput: not whole numbers, 1 or more and 0 or more.
    """

    segment_bytes_max: int
    preallocate_bytes: int = PREALLOCATE_BYTES

    def __post_init__(self) -> None:
        check_values({"segment_bytes_max": self.segment_bytes_max, "preallocate_bytes": self.preallocate_bytes})

    def zeros_bytes(self, end_bytes: int) -> int:
        """Return how many zeros to write behind a segment that ends here."""
        return max(0, min(self.preallocate_bytes, self.segment_bytes_max - end_bytes))


class SegmentWriter:
    """Appends groups of records to the active segment, and starts the next one.

    Attributes:
        start_id: the first id of the active segment.
        next_id: the id of the next batch.
        active: the segment; after a rotation that failed, the old one, closed.
    """

    def __init__(self, log: LogIdentity, sizes: SegmentSizes, active: ActiveSegment, next_id: int) -> None:
        self.log, self.sizes, self.active = log, sizes, active
        self.start_id = self.next_id = next_id
        self.appends = self.bytes = self.syncs = self.rotations = 0
        self.sync_seconds = 0.0

    @classmethod
    def create(cls, log: LogIdentity, sizes: SegmentSizes, next_id: int) -> SegmentWriter:
        """Start the segment of this id; durable on return. Raises OSError."""
        return cls(log, sizes, _new_segment(log, sizes, next_id), next_id)

    @classmethod
    def resume(cls, path: Path, opening: Opening, sizes: SegmentSizes) -> SegmentWriter:
        """Go on with a segment that has a header and no records. Raises OSError."""
        header = opening.header
        log = LogIdentity(path.parent, opening.schema, header.identity, header.table)
        return cls(log, sizes, ActiveSegment.resume(path, opening.form, opening.size_bytes), header.start)

    @property
    def is_open(self) -> bool:
        """Whether it takes records: not once it was closed, or a rotation failed."""
        return self.active.is_open

    @property
    def is_empty(self) -> bool:
        """Whether the active segment has no record."""
        return self.next_id == self.start_id

    @property
    def is_full(self) -> bool:
        """Whether the next record belongs in the next segment; an empty segment is never full."""
        return self.active.end_bytes >= self.sizes.segment_bytes_max and not self.is_empty

    @property
    def room_bytes(self) -> int:
        """Bytes left in the segment that takes the next record."""
        return self.sizes.segment_bytes_max - (0 if self.is_full else self.active.end_bytes)

    @property
    def seal_bytes(self) -> int:
        """Bytes that each record takes besides its message."""
        return self.active.form.size

    def write(self, messages: Sequence[pa.Buffer]) -> None:
        """Append one record for each message, with ids from `next_id` on; durable on return. Raises OSError."""
        form = self.active.form
        parts: list[Buffer] = []
        offset = synced = self.active.end_bytes
        for batch_id, message in enumerate(messages, self.next_id):
            parts += form.write(batch_id, offset, synced, message), message
            offset += form.size + len(message)
        self.sync_seconds += self.active.write(parts, zeros_bytes=self.sizes.zeros_bytes(offset))
        self.appends += len(messages)
        self.bytes += offset - synced
        self.syncs += 1
        self.next_id += len(messages)

    def finish(self) -> SegmentName:
        """Close the active segment, which has records, under its final name; durable on return. Raises OSError."""
        closed = self.active.finish(self.next_id - 1)
        self.start_id = self.next_id
        self.rotations += 1
        return closed

    def start(self) -> None:
        """Start the next segment; durable on return. Raises OSError."""
        self.active = _new_segment(self.log, self.sizes, self.next_id)
        self.start_id = self.next_id

    def close(self) -> None:
        """Let go of the file."""
        self.active.close()


def _new_segment(log: LogIdentity, sizes: SegmentSizes, start_id: int) -> ActiveSegment:
    encoder = SegmentEncoder(log.schema, SegmentHeader(log.identity, log.table, start_id))
    zeros_bytes = sizes.zeros_bytes(len(encoder.header_bytes))
    return ActiveSegment.create(log.folder, start_id, encoder, zeros_bytes=zeros_bytes)
