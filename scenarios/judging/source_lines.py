"""Which line of a Python target makes a system call: its stack is written at the very return from the call.

The thread is held before its call, so it cannot say anything. It gets a signal then, which it hears as soon as the call has
returned, while Python still stands at the line. The handler is `faulthandler`'s: it writes the stack, in C, to a file of ours.
"""

from __future__ import annotations

import faulthandler
import os
import re
import signal
import sysconfig
from pathlib import Path
from typing import Final

from crashmatrix.scenarios.judging.locations import relative
from crashmatrix.scenarios.judging.watched import Hit
from crashmatrix.scenarios.processes.process_tree import ProcessTree

__all__ = ["SourceLines", "line_of"]

_SIGNAL: Final = signal.SIGRTMAX - 2
_FRAME = re.compile(r'File "(.+)", line (\d+) in ')
_LIBRARY = sysconfig.get_path("stdlib")
_PACKAGE = Path(__file__).parents[2]
_HARNESS = str(_PACKAGE) + os.sep
_UNDER_TEST = tuple(f"{_PACKAGE / part}{os.sep}" for part in ("reference_wal", "scenarios/systems"))
"""The parts of crashmatrix that are tested, and do not test."""


class SourceLines:
    """Finds the lines of some hits of one run. Close it when the run is over."""

    def __init__(self) -> None:
        self._file = os.memfd_create("crashmatrix-stack")
        self._read = 0
        self._waiting: Hit | None = None
        self.found: dict[Hit, str] = {}
        """``file:line`` by hit."""
        self.stacks: dict[Hit, str] = {}
        """All lines by hit, innermost first."""

    def listen(self) -> None:
        """In the process of the target: get ready."""
        faulthandler.register(_SIGNAL, file=self._file, all_threads=False)

    def at(self, hit: Hit, tree: ProcessTree) -> None:
        """A thread is held at a hit: have it write its stack when it goes on."""
        self.read()
        if tree.held and tree.signal_held(_SIGNAL):
            self._waiting = hit

    def read(self) -> None:
        """Read the stack that was written since, if one was to be."""
        text = os.pread(self._file, 1 << 16, self._read).decode(errors="replace")
        self._read += len(text.encode())
        if self._waiting and (line := line_of(text)):
            self.found[self._waiting] = line
            self.stacks[self._waiting] = " ".join(":".join(frame) for frame in _users(text))
        self._waiting = None

    def close(self) -> None:
        """Read the last, and let go of the file."""
        self.read()
        os.close(self._file)


def line_of(stack: str) -> str:
    """Return ``file:line`` of the target's innermost frame, past Python's library and the harness; empty without one."""
    users = _users(stack)
    return relative(f"{users[0][0]}:{users[0][1]}") if users else ""


def _users(stack: str) -> list[tuple[str, str]]:
    others = (_LIBRARY, _HARNESS, "<")
    return [
        (path, line)
        for path, line in _FRAME.findall(stack)
        if path.startswith(_UNDER_TEST) or not path.startswith(others)
    ]
