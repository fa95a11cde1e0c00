"""How bugs are planted that show when a call fails: errors handled wrongly. `mutants` is the table."""

from __future__ import annotations

import contextlib
import errno
import os
import threading
from collections.abc import Sequence
from typing import Any

from crashmatrix.reference_wal.access.health import Health
from crashmatrix.reference_wal.buffers import RowBuffer
from crashmatrix.reference_wal.delta.commit import DeltaStore
from crashmatrix.reference_wal.delta.transfer import Intent, Transfer
from crashmatrix.reference_wal.flusher import Flusher
from crashmatrix.reference_wal.log.folders import delete_hidden, hide
from crashmatrix.reference_wal.log.segmented_log import SegmentedLog
from crashmatrix.reference_wal.log.segments.active_segment import ActiveSegment
from crashmatrix.reference_wal.log.write_ahead_log import WriteAheadLog
from crashmatrix.reference_wal.table import Table

__all__ = [
    "again_after_rotation",
    "behind_torn",
    "commit_swallowed",
    "cut_off",
    "goes_on",
    "made_once_only",
    "not_in_background",
    "once_more",
    "passed",
    "removal_forgotten",
    "removed",
    "spill_dropped",
    "swallowed",
    "transfer_forgotten",
    "truncated_all_the_same",
    "whatever_was_written",
]


def once_more(original: Any) -> Any:
    """Make a call that failed a second time, and believe that one."""

    def call(descriptor: int) -> None:
        try:
            original(descriptor)
        except OSError:
            original(descriptor)

    return call


def whatever_was_written(_: Any) -> Any:
    """Take each write for a whole one."""

    def write_at(fd: int, parts: Sequence[Any], offset: int) -> None:
        os.pwritev(fd, parts, offset)

    return write_at


def swallowed(original: Any) -> Any:
    """Go on as if records were durable that could not be written, or not synced."""

    def write(self: ActiveSegment, parts: Sequence[Any], **options: Any) -> float:
        end = self.end_bytes + sum(map(len, parts))
        try:
            return float(original(self, parts, **options))
        except OSError:
            self.end_bytes = end
            return 0.0

    return write


def removed(original: Any) -> Any:
    """Clean up after an error by removing the segment, in which acknowledged records are."""

    def write(self: ActiveSegment, parts: Sequence[Any], **options: Any) -> float:
        try:
            return float(original(self, parts, **options))
        except OSError:
            self.path.unlink()
            raise

    return write


def commit_swallowed(original: Any) -> Any:
    """Go on as if a generation were in Delta whose commit failed."""

    def commit(self: DeltaStore, *args: Any, **options: Any) -> None:
        with contextlib.suppress(OSError):
            original(self, *args, **options)

    return commit


def behind_torn(original: Any) -> Any:
    """After an error, write the records once more, behind what may be there of them."""

    def write(self: ActiveSegment, parts: Sequence[Any], **options: Any) -> float:
        try:
            return float(original(self, parts, **options))
        except OSError:
            self.end_bytes += sum(map(len, parts)) // 2
            return float(original(self, parts, **options))

    return write


def again_after_rotation(original: Any) -> Any:
    """Rotate right after an append that fills the segment; if that fails, append once more."""

    def append(self: SegmentedLog, batch: Any) -> int:
        number = int(original(self, batch))
        try:
            if self._writer.is_full:
                self.rotate()
        except OSError:
            self._poisoned = None
            self._writer.start()
            return int(original(self, batch))
        return number

    return append


def passed(original: Any) -> Any:
    """Take a call that failed for one that was done."""

    def call(*args: Any) -> None:
        with contextlib.suppress(OSError):
            original(*args)

    return call


def cut_off(original: Any) -> Any:
    """Where there is no room for a record, cut off the one before it, as if it were torn."""

    def write(self: ActiveSegment, parts: Sequence[Any], **options: Any) -> float:
        before, start = getattr(self, "_before", self.end_bytes), self.end_bytes
        try:
            seconds = float(original(self, parts, **options))
        except OSError as error:
            if error.errno == errno.ENOSPC:
                os.ftruncate(self._fd, before)
            raise
        self._before = start  # type: ignore[attr-defined]
        return seconds

    return write


def spill_dropped(original: Any) -> Any:
    """Take the rows out of memory whether or not they are in a file."""

    def spill(self: RowBuffer) -> int:
        try:
            return int(original(self))
        except OSError:
            self._batches, self._memory_lo, self.memory_bytes = [], self.next_id, 0
            return 0

    return spill


def not_in_background(original: Any) -> Any:
    """Have no error of the background thread poison the engine."""

    def note(self: Health, error: BaseException) -> None:
        if threading.get_ident() not in self._background_threads:
            original(self, error)

    return note


def goes_on(original: Any) -> Any:
    """Start the background thread's work again after an error."""

    def run(self: Flusher) -> None:
        while not self._stopping.is_set():
            original(self)

    return run


def transfer_forgotten(original: Any) -> Any:
    """Forget a transfer that could not remove what was received."""

    def finish(self: Transfer, intent: Intent) -> None:
        try:
            original(self, intent)
        except OSError:
            self._forget()

    return finish


def made_once_only(original: Any) -> Any:
    """Forget which creations have failed half-way."""

    def create_table_log(self: WriteAheadLog, *args: Any, **named: Any) -> None:
        self._half_made.clear()
        original(self, *args, **named)

    return create_table_log


def removal_forgotten(_: Any) -> Any:
    """Take the table for removed before it is."""

    def remove_table_log(self: WriteAheadLog, table: str) -> None:
        self.log(table).close(note_end=False, removed=True)
        del self._logs[table]
        hide(self.root, table)
        delete_hidden(self.root, table)

    return remove_table_log


def truncated_all_the_same(_: Any) -> Any:
    """Clear the committed side first, and find out that the log has failed when it is to be truncated."""

    def truncate(self: Table) -> None:
        with self._access.changing(self._access.ingesting):
            self.store.clear(self.log.next_id - 1, application=self.application)
            with self._access.altering():
                spills, self._files = [*self._compressed.clear(), *self.buffers.clear()], []
            self.log.truncate()
            self._remove_spills(spills)
            self.store.remove_orphans()

    return truncate
