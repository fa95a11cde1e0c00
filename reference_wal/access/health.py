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

from crashmatrix.reference_wal.errors import BackgroundFailed, EngineClosed, LogPoisoned

__all__ = ["Health"]

logger = logging.getLogger(__name__)


class Health:
    """Shared by the engine, its tables and its background threads. Only ever gets worse, so it needs no lock."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._cause: BaseException | None = None
        self._background_threads = set[int]()
        self.failed_unseen = False
        """Whether the error was one in a background thread."""
        self.closing = False
        """Whether no call may begin any more, and no batch may come."""
        self.closed = False
        """Whether nothing may be changed any more: the folder may be another opening's soon."""

    @property
    def poisoned(self) -> bool:
        """Whether an error has poisoned the engine."""
        return self._cause is not None

    def refuse_if_poisoned(self) -> None:
        """Raise LogPoisoned if something failed; BackgroundFailed if it failed in a background thread."""
        if self._cause is not None:
            kind = BackgroundFailed if self.failed_unseen else LogPoisoned
            raise kind(self._root, self._cause) from self._cause

    def refuse_new_calls(self) -> None:
        """Raise LogPoisoned or EngineClosed."""
        self.refuse_if_poisoned()
        if self.closing:
            raise EngineClosed

    def refuse_changes(self) -> None:
        """Raise LogPoisoned or EngineClosed; for calls that have begun, and have waited since. Closing may still commit."""
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
        here = threading.get_ident()
        self._background_threads.add(here)
        try:
            yield
        except BaseException as error:
            logger.error("the background thread failed: %r", error)
            self.note(error)
        finally:
            self._background_threads.discard(here)  # A caller's thread may get the number next.

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
