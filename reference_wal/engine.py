"""The reference storage engine: rows are promised when logged, then buffered, compressed and committed to Delta.

    root/.lock                  held while open
    root/wal/{table}/           the table's log            (`write_ahead_log`)
    root/tables/{table}/        the table's Delta table    (`delta_commit`)

The argument, by the life of a batch:
    1. `ingest` appends it to the log                                  ── promise: the id is returned ──
    2. its rows wait in per-series buffers until a generation is sealed: all rows of batches lo..hi
    3. the generation becomes Parquet bytes, in memory
    4. the generation is committed: file and marker ``txn = hi`` in one durable Delta transaction
    5. only then are the batches marked persisted and segments with nothing left removed
Open: read the marker; batches above it are in the log and not in Delta, so exactly they are replayed into the buffers.
A crash at any place finds either the marker below hi and all of lo..hi in the log, or the marker at hi and all of lo..hi
in Delta; that the log may still hold them too is what the marker is for.

Creating a table: log first, Delta table second; the rename of the Delta table is the moment of creation. A log without a
Delta table is an unfinished creation if it holds no record, and damage if it does.

Truncating: one Delta transaction removes every file and moves the marker past every batch ever logged; that is the moment
of truncation. The log's segments and the files are unlinked after it.
"""

from __future__ import annotations

import fcntl
import logging
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import pyarrow as pa
import pyarrow.parquet as pq

from faults import declare
from reference_wal import delta_commit
from reference_wal.buffers import SeriesBuffers
from reference_wal.compression import compress, to_parquet
from reference_wal.delta_commit import DeltaStore
from reference_wal.durable_io import make_folder
from reference_wal.errors import (
    EngineClosed,
    EngineLocked,
    InvalidInput,
    LogCorrupted,
    LogPoisoned,
    ReferenceWalError,
    TableCorrupted,
    TableExists,
)
from reference_wal.segmented_log import SegmentedLog
from reference_wal.write_ahead_log import SEGMENT_BYTES_MAX, WriteAheadLog, check_table_name

__all__ = ["TAG_TYPES", "EngineOptions", "StorageEngine"]

logger = logging.getLogger(__name__)

INGESTED = declare("engine.ingest.before_acknowledge", "logged and buffered, about to return the id")
COMMITTED = declare("engine.flush.before_retire", "the generation is durable in Delta, the log still holds it")
FLUSHED = declare("engine.flush.before_acknowledge", "everything committed and retired, about to return")
BEFORE_TRUNCATE = declare("engine.truncate.before_commit", "every row is there")
TRUNCATED = declare("engine.truncate.after_commit", "every row is gone, log and files still hold them")
TRUNCATE_DONE = declare("engine.truncate.before_acknowledge", "log and files are gone too, about to return")
BEFORE_REPLAY = declare("recovery.replay.before_batch", "read back from the log, not yet buffered")
AFTER_REPLAY = declare("recovery.replay.after_batch", "buffered, still in the log")
RECOVERED = declare("recovery.table.before_return", "a table is as it was promised")


TAG_TYPES = (pa.types.is_string, pa.types.is_large_string, pa.types.is_integer, pa.types.is_boolean)


@dataclass(frozen=True, kw_only=True)
class EngineOptions:
    """How the engine trades memory and files for speed.

    Attributes:
        segment_bytes_max: size in bytes at which a log segment is closed.
        generation_bytes_max: buffered bytes (Arrow, in memory) of a table at which its generation is sealed and committed.
        checkpoint_commits: Delta commits between two checkpoints.
        identity: identity of logs made from now on; random if empty. Set it only to make runs comparable.
    """

    segment_bytes_max: int = SEGMENT_BYTES_MAX
    generation_bytes_max: int = 64 * 1024 * 1024
    checkpoint_commits: int = 50
    identity: str = ""


