"""Reading a log back while it lives: batches in the order of their ids, one in memory at a time, each verified again.

No lock is held: a segment may be closed, under another name, or retired while it is being read. From the active segment, only
records that were durable when the replay began are read.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa

from crashmatrix.reference_wal.durable_io import names_in
from crashmatrix.reference_wal.errors import LogCorrupted
from crashmatrix.reference_wal.log.segments.segment import (
    Damage,
    Record,
    SegmentName,
    open_segment,
    read_opening,
    read_records,
)

__all__ = ["SegmentGone", "replay_segment"]


class SegmentGone(LookupError):
    """No segment begins at this id any more."""


def replay_segment(folder: Path, start: int, end_bytes: int | None) -> Iterator[Record]:
    """Yield the records of the segment whose first id is ``start``, up to a position or all.

    Raises:
        LogCorrupted: a record changed since the log was opened.
        SegmentGone: retired, or lost.
        OSError: the disk fails; btrfs, for one, may list files then that it does not open.
    """
    path, file = _open(folder, start)
    with file:
        opening = read_opening(file)
        if opening is None:
            raise LogCorrupted(path, "the segment's header is damaged", offset=0)
        for found in read_records(file, opening, end_bytes):
            if isinstance(found, Damage):
                raise LogCorrupted(path, found.problem, offset=found.offset, record=found.record)
            yield found


def _open(folder: Path, start: int) -> tuple[Path, pa.NativeFile]:
    first, unopened = f"{start}-", ""
    while names := [name for name in names_in(folder) if name.startswith(first) and SegmentName.parse(name)]:
        path = folder / names[0]
        try:
            return path, open_segment(path)
        except FileNotFoundError as error:  # Renamed at this very moment; once only, when it is closed.
            if names[0] == unopened:
                raise OSError(errno.EIO, "its folder lists it, and it cannot be opened", str(path)) from error
            unopened = names[0]
    raise SegmentGone(start)
