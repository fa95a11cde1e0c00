"""The write-ahead log: one `SegmentedLog` per table, each in a folder of its table's name.

Creating a table's log, write order: 1. the folder; 2. its first segment, whole; 3. sync of the root. A crash before 3
leaves a folder without a segment (recovery row @O), which the next open removes: its creation was never acknowledged.

Removing one: the three steps of `folders`.

After an error:
- a creation may be tried again. It begins with an empty folder: every name and byte is written anew and synced for the first
  time, so nothing hangs on what the failed sync may have dropped from the page cache;
- a removal that failed in 1 or 2 leaves a log that may or may not be there. Every call on that table is refused (LogPoisoned)
  until the logs are opened again, which finds out. Other tables go on;
- a removal that failed in 3 is done but for the space, which the next removal of that name, or the next opening, sets free.
"""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from pathlib import Path

import pyarrow as pa

from crashmatrix.reference_wal.durable_io import step, sync_directory
from crashmatrix.reference_wal.errors import InvalidInput, LogPoisoned, TableExists, UnknownTable
from crashmatrix.reference_wal.log.batch_check import check_loggable
from crashmatrix.reference_wal.log.folders import check_table_name, delete_hidden, hide
from crashmatrix.reference_wal.log.segment_writer import PREALLOCATE_BYTES
from crashmatrix.reference_wal.log.segmented_log import SegmentedLog
from crashmatrix.reference_wal.log.unrecovered import UnrecoveredLogs
from crashmatrix.reference_wal.option_values import check_values

__all__ = ["SEGMENT_BYTES_MAX", "WriteAheadLog"]

SEGMENT_BYTES_MAX = 64 * 1024 * 1024
"""Default size, in bytes, at which the next append starts a new segment."""

MAKE_FOLDER = step("wal.create_table.mkdir", "no trace of the table's log", "an empty folder, not yet durable")
SYNC_ROOT = step("wal.create_table.sync", "the log is whole, its folder's name in the cache only", "the log is durable")


