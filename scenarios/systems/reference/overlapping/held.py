"""A thread held in the midst of a call: at its k-th hit of a failpoint, its k-th place between two critical sections, or at each.

A place between two sections has no failpoint: it is the first line of a table's own code once the engine calls it, and after
each ``with``, on the way in and on the way out. There another thread can come in, so there a lock that was given back too early
shows. A call that fails opens its gates on the way out as well, within one line; at each of them it lets the other calls go as
far as they can.
"""

from __future__ import annotations

import contextlib
import errno
import linecache
import sys
import threading
import time
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

from crashmatrix import faults
from crashmatrix.reference_wal import engine, flusher, table
from crashmatrix.reference_wal.access import gate
from crashmatrix.scenarios.errors import PromiseBroken

__all__ = ["Caller", "Held"]

_STUCK_SECONDS = 60
_WAITS_SECONDS = 1.0
"""How long a call may take before it is thought to wait for another one."""
_LOOK_SECONDS = 0.003
_CALLERS = {engine.__file__, flusher.__file__}
_WAITING = {threading.__file__, contextlib.__file__}
"""Modules in which a thread waits for others: for events, and for locks that an `ExitStack` takes."""


class Held:
    """Holds one thread at its k-th hit of a failpoint; wraps the observer that is there.

    Args:
        hit: which one; None for each, and for each place between two critical sections.
        between: hold it at its k-th place between two critical sections instead.
        fails: once let go, the thread gets an error of the disk there. At a hit only.

    Attributes:
        hits, places: how many of them it came by.
        sections: for each hit, how many places came before it.
        others: the calls made meanwhile; a thread that fails gives way to them at each gate it opens.
    """

    def __init__(self, hit: int | None, *, between: bool = False, fails: bool = False) -> None:
        self._reached, self._go_on, self._hit = threading.Event(), threading.Event(), hit
        self._thread: int | None = None
        self._at_hits, self._between = not between, between or hit is None
        self.fails, self._failing, self._at_with = fails, False, False
        self.hits = self.places = 0
        self.sections: list[int] = []
        self.others: list[Caller] = []

    @contextlib.contextmanager
    def installed(self) -> Iterator[None]:
        """Hold from here on; the thread is let go at the end."""
        before = faults.observe(None)

        def observe(point: faults.FailPoint, number: int) -> None:
            fails = False
            if threading.get_ident() == self._thread and self._at_hits:
                self.hits += 1
                self.sections.append(self.places)
                fails = self._is_held(self.hits) and self.fails
            if before is not None:  # Afterwards: a kill at this hit finds what the other call did meanwhile.
                before(point, number)
            if fails:
                self._failing = True
                raise OSError(errno.EIO, f"to fail at {point.name}")

        faults.observe(observe)
        try:
            yield
        finally:
            self._go_on.set()
            faults.observe(before)

    def _is_held(self, number: int) -> bool:
        if self._hit not in (None, number):
            return False
        self._reached.set()
        self._go_on.wait()
        if self._hit is None:
            self._go_on.clear()
        return True

    def call(self, work: Callable[[], None]) -> None:
        """Do the work in this thread, which is held."""
        self._thread = threading.get_ident()
        if self._between or self.fails:
            sys.settrace(self._enter)
        try:
            work()
        finally:
            sys.settrace(None)
            self._thread = None

    def _enter(self, frame: FrameType, _: str, __: Any) -> Any:
        if self.fails:
            return self._open if frame.f_code.co_filename == gate.__file__ else None
        if frame.f_code.co_filename != table.__file__:
            return None
        if frame.f_back is not None and frame.f_back.f_code.co_filename in _CALLERS:
            self._at_with = not isinstance(getattr(table.Table, frame.f_code.co_name, None), property)
        return self._step

    def _open(self, _: FrameType, event: str, __: Any) -> Any:
        if event == "return" and self._failing:
            for other in self.others:
                other.go_as_far_as_it_can()
        return self._open

    def _step(self, frame: FrameType, event: str, _: Any) -> Any:
        if event == "line":
            if self._at_with:
                self.places += 1
                self._is_held(self.places)
            self._at_with = linecache.getline(table.__file__, frame.f_lineno).lstrip().startswith("with ")
        return self._step

    def wait(self, caller: threading.Thread) -> bool:
        """Wait until the thread is held, or at its end; returns whether it is held."""
        while caller.is_alive() and not self._reached.wait(0.001):
            pass
        return self._reached.is_set()

    def let_go(self) -> None:
        """Let the thread go on, to its next place if it is held at each."""
        self._reached.clear()
        self._go_on.set()


class Caller(threading.Thread):
    """A thread that makes calls, and keeps what went wrong."""

    def __init__(self, work: Callable[[], object]) -> None:
        super().__init__(daemon=True)
        self._work = work
        self._error: BaseException | None = None
        self.start()

    def run(self) -> None:
        """Make the calls."""
        try:
            self._work()
        except BaseException as error:
            self._error = error

    def go_as_far_as_it_can(self, seconds_max: float = _WAITS_SECONDS) -> None:
        """Wait until it has made its calls, waits for another thread, or the time is up.

        A thread waits if it stays at one place, where it takes a lock, or in one of `_WAITING`. Other waits are not known.
        """
        place, give_up = None, time.monotonic() + seconds_max
        while self.is_alive() and time.monotonic() < give_up:
            self.join(_LOOK_SECONDS)
            now = _lock_place(self)
            if now is not None and now == place:
                return
            place = now

    def finish(self, stuck: str = "two calls wait for each other", seconds_max: float = _STUCK_SECONDS) -> None:
        """Wait for its end, and raise what went wrong; a broken promise in these words if it does not end."""
        self.join(seconds_max)
        if self.is_alive():
            raise PromiseBroken("hangs", stuck)
        if self._error is not None:
            raise self._error


def _lock_place(thread: threading.Thread) -> tuple[FrameType, int] | None:
    """Where a thread is, if a thread that waits for a lock may be there."""
    frame = sys._current_frames().get(thread.ident or 0)
    if frame is None:
        return None
    line = linecache.getline(frame.f_code.co_filename, frame.f_lineno).lstrip()
    may_wait = line.startswith("with ") or ".acquire(" in line or frame.f_code.co_filename in _WAITING
    return (frame, frame.f_lasti) if may_wait else None
