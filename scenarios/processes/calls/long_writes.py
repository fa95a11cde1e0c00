"""Writes cut short: the kernel copies a write page by page, and a SIGKILL may end it between two pages.

The file then holds a prefix of the write, up to a page boundary of the file. To show that state without a kill, we do the
write in place of the kernel while the thread waits for its call: up to the boundary, then (once somebody has looked) the rest;
the call returns what it would have returned. We write through the very open file of the process (pidfd_getfd(2)). So
position, O_APPEND and O_SYNC are as they are for the process, and nothing has to be undone.

Not cut: direct writes, which the kernel hands to the disk as one, and what io_submit, sendfile, splice and copy_file_range
write. A limit on file sizes (RLIMIT_FSIZE) is the process's, not ours, so nothing is cut under one.

`short_write` ends a write halfway, as a disk does that is full by then: where a sector of the file ends, if the write has such a
place, since no local filesystem has smaller blocks.
"""

from __future__ import annotations

import ctypes
import os
import re
import stat
import struct
from pathlib import Path
from typing import Final

from crashmatrix.scenarios.processes.calls.arguments import descriptor, int32, memory
from crashmatrix.scenarios.processes.calls.seccomp import Call

__all__ = [
    "CUT",
    "WRITES",
    "LongWrite",
    "boundaries",
    "halfway",
    "length_of",
    "limits_files",
    "long_write",
    "short_write",
    "written_range",
]

CUT = ".cut"
"""The suffix of crash points inside a write: ``call.write.cut``."""

WRITES: Final = ("write", "pwrite64", "writev", "pwritev", "pwritev2")

_PAGE, _SECTOR = os.sysconf("SC_PAGESIZE"), 512
_LENGTH_MAX = 0x7FFFF000 & -_PAGE
_PIDFD_GETFD = 438
_RWF_SEEN = 0x02 | 0x04  # RWF_DSYNC, RWF_SYNC; with any other flag the kernel may write in another way.
_LIBC = ctypes.CDLL(None, use_errno=True)


class LongWrite:
    """A write that crosses pages. ``cuts`` are the lengths after which it is looked at: its first page, middle and last."""

    def __init__(self, call: Call, cuts: list[int], offset: int, extents: list[tuple[int, int]], flags: int) -> None:
        self.cuts = cuts
        self._call, self._offset, self._extents, self._flags = call, offset, extents, flags
        self._file, self._data, self._written, self._error = -1, b"", 0, 0

    def write_until(self, length: int) -> None:
        """Do the write up to a length; a write that cannot be done stays as it is."""
        try:
            if self._file < 0:
                self._open()
            while self._written < length and not self._error:
                self._write(self._data[self._written : length])
        except OSError as error:
            self._error = error.errno or 0

    def finish(self) -> int | None:
        """Do the rest; returns what the call returns, an error number negative. None if nothing was done of it."""
        if self._file < 0:
            return None
        self.write_until(len(self._data))
        return self.stop()

    def stop(self) -> int | None:
        """Do no more; returns what the call returns. None if nothing was done of it."""
        if self._file < 0:
            return None
        os.close(self._file)
        return self._written or -self._error

    def _open(self) -> None:
        status = Path(f"/proc/{self._call.pid}/status").read_text()
        process = int(status.partition("Tgid:")[2].split()[0])
        if limits_files(process):
            return
        self._data = b"".join(memory(self._call, *extent) for extent in self._extents)[:_LENGTH_MAX]
        pidfd = os.pidfd_open(process)
        try:
            self._file = _LIBC.syscall(_PIDFD_GETFD, pidfd, int32(self._call.arguments[0]), 0)
        finally:
            os.close(pidfd)

    def _write(self, data: bytes) -> None:
        if self._file < 0:
            raise OSError
        if self._offset < 0:
            self._written += (
                os.pwritev(self._file, [data], -1, self._flags) if self._flags else os.write(self._file, data)
            )
        else:
            self._written += os.pwritev(self._file, [data], self._offset + self._written, self._flags)