class _Table:
    """One table: its log, its Delta table, and the rows between them."""

    def __init__(self, log: SegmentedLog, store: DeltaStore) -> None:
        self.log, self.store = log, store
        self.buffers = SeriesBuffers(store.tags)
        self.application = f"{log.identity}/{log.table}"

    def recover(self) -> None:
        """Replay what Delta does not hold; commits nothing, so that it can be cut short and repeated."""
        self.log.reconcile(self.store.marker(self.application))
        for batch_id, batch in self.log.unpersisted():
            BEFORE_REPLAY.hit()
            self.buffers.insert(batch_id, batch)
            AFTER_REPLAY.hit()
        self.store.remove_orphans()
        RECOVERED.hit()

    def flush(self, options: EngineOptions) -> None:
        """Move everything buffered to Delta."""
        generation = self.buffers.seal()
        if generation is None:
            return
        parquet, rows = compress(generation, timestamp=self.store.timestamp, tags=self.store.tags)
        self.store.commit(generation, parquet, rows, application=self.application)
        COMMITTED.hit()
        self.log.mark_persisted(generation.batch_ids)
        if self.store.commits_since_checkpoint >= options.checkpoint_commits:
            self.store.checkpoint()

    def truncate(self) -> None:
        """Drop every row, committed or not."""
        BEFORE_TRUNCATE.hit()
        self.store.clear(self.log.next_id - 1, application=self.application)
        TRUNCATED.hit()
        self.buffers.clear()
        self.log.truncate()
        self.store.remove_orphans()


class StorageEngine:
    """Tables of time series that keep every acknowledged batch through any crash. Thread-safe; calls are serialised."""

    def __init__(self, root: Path, options: EngineOptions, lock: int) -> None:
        self.root, self.options = root, options
        self._process_lock = lock
        self._lock = threading.RLock()
        self._poisoned: BaseException | None = None
        self._wal = WriteAheadLog(root / "wal", segment_bytes_max=options.segment_bytes_max, recover=False)
        self._tables: dict[str, _Table] = {}
        make_folder(root / "tables")
        delta_commit.remove_unborn(root / "tables")
        for table in self._wal.tables:
            self._recover(table)
        self._refuse_lost_logs()

    @classmethod
    def open(cls, root: Path | str, *, options: EngineOptions | None = None) -> StorageEngine:
        """Open the engine in a folder, created if missing, and recover every table.

        Raises:
            EngineLocked: another process has it open.
            LogCorrupted, TableCorrupted: the folder holds what no crash leaves; the error says which file, where, and
                what to do.
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
            return cls(root, options or EngineOptions(), lock)
        except BaseException:
            os.close(lock)
            raise

    def _recover(self, table: str) -> None:
        path, log = self.root / "tables" / table, self._wal.log(table)
        if not path.exists():
            if log.next_id > 0:
                raise TableCorrupted(path, f"is gone, while its log has given out ids up to {log.next_id - 1}")
            logger.info("table %s: its creation was cut short and never acknowledged; removed", table)
            self._wal.remove_table_log(table)
            return
        self._heal(path, log)
        self._tables[table] = _Table(log, DeltaStore(path))
        self._tables[table].recover()

    def _heal(self, path: Path, log: SegmentedLog) -> None:
        delta_commit.settle_newest(path)
        torn = delta_commit.torn_tail(path)
        if torn.commit is not None:
            marker = delta_commit.marker_at(path, torn.version_before, f"{log.identity}/{log.table}")
            if not log.covers(marker + 1):
                raise TableCorrupted(torn.commit, "the newest commit is damaged")
        delta_commit.heal(path, torn)

    def _refuse_lost_logs(self) -> None:
        for path in sorted((self.root / "tables").iterdir()):
            if path.name not in self._tables:
                raise LogCorrupted(
                    self.root / "wal" / path.name, "the table's log is gone, with its unpersisted batches"
                )

    def create_table(self, table: str, schema: pa.Schema, *, timestamp: str, tags: list[str] | None = None) -> None:
        """Create an empty table; durable on return.

        Args:
            schema: columns of every batch to come.
            timestamp: the column rows are sorted by within a series.
            tags: columns whose values name a row's series: strings, integers or booleans.

        Raises:
            TableExists, InvalidInput (nothing was changed), OSError.
        """
        check_table_name(table)
        tags = tags or []
        _check_columns(schema, timestamp, tags)
        _check_storable(schema, timestamp, tags)
        with self._lock:
            self._refuse_if_unusable()
            if table in self._tables:
                raise TableExists(table)
            with self._poisoned_by_errors():  # There is a log now, perhaps without its Delta table.
                self._wal.create_table_log(table, schema, identity=self.options.identity)
                store = DeltaStore.create(self.root / "tables" / table, schema, timestamp=timestamp, tags=tags)
                self._tables[table] = _Table(self._wal.log(table), store)

    def ingest(self, table: str, batch: pa.RecordBatch) -> int:
        """Return the batch's id once its rows would survive a power cut.

        Raises:
            UnknownTable, InvalidInput (nothing was changed), LogPoisoned, OSError (the batch is there whole or not at all).
        """
        with self._lock:
            self._refuse_if_unusable()
            self._wal.log(table)
            owner = self._tables[table]
            with self._poisoned_by_errors(but_for=ReferenceWalError):  # Refused, or the log has poisoned itself.
                batch_id = self._wal.append(table, batch)
            with self._poisoned_by_errors():  # Logged: a batch half in the buffers must never be committed.
                owner.buffers.insert(batch_id, batch)
                if owner.buffers.bytes >= self.options.generation_bytes_max:
                    owner.flush(self.options)
            INGESTED.hit()
            return batch_id

    def flush(self) -> None:
        """Commit every buffered row to Delta; durable on return. Raises OSError, LogPoisoned."""
        with self._lock:
            self._refuse_if_unusable()
            with self._poisoned_by_errors():
                for owner in self._tables.values():
                    owner.flush(self.options)
            FLUSHED.hit()

    @contextmanager
    def _poisoned_by_errors(self, *, but_for: type[BaseException] | tuple[()] = ()) -> Iterator[None]:
        """Refuse all work after any exception in the block, an interrupt too: sealed rows are in the log only, and the
        next commit's marker would pass them by. Reopening finds out what happened.
        """
        try:
            yield
        except but_for:
            raise
        except BaseException as error:
            self._poisoned = error
            raise

    def truncate(self, table: str) -> None:
        """Drop every row of the table, all at once; durable on return. Batch ids go on. Raises as `ingest`."""
        with self._lock:
            self._refuse_if_unusable()
            self._wal.log(table)
            with self._poisoned_by_errors():
                self._tables[table].truncate()
            TRUNCATE_DONE.hit()

    def read(self, table: str) -> pa.Table:
        """Return every row, committed or not, in no particular order. Raises UnknownTable, LogPoisoned, EngineClosed."""
        with self._lock:
            self._refuse_if_unusable()
            schema = self._wal.log(table).schema
            owner = self._tables[table]
            buffered = pa.Table.from_batches(owner.buffers.rows(), schema)
            return pa.concat_tables([owner.store.read(schema), buffered])

    def unpersisted(self, table: str) -> list[tuple[int, pa.RecordBatch]]:
        """Return the logged batches that Delta does not hold, with their ids, in order."""
        return self._wal.unpersisted(table)

    def files(self, table: str) -> list[Path]:
        """Return the Parquet files that the table's Delta log names. Raises UnknownTable."""
        self._wal.log(table)
        return sorted(self._tables[table].store.files())

    @property
    def tables(self) -> list[str]:
        """Names of the tables, sorted."""
        return sorted(self._tables)

    def _refuse_if_unusable(self) -> None:
        if self._poisoned is not None:
            raise LogPoisoned(self.root, self._poisoned)
        if self._process_lock < 0:
            raise EngineClosed

    def close(self) -> None:
        """Let go of every file. Buffered rows are in the log; call `flush` first to have them in Delta."""
        with self._lock:
            self._wal.close()
            if self._process_lock >= 0:
                os.close(self._process_lock)
                self._process_lock = -1

    def __enter__(self) -> StorageEngine:
        return self

    def __exit__(self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None) -> None:
        self.close()


