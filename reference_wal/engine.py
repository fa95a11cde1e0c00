"""The reference storage engine: rows are promised when logged, then buffered, compressed and committed to Delta.

    root/.lock                  held while open
    root/wal/{table}/           the table's log            (`log.write_ahead_log`; none with ``wal=False``)
    root/tables/{table}/        the table's Delta table    (`delta.commit`)
    root/spill/{table}/         rows that wait, when memory is short (`spill`)

Read on in `table` (the life of a batch), `opening` (what a crash leaves of an engine) and `delta.transfer`.

The promises. With a log, a batch is durable once `ingest` returns. Without one (``wal=False``), nothing is durable before
`flush` returns; then every batch is whose `ingest` returned before `flush` was called. A crash loses rows that were in memory
only, and nothing else. All other calls are durable when they return, either way. `close` loses nothing.
"""

from __future__ import annotations

import fcntl
import logging
import os
import threading
import uuid
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType

import pyarrow as pa

from crashmatrix.faults import declare
from crashmatrix.reference_wal.delta import folder as table_folder
from crashmatrix.reference_wal.delta.commit import DeltaStore, TableProperties
from crashmatrix.reference_wal.durable_io import make_folder
from crashmatrix.reference_wal.errors import EngineLocked, InvalidInput, TableExists, UnknownTable
from crashmatrix.reference_wal.flusher import Flusher
from crashmatrix.reference_wal.health import Health
from crashmatrix.reference_wal.log.folders import check_table_name
from crashmatrix.reference_wal.log.optional import NoLogs
from crashmatrix.reference_wal.log.write_ahead_log import WriteAheadLog
from crashmatrix.reference_wal.models.bound import Bound
from crashmatrix.reference_wal.opening import Layout, OpenedTable, open_tables
from crashmatrix.reference_wal.options import EngineOptions, check_table
from crashmatrix.reference_wal.table import Table
from crashmatrix.reference_wal.tally import Counters, Tally

__all__ = ["BEHIND_MAX", "StorageEngine"]

logger = logging.getLogger(__name__)

INGESTED = declare("engine.ingest.before_acknowledge", "logged and buffered, about to return the id")
FLUSHED = declare("engine.flush.before_acknowledge", "everything committed and retired, about to return")
TRUNCATE_DONE = declare("engine.truncate.before_acknowledge", "log and files are gone too, about to return")
DROP_DONE = declare("engine.drop.before_acknowledge", "nothing of the table is left, about to return")
TRANSFER_DONE = declare("engine.transfer.before_acknowledge", "the rows are there and not here, about to return")

BEHIND_MAX = 4
"""How many generations may wait for the background thread, in bytes, before `ingest` waits for it."""