class WriteAheadLog:
    """Logs of any number of tables under one folder. Thread-safe: appends to one table share syncs, those to several do not
    wait for each other; tables are created and removed one at a time.

    Args:
        root: folder of the log; created if missing. Every table's log in it is looked at here.
        segment_bytes_max: size in bytes at which an append starts a new segment.
        preallocate_bytes: how far to fill a segment ahead with zeros, in bytes; 0 for none (`segments.active_segment` says why).
        logs: the log of every table, for a caller that knows of batches persisted elsewhere and has reconciled the logs with
            them (`UnrecoveredLogs.reconcile`), as the engine does. None: every log is recovered here.

    Raises:
        InvalidInput: a size cannot be; nothing was changed.
        LogCorrupted: see `recovery`.
    """

    def __init__(
        self,
        root: Path | str,
        *,
        segment_bytes_max: int = SEGMENT_BYTES_MAX,
        preallocate_bytes: int = PREALLOCATE_BYTES,
        logs: Mapping[str, SegmentedLog] | None = None,
    ) -> None:
        check_values({"segment_bytes_max": segment_bytes_max, "preallocate_bytes": preallocate_bytes})
        self.root = Path(root).absolute()  # A process may change its folder.
        self.segment_bytes_max, self.preallocate_bytes = segment_bytes_max, preallocate_bytes
        self._lock = threading.RLock()
        self._half_made: set[str] = set()
        self._half_removed: dict[str, BaseException] = {}
        self._logs = dict(self._recovered() if logs is None else logs)

    def _recovered(self) -> Mapping[str, SegmentedLog]:
        found = UnrecoveredLogs(
            self.root, segment_bytes_max=self.segment_bytes_max, preallocate_bytes=self.preallocate_bytes
        )
        return found.reconcile({})

    @property
    def tables(self) -> list[str]:
        """Names of the tables that have a log, sorted."""
        return sorted(self._logs)

    def log(self, table: str) -> SegmentedLog:
        """Return the table's own log. Raises UnknownTable, or LogPoisoned if its removal failed half-way."""
        if table in self._half_removed:
            raise LogPoisoned(self.root / table, self._half_removed[table])
        try:
            return self._logs[table]
        except KeyError:
            raise UnknownTable(table, self.tables) from None

    def change_segment_size(self, size: int) -> None:
        """Close segments at this size, in bytes, from the next batch on, in logs to come as well. Raises InvalidInput."""
        check_values({"segment_bytes_max": size})
        with self._lock:
            self.segment_bytes_max = size
            for log in self._logs.values():
                log.segment_bytes_max = size

    def create_table_log(self, table: str, schema: pa.Schema, *, identity: str = "", next_id: int = 0) -> None:
        """Start the log of a table; durable on return.

        Args:
            identity: distinguishes this log from every other log of a table of this name; drawn at random if empty.
            next_id: the id of its first batch; those below were never in this log. Other than 0 for a caller who keeps what is
                persisted, and passes it to `UnrecoveredLog.reconcile`, as the engine does: opened as a `WriteAheadLog`, the log
                would miss them.

        Raises:
            TableExists, InvalidInput (a name that cannot be a folder's, or batches that a log cannot hold), OSError.
            LogPoisoned: the removal of a table of this name failed half-way.
        """
        check_table_name(table)
        check_loggable(schema)
        if next_id < 0:
            raise InvalidInput(f"the id of the first batch cannot be {next_id}; ids begin at 0")
        with self._lock:
            if table in self._half_removed:
                raise LogPoisoned(self.root / table, self._half_removed[table])
            if table in self._logs:
                raise TableExists(table)
            if table in self._half_made and os.path.lexists(self.root / table):  # By a call that failed.
                shutil.rmtree(self.root / table)
            self._half_made.discard(table)
            log = self._create(table, schema, identity, next_id)
            self._logs[table] = log
            self._half_made.discard(table)

    def _create(self, table: str, schema: pa.Schema, identity: str, next_id: int) -> SegmentedLog:
        folder = self.root / table
        if not os.path.lexists(folder):  # A folder that was there is not ours.
            self._half_made.add(table)  # Not after: the call may make the folder and report an error.
        with MAKE_FOLDER:
            folder.mkdir()
        log = SegmentedLog.create(
            folder, schema, table=table, identity=identity, next_id=next_id,
            segment_bytes_max=self.segment_bytes_max, preallocate_bytes=self.preallocate_bytes,
        )  # fmt: skip
        try:
            with SYNC_ROOT:  # Until here a power cut takes the folder with everything in it.
                sync_directory(self.root)
        except BaseException:
            log.close()
            raise
        return log

    def append(self, table: str, batch: pa.RecordBatch) -> int:
        """Return the batch's id, one above the table's last, once the batch would survive a power cut.

        Raises: as `SegmentedLog.append`, and UnknownTable.
        """
        return self.log(table).append(batch)

    def mark_persisted(self, table: str, ids: Iterable[int]) -> None:
        """Note that these batches, any set of them, are durable elsewhere. Segments that hold no others are removed.

        Raises: as `SegmentedLog.mark_persisted`, and UnknownTable.
        """
        self.log(table).mark_persisted(ids, remember=True)

    def unpersisted(self, table: str) -> list[tuple[int, pa.RecordBatch]]:
        """Return the batches not marked persisted, with their ids, in order."""
        return list(self.log(table).unpersisted())

    def truncate(self, table: str) -> None:
        """Drop every batch of the table's log, all at once; ids go on where they were. Durable on return."""
        self.log(table).truncate(remember=True)

    def remove_table_log(self, table: str) -> None:
        """Remove the table's log; durable on return. Raises UnknownTable, LogPoisoned, OSError."""
        with self._lock:
            self.log(table).close(note_end=False, removed=True)
            try:
                hide(self.root, table)
            except BaseException as error:
                self._half_removed[table] = error
                raise
            del self._logs[table]
            delete_hidden(self.root, table)

    def close(self) -> None:
        """Let go of every file; everything acknowledged is durable already."""
        with self._lock, ExitStack() as closing:
            for log in reversed(self._logs.values()):  # Each of them, in their order, although one may fail.
                closing.callback(log.close)
