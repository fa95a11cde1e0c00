"""One table's log: a folder of segments, appended to in order, rotated by size, retired once persisted elsewhere.

Append, write order:
    1. the batch becomes a message, outside of any lock, and queues
    2. whoever gets the log's turn leads: a *group* of all who queue gets ids, seals, one write and one fdatasync
    ── promise: each of the group returns its id ──

Whoever queues while a group is written is in the next one; so threads share syncs, while one thread alone leads a group of one.
Ids follow the queue, as the records in the file do. Nothing is written while a sync is under way, so what a crash can tear is
one group, and no id is returned before the sync that covers it.

Rotate, before a group that finds the active segment full: close it, bear the next (`active_segment`).

Retire: unlink closed segments whose every id is persisted, oldest first; sync the folder.

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
from pathlib import Path

import pyarrow as pa

from crashmatrix.faults import declare
from crashmatrix.reference_wal.durable_io import Buffer
from crashmatrix.reference_wal.errors import AppendFailed, EngineClosed, LogCorrupted, LogPoisoned, ReferenceWalError
from crashmatrix.reference_wal.log import recovery
from crashmatrix.reference_wal.log.append_queue import AppendQueue, Entry
from crashmatrix.reference_wal.log.batch_check import BatchCheck
from crashmatrix.reference_wal.log.counters import LogCounters
from crashmatrix.reference_wal.log.replay import SegmentGone, replay_segment
from crashmatrix.reference_wal.log.retention import Retention
from crashmatrix.reference_wal.log.segments.active_segment import PARTS_MAX, ActiveSegment
from crashmatrix.reference_wal.log.segments.segment import Codec, SegmentEncoder, SegmentHeader

__all__ = ["PREALLOCATE_BYTES", "SegmentedLog"]

PREALLOCATE_BYTES = 1024 * 1024
"""Default number of zeros, in bytes, that a segment is filled with ahead of its records; never beyond its maximal size."""

ACKNOWLEDGE = declare("wal.append.before_acknowledge", "durable and counted, about to return the id")


class SegmentedLog:
    """The log of one table. Made by `create`, or by `open` and then `reconcile`. Thread-safe: appends share syncs, whatever
    else changes the log waits for its turn.

    Attributes:
        segment_bytes_max: size in bytes at which a segment is closed; may be changed at any time.
        preallocate_bytes: how far to fill ahead with zeros; 0 for a segment that grows with each record.
        next_id: the id of the next batch.
    """

    def __init__(
        self, folder: Path, schema: pa.Schema, identity: str, table: str, segment_bytes_max: int, preallocate_bytes: int
    ) -> None:
        self.folder, self.schema, self.identity, self.table = folder, schema, identity, table
        self.segment_bytes_max, self.preallocate_bytes = segment_bytes_max, preallocate_bytes
        self.next_id = 0
        self._codec = Codec(schema)
        self._check = BatchCheck(table, schema)
        self._queue = AppendQueue()
        self._turn = self._queue.turn
        self._plan: recovery.Plan | None = None
        self._retention = Retention(folder)
        self._active: ActiveSegment | None = None
        self._active_start = 0
        self._poisoned: BaseException | None = None
        self._appends = self._bytes = self._syncs = self._rotations = self._replayed = 0
        self._sync_seconds = 0.0

    @classmethod
    def create(
        cls, folder: Path, schema: pa.Schema, *, table: str, segment_bytes_max: int,
        preallocate_bytes: int = PREALLOCATE_BYTES, identity: str = "",
    ) -> SegmentedLog:  # fmt: skip
        """Start a log in an existing empty folder named as the table; durable on return except for the folder's own name.

        Args:
            identity: tells this log from any other that will ever bear the table's name; drawn at random if empty.
        """
        log = cls(folder, schema, identity or uuid.uuid4().hex, table, segment_bytes_max, preallocate_bytes)
        log._start_segment()
        return log

    @classmethod
    def open(
        cls, folder: Path, *, segment_bytes_max: int, preallocate_bytes: int = PREALLOCATE_BYTES
    ) -> SegmentedLog | None:
        """Look at the log in ``folder``; None if the folder never became one (row @O). `recovery` has the argument.

        Nothing is changed, and the log takes and gives nothing, until `reconcile` is called.

        Raises:
            LogCorrupted: the folder holds what no crash leaves.
        """
        plan = recovery.look(folder)
        if plan.opening is None:
            return None
        header = plan.opening.header
        log = cls(folder, plan.opening.schema, header.identity, header.table, segment_bytes_max, preallocate_bytes)
        log._plan, log._retention = plan, Retention(folder, plan.closed_names, plan.persisted)
        log.next_id = log._active_start = plan.next_id
        return log

    def reconcile(self, persisted_through: int = -1) -> None:
        """Take ids up to ``persisted_through`` as persisted elsewhere (-1: none), check that nothing else is missing, and
        recover the folder; then the log is ready.

        Raises:
            LogCorrupted: ids above it are missing (row @L), or it lies beyond every id the log ever gave out. Nothing was
                changed.
        """
        self._retention.refuse_gaps(self._active_start, self.next_id, persisted_through)
        self._settle()
        self.mark_persisted(range(persisted_through + 1))

    def _settle(self) -> None:
        """Carry out what recovery decided, once, and have an active segment."""
        plan, self._plan = self._plan, None
        if plan is None:
            return
        recovery.apply(self.folder, plan)
        if plan.resumable is None:
            self._start_segment()
        else:
            self._resume_segment(plan.resumable)

    def append(self, batch: pa.RecordBatch) -> int:
        """Return the batch's id once the batch would survive a power cut.

        A caller interrupted while it waits may find its batch in the log all the same.

        Raises:
            AppendFailed: the disk refused; the log is poisoned until reopened.
            LogPoisoned: an earlier append was refused.
            InvalidInput: the batch has another schema than the log, or a null where the schema allows none.
        """
        self._check(batch)
        entry = self._queue.settle(self._codec.encode(batch), self._lead)
        if entry.error is not None:
            raise AppendFailed(self.folder, entry.error) from entry.error
        ACKNOWLEDGE.hit()
        return entry.batch_id

    def _lead(self) -> None:
        """Bring a group of those who queue into the log. After an error no more is known of it, and the log is poisoned."""
        active = self._usable()
        full = active.end_bytes >= self.segment_bytes_max and self.next_id > self._active_start
        room = self.segment_bytes_max - (0 if full else active.end_bytes)
        group = self._queue.next_group(room, seal_bytes=active.form.size, entries_max=PARTS_MAX // 2)
        try:
            if full:
                self.rotate()
                active = self._usable()
            self._write_group(active, group)
        except BaseException as error:
            self._poisoned = error  # Torn records, dropped pages, or an interrupt before the ids were counted.
            for entry in group:
                entry.fail(error)
            if not isinstance(error, OSError):
                raise

    def _write_group(self, active: ActiveSegment, group: list[Entry]) -> None:
        parts: list[Buffer] = []
        offset = synced = active.end_bytes
        for batch_id, entry in enumerate(group, self.next_id):
            parts += active.form.write(batch_id, offset, synced, entry.message), entry.message
            offset += active.form.size + len(entry.message)
        self._sync_seconds += active.write(parts, zeros_bytes=self._zeros(offset))
        self._appends += len(group)
        self._bytes += offset - synced
        self._syncs += 1
        first_id = self.next_id
        self.next_id += len(group)
        Entry.settle_all(group, first_id)

    def _zeros(self, end_bytes: int) -> int:
        return max(0, min(self.preallocate_bytes, self.segment_bytes_max - end_bytes))

    def _usable(self) -> ActiveSegment:
        assert self._plan is None, "reconcile first"
        if self._poisoned is None and self._active is not None and self._active.is_open:
            return self._active
        self._queue.clear()  # Who queues will ask as well, and be told the same.
        self.refuse_if_poisoned()
        raise EngineClosed

    def refuse_if_poisoned(self) -> None:
        """Raise LogPoisoned if a write or sync failed since the log was opened."""
        if self._poisoned is not None:
            raise LogPoisoned(self.folder, self._poisoned)

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
            OSError: the disk refused; the log is poisoned, and perhaps without an active segment.
            LogPoisoned, EngineClosed.
        """
        with self._turn, self._poisoned_by_errors():
            active = self._usable()
            if self.next_id == self._active_start:
                return
            closed = active.finish(self.next_id - 1)
            self._retention.closed.append(closed)
            self._active, self._active_start = None, self.next_id
            self._rotations += 1
            self._start_segment()

    def _start_segment(self) -> None:
        encoder = SegmentEncoder(self.schema, SegmentHeader(self.identity, self.table, self.next_id))
        zeros = self._zeros(len(encoder.header_bytes))
        self._active = ActiveSegment.create(self.folder, self.next_id, encoder, zeros_bytes=zeros)
        self._active_start = self.next_id

    def _resume_segment(self, leftover: recovery.Found) -> None:
        assert leftover.scan is not None and leftover.scan.opening is not None
        self._active = ActiveSegment.resume(leftover.path, leftover.scan.opening.form, leftover.scan.good_bytes)

    def covers(self, batch_id: int) -> bool:
        """Whether the log holds every batch from ``batch_id`` up to its end (trivially so if it is the next id)."""
        return not any(start <= last and last >= batch_id for start, last in self._retention.gaps(self._active_start))

    @property
    def oldest_id(self) -> int:
        """The first id still in a segment (the next id if there is none)."""
        return self._retention.oldest_id(self._active_start)

    @property
    def counters(self) -> LogCounters:
        """What the log did so far."""
        return LogCounters(
            appends=self._appends, bytes=self._bytes, syncs=self._syncs, sync_seconds=self._sync_seconds,
            rotations=self._rotations, retired=self._retention.retired, replayed=self._replayed,
        )  # fmt: skip

    def mark_persisted(self, ids: Iterable[int], *, remember: bool = False) -> None:
        """Note that these batches are durable elsewhere, and retire every closed segment that holds no other.

        Args:
            ids: any set of them.
            remember: keep the set in the log's folder (`persisted`), durable on return. Without it the caller keeps it, and
                tells `reconcile` after a restart.

        A poisoned log notes them in memory, and retires nothing until it is reopened.

        Raises:
            InvalidInput: an id that was never given out.
            OSError: the disk refused; the log is poisoned, the marks made or not.
            LogPoisoned: ``remember``, and the log is poisoned already.
        """
        with self._turn, self._poisoned_by_errors():
            if remember:
                self.refuse_if_poisoned()
            remember_as = self.identity if remember else None
            retire = self._poisoned is None
            self._retention.mark(ids, next_id=self.next_id, remember_as=remember_as, retire=retire)

    def unpersisted(self) -> Iterator[tuple[int, pa.RecordBatch]]:
        """Yield the batches not marked persisted, in the order of ids, read back from disk with checksums verified.

        Holds one batch at a time, and no lock: batches appended since it began are left out. Works on a poisoned log as well,
        and leaves out what was not acknowledged.

        Raises:
            LogCorrupted: a record changed since the log was opened.
        """
        assert self._plan is None, "reconcile first"
        with self._turn:
            segments: list[tuple[int, int | None]] = [(name.start, None) for name in self._retention.closed]
            if self._active is not None:
                segments.append((self._active_start, self._active.end_bytes))
        for start, end_bytes in segments:
            try:
                for record in replay_segment(self.folder, start, end_bytes):
                    if record.id not in self._retention.persisted:
                        self._replayed += 1
                        yield record.id, record.batch
            except SegmentGone:
                if start not in self._retention.persisted:
                    raise LogCorrupted(self.folder, f"the segment that begins at batch {start} is gone") from None

    @contextmanager
    def quiet(self) -> Iterator[None]:
        """Keep everybody else from writing while the block runs, to copy the folder, say; appends queue, ``waiting`` of them."""
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
                    if self.next_id > self._active_start:
                        self.rotate()
                    self.mark_persisted(range(self.next_id), remember=remember)
            except OSError as error:
                raise LogPoisoned(self.folder, error) from error

    def close(self) -> None:
        """Let go of the active segment; everything acknowledged is durable already. Who waits is told that it is closed."""
        with self._turn:
            if self._active is not None:
                self._active.close()
