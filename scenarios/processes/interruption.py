"""SIGINT, SIGTERM and SIGHUP: all three end the program as Ctrl-C does, once, and nothing disturbs the clean-up.

    while modules are imported     the program ends at once: there is nothing to clean up yet
    while a command runs           the first signal raises `Interrupted` in the main thread; the rest does nothing
    while the program ends         they do nothing; SIGKILL still ends it

A signal that was ignored when the program began (SIGHUP under nohup) stays ignored.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

__all__ = ["ENDING_SIGNALS", "Interrupted", "Interruption", "signals_held_back"]

ENDING_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Interrupted(KeyboardInterrupt):
    """One of the signals came; it passes through whatever lets a KeyboardInterrupt pass."""


class Interruption:
    """The handling of signals in this process. ``status`` is 128 plus the number of the signal that came; 0: none has."""

    def __init__(self) -> None:
        self.status = 0
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

    def _interrupt(self, number: int, _: FrameType | None) -> None:
        if not self.status:
            self.status = 128 + number
            raise Interrupted

    def _unraisable(self, lost: Any) -> None:
        """An exception raised in a destructor goes no further: send the signal again."""
        if not issubclass(lost.exc_type, Interrupted):
            sys.__unraisablehook__(lost)
            return
        number, self.status = self.status - 128, 0
        threading.Timer(0.01, os.kill, (os.getpid(), number)).start()


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
