"""One table's log: a folder of segments, appended to in order, rotated by size, retired once persisted elsewhere.

Append, write order:
    1. one buffer (data and seal), one write
    2. fdatasync
    ── promise: the id is returned ──

Rotate, before an append that finds the active segment full:
    1. rename ``{start}-`` to ``{start}-{end}``; sync the folder    (a crash here: recovery row @J)
    2. the next segment: write its header to a ``.tmp``, sync it, rename it into place, sync the folder

Retire: unlink closed segments whose every id is persisted, oldest first; sync the folder.

Invariants: at most one active segment; at least one segment exists from creation on, so the log's identity, schema and
next id are always on disk; ids never repeat. After a failed write or sync nothing is appended until the log is reopened.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterable, Iterator
from pathlib import Path

import pyarrow as pa

from faults import declare
from reference_wal import recovery
from reference_wal.durable_io import step, sync_directory, write_all
from reference_wal.errors import AppendFailed, EngineClosed, InvalidInput, LogCorrupted, LogPoisoned
from reference_wal.segment import Damage, SegmentEncoder, SegmentHeader, SegmentName, map_file, read_records

__all__ = ["SegmentedLog"]

WRITE_RECORD = step("wal.append.write", "nothing of the record is written", "in the page cache, not yet durable")
SYNC_RECORD = step("wal.append.sync", "in the page cache, not yet durable", "durable, its id not yet returned")
ACKNOWLEDGE = declare("wal.append.before_acknowledge", "durable and counted, about to return the id")
CLOSE_SEGMENT = step("wal.rotate.rename", "full, still named active", "named closed, not yet durably")
SYNC_CLOSED = step("wal.rotate.sync", "closed in the cache only", "closed for good, no active segment yet")
WRITE_HEADER = step("wal.segment.write", "the new segment is an empty .tmp", "header in the page cache of the .tmp")
SYNC_HEADER = step(
    "wal.segment.sync", "header in the page cache of the .tmp", "the .tmp is durable under no final name"
)
NAME_SEGMENT = step("wal.segment.rename", "a whole segment, still named .tmp", "in place, not yet durably")
SYNC_NAMED = step("wal.segment.sync_folder", "in place, in the cache only", "the new active segment is durable")
UNLINK_SEGMENT = step("wal.retire.unlink", "all batches persisted, segment still there", "gone, not yet durably")
SYNC_RETIRED = step("wal.retire.sync", "unlinked in the cache only", "gone for good")


class SegmentedLog:
    """The log of one table. Made by `create` or `open`; not thread-safe, its owner serialises calls."""

    def __init__(self, folder: Path, schema: pa.Schema, identity: str, table: str, segment_bytes_max: int) -> None:
        self.folder, self.schema, self.identity, self.table = folder, schema, identity, table
        self.segment_bytes_max = segment_bytes_max
        self.next_id = 0
        self._closed: list[SegmentName] = []
        self._persisted: set[int] = set()
        self._fd = -1
        self._active = SegmentName(0)
        self._active_bytes = 0
        self._encoder: SegmentEncoder
        self._poisoned: BaseException | None = None

    @classmethod
    def create(
        cls, folder: Path, schema: pa.Schema, *, table: str, segment_bytes_max: int, identity: str = ""
    ) -> SegmentedLog:
        """Start a log in an existing empty folder named as the table; durable on return except for the folder's own name.

        Args:
            identity: tells this log from any other that will ever bear the table's name; drawn at random if empty.
        """
        log = cls(folder, schema, identity or uuid.uuid4().hex, table, segment_bytes_max)
        log._start_segment()
        return log

    @classmethod
    def open(cls, folder: Path, *, segment_bytes_max: int) -> SegmentedLog | None:
        """Recover the log in ``folder``; None if the folder never became one (row @O). `recovery` has the argument.

        Raises:
            LogCorrupted: the folder holds what no crash leaves; nothing was changed.
        """
        plan = recovery.decide(recovery.inspect(folder))
        if plan.header is None:
            return None
        recovery.apply(folder, plan)
        log = cls(folder, plan.schema, plan.header.identity, plan.header.table, segment_bytes_max)
        log._closed, log.next_id = plan.closed, plan.next_id
        if plan.leftover is None:
            log._start_segment()
        else:
            log._resume_segment(plan.leftover)
        return log

    def append(self, batch: pa.RecordBatch) -> int:
        """Return the batch's id once the batch would survive a power cut.

        Raises:
            AppendFailed: the disk refused; the log is poisoned until reopened.
            LogPoisoned: an earlier append was refused.
            InvalidInput: the batch has another schema than the log, or a null where the schema allows none.
        """
        if not batch.schema.equals(self.schema):
            raise InvalidInput(
                f"batch has schema {batch.schema.names}, table {self.table!r} has {self.schema.names} or other types"
            )
        for field, column in zip(self.schema, batch.columns, strict=True):
            if column.null_count and not field.nullable:
                raise InvalidInput(f"column {field.name!r} of table {self.table!r} takes no nulls, the batch has some")
        self._refuse_if_unusable()
        try:
            if self._active_bytes >= self.segment_bytes_max and self.next_id > self._active.start:
                self.rotate()
            self._write_record(batch)
        except OSError as error:
            self._poisoned = error
            raise AppendFailed(self.folder, error) from error
        except BaseException as error:
            self._poisoned = error  # An interrupt, say: the record may be there, and the next would take its id.
            raise
        batch_id, self.next_id = self.next_id, self.next_id + 1
        ACKNOWLEDGE.hit()
        return batch_id

    def _write_record(self, batch: pa.RecordBatch) -> None:
        record = self._encoder.encode(self.next_id, batch, self._active_bytes)
        with WRITE_RECORD:
            write_all(self._fd, record)
        with SYNC_RECORD:  # The promise: until here a power cut could take or tear the record.
            os.fdatasync(self._fd)
        self._active_bytes += len(record)

    def rotate(self) -> None:
        """Close the active segment under its final name and start the next one. Raises OSError."""
        os.close(self._fd)
        self._fd = -1
        closed = SegmentName(self._active.start, self.next_id - 1)
        with CLOSE_SEGMENT:
            (self.folder / str(self._active)).rename(self.folder / str(closed))
            self._closed.append(closed)
            self._active, self._active_bytes = SegmentName(self.next_id), 0
        with SYNC_CLOSED:  # The old name is gone for good, so two active segments can never be met.
            sync_directory(self.folder)
        self._start_segment()

    def _start_segment(self) -> None:
        self._active = SegmentName(self.next_id)
        self._encoder = SegmentEncoder(self.schema, SegmentHeader(self.identity, self.table, self.next_id))
        path = self.folder / str(self._active)
        unborn = path.with_suffix(".tmp")
        self._fd = os.open(unborn, os.O_CREAT | os.O_TRUNC | os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC, 0o644)
        with WRITE_HEADER:
            write_all(self._fd, self._encoder.header_bytes)
        with SYNC_HEADER:  # Contents before the name: a segment in place has a whole header.
            os.fsync(self._fd)
        with NAME_SEGMENT:
            unborn.rename(path)
        with SYNC_NAMED:  # Without this a power cut could take the file with every record synced into it.
            sync_directory(self.folder)
        self._active_bytes = len(self._encoder.header_bytes)

    def _resume_segment(self, leftover: recovery.Found) -> None:
        assert leftover.name is not None and leftover.scan is not None
        self._active = leftover.name
        self._encoder = SegmentEncoder(self.schema, SegmentHeader(self.identity, self.table, leftover.name.start))
        self._fd = os.open(leftover.path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
        self._active_bytes = leftover.scan.good_bytes

    def covers(self, batch_id: int) -> bool:
        """Whether the log holds every batch from ``batch_id`` up to its end (trivially so if it is the next id)."""
        return not any(start <= last and last >= batch_id for start, last in self._gaps())

    def reconcile(self, persisted_through: int) -> None:
        """Take ids up to ``persisted_through`` as persisted elsewhere (-1: none), check that nothing else is missing.

        Raises:
            LogCorrupted: ids above it are missing (row @L), or it lies beyond every id the log ever gave out.
        """
        if persisted_through >= self.next_id:
            raise LogCorrupted(
                self.folder, f"batch {persisted_through} was persisted, but the log ends at {self.next_id - 1}"
            )
        for start, last in self._gaps():
            if last > persisted_through:
                raise LogCorrupted(
                    self.folder, f"batches {max(start, persisted_through + 1)} to {last} are in no segment"
                )
        self.mark_persisted(range(self.oldest_id, persisted_through + 1))

    def _gaps(self) -> Iterator[tuple[int, int]]:
        due = 0
        for name in (*self._closed, self._active):
            if name.start > due:
                yield due, name.start - 1
            due = name.start if name.end is None else name.end + 1

    @property
    def oldest_id(self) -> int:
        """The first id still in a segment (the next id if there is none)."""
        return self._closed[0].start if self._closed else self._active.start

    def mark_persisted(self, ids: Iterable[int]) -> None:
        """Note that these batches are durable elsewhere, and retire every closed segment that holds no other."""
        ids = list(ids)
        unknown = [batch_id for batch_id in ids if not 0 <= batch_id < self.next_id]
        if unknown:
            raise InvalidInput(
                f"batches {unknown[:5]} were never appended to {self.table!r}; its ids end at {self.next_id - 1}"
            )
        self._persisted.update(ids)
        self._retire()

    def _retire(self) -> None:
        done = [name for name in self._closed if self._is_persisted(name)]
        for name in done:
            with UNLINK_SEGMENT:
                (self.folder / str(name)).unlink()
            self._closed.remove(name)
            self._persisted.difference_update(range(name.start, (name.end or 0) + 1))
        if done:
            with SYNC_RETIRED:  # Only frees space: a segment that comes back is known to be persisted.
                sync_directory(self.folder)

    def _is_persisted(self, name: SegmentName) -> bool:
        assert name.end is not None
        return all(batch_id in self._persisted for batch_id in range(name.start, name.end + 1))

    def unpersisted(self) -> Iterator[tuple[int, pa.RecordBatch]]:
        """Yield the batches not marked persisted, in the order of ids, read back from disk with checksums verified.

        Works on a poisoned log as well, and leaves out the batch that failed.

        Raises:
            LogCorrupted: a record changed since the log was opened.
        """
        for name in (*self._closed, *([self._active] if self._active_bytes else [])):
            path = self.folder / str(name)
            data = map_file(path)
            for record in read_records(data if name.end is not None else data.slice(0, self._active_bytes)):
                if isinstance(record, Damage):
                    raise LogCorrupted(path, record.problem, offset=record.offset, record=record.record)
                if record.id not in self._persisted:
                    yield record.id, record.batch

    def truncate(self) -> None:
        """Drop every batch; ids go on. Not atomic by itself: the engine commits the truncation to Delta first."""
        self._refuse_if_unusable()
        try:
            if self.next_id > self._active.start:
                self.rotate()
            self.mark_persisted(range(self.oldest_id, self.next_id))
        except OSError as error:
            self._poisoned = error
            raise LogPoisoned(self.folder, error) from error
        except BaseException as error:
            self._poisoned = error
            raise

    def _refuse_if_unusable(self) -> None:
        if self._poisoned is not None:
            raise LogPoisoned(self.folder, self._poisoned)
        if self._fd < 0:
            raise EngineClosed

    def close(self) -> None:
        """Let go of the active segment; everything acknowledged is durable already."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
