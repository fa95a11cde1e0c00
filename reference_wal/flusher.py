"""The background thread that commits what waits, so that no `ingest` has to."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import AbstractContextManager

__all__ = ["Flusher"]


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
