"""When the rows that wait move on: full generations, a memory budget, and a background thread that commits for `ingest`."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager

from crashmatrix.reference_wal.errors import UnknownTable
from crashmatrix.reference_wal.options import EngineOptions
from crashmatrix.reference_wal.table import Table

__all__ = ["BEHIND_MAX", "Flusher", "Pace"]

logger = logging.getLogger(__name__)

BEHIND_MAX = 4
"""How many generations may wait for the background thread, in bytes, before `ingest` waits for it."""


class Flusher:
    """Calls ``flush_full`` each time it is woken, ``flush_all`` every ``seconds``; ends at the first error.

    Args:
        in_background: what the thread runs in, which takes that error; the next call of the engine raises it.
    """

    def __init__(
        self,
        flush_full: Callable[[], None],
        flush_all: Callable[[], None],
        seconds: float,
        in_background: Callable[[], AbstractContextManager[None]],
    ) -> None:
        self._flush_full, self._flush_all, self._seconds = flush_full, flush_all, seconds
        self._in_background = in_background
        self._work, self._stopping = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, name="reference-wal-flusher", daemon=True)
        self._thread.start()

    def wake(self) -> None:
        """Have full generations committed soon."""
        self._work.set()

    def stop(self) -> None:
        """Finish what is being committed, then end. Rows that still wait are left to the caller."""
        self._stopping.set()
        self._work.set()
        self._thread.join()

    def _run(self) -> None:
        with self._in_background():
            while True:
                woken = self._work.wait(self._seconds)
                self._work.clear()
                if self._stopping.is_set():
                    return
                (self._flush_full if woken else self._flush_all)()


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

    def adopt(self, options: EngineOptions) -> None:
        """Go by these options from now on."""
        seconds = self._options.flush_seconds
        self._options = options
        if options.flush_seconds != seconds:
            self.stop()
            if options.flush_seconds is not None:
                self._flusher = Flusher(self._flush_full, self.flush_all, options.flush_seconds, self._in_background)

    def stop(self) -> None:
        """Have no background thread; what it is committing is finished first."""
        if self._flusher is not None:
            self._flusher.stop()
            self._flusher = None

    def make_room(self, owner: Table) -> None:
        """Commit a full generation, or have it committed; then keep to the memory budget."""
        options, flusher = self._options, self._flusher
        if owner.bytes >= options.generation_bytes_max:
            if flusher is not None and owner.bytes < BEHIND_MAX * options.generation_bytes_max:
                flusher.wake()
            else:
                owner.flush(options)
        while sum(table.memory_bytes for table in self._tables()) > options.memory_bytes_max:
            max(self._tables(), key=lambda table: table.memory_bytes).spill()

    def flush_all(self) -> None:
        """Commit every row that waits."""
        for owner in self._tables():
            self._flush(owner)

    def drain(self) -> None:
        """Commit what closing has to: with a background thread everything, else what no log holds."""
        in_background = self._options.flush_seconds is not None
        for owner in self._tables():
            if in_background or not owner.logged:
                self._flush(owner)

    def _flush_full(self) -> None:
        for owner in self._tables():
            if owner.bytes >= self._options.generation_bytes_max:
                self._flush(owner)

    def _flush(self, owner: Table) -> None:
        try:
            owner.flush(self._options)
        except UnknownTable:
            logger.info("table %s was dropped before it was flushed", owner.name)
