"""When the rows that wait move on: full generations, idle tables, budgets of memory, and the background threads.

    | rows of a table                              | compressed                    | committed                                |
    |----------------------------------------------|-------------------------------|------------------------------------------|
    | as many as a generation                      | by the `ingest`, or by the    | at once, if nothing compressed may wait; |
    |                                              | thread for ``flush_seconds``  | else when compressed rows exceed         |
    | without a new batch for ``idle_seconds``     | by the thread for those       | ``compressed_bytes_max``, the largest    |
    |                                              |                               | table's first                            |
    | any, every ``flush_seconds``, and on `flush` | at once                       | at once                                  |

Beyond ``memory_bytes_max``, rows that are not compressed yet go to disk, the largest table's first.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager

from crashmatrix.reference_wal.durable_io import step
from crashmatrix.reference_wal.errors import UnknownTable
from crashmatrix.reference_wal.options import EngineOptions
from crashmatrix.reference_wal.table import Table

__all__ = ["BEHIND_MAX", "Flusher", "Pace"]

logger = logging.getLogger(__name__)

IDLE = step("engine.idle.finish", "rows of a table that gets no more, still in the log", "compressed, or committed")

BEHIND_MAX = 4
"""How many generations may wait for the background thread, in bytes, before `ingest` waits for it."""


class Flusher:
    """Calls ``when_woken`` each time it is woken, ``in_turn`` every ``seconds``; ends at the first error.

    Args:
        in_background: what the thread runs in, which takes that error; the next call of the engine raises it.
    """

    def __init__(
        self,
        when_woken: Callable[[], None],
        in_turn: Callable[[], None],
        seconds: float,
        in_background: Callable[[], AbstractContextManager[None]],
    ) -> None:
        self._when_woken, self._in_turn, self._seconds = when_woken, in_turn, seconds
        self._in_background = in_background
        self._work, self._stopping = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, name="reference-wal-flusher", daemon=True)
        self._thread.start()

    def wake(self) -> None:
        """Have ``when_woken`` called soon."""
        self._work.set()

    def stop(self) -> None:
        """Finish the call that is being made, then end. Rows that still wait are left to the caller."""
        self._stopping.set()
        self._work.set()
        self._thread.join()

    def _run(self) -> None:
        with self._in_background():
            due = time.monotonic() + self._seconds
            while True:
                self._work.wait(max(0.0, due - time.monotonic()))
                self._work.clear()
                if self._stopping.is_set():
                    return
                if time.monotonic() < due:
                    self._when_woken()
                else:  # Also if it is woken all the time.
                    self._in_turn()
                    due = time.monotonic() + self._seconds


class Pace:
    """Moves the rows of all tables on, as the options say. Thread-safe; `adopt` and `stop` one at a time.

    Args:
        tables: returns the tables that are there.
        in_background: as for a `Flusher`.
    """

    def __init__(
        self, tables: Callable[[], Sequence[Table]], in_background: Callable[[], AbstractContextManager[None]]
    ) -> None:
        self._tables, self._in_background = tables, in_background
        self._options = EngineOptions()
        self._flusher: Flusher | None = None
        self._watcher: Flusher | None = None

    def adopt(self, options: EngineOptions) -> None:
        """Go by these options from now on."""
        before, self._options = self._options, options
        if (options.flush_seconds, options.idle_seconds) == (before.flush_seconds, before.idle_seconds):
            return
        self.stop()
        if options.flush_seconds is not None:
            self._flusher = Flusher(self._finish_full, self.flush_all, options.flush_seconds, self._in_background)
        if options.idle_seconds is not None:
            self._watcher = Flusher(self.finish_idle, self.finish_idle, options.idle_seconds, self._in_background)

    def stop(self) -> None:
        """Have no background thread; what one is doing is finished first."""
        for thread in (self._flusher, self._watcher):
            if thread is not None:
                thread.stop()
        self._flusher = self._watcher = None

    def make_room(self, owner: Table) -> None:
        """A table got a batch: compress a full generation, or have that done; then keep to the budgets of memory."""
        options, flusher = self._options, self._flusher
        owner.touched = options.clock()
        if owner.bytes >= options.generation_bytes_max:
            if flusher is not None and owner.bytes < BEHIND_MAX * options.generation_bytes_max:
                flusher.wake()
            else:
                self._finish(owner)
        while sum(table.memory_bytes for table in self._tables()) > options.memory_bytes_max:
            max(self._tables(), key=lambda table: table.memory_bytes).spill()
        self._save_largest()

    def _finish(self, owner: Table) -> None:
        if self._options.compressed_bytes_max:
            owner.finish()
        else:
            owner.flush(self._options)

    def _save_largest(self) -> None:
        """Commit compressed rows until the others fit into their budget."""
        while sum(table.compressed_bytes for table in self._tables()) > self._options.compressed_bytes_max:
            largest = max(self._tables(), key=lambda table: table.compressed_bytes)
            with _unless_dropped(largest):
                largest.save(self._options)

    def finish_idle(self) -> None:
        """Compress what waits of each table that got no batch for as long as the options say."""
        options, now = self._options, self._options.clock()
        seconds = math.inf if options.idle_seconds is None else options.idle_seconds
        for owner in self._tables():
            since = owner.touched = now if owner.touched is None else owner.touched  # None: its rows were replayed.
            if owner.bytes and now - since >= seconds:
                with IDLE, _unless_dropped(owner):
                    self._finish(owner)
        self._save_largest()

    def flush_all(self) -> None:
        """Commit every row that waits."""
        for owner in self._tables():
            with _unless_dropped(owner):
                owner.flush(self._options)

    def drain(self) -> None:
        """Commit what closing has to: with a thread that does so all the time everything, else what no log holds.

        Compressed rows are committed in any case: the log has them, but compressing them was work.
        """
        everything = self._options.flush_seconds is not None
        for owner in self._tables():
            with _unless_dropped(owner):
                if everything or not owner.logged:
                    owner.flush(self._options)
                elif owner.compressed_bytes:
                    owner.save(self._options)

    def _finish_full(self) -> None:
        for owner in self._tables():
            if owner.bytes >= self._options.generation_bytes_max:
                with _unless_dropped(owner):
                    self._finish(owner)
        self._save_largest()


@contextmanager
def _unless_dropped(owner: Table) -> Iterator[None]:
    try:
        yield
    except UnknownTable:
        logger.info("table %s was dropped before its rows moved on", owner.name)
