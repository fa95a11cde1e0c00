"""A table between its log and its Delta side: the life of a batch, step by step.

    1. `append`: to the log                                            ── promise: the id is returned ──
    2. `insert`: its rows wait in a buffer (`spill`: on disk, when memory is short), until
    3. `finish` seals a generation, all rows of batches lo..hi, and compresses it; it may wait (`delta.compressed_buffer`), until
    4. `flush` or `save` commits what is compressed: files and marker ``txn = hi`` in one durable Delta transaction,
    5. and only then lets the log and the spill files forget those batches

A crash at any place finds either the marker below hi and all of lo..hi in the log, or the marker at hi and all of lo..hi
in Delta. The marker decides if the log still holds them, too. Without a log (`log.table_logs`) there is no promise at 1;
it is made when `flush` returns.

`truncate`: one Delta transaction removes every file and moves the marker past every batch ever given an id; that is the
moment of truncation. Segments, spill files and Parquet files are unlinked after it.

`access.table_access` says how threads share a table.
"""

from __future__ import annotations

from collections.abc import Mapping

import pyarrow as pa

from crashmatrix.faults import declare
from crashmatrix.reference_wal.access.health import Health
from crashmatrix.reference_wal.access.table_access import TableAccess
from crashmatrix.reference_wal.buffers import Generation, RowBuffer, own_copy
from crashmatrix.reference_wal.delta import folder as table_folder
from crashmatrix.reference_wal.delta.commit import DeltaStore
from crashmatrix.reference_wal.delta.compressed_buffer import Compressed, CompressedBuffer, batches_in
from crashmatrix.reference_wal.delta.compression import compress
from crashmatrix.reference_wal.delta.parquet_file import read_bytes, read_files, rows_in, rows_of
from crashmatrix.reference_wal.delta.transfer import Transfer
from crashmatrix.reference_wal.errors import ReferenceWalError
from crashmatrix.reference_wal.log.table_logs import Log, NoLog, TableLogs
from crashmatrix.reference_wal.options import EngineOptions
from crashmatrix.reference_wal.spill import Spill, SpillFolder
from crashmatrix.reference_wal.tally import Tally

__all__ = ["Table"]

FINISHED = declare("engine.finish.before_return", "compressed, waiting to be committed, still in the log")
SAVED = declare("engine.save.before_return", "every compressed batch committed, later ones in the log")
COMMITTED = declare("engine.flush.before_retire", "the batches are durable in Delta, the log still holds them")
BEFORE_TRUNCATE = declare("engine.truncate.before_commit", "every row is there")
TRUNCATED = declare("engine.truncate.after_commit", "every row is gone, log and files still hold them")
BEFORE_START = declare("engine.switch.before_start", "every batch committed, no log yet")
AFTER_START = declare("engine.switch.after_start", "a log that the table does not know of yet")
BEFORE_STOP = declare("engine.switch.before_stop", "a log that the table does not know of any more")
AFTER_STOP = declare("engine.switch.after_stop", "every batch committed, the log gone")
BEFORE_REPLAY = declare("recovery.replay.before_batch", "read back from the log, not yet buffered")
AFTER_REPLAY = declare("recovery.replay.after_batch", "buffered, still in the log")
RECOVERED = declare("recovery.table.before_return", "a table is as it was promised")