def long_write(call: Call, name: str) -> LongWrite | None:
    """Return the write that a call makes, if it can be cut. Raises OSError, OverflowError, struct.error."""
    extents, length, offset, flags = _request(call, name)
    if length < 2 or flags & ~_RWF_SEEN or (offset >= 0 and not boundaries(offset, length)):
        return None
    about = descriptor(call, call.arguments[0])
    cuts = boundaries(_start(call, offset), length)
    regular = cuts and not about["flags"] & os.O_DIRECT and _size(call) >= 0
    return LongWrite(call, cuts, offset, extents, flags) if regular else None


def length_of(call: Call, name: str) -> int:
    """Return how many bytes a call writes; 0 if it is never done in part. Raises OSError, OverflowError, struct.error."""
    if name not in WRITES:
        return 0
    _, length, _, flags = _request(call, name)
    whole = length < 2 or flags & ~_RWF_SEEN or descriptor(call, call.arguments[0])["flags"] & os.O_DIRECT
    return 0 if whole or _size(call) < 0 else length


def written_range(call: Call, name: str) -> tuple[int, int]:
    """Return where in its file a call writes, from and to. Raises OSError, OverflowError, struct.error."""
    _, length, offset, _ = _request(call, name)
    start = _start(call, offset)
    return start, start + length


def limits_files(process: int) -> bool:
    """Whether a process may write files up to some size only. prlimit(2) does not say so of other users' processes everywhere."""
    return not re.search(r"^Max file size +unlimited ", Path(f"/proc/{process}/limits").read_text(), re.MULTILINE)


def short_write(call: Call, name: str) -> int | None:
    """Do about half of a write; returns its length. None if nothing was done, and the call is as it was."""
    if not length_of(call, name):
        return None
    extents, length, offset, flags = _request(call, name)
    write = LongWrite(call, [], offset, extents, flags)
    write.write_until(halfway(_start(call, offset), length))
    return write.stop()


def halfway(offset: int, length: int) -> int:
    """Return the length at which a write is about half done: at the end of a sector of the file, if it crosses one."""
    ends = range(_SECTOR - offset % _SECTOR, length, _SECTOR)
    return min(ends, key=lambda end: abs(2 * end - length)) if ends else length // 2


def _start(call: Call, offset: int) -> int:
    """Where in the file a write begins."""
    about = descriptor(call, call.arguments[0])
    return _size(call) if about["flags"] & os.O_APPEND else about["pos"] if offset < 0 else offset


def _request(call: Call, name: str) -> tuple[list[tuple[int, int]], int, int, int]:
    """The buffers of a write, their length, the offset (-1: the current position), and flags."""
    extents = _extents(call) if "v" in name else [(call.arguments[1], call.arguments[2])]
    length = min(sum(length for _, length in extents), _LENGTH_MAX)
    flags = call.arguments[5] & 0xFFFFFFFF if name == "pwritev2" else 0
    offset = call.arguments[3] if name.startswith("p") else -1
    offset = -1 if offset == 2**64 - 1 else offset  # pwritev2 at the current position
    return extents, length, offset, flags


def boundaries(offset: int, length: int) -> list[int]:
    """Return the first, the middle and the last length at which a write of ``length`` bytes crosses a page of the file."""
    found = range(_PAGE - offset % _PAGE, length, _PAGE)
    return sorted({found[0], found[len(found) // 2], found[-1]}) if found else []


def _extents(call: Call) -> list[tuple[int, int]]:
    """The buffers of a vector, with their lengths."""
    return list(struct.iter_unpack("<QQ", memory(call, call.arguments[1], 16 * min(call.arguments[2], 1024))))


def _size(call: Call) -> int:
    """The size of the file; -1 if it is not a regular one."""
    found = os.stat(f"/proc/{call.pid}/fd/{int32(call.arguments[0])}")  # noqa: PTH116  # follows to what is open
    return found.st_size if stat.S_ISREG(found.st_mode) else -1
