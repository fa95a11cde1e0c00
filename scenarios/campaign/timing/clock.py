"""The time limit of a run: `TimeUp` is raised in the main thread, as an interrupt is, and passes through whatever lets one pass.

Each experiment gets an equal share of the time that is left when it begins, and leaves a part of it for its explanations. So
the limit bounds everything: recordings, recoveries, explanations. Writing the report comes after it.
"""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType
from typing import Any

from crashmatrix.scenarios.processes.interruption import is_uninterrupted, uninterrupted

__all__ = ["Clock", "TimeShare", "TimeUp"]

_EXPLAINING = 0.25
"""The part of an experiment's time that is kept for explanations."""

_LEAST_SECONDS, _AGAIN_SECONDS = 0.001, 0.01


class TimeUp(KeyboardInterrupt):
    """The time is up."""


@dataclass(frozen=True)
class TimeShare:
    """An experiment's time, as places on the monotonic clock: when it has to stop running, and explaining."""

    run: float
    explain: float


class Clock:
    """The time of a run; without a limit, it never interrupts. Use it in the main thread."""

    def __init__(self, seconds: float | None) -> None:
        self.seconds = seconds
        self.end = None if seconds is None else time.monotonic() + seconds

    def share(self, experiments: int) -> TimeShare | None:
        """Return the time of the next of so many experiments; None if it is not bounded."""
        if self.end is None:
            return None
        now = time.monotonic()
        mine = max(0.0, self.end - now) / experiments
        return TimeShare(now + (1 - _EXPLAINING) * mine, now + mine)

    @contextmanager
    def until(self, at: float | None) -> Iterator[None]:
        """Raise TimeUp in the block at a place on the monotonic clock, once."""
        if at is None:
            yield
            return
        before, hook = signal.signal(signal.SIGALRM, _raise), sys.unraisablehook
        sys.unraisablehook = lambda lost: _again(lost, hook)
        try:
            signal.setitimer(signal.ITIMER_REAL, max(_LEAST_SECONDS, at - time.monotonic()), _AGAIN_SECONDS)
            yield
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, before)
            sys.unraisablehook = hook


def _raise(_: int, frame: FrameType | None) -> None:
    if not is_uninterrupted(frame):  # Else at the next tick.
        signal.setitimer(signal.ITIMER_REAL, 0)
        raise TimeUp


@uninterrupted  # An exception in a hook for lost exceptions is lost, too.
def _again(lost: Any, hook: Any) -> None:
    """An exception raised in a destructor goes no further: raise it again soon."""
    if lost.exc_type is TimeUp:
        signal.setitimer(signal.ITIMER_REAL, _LEAST_SECONDS, _AGAIN_SECONDS)
    else:
        hook(lost)