class Table:
    """A table; thread-safe. Call `recover` first."""

    def __init__(
        self, logs: TableLogs, log: Log, store: DeltaStore, spills: SpillFolder, health: Health, tally: Tally
    ) -> None:
        self.name, self.log, self.store, self.spills = log.table, log, store, spills
        self.application = f"{log.identity}/{log.table}"
        self._shape = store.properties.shape
        self.buffers = RowBuffer(spills=spills)
        self._logs, self._health, self._tally = logs, health, tally
        self._transfer = Transfer(store, self.application)
        self._access = TableAccess(self.name, health)
        self._sealed: Generation | None = None
        self._compressed = CompressedBuffer()
        self.touched: float | None = None  # When it got its last batch: `flusher.Pace` keeps this.
        self._files: list[str] = []

    # Recovery

    def recover(self, marker: int) -> None:
        """Settle a transfer cut short, replay what Delta does not hold; commits no rows, and can be cut short and repeated.

        Args:
            marker: the last batch that Delta holds (-1: none); the log knows it already.
        """
        self._transfer.recover()
        self.buffers = RowBuffer(next_id=marker + 1, spills=self.spills)
        self._replay(marker)
        self.store.remove_orphans()
        self._files = self.store.names()
        RECOVERED.hit()

    def _replay(self, marker: int) -> None:
        if isinstance(self.log, NoLog):
            for spill in self.spills.replayable(marker):
                BEFORE_REPLAY.hit()
                self.buffers.adopt(spill)
                AFTER_REPLAY.hit()
            self.log.next_id = self.buffers.next_id
        else:
            self.spills.discard()
            for batch_id, batch in self.log.unpersisted():
                BEFORE_REPLAY.hit()
                self.buffers.insert(batch_id, batch)
                AFTER_REPLAY.hit()
        self._tally.add(replayed=self.buffers.next_id - 1 - marker)

    # Steps 1 and 2

    def ingest(self, batch: pa.RecordBatch) -> int:
        """Return the batch's id once it is logged and its rows wait to be committed."""
        with self._access.ingesting.passed():
            self._health.refuse_new_calls()
            # Refused, by the log of a table that was dropped as well, or the log has poisoned itself.
            with self._health.poisoned_by_errors(but_for=ReferenceWalError):
                batch_id = self.log.append(batch)
                rows = own_copy(batch)  # Once the log has checked it: its offsets may lead anywhere.
                with self._access.altering():  # A batch half in the buffers must never be committed.
                    self.buffers.insert(batch_id, rows)
        self._tally.add(appends=1, append_bytes=batch.nbytes)
        return batch_id

    def spill(self) -> None:
        """Move the rows that wait in memory to a file; forget them if the table was dropped meanwhile."""
        with self._access.altering():
            self._health.refuse_changes()
            if self._access.dropped:
                self.buffers.clear()
            else:
                self._tally.add(spilled=self.buffers.spill())

    # Steps 3 to 5

    def finish(self) -> None:
        """Compress everything that waits in the buffers; a later commit takes it."""
        with self._access.changing():
            self._keep(self._seal_between(), waits=True)
            FINISHED.hit()

    def save(self, options: EngineOptions) -> None:
        """Move what is compressed to Delta, and nothing else; durable on return."""
        with self._access.changing():
            self._save(options)
            SAVED.hit()

    def flush(self, options: EngineOptions) -> None:
        """Move everything that waits to Delta; durable on return."""
        with self._access.changing():
            self._commit(self._seal_between(), options)

    def _commit(self, generation: Generation | None, options: EngineOptions) -> None:
        self._keep(generation, waits=False)
        self._save(options)

    def _keep(self, generation: Generation | None, *, waits: bool) -> None:
        """Compress a generation; readers find its rows among the compressed ones from now on."""
        if generation is None:
            return
        properties = self.store.properties
        parquet, rows = compress(generation, timestamp=properties.timestamp, tags=properties.tags, shape=self._shape)
        with self._access.altering():
            self._sealed = None
            self._compressed.add(Compressed.of(generation, parquet, rows))
            if not waits:  # Or an append would wait for the commit, to make room.
                self._compressed.take()

    def _save(self, options: EngineOptions) -> None:
        if not (parts := self._compressed.take()):
            return
        self.store.commit(parts, application=self.application)
        with self._access.altering():
            self._files = self.store.names()
            spills = self._compressed.clear()
        COMMITTED.hit()
        self.log.mark_persisted(batches_in(parts))
        self._remove_spills(spills)
        self._tally.add(commits=1, rows=sum(part.rows for part in parts))
        self._checkpoint_if_due(options)

    def _seal_between(self) -> Generation | None:
        with self._access.ingesting.closed():
            return self._seal()

    def _seal(self) -> Generation | None:
        with self._access.altering():
            self._access.refuse_if_unusable()  # An append or a spill may have failed while we waited, and leave a hole.
            self._sealed = self.buffers.seal()
            self._tally.add(generations=self._sealed is not None)
            return self._sealed

    def _remove_spills(self, spills: list[Spill]) -> None:
        if spills:
            with self._access.reading.closed():
                self.spills.remove(spills)

    def _checkpoint_if_due(self, options: EngineOptions) -> None:
        if self.store.commits_since_checkpoint >= options.checkpoint_commits:
            self.store.checkpoint()
            self._tally.add(checkpoints=1)

    # The other changes of a table

    def truncate(self) -> None:
        """Drop every row, committed or not, at once; durable on return."""
        # Once Delta is cleared, it would be too late to find that the log cannot be truncated.
        with self._access.changing(self._access.ingesting, but_first=lambda: self.log.refuse_if_poisoned()):
            BEFORE_TRUNCATE.hit()
            self.store.clear(self.log.next_id - 1, application=self.application)
            TRUNCATED.hit()
            with self._access.altering():
                spills, self._files = [*self._compressed.clear(), *self.buffers.clear()], []
            self.log.truncate()
            self._remove_spills(spills)
            with self._access.reading.closed():
                self.store.remove_orphans()
            self._tally.add(commits=1)

    def switch_log(self, on: bool, options: EngineOptions) -> None:
        """Have a log from now on, or none; what waits is committed first. Durable on return."""
        # A failed batch may be in the log: nobody could say later whose rows they are.
        with self._access.changing(self._access.ingesting, but_first=lambda: self.log.refuse_if_poisoned()):
            if on and self.logged:
                return  # Every batch is promised already.
            self._commit(self._seal(), options)
            if on != self.logged:
                self._switch_on() if on else self._switch_off()
                self._tally.add(commits=1)

    def _switch_on(self) -> None:
        next_id = self.log.next_id
        BEFORE_START.hit()
        log = self._logs.start(self.name, self.log.schema, identity=self.log.identity, next_id=next_id)
        AFTER_START.hit()
        self.store.set_logged(True, application=self.application, number=next_id - 1)
        self.log = log

    def _switch_off(self) -> None:
        self.store.set_logged(False, application=self.application, number=self.log.next_id - 1)
        BEFORE_STOP.hit()
        self.log = self._logs.stop(self.name)
        AFTER_STOP.hit()

    def transfer(self, uri: str, storage_options: Mapping[str, str] | None, options: EngineOptions) -> int:
        """Move every committed row to another Delta table; returns how many."""
        schema = self.store.schema
        with self._access.before_changes():
            receiver = self._transfer.receiver(uri, storage_options, schema)
        with self._access.changing(but_first=lambda: self._transfer.refuse_other(receiver)):
            # Damage shows before a note is made.
            rows = sum(rows_in(file, read_bytes(file)) for file in self.store.files())
            try:
                self._transfer.send(receiver, schema)
            finally:
                with self._access.altering():  # Readers find the rows in the files that there are now.
                    self._files = self.store.names()
            with self._access.reading.closed():
                self.store.remove_orphans()
            if rows:
                self._tally.add(commits=1, transferred=rows)
                self._checkpoint_if_due(options)
        return rows

    def drop(self) -> None:
        """Drop the table, its rows and its log, at once; durable on return."""
        with self._access.changing(self._access.ingesting, self._access.reading):
            table_folder.hide(self.store.path)
            with (
                self._access.altering()
            ):  # A call that has appended may be spilling by now, in the folder that goes next.
                self._access.dropped = True
                self._compressed.clear()
            table_folder.finish_drop(self.store.path, self.spills.delete_all, lambda: self._logs.remove(self.name))

    def wait_until_idle(self) -> None:
        """Return once no call is changing the table or appending to it."""
        self._access.wait_until_idle()

    # Looking

    def read(self) -> pa.Table:
        """Return every row once, wherever it is."""
        with self._access.reading.passed():
            with self._access.looked_at():
                waiting = self.buffers.waiting()
                waiting += [self._sealed] if self._sealed is not None else []
                compressed = self._compressed.parts
                files = [self.store.path / name for name in self._files]
            rows = [read_files(files, self.log.schema, self._shape), *(generation.rows() for generation in waiting)]
            rows += [rows_of(part.parquet, self.log.schema, self._shape) for part in compressed]
        return pa.concat_tables(rows)

    @property
    def logged(self) -> bool:
        """Whether it has a log."""
        return self.store.properties.logged

    @property
    def bytes(self) -> int:
        """Bytes of the rows that wait to be compressed."""
        return self.buffers.bytes

    @property
    def compressed_bytes(self) -> int:
        """Bytes of those that are compressed and wait to be committed."""
        return self._compressed.bytes

    @property
    def memory_bytes(self) -> int:
        """Bytes of those that wait in memory."""
        return self.buffers.memory_bytes
