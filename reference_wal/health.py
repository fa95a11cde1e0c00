"""Whether the engine may go on: after a failure whose extent only a reopening can find, every call is refused.

A generation that was sealed and not committed is in the log only, and the next commit's marker would cover it. So the
first error between sealing and commit, in any thread, stops every later call. So does an error within a creation, truncation,
drop, transfer or spill: reading and writing would go on although the step may or may not have happened. The folder is then
as a crash at the same place leaves it, and reopening recovers it as after a crash.

Three errors leave the engine at work:
- a failed append (AppendFailed) poisons its table's log alone. The table takes no batch and no truncation until the engine is
  reopened. All else is allowed: acknowledged batches are in the buffers, and can be read, committed, transferred, dropped. The
  failed batch has a higher id than all of them, so no marker covers it, and reopening finds it whole or not at all;
- TransferFailed and ParquetDamaged of a transfer: every row is still here, and the note says where to look first;
- an error after all steps of a call, before it returns: there is nothing to undo.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType

from crashmatrix.reference_wal.errors import BackgroundFailed, EngineClosed, LogPoisoned, ReferenceWalError

__all__ = ["Health", "Mutex"]

logger = logging.getLogger(__name__)


class Health:
    """Shared by the engine, its tables and its background threads. Only ever gets worse, so it needs no lock."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._cause: BaseException | None = None
        self._background_threads = set[int]()
        self.failed_unseen = False
        """Whether the error was one in a background thread."""
        self.closed = False

    @property
    def poisoned(self) -> bool:
        """Whether an error has poisoned the engine."""
        return self._cause is not None

    def refuse_if_poisoned(self) -> None:
        """Raise LogPoisoned if something failed; BackgroundFailed if it failed in a background thread."""
        if self._cause is not None:
            kind = BackgroundFailed if self.failed_unseen else LogPoisoned
            raise kind(self._root, self._cause) from self._cause

    def refuse_if_unusable(self) -> None:
        """Raise LogPoisoned or EngineClosed."""
        self.refuse_if_poisoned()
        if self.closed:
            raise EngineClosed

    def note(self, error: BaseException) -> None:
        """Refuse all work from now on, because of this error."""
        # In this order: a caller that sees the cause must see, too, whose error it was.
        self.failed_unseen = self.failed_unseen or threading.get_ident() in self._background_threads
        self._cause = self._cause or error

    @contextmanager
    def in_background(self) -> Iterator[None]:
        """This thread is a background thread while it is in the block: no caller sees its errors, which end the block."""
        self._background_threads.add(threading.get_ident())
        try:
            yield
        except BaseException as error:
            logger.error("the background thread failed: %r", error)
            self.note(error)

    @contextmanager
    def poisoned_by_errors(
        self, *, but_for: type[BaseException] | tuple[type[BaseException], ...] = ()
    ) -> Iterator[None]:
        """Refuse all work after any exception in the block, an interrupt too. Reopening finds out what happened."""
        try:
            yield
        except but_for:
            raise
        except BaseException as error:
            self.note(error)
            raise


class Mutex:
    """A lock for data that readers see: an error while it is held poisons the engine before anybody else gets the lock.

    A refusal (any ReferenceWalError) does not: it comes before a change.
    """

    def __init__(self, health: Health) -> None:
        self._health, self._lock = health, threading.Lock()

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(self, _: type[BaseException] | None, error: BaseException | None, __: TracebackType | None) -> None:
        try:
            if error is not None and not isinstance(error, ReferenceWalError):
                self._health.note(error)
        finally:
            self._lock.release()
