"""Failpoints of Python (`crashmatrix.faults`) in a watched process tree: each hit is shown as a system call.

The call is a sleep of an absurd length, behind which the failpoint's name lies in memory. The watching process reads the name,
and answers in the kernel's place, so nobody sleeps. Children that the tree forks show their hits, too.

    struct timespec { SHOWN_SECONDS, bytes of the name }   name in UTF-8
"""

from __future__ import annotations

import ctypes
import errno
import struct
from typing import Final

from crashmatrix import faults
from crashmatrix.scenarios.processes.calls.arguments import memory
from crashmatrix.scenarios.processes.calls.seccomp import Call
from crashmatrix.scenarios.processes.calls.table import SLEEPS, column

__all__ = ["JOURNAL", "SHOWN_SECONDS", "TIMESPEC", "show_own", "shown"]

SHOWN_SECONDS: Final = 3_000_000
"""Five weeks: no program sleeps that long of its own."""

TIMESPEC: Final = struct.Struct("<qq")

JOURNAL: Final = "journal."
"""How the journal's failpoints begin. A watched tree shows none of them: its lines are crash points already."""


def show_own() -> None:
    """Have each hit of a failpoint of this process, and of those that it forks, wait for the watching process."""
    libc = ctypes.CDLL(None, use_errno=True)
    number = SLEEPS["nanosleep"][column()]

    def show(point: faults.FailPoint, _: int) -> None:
        if point.name.startswith(JOURNAL):
            return
        name = point.name.encode()
        told = ctypes.create_string_buffer(TIMESPEC.pack(SHOWN_SECONDS, len(name)) + name)
        while libc.syscall(number, told, None) != 0 and ctypes.get_errno() == errno.EINTR:
            pass  # A signal came first: the call was not answered.

    faults.observe(show)


def shown(call: Call, address: int, seconds: int, name_bytes: int) -> str:
    """Return the name of the failpoint that a sleep shows, empty if it shows none. Raises OSError."""
    if seconds != SHOWN_SECONDS:
        return ""
    return memory(call, address + TIMESPEC.size, name_bytes).decode()
