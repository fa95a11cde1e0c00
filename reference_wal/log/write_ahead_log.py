"""The write-ahead log: one `SegmentedLog` per table, each in a folder of its table's name.

Creating a table's log, write order: 1. the folder; 2. its first segment, whole; 3. sync of the root. A crash before 3
leaves a folder without a segment (recovery row @O), which the next open removes: its creation was never acknowledged.

Removing one: 1. rename the folder to ``.removed-{table}``; 2. sync the root (gone for good); 3. delete it at leisure.

After an error:
- a creation may be tried again. It begins with an empty folder: every name and byte is written anew and synced for the first
  time, so nothing hangs on what the failed sync may have dropped from the page cache;
- a removal that failed in 1 or 2 leaves a log that may or may not be there. Every call on that table is refused (LogPoisoned)
  until the logs are opened again, which finds out. Other tables go on;
- a removal that failed in 3 is done but for the space, which the next removal of that name, or the next opening, sets free.
"""

from __future__ import annotations

import logging
import re
import shutil
import threading
from collections.abc import Iterable
from pathlib import Path

import pyarrow as pa

from crashmatrix.reference_wal.durable_io import make_folder, remove_tree, step, sync_directory
from crashmatrix.reference_wal.errors import InvalidInput, LogPoisoned, TableExists, UnknownTable
from crashmatrix.reference_wal.log.segmented_log import PREALLOCATE_BYTES, SegmentedLog

__all__ = ["SEGMENT_BYTES_MAX", "WriteAheadLog", "check_table_name"]

SEGMENT_BYTES_MAX = 64 * 1024 * 1024
"""Default size, in bytes, at which the next append starts a new segment."""

logger = logging.getLogger(__name__)

MAKE_FOLDER = step("wal.create_table.mkdir", "no trace of the table's log", "an empty folder, not yet durable")
SYNC_ROOT = step("wal.create_table.sync", "the log is whole, its folder's name in the cache only", "the log is durable")
HIDE_FOLDER = step("wal.remove_table.rename", "the log is whole and named", "hidden, not yet durably")
SYNC_HIDDEN = step("wal.remove_table.sync", "hidden in the cache only", "the log is gone for good")
DELETE_FOLDER = step("wal.remove_table.delete", "hidden, its files still there", "its space is free")
SYNC_FOUND = step("recovery.logs.sync", "a log's folder perhaps in the cache only", "every log found is durable")
REMOVE_UNBORN_LOG = step("recovery.unborn_log.delete", "a folder that never became a log", "the folder is gone")

_TABLE_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]{0,99}")


def check_table_name(table: str) -> None:
    """Raise InvalidInput unless ``table`` can name a folder: 1 to 100 of ASCII letters, digits, ``_`` and ``-``."""
    if not _TABLE_NAME.fullmatch(table):
        raise InvalidInput(
            f"table name {table!r}: use 1 to 100 ASCII letters, digits, '_' or '-', not starting with '-'"
        )


