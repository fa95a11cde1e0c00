"""The files that a waiting call is about: its arguments, followed into memory and descriptors.

Several descriptors may be one open file description: dup(2) and fork(2) copy descriptors, open(2) makes a new description.
kcmp(2) says which are one. Where it is refused, only a descriptor itself is known to be the same.
"""

from __future__ import annotations

import ctypes
import os
import stat
import struct
from contextlib import suppress
from pathlib import Path
from typing import Final

from crashmatrix.scenarios.processes.calls.seccomp import Call
from crashmatrix.scenarios.processes.calls.table import Kind, column
from crashmatrix.scenarios.processes.held import children_of

__all__ = [
    "OpenFile",
    "changes",
    "descriptor",
    "int32",
    "is_same",
    "memory",
    "open_file",
    "open_flags",
    "opened",
    "others",
    "touched",
]

OpenFile = tuple[int, int]
"""A process and its descriptor."""

_PATH_BYTES_MAX = 4096
_AT_FDCWD = 2**32 - 100
_AF_UNIX = 1
_OPENS = {"open": 1, "openat": 2}
"""Which argument has the flags."""
_IOCB = struct.Struct("<QIIHhI")
"""linux/aio_abi.h up to the descriptor: data, key, flags, opcode, priority, descriptor."""
_IOCB_CHANGES = {1, 2, 3, 8}
"""IOCB_CMD_PWRITE, FSYNC, FDSYNC, PWRITEV."""
_IOCBS_MAX = 1024
_KCMP: Final = (312, 272)
_KCMP_FILE = 0
_LIBC = ctypes.CDLL(None, use_errno=True)


def touched(call: Call, name: str, kind: Kind) -> list[str]:
    """Return the paths of the files that a call changes, as the kernel says them. Raises OSError, OverflowError, struct.error."""
    if name == "io_submit":
        return _submitted(call)
    if name == "bind":
        return _bound(call)
    return [opened(call, call.arguments[at]) for at in kind.files] + [_path(call, *pair) for pair in kind.paths]


def changes(call: Call, name: str) -> bool:
    """Return whether a call can change anything: fchown and fchmod are often given what there is already."""
    if name not in ("fchown", "fchmod"):
        return True
    now = os.stat(f"/proc/{call.pid}/fd/{int32(call.arguments[0])}")  # noqa: PTH116  # follows to what is open
    if name == "fchmod":
        return stat.S_IMODE(now.st_mode) != call.arguments[1] & 0o7777
    pairs = zip(call.arguments[1:3], (now.st_uid, now.st_gid), strict=True)
    return any(int32(wanted) != -1 and wanted & 0xFFFFFFFF != there for wanted, there in pairs)


def opened(call: Call, number: int) -> str:
    """Return the path of an open descriptor."""
    return _link(call, f"fd/{int32(number)}")


def open_flags(call: Call, name: str) -> int | None:
    """Return the flags with which a call opens a file, None if it opens none. Raises OSError."""
    if name == "creat":
        return os.O_CREAT | os.O_WRONLY | os.O_TRUNC
    if name == "openat2":  # The first field of struct open_how, see linux/openat2.h.
        return int.from_bytes(memory(call, call.arguments[2], 8), "little")
    return call.arguments[_OPENS[name]] if name in _OPENS else None


def descriptor(call: Call, number: int) -> dict[str, int]:
    """Return what /proc says of an open descriptor: ``pos``, ``flags`` and others."""
    lines = (line.split() for line in _read(f"/proc/{call.pid}/fdinfo/{int32(number)}", 512).decode().splitlines()[:2])
    return {name.rstrip(":"): int(value, 8 if name == "flags:" else 10) for name, value in lines}


def memory(call: Call, address: int, length: int) -> bytes:
    """Read a waiting thread's memory, up to the end of what is mapped. Raises OSError."""
    return _read(f"/proc/{call.pid}/mem", length, address)


def int32(value: int) -> int:
    """Return the C int that an argument holds."""
    low = value & 0xFFFFFFFF
    return low - 2**32 if low & 2**31 else low


def open_file(call: Call) -> OpenFile:
    """Return the descriptor that a call is about, its first argument. Raises OSError."""
    status = Path(f"/proc/{call.pid}/status").read_text()
    return int(status.partition("Tgid:")[2].split()[0]), int32(call.arguments[0])


def is_same(one: OpenFile, other: OpenFile) -> bool:
    """Whether two descriptors are one open file description."""
    same = one == other
    return same or _LIBC.syscall(_KCMP[column()], one[0], other[0], _KCMP_FILE, one[1], other[1]) == 0


def others(call: Call) -> list[OpenFile]:
    """Return the descriptors of the same file by other descriptions, in all processes below this one. Raises OSError."""
    ours = open_file(call)
    about = os.stat(_file(ours))  # noqa: PTH116  # follows to what is open
    found = []
    for pid in _below(os.getpid()):
        with suppress(OSError):  # It was killed meanwhile.
            for number in map(int, os.listdir(f"/proc/{pid}/fd")):  # noqa: PTH208  # names only
                with suppress(OSError):
                    if os.path.samestat(os.stat(_file((pid, number))), about) and not is_same((pid, number), ours):  # noqa: PTH116
                        found.append((pid, number))
    return found


def _read(path: str, length: int, offset: int = 0) -> bytes:
    """Read once; a file object would take twice as long, and a run may make a million calls."""
    file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.pread(file, length, offset)
    finally:
        os.close(file)


def _path(call: Call, directory_at: int | None, path_at: int) -> str:
    address = call.arguments[path_at]
    path = os.fsdecode(memory(call, address, _PATH_BYTES_MAX).partition(b"\0")[0]) if address else ""
    return _absolute(call, path, directory_at)


def _absolute(call: Call, path: str, directory_at: int | None = None) -> str:
    if not path.startswith("/"):
        path = os.path.join(_directory(call, directory_at), path)  # noqa: PTH118  # need not exist, nor be UTF-8
    return os.path.normpath(path)


def _directory(call: Call, at: int | None) -> str:
    relative = at is None or call.arguments[at] & 0xFFFFFFFF == _AT_FDCWD
    return _link(call, "cwd" if at is None or relative else f"fd/{int32(call.arguments[at])}")


def _link(call: Call, name: str) -> str:
    return os.readlink(f"/proc/{call.pid}/{name}")  # noqa: PTH115  # as the kernel says it


def _submitted(call: Call) -> list[str]:
    """The files of a batch for io_submit(2) that its writes and syncs are for."""
    count = min(call.arguments[1], _IOCBS_MAX)
    pointers = memory(call, call.arguments[2], 8 * count)
    found = []
    for (address,) in struct.iter_unpack("<Q", pointers):
        *_, operation, _, number = _IOCB.unpack(memory(call, address, _IOCB.size))
        if operation in _IOCB_CHANGES:
            found.append(opened(call, number))
    return found


def _bound(call: Call) -> list[str]:
    """The name that bind(2) gives to a socket; none but local sockets have one."""
    address = memory(call, call.arguments[1], min(call.arguments[2] & 0xFFFFFFFF, 110))
    if struct.unpack("<H", address[:2])[0] != _AF_UNIX or not (path := address[2:].partition(b"\0")[0]):
        return []
    return [_absolute(call, os.fsdecode(path))]


def _file(file: OpenFile) -> str:
    return f"/proc/{file[0]}/fd/{file[1]}"


def _below(pid: int) -> list[int]:
    return [below for child in children_of(pid) for below in (child, *_below(child))]
