"""How bugs are planted that show when a call fails: errors handled wrongly. `mutants` is the table."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence
from typing import Any

from crashmatrix.reference_wal.delta.commit import DeltaStore
from crashmatrix.reference_wal.log.segments.active_segment import ActiveSegment

__all__ = ["commit_swallowed", "once_more", "removed", "swallowed", "whatever_was_written"]


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
