"""The active segment: created whole, filled with zeros ahead of its records, cut to its length when it is closed.

Creation, write order:
    1. header and the first zeros to a ``.tmp``; sync it    (a crash: recovery row @A)
    2. rename it to ``{start}-.arrows``; sync the folder

A group of records, write order:
    1. one write of all of them; after it, if they outgrow the zeros, the next zeros
    2. fdatasync

Closing, write order:
    1. cut off the zeros; sync the file                     (a crash: row @D)
    2. rename to ``{start}-{end}.arrows``; sync the folder  (a crash: row @J)

Why zeros: bytes written into existing blocks need no new size and no new block, so their sync leaves the filesystem's journal
alone; measured, it takes half to two thirds of the time. The zeros are written, not `fallocate`d: a block that was only
reserved must be marked as written, in the journal, at the sync that first fills it. Large records (more than a quarter of the
zeros) gain nothing and grow the file instead, unless the whole segment is filled when it is created (``preallocate_bytes`` as
large as the segment: the fastest appends, the slowest rotation). On a filesystem that never overwrites (btrfs), zeros gain
nothing and cost a little; ``preallocate_bytes=0`` writes none. They are written in pieces: the page cache keeps together
bytes that were written at once, and a small change in a large piece takes up to a third longer to sync.

The zeros need not be durable: unsynced parts of a file read as zeros, whether written or not, or the file ends before them. So
after a crash, each sector of a group is there, or zeros, or beyond the end (`tear`). The zeros of a new segment are synced with
its header before it has a name; later zeros are synced with the records beside them. No byte is ever written twice: a torn
tail is cut off, durably, before its place is written again.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from pathlib import Path

from crashmatrix.reference_wal.durable_io import Buffer, step, sync_directory, write_at
from crashmatrix.reference_wal.log.segments.seal import SealForm
from crashmatrix.reference_wal.log.segments.segment import SegmentEncoder, SegmentName

__all__ = ["PARTS_MAX", "ActiveSegment"]

WRITE_HEADER = step("wal.segment.write", "the new segment is an empty .tmp", "header in the page cache of the .tmp")
SYNC_HEADER = step(
    "wal.segment.sync", "header in the page cache of the .tmp", "the .tmp is durable under no final name"
)
NAME_SEGMENT = step("wal.segment.rename", "a whole segment, still named .tmp", "in place, not yet durably")
SYNC_NAMED = step("wal.segment.sync_folder", "in place, in the cache only", "the new active segment is durable")
WRITE_RECORD = step("wal.append.write", "nothing of the record is written", "in the page cache, not yet durable")
SYNC_RECORD = step("wal.append.sync", "in the page cache, not yet durable", "durable, its id not yet returned")
CUT_ZEROS = step("wal.rotate.truncate", "full, zeros after its records", "the zeros are cut off in the page cache")
SYNC_CUT = step("wal.rotate.sync_cut", "zeros cut off in the page cache only", "its length is durable")
CLOSE_SEGMENT = step("wal.rotate.rename", "full, still named active", "named closed, not yet durably")
SYNC_CLOSED = step("wal.rotate.sync", "closed in the cache only", "closed durably, no active segment yet")

PARTS_MAX = 1000
"""How many buffers a group may consist of: a little less than Linux takes in one write (1,024)."""

_ZEROS = memoryview(bytes(64 * 1024))

_ZEROS_GAIN_BELOW = 4
"""A record larger than the zeros divided by this is not worth filling for."""


class ActiveSegment:
    """An open segment; its owner serialises calls. ``end_bytes`` is where the next record goes, all before it is durable."""

    def __init__(self, path: Path, fd: int, form: SealForm, end_bytes: int) -> None:
        self.path, self.form, self.end_bytes = path, form, end_bytes
        self._fd = fd
        self._filled_bytes = os.fstat(fd).st_size

    @classmethod
    def create(cls, folder: Path, start: int, encoder: SegmentEncoder, *, zeros_bytes: int) -> ActiveSegment:
        """Create the segment of id ``start``, with so many zeros after its header; durable on return. Raises OSError."""
        path = folder / str(SegmentName(start))
        unfinished = path.with_suffix(".tmp")
        fd = os.open(unfinished, os.O_CREAT | os.O_TRUNC | os.O_WRONLY | os.O_CLOEXEC, 0o644)
        try:
            with WRITE_HEADER:
                write_at(fd, [encoder.header_bytes], 0)
                _fill(fd, len(encoder.header_bytes), zeros_bytes)
            with SYNC_HEADER:  # Contents before the name: a segment in place has a whole header, and its first zeros.
                os.fsync(fd)
            with NAME_SEGMENT:
                unfinished.rename(path)
            with SYNC_NAMED:  # Without this a power cut could take the file with every record synced into it.
                sync_directory(folder)
            return cls(path, fd, encoder.form, len(encoder.header_bytes))
        except BaseException:
            os.close(fd)
            raise

    @classmethod
    def resume(cls, path: Path, form: SealForm, end_bytes: int) -> ActiveSegment:
        """Go on with a segment that recovery has settled. Raises OSError."""
        fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
        try:
            return cls(path, fd, form, end_bytes)
        except BaseException:
            os.close(fd)
            raise

    @property
    def is_open(self) -> bool:
        """Whether it can take records."""
        return self._fd >= 0

    def write(self, parts: Sequence[Buffer], *, zeros_bytes: int) -> float:
        """Append these parts, at most `PARTS_MAX`; durable on return. Returns how many seconds the sync took.

        Args:
            zeros_bytes: how many zeros to write after the parts if they outgrow those that are there.

        Raises:
            OSError: nothing more is known of the parts, and the segment must not be written to again.
        """
        size = sum(map(len, parts))
        end = self.end_bytes + size
        outgrown = end > self._filled_bytes
        gain = outgrown and size * _ZEROS_GAIN_BELOW <= zeros_bytes
        with WRITE_RECORD:
            write_at(self._fd, parts, self.end_bytes)
            if gain:
                _fill(self._fd, end, zeros_bytes)
        if outgrown:
            self._filled_bytes = end + zeros_bytes * gain
        begun = time.perf_counter()
        with SYNC_RECORD:  # The promise: until here a power cut could take or tear the records.
            os.fdatasync(self._fd)
        self.end_bytes = end
        return time.perf_counter() - begun

    def finish(self, last_id: int) -> SegmentName:
        """Close the segment under its final name; durable on return. Raises OSError."""
        try:
            if self._filled_bytes > self.end_bytes:
                with CUT_ZEROS:
                    os.ftruncate(self._fd, self.end_bytes)
                with SYNC_CUT:  # Before the name: a segment named closed ends with its last record.
                    os.fsync(self._fd)
        finally:
            self.close()
        start = SegmentName.parse(self.path.name)
        assert start is not None
        closed = SegmentName(start.start, last_id)
        with CLOSE_SEGMENT:
            self.path.rename(self.path.with_name(str(closed)))
        with SYNC_CLOSED:  # The old name is gone durably, so no crash leaves two active segments.
            sync_directory(self.path.parent)
        return closed

    def close(self) -> None:
        """Let go of the file. Raises OSError; it is let go of all the same."""
        fd, self._fd = self._fd, -1  # First: an error of close(2) leaves the number free, for any other file.
        if fd >= 0:
            os.close(fd)


def _fill(fd: int, start: int, length: int) -> None:
    """Write so many zeros from ``start`` on."""
    end = start + length
    while start < end:
        piece = _ZEROS[: min(end - start, len(_ZEROS) - start % len(_ZEROS))]
        write_at(fd, [piece], start)
        start += len(piece)
