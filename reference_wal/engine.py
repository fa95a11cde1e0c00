"""The reference storage engine: rows are promised when logged, then buffered, compressed and committed to Delta.

Read on in `table` (the life of a batch), `opening` (an engine's folder, and what a crash leaves of it) and `delta.transfer`.

The promises. In a table with a log, a batch is durable once `ingest` returns. In one without (``wal=False``), nothing is durable
before `flush` or `switch_log` returns; then every batch is whose `ingest` returned before that was called. A crash loses rows
that were in memory only, and nothing else. All other calls are durable when they return, either way. `close` loses nothing.
"""

from __future__ import annotations

import logging
import os
import threading
import uuid
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from pathlib import Path
from types import TracebackType

import pyarrow as pa

from crashmatrix.faults import declare
from crashmatrix.reference_wal.access.health import Health
from crashmatrix.reference_wal.delta import folder as table_folder
from crashmatrix.reference_wal.delta.commit import DeltaStore, TableProperties
from crashmatrix.reference_wal.durable_io import make_folder
from crashmatrix.reference_wal.errors import EngineClosed, ReferenceWalError, TableExists, UnknownTable
from crashmatrix.reference_wal.flusher import Pace
from crashmatrix.reference_wal.log.folders import check_table_name
from crashmatrix.reference_wal.models.bound import Bound
from crashmatrix.reference_wal.opening import Layout, OpenedTable, open_tables
from crashmatrix.reference_wal.options import EngineOptions, check_table
from crashmatrix.reference_wal.settings import Settings, check_changes
from crashmatrix.reference_wal.table import Table
from crashmatrix.reference_wal.tally import Counters, Tally

__all__ = ["StorageEngine"]

logger = logging.getLogger(__name__)

INGESTED = declare("engine.ingest.before_acknowledge", "logged and buffered, about to return the id")
FLUSHED = declare("engine.flush.before_acknowledge", "everything committed and retired, about to return")
TRUNCATE_DONE = declare("engine.truncate.before_acknowledge", "log and files are gone too, about to return")
SWITCHED = declare("engine.switch.before_acknowledge", "every table has its log, or has none, about to return")
CHANGED = declare("engine.options.before_acknowledge", "set in the folder and in force, about to return")
DROP_DONE = declare("engine.drop.before_acknowledge", "nothing of the table is left, about to return")
TRANSFER_DONE = declare("engine.transfer.before_acknowledge", "the rows are there and not here, about to return")