def _check_columns(schema: pa.Schema, timestamp: str, tags: list[str]) -> None:
    for column in (timestamp, *tags):
        if schema.get_field_index(column) < 0:
            raise InvalidInput(f"no column {column!r} in the schema; it has {', '.join(schema.names)}")
    for tag in tags:
        kind = schema.field(tag).type
        kind = kind.value_type if pa.types.is_dictionary(kind) else kind
        if not any(test(kind) for test in TAG_TYPES):
            raise InvalidInput(f"column {tag!r} of type {kind} cannot be a tag; tags are strings, integers or booleans")


def _check_storable(schema: pa.Schema, timestamp: str, tags: list[str]) -> None:
    """Send a row of nulls to Parquet and back: what cannot be stored is refused now, not once rows are promised."""
    nullable = pa.schema([field.with_nullable(True) for field in schema])
    row = pa.Table.from_arrays([pa.nulls(1, field.type) for field in schema], schema=nullable)
    try:
        delta_commit.check_schema(schema)
        parquet = to_parquet(row, timestamp=timestamp, tags=tags)
        pq.read_table(pa.BufferReader(parquet), schema=nullable)
    except Exception as error:  # deltalake raises plain Exception
        raise InvalidInput(f"rows of this schema cannot be stored: {str(error).splitlines()[0]}") from error
