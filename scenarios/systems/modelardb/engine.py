"""The server around the log, as far as crashes go: buffers, commits, truncation, removal, transfer, the log on or off.

buffer     the points of a batch go one by one into a buffer for each series. Each buffer that a batch touches gets its id. A full
           buffer is finished at once, and so is one that the newest batch did not touch
compress   finished buffers gather in one compressed buffer for each table (here: as they are, without models)
save       the compressed buffer becomes a commit, which names the union of its ids (``batchIds``): after an acknowledgement, when
           memory is short (`work`, in ModelarDB a thread of its own), and on `flush`, which finishes every buffer first

Without the flaw `split-batch`, saving finishes every buffer first, so that no commit holds part of a batch.
"""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import pyarrow as pa
from deltalake.exceptions import DeltaError

from crashmatrix.faults import declare
from crashmatrix.scenarios.systems.modelardb.log import Log, sync
from crashmatrix.scenarios.systems.modelardb.stream import SCHEMA
from crashmatrix.scenarios.systems.modelardb.table import Table

__all__ = ["Engine"]

COMMITTED = declare("modelardb.commit.done", "the commit is made, its ids not yet persisted")
HALF_TRUNCATED = declare("modelardb.truncate.half_done", "the table is as before, its log perhaps empty")
HALF_DROPPED = declare("modelardb.drop.half_done", "of the table and its log, one is gone")
SENT = declare("modelardb.transfer.sent", "the rows are there and here")
SWITCHED = declare("modelardb.log.switched", "the log is on or off, as the next start will find it")

_BUFFER_POINTS = 14
_COMPRESSED_POINTS = 12
"""Points of finished buffers beyond which memory is short."""


@dataclass
class _Points:
    """Points, and the ids of the batches that touched them."""

    rows: list[dict[str, Any]] = field(default_factory=list)
    ids: set[int] = field(default_factory=set)


def _nothing() -> None:
    """Happens while a call runs, unless a caller says what does."""