class StorageEngine:
    """Tables of time series that keep every promised batch through any crash. Thread-safe."""

    def __init__(self, layout: Layout, wal: bool, options: EngineOptions, lock: int) -> None:
        self.root, self._layout, self._given, self._given_wal = layout.root, layout, options, wal
        self._unlocking = ExitStack()
        self._unlocking.callback(os.close, lock)
        self._health, self._tally = Health(self.root), Tally()
        self._catalogue, self._tables = threading.Lock(), dict[str, Table]()
        self._pace = Pace(self._all, self._health.in_background)
        self._settings = Settings.read(self.root)
        make_folder(layout.tables)
        self._logs, found = open_tables(layout, self._settings.over(options), wal=self._settings.wal(wal))
        try:
            self._recover(found)
            self._adopt()
        except BaseException:
            self._pace.stop()  # No thread may be at work once another opening has the folder.
            self._logs.close()
            raise

    def _recover(self, found: list[OpenedTable]) -> None:
        self._settings.remove_unfinished()
        for opened in found:
            table = Table(self._logs, opened.log, opened.store, opened.spills, self._health, self._tally)
            table.recover(opened.marker)
            self._tables[table.name] = table

    @classmethod
    def open(cls, root: Path | str, wal: bool = True, *, options: EngineOptions | None = None) -> StorageEngine:
        """Open the engine in a folder, created if missing, and recover every table.

        Args:
            wal: whether tables made from now on have a log, unless `switch_log` or `change_options` has set that in the folder.

        Raises:
            EngineLocked: another process has it open. InvalidInput: ``wal`` is not a bool; deltalake would mistake the path.
            LogCorrupted, TableCorrupted: the folder holds what no crash leaves; the error says where, and what to do.
            OptionsCorrupted: the file of options set at run time is damaged; the error names it.
            OSError: a step of recovery failed. Opening again takes it up where it stopped.
        """
        check_changes({"wal": wal})
        layout = Layout.at(Path(root))
        make_folder(layout.root)
        lock = layout.lock()
        try:
            return cls(layout, wal, options or EngineOptions(), lock)
        except BaseException:
            os.close(lock)
            raise

    def create_table(
        self, table: str, schema: pa.Schema, *, timestamp: str, tags: list[str] | None = None,
        bounds: Mapping[str, Bound] | None = None, wal: bool | None = None,
    ) -> None:  # fmt: skip
        """Create an empty table; durable on return.

        Args:
            schema: columns of every batch to come.
            timestamp: the column rows are sorted by within a series.
            tags: columns whose values name a row's series: strings, integers or booleans.
            bounds: compress the table by models (`models.segments`): what is committed may differ from what was stored
                by the bound of its column, and not at all in a column without one. None: it keeps rows as they are.
            wal: whether it has a log; None for what the engine was opened with, or `switch_log` has set since.

        Raises TableExists, InvalidInput (nothing was changed), OSError.
        """
        check_table_name(table)
        check_changes({} if wal is None else {"wal": wal})
        check_table(schema, timestamp, tags := tags or [], bounds)
        with self._catalogue:
            self._health.refuse_new_calls()
            if table in self._tables:
                raise TableExists(table)
            properties = TableProperties.made(
                schema, timestamp=timestamp, tags=tags, identity=self.options.identity or uuid.uuid4().hex,
                logged=self._wal if wal is None else wal, bounds=bounds,
            )  # fmt: skip
            with self._health.poisoned_by_errors():  # Part of a table is there now.
                self._tables[table] = self._create(table, properties)

    def _create(self, table: str, properties: TableProperties) -> Table:
        """The three steps of `delta.folder`."""
        path, identity = self._layout.table(table), properties.identity
        DeltaStore.make_unfinished(path, properties.stored_schema, properties)
        log = self._logs.create(table, properties.arrow_schema, identity=identity, logged=properties.logged)
        table_folder.give_name(path)
        spills = self._layout.spills(table, identity)
        return Table(self._logs, log, DeltaStore(path), spills, self._health, self._tally)

    def switch_log(self, on: bool, table: str | None = None) -> None:
        """Let a table have a log from now on, or none. Rows that wait are committed first, so nothing is lost; durable on return.

        Args:
            table: None for every table that is there, one after the other, and for tables made from now on, in this opening and
                later ones. A crash meanwhile leaves some of the tables switched; each one says itself whether it has a log.
        """
        self._health.refuse_new_calls()
        if table is None:
            self.change_options(wal=on)
            for owner in self._all():
                with suppress(UnknownTable):  # Another thread has dropped it.
                    owner.switch_log(on, self.options)
        else:
            self._table(table).switch_log(on, self.options)
        SWITCHED.hit()

    def ingest(self, table: str, batch: pa.RecordBatch) -> int:
        """Return the batch's id; with a log, once its rows would survive a power cut.

        Raises UnknownTable, InvalidInput (nothing was changed), LogPoisoned, OSError (the batch is there whole or not at all).
        """
        self._health.refuse_new_calls()
        owner = self._table(table)
        batch_id = owner.ingest(batch)
        with suppress(EngineClosed):  # Meanwhile. Closing has seen to the batch.
            self._pace.make_room(owner)
        INGESTED.hit()
        return batch_id

    def _table(self, table: str) -> Table:
        try:
            return self._tables[table]
        except KeyError:
            raise UnknownTable(table, self.tables) from None

    def _all(self) -> list[Table]:
        return list(self._tables.values())

    def flush(self) -> None:
        """Commit every row that waits; durable on return. Raises OSError, LogPoisoned."""
        self._health.refuse_new_calls()
        self._pace.flush_all()
        FLUSHED.hit()

    def finish_idle(self) -> None:
        """Compress what waits of tables that got no batch for ``idle_seconds``, as a thread may. Raises as `flush`."""
        self._health.refuse_new_calls()
        self._pace.finish_idle()

    def truncate(self, table: str) -> None:
        """Drop every row of the table, all at once; durable on return. Batch ids go on. Raises as `ingest`."""
        self._health.refuse_new_calls()
        self._table(table).truncate()
        TRUNCATE_DONE.hit()

    def change_segment_size(self, table: str, segment_bytes_max: int) -> None:
        """Close the segments of this table's log alone at this size, in bytes, from the next batch on, until it is opened again.

        Raises UnknownTable, InvalidInput.
        """
        check_changes({"segment_bytes_max": segment_bytes_max})
        self._table(table).log.segment_bytes_max = segment_bytes_max

    def change_options(self, **changes: object) -> None:
        """Set options; durable on return, and in force whenever the folder is opened again, whatever `open` is given then.

        Args:
            changes: values of `settings.SETTABLE`: ``segment_bytes_max`` (of every log, from its next batch on),
                ``generation_bytes_max``, ``memory_bytes_max``, ``compressed_bytes_max``, ``checkpoint_commits``,
                ``flush_seconds``, ``idle_seconds``, ``wal`` (of tables made from now on).

        Raises InvalidInput (nothing was changed), LogPoisoned, OSError.
        """
        check_changes(changes)
        with self._catalogue:
            self._health.refuse_new_calls()
            with self._health.poisoned_by_errors():  # They may be set in the folder, while we go by the old ones.
                self._settings.change(changes)
                self._adopt()
            CHANGED.hit()

    def _adopt(self) -> None:
        self.options, self._wal = self._settings.over(self._given), self._settings.wal(self._given_wal)
        self._logs.change_segment_size(self.options.segment_bytes_max)
        self._pace.adopt(self.options)

    def drop_table(self, table: str) -> None:
        """Drop the table with every row of it, all at once; durable on return. Raises as `ingest`.

        A table made later under the same name is another table: its ids begin at 0, and nothing of this one comes back.
        """
        with self._catalogue:
            self._health.refuse_new_calls()
            with self._health.poisoned_by_errors(but_for=ReferenceWalError):
                self._table(table).drop()
                del self._tables[table]
            DROP_DONE.hit()

    def transfer(self, table: str, uri: str | Path, storage_options: Mapping[str, str] | None = None) -> int:
        """Move every committed row to the Delta table at ``uri``, exactly once whatever happens; returns how many. Durable.

        Rows that wait to be committed stay: `flush` first to move them too. A receiving table that is not there is made.

        Args:
            uri: a local path, or any URI deltalake knows.
            storage_options: for deltalake, where the URI needs them.

        Raises:
            InvalidInput: UnknownTable; the receiving table has other columns or is partitioned; a transfer to another place
                was cut short and comes first. Nothing was changed.
            TransferFailed: the other side refused. The rows are here. The next transfer to the same place finds out whether
                they are there, too.
            ParquetDamaged: a file to be moved differs from the committed one. Nothing was moved or removed.
            LogPoisoned, OSError.
        """
        self._health.refuse_new_calls()
        rows = self._table(table).transfer(str(uri), storage_options, self.options)
        TRANSFER_DONE.hit()
        return rows

    def read(self, table: str) -> pa.Table:
        """Return every row, committed or not, in no particular order.

        Raises: UnknownTable, LogPoisoned, EngineClosed, SpillCorrupted, OSError, ParquetDamaged (it names a changed file).
        """
        self._health.refuse_new_calls()
        return self._table(table).read()

    def unpersisted(self, table: str) -> list[tuple[int, pa.RecordBatch]]:
        """Return the logged batches that Delta does not hold, with their ids, in order. Raises UnknownTable."""
        return list(self._table(table).log.unpersisted())

    def files(self, table: str) -> list[Path]:
        """Return the Parquet files that the table's Delta log names. Raises UnknownTable."""
        return sorted(self._table(table).store.files())

    @property
    def tables(self) -> list[str]:
        """Names of the tables, sorted."""
        return sorted(self._tables)

    def has_log(self, table: str) -> bool:
        """Whether the table has a log. Raises UnknownTable."""
        return self._table(table).logged

    @property
    def options_set(self) -> Mapping[str, object]:
        """The options that were set while the engine ran, by this opening or an earlier one; `options` has all in force."""
        return self._settings.values

    @property
    def counters(self) -> Counters:
        """Numbers since the engine was opened."""
        return self._tally.read([table.log.counters for table in self._all()])

    def close(self) -> None:
        """Let go of every file; loses nothing.

        With a log, rows that wait are in it, and are replayed on opening. Those that are compressed are committed first; with a
        thread for ``flush_seconds``, or without a log, all are. Everything is let go of, whatever fails; but an interrupt while
        it waits for a call that runs leaves the folder locked until it is closed again.

        Raises BackgroundFailed if a background thread failed, OSError if a commit or the note of a log's end did.
        """
        self._health.closing = True
        with self._catalogue:
            try:
                self._pace.stop()
                if not self._health.closed and not self._health.poisoned:
                    self._pace.drain()
            finally:
                self._health.closed = True
                for owner in self._all():  # A call that waited until now finds the engine closed, and changes nothing.
                    owner.wait_until_idle()
                with self._unlocking:  # Last, whatever fails.
                    self._logs.close()
        if self._health.failed_unseen:
            self._health.refuse_if_poisoned()

    def __enter__(self) -> StorageEngine:
        return self

    def __exit__(self, kind: type[BaseException] | None, _: BaseException | None, __: TracebackType | None) -> None:
        try:
            self.close()
        except Exception:
            if kind is None:
                raise
            logger.exception("closing failed while an error was on its way")
