"""Which line of a program makes a system call: the innermost caller that has source and is not of the C library.

addr2line of binutils reads debug information of every kind; who compiles with ``-g`` usually has it. Without it, or without debug
information, nothing is said.
"""

from __future__ import annotations

import shutil
import struct
import subprocess
from contextlib import suppress

from crashmatrix.scenarios.judging.locations import relative
from crashmatrix.scenarios.processes.calls.unwinding import Frame, callers

__all__ = ["native_line"]

_LIBRARIES = ("libc.", "libc-", "ld-", "libpthread", "libm.", "libstdc++", "libgcc", "libpython", "python")
_SECONDS_MAX = 20


def native_line(thread: int) -> str:
    """Return ``file:line`` of a thread that waits before a system call; empty if it is not known."""
    with suppress(OSError, struct.error, IndexError, ValueError, subprocess.SubprocessError):
        for frame in callers(thread):
            if not frame.path.rpartition("/")[2].startswith(_LIBRARIES) and (line := _resolved(frame)):
                return relative(line)
    return ""


def _resolved(frame: Frame) -> str:
    program = shutil.which("addr2line")
    if not program:
        return ""
    asked = [program, "-e", str(frame.file), hex(frame.address - 1)]
    ran = subprocess.run(asked, capture_output=True, text=True, check=False, timeout=_SECONDS_MAX)
    line = ran.stdout.partition(" ")[0].strip()
    return line if line.rpartition(":")[2].isdigit() and not line.startswith("??") and not line.endswith(":0") else ""
