"""Why a function failed that ran in another process: the traceback, in a file that both share."""

from __future__ import annotations

import os
import traceback
from collections.abc import Callable
from contextlib import ExitStack
from types import TracebackType
from typing import Self

from crashmatrix.faults.disk.linux.containment import anonymous_file
from crashmatrix.scenarios.errors import UsageError
from crashmatrix.scenarios.last_words import without_stacks

__all__ = ["Saying"]

_BYTES_MAX = 1 << 16


class Saying:
    """Calls a function in a process that is forked within the ``with`` block; `failed` says here what it raised there."""

    def __init__(self, function: Callable[[], None]) -> None:
        self._function, self._open, self._file = function, ExitStack(), -1

    def __enter__(self) -> Self:
        self._file = self._open.enter_context(anonymous_file("error"))
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self._open.close()

    def __call__(self) -> None:
        """Call it; whatever it raises is noted, and raised."""
        try:
            self._function()
        except BaseException:
            os.pwrite(self._file, traceback.format_exc().encode()[-_BYTES_MAX:], 0)
            raise

    def failed(self, part: str, status: int) -> UsageError:
        """The error that says how ``part`` of the system's work ended."""
        words = os.pread(self._file, _BYTES_MAX, 0).decode(errors="replace")
        return UsageError(f"{part} ended with status {status}: {without_stacks(words) or 'it said nothing'}")