class Engine:
    """A server with one table. ``other`` is where a transfer goes. Not thread-safe: what runs beside a call is passed to it."""

    def __init__(self, root: Path, flaws: Collection[str]) -> None:
        self._root, self._flaws = root, flaws
        durable = "unsynced-commit" not in flaws
        self.table, self.other = (
            Table(root, "table", durable=durable),
            Table(root, "other/table", durable=durable),
        )
        self._off = root / "log-off"
        self._buffers: dict[str, _Points] = {}
        self._compressed = _Points()
        self._writer_dead, self._usable = False, True
        self.log: Log | None = None
        shutil.rmtree(root / ".dropped-table", ignore_errors=True)
        if self.table.exists:
            self._finish_transfer()
            self._open_log()
        elif "drop-order" not in flaws:
            shutil.rmtree(root / "log", ignore_errors=True)

    def _open_log(self) -> None:
        if self._off.exists():
            return
        self.log = Log(self._root / "log", self._flaws, cast("set[int]", self.table.history()))
        for number, batch in self.log.unpersisted():
            self._buffer(number, batch)

    # Batches

    def ingest(self, batch: pa.RecordBatch) -> None:
        """Return once the batch is durable, or without the log once it is buffered. Raises OSError: it is not, as far as
        the log knows; see ``usable``."""
        number = -1 if self.log is None else self.log.append(batch)
        self._buffer(number, batch)

    def _buffer(self, number: int, batch: pa.RecordBatch) -> None:
        touched = set()
        for point in batch.to_pylist():
            buffer = self._buffers.setdefault(point["series"], _Points())
            buffer.rows.append(point)
            buffer.ids.add(number)
            touched.add(point["series"])
            if len(buffer.rows) == _BUFFER_POINTS:
                self._finish(point["series"])
        for idle in set(self._buffers) - touched:
            self._finish(idle)

    def _finish(self, series: str) -> None:
        buffer = self._buffers.pop(series)
        self._compressed.rows += buffer.rows
        self._compressed.ids |= buffer.ids

    def work(self) -> None:
        """Do what threads do after the acknowledgement: save what is compressed if memory is short.

        The log has its batches, so that no client hears of an error.
        """
        if len(self._compressed.rows) <= _COMPRESSED_POINTS or self._writer_dead:
            return
        if "split-batch" not in self._flaws:
            self._finish_all()
        try:
            self._save()
        except (OSError, DeltaError):
            self._writer_dead = "dead-writer" in self._flaws
            self._usable = self._writer_dead

    @property
    def usable(self) -> bool:
        """Whether it need not be opened again."""
        return self._usable and (self.log is None or self.log.usable)

    def _finish_all(self) -> None:
        for series in sorted(self._buffers):
            self._finish(series)

    def flush(self) -> None:
        """Commit every point. Raises OSError, deltalake.exceptions.DeltaError."""
        if self._writer_dead:
            threading.Event().wait()  # For an answer that never comes.
        self._finish_all()
        self._save()

    def _save(self) -> None:
        saved, self._compressed = self._compressed, _Points()
        if not saved.rows:
            return
        ids = saved.ids - {-1}
        self.table.commit(pa.Table.from_pylist(saved.rows, SCHEMA), ids)
        COMMITTED.hit()
        if self.log is not None:
            self.log.mark_persisted(ids)

    def rows(self) -> pa.Table:
        """Return what is committed and what is buffered."""
        waiting = [*self._compressed.rows, *(point for buffer in self._buffers.values() for point in buffer.rows)]
        return pa.concat_tables([self.table.rows(), pa.Table.from_pylist(waiting, SCHEMA)])

    # Tables

    def create(self) -> None:
        """Make the table and its log."""
        self.table.create()
        self._open_log()

    def truncate(self, meanwhile: Callable[[], None] = _nothing) -> None:
        """Remove every row: flush, empty the log, empty the table. ``meanwhile`` runs after the flush.

        Without flaws the log is left alone: after the flush, it holds nothing of what is removed.
        """
        self.flush()
        meanwhile()
        raced = bool(self._buffers) and "truncate-race" not in self._flaws
        if self.log is not None and not raced and {"truncate-race", "truncated-id"} & set(self._flaws):
            self.log.truncate()
        HALF_TRUNCATED.hit()
        self.table.truncate()

    def drop(self) -> None:
        """Remove the table with its log."""
        self._buffers, self._compressed = {}, _Points()
        log_first = "drop-order" in self._flaws
        steps = [self._remove_log, self.table.drop] if log_first else [self.table.drop, self._remove_log]
        steps[0]()
        HALF_DROPPED.hit()
        steps[1]()

    def _remove_log(self) -> None:
        if self.log is not None:
            self.log.close()
            self.log = None
            shutil.rmtree(self._root / "log")
        self._forget_log_if_off()

    def _forget_log_if_off(self) -> None:
        if self.log is None and "switched-off" not in self._flaws:
            shutil.rmtree(self._root / "log", ignore_errors=True)
            sync(self._root)

    def switch_log(self, *, on: bool) -> None:
        """Have a log from now on, or none: flush, note it, open the log or let go of it."""
        self.flush()
        if on:
            self._off.unlink()
        else:
            self._off.touch()
        sync(self._root)
        SWITCHED.hit()
        if self.log is not None:
            self.log.close()
            self.log = None
        self._open_log()

    # Transfer

    def transfer(self, meanwhile: Callable[[], None] = _nothing) -> None:
        """Move the committed rows to the other table. ``meanwhile`` runs after they were read."""
        if not self.other.exists:
            self.other.create()
        files = self.table.files()
        names = [file.name for file in files]
        if not files:
            return
        rows = self.table.rows(files)
        meanwhile()
        self.other.commit(rows, [], transferred=names)
        SENT.hit()
        if "transfer-race" in self._flaws:
            self.table.truncate()
        else:
            self.table.remove(names)

    def _finish_transfer(self) -> None:
        """Remove what arrived before a crash: the commits there name the files from here."""
        if "transfer-twice" in self._flaws or not self.other.exists:
            return
        there = self.other.history("transferred")
        arrived = [file.name for file in self.table.files() if file.name in there]
        if arrived:
            self.table.remove(arrived)