class WriteAheadLog:
    """Logs of any number of tables under one folder. Thread-safe: appends to one table share syncs, those to several do not
    wait for each other; tables are created and removed one at a time.

    Args:
        root: folder of the log; created if missing. Every table's log in it is looked at here.
        segment_bytes_max: size in bytes at which an append starts a new segment.
        preallocate_bytes: how far to fill a segment ahead with zeros, in bytes; 0 for none (`active_segment` says why).
        recover: False if the caller knows of batches persisted elsewhere, as the engine does from Delta: then it calls
            ``log(table).reconcile(...)`` for each table before anything else.

    Raises:
        LogCorrupted: see `recovery`.
    """

    def __init__(
        self,
        root: Path | str,
        *,
        segment_bytes_max: int = SEGMENT_BYTES_MAX,
        preallocate_bytes: int = PREALLOCATE_BYTES,
        recover: bool = True,
    ) -> None:
        self.root = Path(root)
        self.segment_bytes_max, self.preallocate_bytes = segment_bytes_max, preallocate_bytes
        self._lock = threading.RLock()
        self._logs: dict[str, SegmentedLog] = {}
        self._half_made: set[str] = set()
        self._half_removed: dict[str, BaseException] = {}
        make_folder(self.root)
        for folder in sorted(self.root.iterdir()):
            self._open(folder)
        with SYNC_FOUND:
            sync_directory(self.root)
        if recover:
            self._recover()

    def _recover(self) -> None:
        try:
            for log in self._logs.values():
                log.reconcile()
        except BaseException:
            self.close()
            raise

    def _open(self, folder: Path) -> None:
        if folder.name.startswith(".removed-"):
            with DELETE_FOLDER:
                remove_tree(folder)
            return
        if not folder.is_dir():
            logger.warning("%s is none of the log's folders; left alone", folder)
            return
        log = SegmentedLog.open(
            folder, segment_bytes_max=self.segment_bytes_max, preallocate_bytes=self.preallocate_bytes
        )
        if log is not None:
            self._logs[folder.name] = log
            return
        logger.info("%s: its creation was cut short and never acknowledged; removed", folder)
        with REMOVE_UNBORN_LOG:
            remove_tree(folder)

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

    def create_table_log(self, table: str, schema: pa.Schema, *, identity: str = "") -> None:
        """Start the log of a table; durable on return.

        Args:
            identity: tells this log from any other that will ever bear the name; drawn at random if empty.

        Raises:
            TableExists, InvalidInput (a name that cannot be a folder's), OSError.
            LogPoisoned: the removal of a table of this name failed half-way.
        """
        check_table_name(table)
        with self._lock:
            if table in self._half_removed:
                raise LogPoisoned(self.root / table, self._half_removed[table])
            if table in self._logs:
                raise TableExists(table)
            if table in self._half_made:  # By a call that failed.
                shutil.rmtree(self.root / table)
                self._half_made.discard(table)
            log = self._create(table, schema, identity)
            self._logs[table] = log
            self._half_made.discard(table)

    def _create(self, table: str, schema: pa.Schema, identity: str) -> SegmentedLog:
        folder = self.root / table
        with MAKE_FOLDER:
            folder.mkdir()
            self._half_made.add(table)  # Not before: a folder that was there is somebody else's.
        log = SegmentedLog.create(
            folder, schema, table=table, identity=identity,
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
        """Note that these batches, any set of them, are durable elsewhere, for good; segments that hold no others are removed.

        Raises: as `SegmentedLog.mark_persisted`, and UnknownTable.
        """
        self.log(table).mark_persisted(ids, remember=True)

    def unpersisted(self, table: str) -> list[tuple[int, pa.RecordBatch]]:
        """Return the batches not marked persisted, with their ids, in order."""
        return list(self.log(table).unpersisted())

    def truncate(self, table: str) -> None:
        """Drop every batch of the table's log, all at once and for good; ids go on where they were."""
        self.log(table).truncate(remember=True)

    def remove_table_log(self, table: str) -> None:
        """Remove the table's log for good; durable on return. Raises UnknownTable, LogPoisoned, OSError."""
        with self._lock:
            self.log(table).close()
            hidden = self.root / f".removed-{table}"
            try:
                self._hide(table, hidden)
            except BaseException as error:
                self._half_removed[table] = error
                raise
            del self._logs[table]
            with DELETE_FOLDER:
                shutil.rmtree(hidden)

    def _hide(self, table: str, hidden: Path) -> None:
        if hidden.exists():  # A removal before this one was done but for this.
            shutil.rmtree(hidden)
        with HIDE_FOLDER:
            (self.root / table).rename(hidden)
        with SYNC_HIDDEN:  # One name vanishes at once, never some of the segments.
            sync_directory(self.root)

    def close(self) -> None:
        """Let go of every file; everything acknowledged is durable already."""
        with self._lock:
            for log in self._logs.values():
                log.close()
