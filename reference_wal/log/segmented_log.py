"""The log of a table: a folder of segments, appended to in order, rotated by size, retired once persisted elsewhere.

Append, write order:
    1. the batch becomes a message, outside of any lock, and queues
    2. the caller that gets the log's turn writes a *group*: all batches that queue get ids, seals, one write and one fdatasync
    ── promise: each caller of the group returns its id ──

A batch that queues while a group is written is in the next group. So threads share syncs, and a single thread writes groups of
one. Ids and records follow the order of the queue. No write runs during a sync, so a crash can tear one group only, and no id
is returned before the sync that covers it.

Rotate, before a group that finds the active segment full: close the segment, start the next one (`segments.active_segment`).

Retire: unlink closed segments whose every id is persisted, oldest first; sync the folder.

Close: note the next id (`end`). A closed log changes nothing more; one that is removed is closed first.

Invariants: at most one active segment; at least one segment exists from creation on, so the log's identity, schema and
next id are always on disk; ids never repeat.

After a failed write or sync, of a group, a rotation, a mark or a truncation, the log is poisoned until it is reopened:

- appends, truncations and marks to be remembered are refused (LogPoisoned), every waiting append too;
- batches that were not acknowledged are not read; all others are;
- marks of the engine, which Delta remembers, are noted in memory. The folder stays as it is: the failure may have left no
  active segment, and then the closed ones alone say which log this is and which id comes next. Reopening retires them.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pyarrow as pa

from crashmatrix.faults import declare
from crashmatrix.reference_wal.errors import (
    AppendFailed,
    EngineClosed,
    LogCorrupted,
    LogPoisoned,
    ReferenceWalError,
    UnknownTable,
)
from crashmatrix.reference_wal.log.append_queue import AppendQueue, Entry
from crashmatrix.reference_wal.log.batch_check import BatchCheck
from crashmatrix.reference_wal.log.counters import LogCounters
from crashmatrix.reference_wal.log.end import write_end
from crashmatrix.reference_wal.log.replay import SegmentGone, replay_segment
from crashmatrix.reference_wal.log.retention import Retention
from crashmatrix.reference_wal.log.segment_writer import PREALLOCATE_BYTES, LogIdentity, SegmentSizes, SegmentWriter
from crashmatrix.reference_wal.log.segments.active_segment import PARTS_MAX
from crashmatrix.reference_wal.log.segments.segment import Codec

__all__ = ["SegmentedLog"]

ACKNOWLEDGE = declare("wal.append.before_acknowledge", "durable and counted, about to return the id")


class SegmentedLog:
    """The log of one table, ready to use. Made by `create`, or by `UnrecoveredLog.reconcile`. Thread-safe: appends share syncs,
    every other change waits for its turn.

    Attributes:
        folder, schema, identity, table: which log it is.
    """

    def __init__(self, writer: SegmentWriter, retention: Retention) -> None:
        log = writer.log
        self.folder, self.schema, self.identity, self.table = log.folder, log.schema, log.identity, log.table
        self._writer, self._retention = writer, retention
        self._codec, self._check = Codec(log.schema), BatchCheck(log.table, log.schema)
        self._queue = AppendQueue()
        self._turn = self._queue.turn
        self._poisoned: BaseException | None = None
        self._closed = self._removed = False
        self._replayed = 0

    @classmethod
    def create(
        cls, folder: Path, schema: pa.Schema, *, table: str, segment_bytes_max: int,
        preallocate_bytes: int = PREALLOCATE_BYTES, identity: str = "", next_id: int = 0,
    ) -> SegmentedLog:  # fmt: skip
        """Start a log in an existing empty folder named as the table; durable on return except for the folder's own name.

        Args:
            preallocate_bytes: how far to fill ahead with zeros; 0 for a segment that grows with each record.
            identity: distinguishes this log from every other log of a table of this name; drawn at random if empty.
            next_id: the id of its first batch; those below are persisted elsewhere.
        """
        log = LogIdentity(folder, schema, identity or uuid.uuid4().hex, table)
        sizes = SegmentSizes(segment_bytes_max=segment_bytes_max, preallocate_bytes=preallocate_bytes)
        return cls(SegmentWriter.create(log, sizes, next_id), Retention(folder))

    @property
    def next_id(self) -> int:
        """The id of the next batch."""
        return self._writer.next_id

    @property
    def segment_bytes_max(self) -> int:
        """Size in bytes at which a segment is closed; may be changed at any time."""
        return self._writer.sizes.segment_bytes_max

    @segment_bytes_max.setter
    def segment_bytes_max(self, size: int) -> None:
        self._writer.sizes = replace(self._writer.sizes, segment_bytes_max=size)

    def append(self, batch: pa.RecordBatch) -> int:
        """Return the batch's id once the batch would survive a power cut.

        A caller interrupted while it waits may find its batch in the log all the same.

        Raises:
            AppendFailed: the disk refused; the log is poisoned until reopened.
            LogPoisoned: an earlier append was refused.
            EngineClosed, UnknownTable: the log was closed, or removed.
            InvalidInput: the batch has another schema than the log, a null where the schema allows none, at any depth, or
                values that Arrow's format does not allow.
        """
        self._check(batch)
        entry = self._queue.settle(self._codec.encode(batch), self._write_next_group)
        if entry.error is not None:
            raise AppendFailed(self.folder, entry.error) from entry.error
        ACKNOWLEDGE.hit()
        return entry.batch_id

    def _write_next_group(self) -> None:
        """Write a group of the batches that queue. After an error nothing more is known of them, and the log is poisoned."""
        writer = self._usable()
        group: list[Entry] = []
        try:
            self._queue.move_group(group, writer.room_bytes, seal_bytes=writer.seal_bytes, entries_max=PARTS_MAX // 2)
            if writer.is_full:
                self.rotate()
            self._write_group(group)
        except BaseException as error:
            self._poisoned = error  # Torn records, dropped pages, or an interrupt before the ids were counted.
            for entry in group:
                entry.fail(error)
            if not isinstance(error, OSError):
                raise

    def _write_group(self, group: list[Entry]) -> None:
        first_id = self._writer.next_id
        self._writer.write([entry.message for entry in group])
        Entry.settle_all(group, first_id)

    def _usable(self) -> SegmentWriter:
        try:
            self.refuse_if_poisoned()
            self._refuse_if_closed()
        except ReferenceWalError:
            self._queue.clear()  # Each caller that queues comes here as well, and gets the same error.
            raise
        return self._writer

    def _refuse_if_closed(self) -> None:
        if self._removed:
            raise UnknownTable(self.table, [])
        if self._closed:
            raise EngineClosed

    def refuse_if_poisoned(self) -> None:
        """Raise LogPoisoned if a write or sync failed since the log was opened."""
        if self._poisoned is not None:
            raise LogPoisoned(self.folder, self._poisoned) from self._poisoned

    @contextmanager
    def _poisoned_by_errors(self) -> Iterator[None]:
        try:
            yield
        except ReferenceWalError:
            raise
        except BaseException as error:
            self._poisoned = error
            raise

    def rotate(self) -> None:
        """Close the active segment under its final name and start the next one. An empty one stays: it has no last id.

        Raises:
            OSError: the disk refused; the log is poisoned, and its folder perhaps without an active segment.
            LogPoisoned, EngineClosed, UnknownTable.
        """
        with self._turn, self._poisoned_by_errors():
            writer = self._usable()
            if not writer.is_empty:
                self._retention.closed.append(writer.finish())
                writer.start()

    @property
    def oldest_id(self) -> int:
        """The first id still in a segment (the next id if there is none)."""
        return self._retention.oldest_id(self._writer.start_id)

    @property
    def counters(self) -> LogCounters:
        """Numbers since the log was opened."""
        done = self._writer
        return LogCounters(
            appends=done.appends, bytes=done.bytes, syncs=done.syncs, sync_seconds=done.sync_seconds,
            rotations=done.rotations, retired=self._retention.retired, replayed=self._replayed,
        )  # fmt: skip

    def mark_persisted(self, ids: Iterable[int], *, remember: bool = False) -> None:
        """Note that these batches are durable elsewhere, and retire every closed segment that holds no other.

        Args:
            ids: any set of them.
            remember: keep the set in the log's folder (`persisted`), durable on return. Without it the caller keeps the set,
                and passes it to `UnrecoveredLog.reconcile` after a restart.

        A poisoned log notes them in memory, and retires nothing until it is reopened.

        Raises:
            InvalidInput: an id that was never given out.
            OSError: the disk refused; the log is poisoned, the marks made or not.
            LogPoisoned: ``remember``, and the log is poisoned already.
            EngineClosed, UnknownTable: the log was closed, or removed. Its folder may be another log's by now.
        """
        with self._turn, self._poisoned_by_errors():
            self._refuse_if_closed()
            if remember:
                self.refuse_if_poisoned()
            remember_as = self.identity if remember else None
            retire = self._poisoned is None
            self._retention.mark(ids, next_id=self.next_id, remember_as=remember_as, retire=retire)

    def unpersisted(self) -> Iterator[tuple[int, pa.RecordBatch]]:
        """Yield the batches not marked persisted, in the order of ids, read back from disk with checksums verified.

        Holds one batch at a time, and no lock: batches appended since it began are left out. Works on a poisoned log as well,
        and leaves out what was not acknowledged. Works on a closed log as long as its segments are there.

        Raises:
            LogCorrupted: a record changed since the log was opened, or is gone.
            UnknownTable: the log was removed before all was read.
            EngineClosed: it was closed, and a segment is gone since.
        """
        with self._turn:
            segments: list[tuple[int, int, int | None]] = [
                (name.start, name.end, None) for name in self._retention.closed if name.end is not None
            ]
            if not self._writer.is_empty:
                segments.append((self._writer.start_id, self.next_id - 1, self._writer.active.end_bytes))
        for start, last, end_bytes in segments:
            due = start
            try:
                for record in replay_segment(self.folder, start, end_bytes):
                    due = record.id + 1
                    # Looked at first: a log that is switched off has every batch persisted before it goes.
                    removed = self._removed
                    if record.id not in self._retention.persisted:
                        if removed:  # The record may be of a later log of this name.
                            raise UnknownTable(self.table, [])
                        self._replayed += 1
                        yield record.id, record.batch
                if due <= last:  # Zeros, or the end of the file, where records had been durable.
                    raise LogCorrupted(self.folder, f"the segment that begins at batch {start} ends before batch {due}")
            except SegmentGone:
                if not self._retention.persisted.covers(start, last):
                    self._refuse_if_closed()
                    raise LogCorrupted(self.folder, f"the segment that begins at batch {start} is gone") from None
            except LogCorrupted:
                if self._removed:  # Likewise.
                    raise UnknownTable(self.table, []) from None
                raise

    @contextmanager
    def quiet(self) -> Iterator[None]:
        """Keep every other thread from writing while the block runs, to copy the folder for example. Appends queue."""
        with self._turn:
            yield

    @property
    def waiting(self) -> int:
        """How many appends queue."""
        return len(self._queue)

    @property
    def persisted(self) -> list[tuple[int, int]]:
        """The ids known to be persisted elsewhere, as ranges of first and last, in order."""
        return list(self._retention.persisted.ranges)

    def truncate(self, *, remember: bool = False) -> None:
        """Drop every batch; ids go on. All at once if ``remember``; else the caller sees to that, as the engine does by
        committing to Delta first. Raises LogPoisoned.
        """
        with self._turn:
            self._usable()
            try:
                with self._poisoned_by_errors():
                    self.rotate()
                    self.mark_persisted(range(self.next_id), remember=remember)
            except OSError as error:
                raise LogPoisoned(self.folder, error) from error

    def close(self, *, note_end: bool = True, removed: bool = False) -> None:
        """Let go of the active segment; everything acknowledged is durable already. Callers that wait get EngineClosed.

        Args:
            note_end: note where the log ends (`end`), unless it has failed or has taken no batch.
            removed: the caller removes the log next. Callers that wait get UnknownTable, and so do those that read it.
        """
        with self._turn:
            self._closed, self._removed = True, self._removed or removed
            try:
                if note_end and self._poisoned is None and self._writer.is_open and self._writer.appends:
                    write_end(self.folder, self.identity, self.next_id)
            finally:
                self._writer.close()