class StorageEngine:
    """Tables of time series that keep every promised batch through any crash. Thread-safe."""

    def __init__(self, root: Path, wal: bool, options: EngineOptions, lock: int) -> None:
        self.root, self.options = root, options
        self._layout = Layout(root)
        self._process_lock = lock
        self._health, self._tally = Health(root), Tally()
        self._catalogue = threading.Lock()
        self._tables: dict[str, Table] = {}
        self._flusher: Flusher | None = None
        make_folder(self._layout.tables)
        self._logs, found = open_tables(self._layout, options, wal=wal)
        try:
            self._recover(found)
        except BaseException:
            self._logs.close()
            raise
        if options.flush_seconds is not None:
            seconds, background = options.flush_seconds, self._health.in_background
            self._flusher = Flusher(self._flush_full, self._flush_all, seconds, background)

    def _recover(self, found: list[OpenedTable]) -> None:
        for opened in found:
            table = Table(self._logs, opened.log, opened.store, opened.spills, self._health, self._tally)
            table.recover(opened.marker)
            self._tables[table.name] = table

    @classmethod
    def open(cls, root: Path | str, wal: bool = True, *, options: EngineOptions | None = None) -> StorageEngine:
        """Open the engine in a folder, created if missing, and recover every table.

        Args:
            wal: whether tables have a log; decided when a folder is first used.

        Raises:
            EngineLocked: another process has it open.
            InvalidInput: its tables have a log and ``wal`` is False, or the other way round.
            LogCorrupted, TableCorrupted: the folder holds what no crash leaves; the error says which file, where, and
                what to do.
            OSError: the disk refused a step of recovery. Opening again takes it up where it stopped.
        """
        root = Path(root)
        make_folder(root)
        lock = os.open(root / ".lock", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
            raise EngineLocked(root) from None
        try:
            return cls(root, wal, options or EngineOptions(), lock)
        except BaseException:
            os.close(lock)
            raise

    def create_table(
        self, table: str, schema: pa.Schema, *, timestamp: str, tags: list[str] | None = None,
        bounds: Mapping[str, Bound] | None = None,
    ) -> None:  # fmt: skip
        """Create an empty table; durable on return.

        Args:
            schema: columns of every batch to come.
            timestamp: the column rows are sorted by within a series.
            tags: columns whose values name a row's series: strings, integers or booleans.
            bounds: compress the table by models (`models.segments`): what is committed may differ from what was stored
                by the bound of its column, and not at all in a column without one. None: it keeps rows as they are.

        Raises:
            TableExists, InvalidInput (nothing was changed), OSError.
        """
        check_table_name(table)
        tags = tags or []
        check_table(schema, timestamp, tags, bounds)
        with self._catalogue:
            self._health.refuse_if_unusable()
            if table in self._tables:
                raise TableExists(table)
            with self._health.poisoned_by_errors():  # Part of a table is there now.
                self._tables[table] = self._create(table, schema, timestamp, tags, bounds)

    def _create(
        self, table: str, schema: pa.Schema, timestamp: str, tags: list[str], bounds: Mapping[str, Bound] | None
    ) -> Table:
        """The three steps of `delta.folder`."""
        path, identity = self._layout.table(table), self.options.identity or uuid.uuid4().hex
        logged = isinstance(self._logs, WriteAheadLog)
        properties = TableProperties.made(
            schema, timestamp=timestamp, tags=tags, identity=identity, logged=logged, bounds=bounds
        )
        DeltaStore.make_unfinished(path, properties.stored_schema, properties)
        self._logs.create_table_log(table, schema, identity=identity)
        table_folder.give_name(path)
        spills = self._layout.spills(table, identity)
        return Table(self._logs, self._logs.log(table), DeltaStore(path), spills, self._health, self._tally)

    def ingest(self, table: str, batch: pa.RecordBatch) -> int:
        """Return the batch's id; with a log, once its rows would survive a power cut.

        Raises:
            UnknownTable, InvalidInput (nothing was changed), LogPoisoned, OSError (the batch is there whole or not at all).
        """
        self._health.refuse_if_unusable()
        owner = self._table(table)
        batch_id = owner.ingest(batch)
        self._make_room(owner)
        INGESTED.hit()
        return batch_id

    def _make_room(self, owner: Table) -> None:
        """Commit a full generation, or have it committed; then keep to the memory budget."""
        if owner.bytes >= self.options.generation_bytes_max:
            if self._flusher is not None and owner.bytes < BEHIND_MAX * self.options.generation_bytes_max:
                self._flusher.wake()
            else:
                owner.flush(self.options)
        while sum(table.memory_bytes for table in self._all()) > self.options.memory_bytes_max:
            max(self._all(), key=lambda table: table.memory_bytes).spill()

    def _table(self, table: str) -> Table:
        try:
            return self._tables[table]
        except KeyError:
            raise UnknownTable(table, self.tables) from None

    def _all(self) -> list[Table]:
        return list(self._tables.values())

    def flush(self) -> None:
        """Commit every row that waits; durable on return. Raises OSError, LogPoisoned."""
        self._health.refuse_if_unusable()
        self._flush_all()
        FLUSHED.hit()

    def _flush_all(self) -> None:
        for owner in self._all():
            self._flush(owner)

    def _flush_full(self) -> None:
        for owner in self._all():
            if owner.bytes >= self.options.generation_bytes_max:
                self._flush(owner)

    def _flush(self, owner: Table) -> None:
        try:
            owner.flush(self.options)
        except UnknownTable:
            logger.info("table %s was dropped before it was flushed", owner.name)

    def truncate(self, table: str) -> None:
        """Drop every row of the table, all at once; durable on return. Batch ids go on. Raises as `ingest`."""
        self._health.refuse_if_unusable()
        self._table(table).truncate()
        TRUNCATE_DONE.hit()

    def change_segment_size(self, table: str, segment_bytes_max: int) -> None:
        """Close the segments of this table's log at this size, in bytes, from the next batch on, until it is opened again.

        Raises:
            UnknownTable, InvalidInput: less than one byte.
        """
        if segment_bytes_max < 1:
            raise InvalidInput(f"a segment of {segment_bytes_max} bytes holds no batch; give 1 or more")
        self._logs.log(table).segment_bytes_max = segment_bytes_max

    def drop_table(self, table: str) -> None:
        """Drop the table with every row of it, all at once; durable on return. Raises as `ingest`.

        A table made later under the same name is another table: its ids begin at 0, and nothing of this one comes back.
        """
        with self._catalogue:
            self._health.refuse_if_unusable()
            self._table(table).drop()
            del self._tables[table]
            DROP_DONE.hit()

    def transfer(self, table: str, uri: str | Path, storage_options: Mapping[str, str] | None = None) -> int:
        """Move every committed row to the Delta table at ``uri``, exactly once whatever happens; durable on return.

        Rows that wait to be committed stay: `flush` first to move them too. A receiving table that is not there is made.

        Args:
            uri: a local path, or any URI deltalake knows.
            storage_options: for deltalake, where the URI needs them.

        Returns:
            How many rows were moved.

        Raises:
            InvalidInput: UnknownTable; the receiving table has other columns or is partitioned; a transfer to another place
                was cut short and comes first. Nothing was changed.
            TransferFailed: the other side refused. The rows are here. The next transfer to the same place finds out whether
                they are there, too.
            ParquetDamaged: a file to be moved differs from the committed one. Nothing was moved or removed.
            LogPoisoned, OSError.
        """
        self._health.refuse_if_unusable()
        rows = self._table(table).transfer(str(uri), storage_options, self.options)
        TRANSFER_DONE.hit()
        return rows

    def read(self, table: str) -> pa.Table:
        """Return every row, committed or not, in no particular order.

        Raises: UnknownTable, LogPoisoned, EngineClosed, SpillCorrupted, OSError, ParquetDamaged (it names a changed file).
        """
        self._health.refuse_if_unusable()
        return self._table(table).read()

    def unpersisted(self, table: str) -> list[tuple[int, pa.RecordBatch]]:
        """Return the logged batches that Delta does not hold, with their ids, in order. Raises UnknownTable."""
        return list(self._logs.log(table).unpersisted())

    def files(self, table: str) -> list[Path]:
        """Return the Parquet files that the table's Delta log names. Raises UnknownTable."""
        return sorted(self._table(table).store.files())

    @property
    def tables(self) -> list[str]:
        """Names of the tables, sorted."""
        return sorted(self._tables)

    @property
    def counters(self) -> Counters:
        """Numbers since the engine was opened."""
        return self._tally.read([table.log.counters for table in self._all()])

    def close(self) -> None:
        """Let go of every file; loses nothing.

        With a log, rows that wait are in it, and are replayed on opening; with a background thread, or without a log, they
        are committed first.

        Raises:
            BackgroundFailed: the background thread failed. Everything is let go of all the same.
            OSError: the last commit failed, likewise.
        """
        try:
            if self._flusher is not None:
                self._flusher.stop()
            if not self._health.closed and not self._health.poisoned:
                self._drain()
        finally:
            self._let_go()
        if self._health.failed_unseen:
            self._health.refuse_if_poisoned()

    def _drain(self) -> None:
        if self._flusher is not None or isinstance(self._logs, NoLogs):
            self._flush_all()

    def _let_go(self) -> None:
        with self._catalogue:
            self._health.closed = True
            for owner in self._all():
                owner.wait_until_idle()
            self._logs.close()
            if self._process_lock >= 0:
                os.close(self._process_lock)
                self._process_lock = -1

    def __enter__(self) -> StorageEngine:
        return self

    def __exit__(self, kind: type[BaseException] | None, _: BaseException | None, __: TracebackType | None) -> None:
        try:
            self.close()
        except Exception:
            if kind is None:
                raise
            logger.exception("closing failed while an error was on its way")
