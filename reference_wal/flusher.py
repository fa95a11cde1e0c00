"""The background thread that commits what waits, so that no `ingest` has to."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

__all__ = ["Flusher"]

logger = logging.getLogger(__name__)


class Flusher:
    """Calls ``flush_full`` each time it is woken, ``flush_all`` every ``seconds``; ends at the first error.

    Args:
        failed: called with that error, in this thread; the next call of the engine raises it.
    """

    def __init__(
        self,
        flush_full: Callable[[], None],
        flush_all: Callable[[], None],
        seconds: float,
        failed: Callable[[BaseException], None],
    ) -> None:
        self._flush_full, self._flush_all, self._seconds, self._failed = flush_full, flush_all, seconds, failed
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
        try:
            while True:
                woken = self._work.wait(self._seconds)
                self._work.clear()
                if self._stopping.is_set():
                    return
                (self._flush_full if woken else self._flush_all)()
        except BaseException as error:
            logger.error("the background flush failed: %r", error)
            self._failed(error)
