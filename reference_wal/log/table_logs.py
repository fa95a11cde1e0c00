"""The logs of an engine's tables, of which some have one and others have none; each can be started and removed at any time.

`start` makes the log of a table that had none, beginning at its next id; `stop` removes it. Neither says whether the table has
a log: its Delta side does (`TableProperties.logged`), in one commit. The caller orders the steps (`table`):

    on:   1. every batch committed   2. `start`   3. the commit that says so   ── batches are promised when logged ──
    off:  1. every batch committed   2. the commit that says so  ── no more ──   3. `stop`

So a log of a table that says it has none owes no batch (`opening`, row @k).

Without a log nothing is promised before a commit: the stand-in, `NoLog`, gives out ids and holds no batch. Ids go on above the
marker in Delta, so none that was ever committed is given out again; those of batches that a crash took from memory are.

The folder of the logs is made with the first log, or on opening if new tables are to have one.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Protocol

import pyarrow as pa

from crashmatrix.reference_wal.errors import EngineClosed, UnknownTable
from crashmatrix.reference_wal.log.batch_check import BatchCheck
from crashmatrix.reference_wal.log.counters import LogCounters
from crashmatrix.reference_wal.log.segmented_log import SegmentedLog
from crashmatrix.reference_wal.log.write_ahead_log import WriteAheadLog

__all__ = ["Log", "NoLog", "TableLogs"]


class Log(Protocol):
    """The log of a table: a `SegmentedLog` or a `NoLog`."""

    table: str
    identity: str
    schema: pa.Schema
    segment_bytes_max: int

    @property
    def next_id(self) -> int:
        """The id of the next batch."""

    @property
    def counters(self) -> LogCounters:
        """Numbers since the log was opened."""

    def append(self, batch: pa.RecordBatch, /) -> int:
        """Return the batch's id, once it is promised."""

    def refuse_if_poisoned(self) -> None:
        """Raise LogPoisoned if it can take no more before it is opened again."""

    def unpersisted(self) -> Iterator[tuple[int, pa.RecordBatch]]:
        """Yield the batches that Delta does not hold, in order."""

    def mark_persisted(self, ids: Iterable[int], /) -> None:
        """Forget batches that Delta holds."""

    def truncate(self) -> None:
        """Forget every batch; ids go on."""


class NoLog:
    """Answers as the log of one table would that never holds a batch. Thread-safe.

    Its ``segment_bytes_max`` is for the log that the table may get; 0 for the size that every log has.
    """

    def __init__(self, table: str, schema: pa.Schema, identity: str, *, next_id: int = 0) -> None:
        self.table, self.schema, self.identity, self.next_id = table, schema, identity, next_id
        self.segment_bytes_max = 0
        self.closed = self.removed = False
        self._lock, self._check = threading.Lock(), BatchCheck(table, schema)

    counters = LogCounters()

    def append(self, batch: pa.RecordBatch) -> int:
        """Return the next id; promises nothing. Raises InvalidInput, UnknownTable (it was removed), EngineClosed."""
        self._check(batch)
        with self._lock:
            if self.removed:
                raise UnknownTable(self.table, [])
            if self.closed:
                raise EngineClosed
            self.next_id += 1
            return self.next_id - 1

    def refuse_if_poisoned(self) -> None:
        """Do nothing: without writes there are no failures."""

    def unpersisted(self) -> Iterator[tuple[int, pa.RecordBatch]]:
        """Return nothing: no batch is held."""
        return iter(())

    def mark_persisted(self, ids: Iterable[int], /) -> None:
        """Do nothing: no batch is held."""

    def truncate(self) -> None:
        """Do nothing: no batch is held, and ids go on."""


class TableLogs:
    """Every table's log, or its stand-in. Thread-safe.

    Args:
        root: folder of the logs.
        segment_bytes_max, preallocate_bytes: as for a `WriteAheadLog`.
        logs: those found there, recovered; None if the folder is not there.
        stand_ins: of the tables without a log.
    """

    def __init__(
        self, root: Path, *, segment_bytes_max: int, preallocate_bytes: int,
        logs: Mapping[str, SegmentedLog] | None, stand_ins: Mapping[str, NoLog],
    ) -> None:  # fmt: skip
        self._root, self._segment_bytes_max, self._preallocate_bytes = root, segment_bytes_max, preallocate_bytes
        self._lock = threading.Lock()
        self._stand_ins = dict(stand_ins)
        self._wal = None if logs is None else self._made(logs)

    def _made(self, logs: Mapping[str, SegmentedLog] | None) -> WriteAheadLog:
        sizes = {"segment_bytes_max": self._segment_bytes_max, "preallocate_bytes": self._preallocate_bytes}
        return WriteAheadLog(self._root, **sizes, logs=logs)

    def change_segment_size(self, size: int) -> None:
        """Close segments at this size, in bytes, from the next batch on, in logs to come as well."""
        with self._lock:
            self._segment_bytes_max = size
            for stand_in in list(self._stand_ins.values()):
                stand_in.segment_bytes_max = 0
            if self._wal is not None:
                self._wal.change_segment_size(size)

    def log(self, table: str) -> Log:
        """Return one table's log. Raises UnknownTable, LogPoisoned."""
        stand_in, wal = self._stand_ins.get(table), self._wal
        if stand_in is not None:
            return stand_in
        if wal is None:
            raise UnknownTable(table, sorted(self._stand_ins))
        return wal.log(table)

    def create(self, table: str, schema: pa.Schema, *, identity: str, logged: bool) -> Log:
        """Return the log of a new table; durable on return, if it has one. Raises OSError, LogPoisoned."""
        return self.start(table, schema, identity=identity) if logged else self._stand_in(table, schema, identity, 0)

    def start(self, table: str, schema: pa.Schema, *, identity: str, next_id: int = 0) -> Log:
        """Give the table a log, whose first batch has this id; durable on return. Raises OSError, LogPoisoned."""
        with self._lock:
            self._wal = self._wal or self._made(None)
        self._wal.create_table_log(table, schema, identity=identity, next_id=next_id)
        log = self._wal.log(table)
        with self._lock:  # A size that is set for every log meanwhile holds for this one as well.
            stand_in = self._stand_ins.pop(table, None)
            if stand_in is not None and stand_in.segment_bytes_max:
                log.segment_bytes_max = stand_in.segment_bytes_max
        return log

    def stop(self, table: str) -> Log:
        """Remove the table's log, whose every batch is persisted; durable on return. Raises OSError, LogPoisoned."""
        assert self._wal is not None
        log = self._wal.log(table)
        with self._lock:  # Likewise.
            stand_in = self._stand_in(table, log.schema, log.identity, log.next_id)
            stand_in.segment_bytes_max = log.segment_bytes_max
        self._wal.remove_table_log(table)
        return stand_in

    def _stand_in(self, table: str, schema: pa.Schema, identity: str, next_id: int) -> NoLog:
        made = self._stand_ins[table] = NoLog(table, schema, identity, next_id=next_id)
        return made

    def remove(self, table: str) -> None:
        """Remove what a dropped table has; durable on return. Raises OSError, LogPoisoned."""
        stand_in = self._stand_ins.pop(table, None)
        if stand_in is not None:
            stand_in.removed = True
        elif self._wal is not None:
            self._wal.remove_table_log(table)

    def close(self) -> None:
        """Take no more batches."""
        for stand_in in list(self._stand_ins.values()):
            stand_in.closed = True
        if self._wal is not None:
            self._wal.close()
