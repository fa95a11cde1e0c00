"""SIGINT, SIGTERM and SIGHUP: all three end the program as Ctrl-C does, once, and nothing disturbs the clean-up.

    while modules are imported     the program ends at once: there is nothing to clean up yet
    while a command runs           the first signal raises `Interrupted` in the main thread; the rest does nothing
    while the program ends         they do nothing; SIGKILL still ends it

A signal that was ignored when the program began (SIGHUP under nohup) stays ignored.

Steps that would leave something behind if an exception came between them are one `uninterrupted` function. A handler waits for
its end. A signal mask would not do: another thread may take the signal, and its handler still runs in the main thread.
"""

from __future__ import annotations

import _thread
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import CodeType, FrameType
from typing import Any, TypeVar

__all__ = ["ENDING_SIGNALS", "Interrupted", "Interruption", "is_uninterrupted", "signals_held_back", "uninterrupted"]

F = TypeVar("F", bound=Callable[..., Any])

ENDING_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

_AGAIN_SECONDS = 0.01

_UNINTERRUPTED: set[CodeType] = set()


def uninterrupted(function: F) -> F:
    """Let no handler of ours raise an exception while a function, or what it calls, runs."""
    _UNINTERRUPTED.add(function.__code__)
    return function


def is_uninterrupted(frame: FrameType | None) -> bool:
    """Whether an `uninterrupted` function runs in this frame, or has called what does."""
    while frame is not None and frame.f_code not in _UNINTERRUPTED:
        frame = frame.f_back
    return frame is not None


class Interrupted(KeyboardInterrupt):
    """One of the signals came; it passes through whatever lets a KeyboardInterrupt pass."""


class Interruption:
    """The handling of signals in this process. ``status`` is 128 plus the number of the signal that came; 0: none has."""

    def __init__(self) -> None:
        self.status = 0
        self._sending = False
        self._heard = [number for number in ENDING_SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]

    def leave(self) -> None:
        """From here on a signal ends the program at once."""
        self._install(self._leave)

    def interrupt(self) -> None:
        """From here on the first signal raises `Interrupted`."""
        sys.unraisablehook = self._unraisable
        self._install(self._interrupt)

    def ignore(self) -> None:
        """From here on signals do nothing. A handler, unlike SIG_IGN, is not inherited by programs that are started."""
        self._install(lambda _, __: None)

    def deafen(self) -> None:
        """From here on signals do nothing, not even while the interpreter ends, which takes handlers away."""
        self._install(signal.SIG_IGN)

    def _install(self, handler: Any) -> None:
        for number in self._heard:
            signal.signal(number, handler)

    def _leave(self, number: int, _: FrameType | None) -> None:
        try:
            os.write(2, b"crashmatrix: interrupted\n")
        finally:
            os._exit(128 + number)

    def _interrupt(self, number: int, frame: FrameType | None) -> None:
        if self.status:
            return
        if is_uninterrupted(frame):
            self._send_later(number)
            return
        self.status = 128 + number
        raise Interrupted

    @uninterrupted  # An exception in a hook for lost exceptions is lost, too.
    def _unraisable(self, lost: Any) -> None:
        """An exception raised in a destructor goes no further: send the signal again."""
        if not issubclass(lost.exc_type, Interrupted):
            sys.__unraisablehook__(lost)
            return
        number, self.status = self.status - 128, 0
        self._send_later(number)

    def _send_later(self, number: int) -> None:
        if not self._sending:  # Each signal that it sends comes back here until one is heard.
            self._sending = True
            _thread.start_new_thread(self._send_until_heard, (number,))  # A `Thread` would wait for its start.

    def _send_until_heard(self, number: int) -> None:
        while True:
            time.sleep(_AGAIN_SECONDS)
            if self.status:
                break
            os.kill(os.getpid(), number)
        self._sending = False


@contextmanager
def signals_held_back() -> Iterator[None]:
    """Let the signals that end the program wait until the block is over."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    try:
        # Within the block: a signal that came just before is raised here, when the others are blocked already.
        signal.pthread_sigmask(signal.SIG_BLOCK, ENDING_SIGNALS)
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
