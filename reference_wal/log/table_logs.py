"""The logs of an engine's tables, of which some have one and others have none; each can be started and removed at any time.

`start` makes the log of a table that had none, beginning at its next id; `stop` removes it. Neither says whether the table has
a log: its Delta side does (`TableProperties.logged`), in one commit. The caller orders the steps (`table`):

    on:   1. every batch committed   2. `start`   3. the commit that says so   ── batches are promised when logged ──
    off:  1. every batch committed   2. the commit that says so  ── no more ──   3. `stop`

So a log of a table that says it has none owes no batch (`opening`, row @k).

The folder of the logs is made with the first log, or on opening if new tables are to have one.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from pathlib import Path

import pyarrow as pa

from crashmatrix.reference_wal.errors import UnknownTable
from crashmatrix.reference_wal.log.optional import Log, NoLog
from crashmatrix.reference_wal.log.segmented_log import SegmentedLog
from crashmatrix.reference_wal.log.write_ahead_log import WriteAheadLog

__all__ = ["TableLogs"]


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
        self._stand_ins.pop(table, None)
        return self._wal.log(table)

    def stop(self, table: str) -> Log:
        """Remove the table's log, whose every batch is persisted; durable on return. Raises OSError, LogPoisoned."""
        assert self._wal is not None
        log = self._wal.log(table)
        stand_in = self._stand_in(table, log.schema, log.identity, log.next_id)
        self._wal.remove_table_log(table)
        return stand_in

    def _stand_in(self, table: str, schema: pa.Schema, identity: str, next_id: int) -> NoLog:
        made = self._stand_ins[table] = NoLog(table, schema, identity, next_id=next_id)
        return made

    def remove(self, table: str) -> None:
        """Remove what a dropped table has; durable on return. Raises OSError, LogPoisoned."""
        stand_in = self._stand_ins.pop(table, None)
        if stand_in is not None:
            stand_in.closed = True
        elif self._wal is not None:
            self._wal.remove_table_log(table)

    def close(self) -> None:
        """Take no more batches."""
        for stand_in in self._stand_ins.values():
            stand_in.closed = True
        if self._wal is not None:
            self._wal.close()
