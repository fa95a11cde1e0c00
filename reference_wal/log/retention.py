"""Retention: the closed segments of a log, the batches persisted elsewhere, and so the segments that may go.

Marking, write order: 1. the set, if it is to be remembered (`persisted`)  ── promise: the marks survive ──
2. unlink each closed segment whose every id is persisted, oldest first; 3. sync the folder.

An id that no segment holds is missing, unless it is persisted.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from crashmatrix.faults import mark
from crashmatrix.reference_wal.durable_io import step, sync_directory
from crashmatrix.reference_wal.errors import InvalidInput, LogCorrupted
from crashmatrix.reference_wal.log.persisted import IdSet, write_persisted
from crashmatrix.reference_wal.log.segments.segment import SegmentName

__all__ = ["Retention"]

UNLINK_SEGMENT = step("wal.retire.unlink", "all batches persisted, segment still there", "gone, not yet durably")
SYNC_RETIRED = step("wal.retire.sync", "unlinked in the cache only", "gone permanently")

RETIRED_BEFORE = mark("rows.log.@K", "ids without a segment, all persisted: accepted")


class Retention:
    """The closed segments of the log in ``folder``, in order, and the ids ``persisted``. Its owner serialises calls."""

    def __init__(self, folder: Path, closed: Sequence[SegmentName] = (), persisted: IdSet | None = None) -> None:
        self.folder, self.closed, self.persisted = folder, list(closed), persisted or IdSet()
        self.retired = 0

    def oldest_id(self, active_start: int) -> int:
        """The first id still in a segment."""
        return next((name.start for name in self.closed), active_start)  # Another thread may retire it meanwhile.

    def gaps(self, active_start: int) -> Iterator[tuple[int, int]]:
        """Yield the ranges of ids, first and last, below the active segment's that are in no segment."""
        due = 0
        for name in (*self.closed, SegmentName(active_start)):
            if name.start > due:
                yield due, name.start - 1
            due = name.start if name.end is None else name.end + 1

    def refuse_gaps(self, next_id: int, persisted_through: int) -> None:
        """Check that all ids in no segment are persisted, here or up to ``persisted_through``, while no segment is active that
        has a record. Raises LogCorrupted (row @L).
        """
        claimed = max(persisted_through, self.persisted.span[1])
        if claimed >= next_id:
            extent = f"the log ends at {next_id - 1}" if next_id else "the log never had a batch"
            raise LogCorrupted(self.folder, f"batch {claimed} was persisted, but {extent}")
        for first, last in self.gaps(next_id):
            RETIRED_BEFORE.enter()
            for start, end in self.persisted.missing(max(first, persisted_through + 1), last):
                raise LogCorrupted(self.folder, f"batches {start} to {end} are in no segment")

    def mark(self, ids: Iterable[int], *, next_id: int, remember_as: str | None, retire: bool) -> None:
        """Note that these are persisted, on disk as well if the log's identity is given.

        Args:
            retire: whether to unlink the segments that may go. Only while there is an active segment: the last segment of
                a log has its identity and its next id.

        Raises:
            InvalidInput: an id that was never given out; nothing was changed.
            OSError: the marks are remembered or not, segments retired or not.
        """
        persisted = self.persisted.copy()
        persisted.update(ids)
        first, last = persisted.span
        if first < 0 or last >= next_id:
            unknown = first if first < 0 else last
            known = f"its ids go from 0 to {next_id - 1}" if next_id else "it never had a batch"
            raise InvalidInput(f"batch {unknown} was never appended to this log; {known}")
        if remember_as is not None and persisted.ranges != self.persisted.ranges:
            write_persisted(self.folder, remember_as, persisted)
        self.persisted = persisted
        if retire:
            self._retire()

    def _retire(self) -> None:
        done = [name for name in self.closed if name.end is not None and self.persisted.covers(name.start, name.end)]
        for name in done:
            with UNLINK_SEGMENT:
                (self.folder / str(name)).unlink()
            self.closed.remove(name)
            self.retired += 1
        if done:
            with SYNC_RETIRED:  # Only frees space: a segment that comes back is known to be persisted.
                sync_directory(self.folder)
