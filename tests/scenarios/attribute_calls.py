"""One call each for `test_table`: those that change attributes, and those that write without write(2).

Each is made in a folder with a file ``old``; ``../away`` lies outside. Whether the kernel can do it does not matter.
"""

# ruff: noqa: PTH101, PTH116 -- system calls are meant, by name

import contextlib
import ctypes
import fcntl
import mmap
import os
import socket
import struct
from collections.abc import Callable
from pathlib import Path

from crashmatrix.scenarios.processes.calls.system_calls import Coverage, run_watched
from crashmatrix.scenarios.processes.calls.table import KINDS, REFUSED, column
from crashmatrix.scenarios.processes.jobs import Channel

_LIBC = ctypes.CDLL(None, use_errno=True)
_FICLONE, _MADV_REMOVE, _AT_FDCWD = 0x40049409, 9, -100
_TIMES = ctypes.create_string_buffer(64)


def _raw(name: str, *arguments: object) -> int:
    return int(_LIBC.syscall(KINDS[name].numbers[column()], *arguments))


def _calls(root: Path) -> dict[str, Callable[[], object]]:
    old, new, away = str(root / "old"), str(root / "new"), str(root.parent / "away")
    inside, file, other = os.open(root, os.O_RDONLY), os.open(old, os.O_RDWR), os.open(away, os.O_RDWR)
    path = old.encode()
    return {
        "chmod": lambda: os.chmod(old, 0o600),
        "fchmod": lambda: os.fchmod(file, 0o600),
        "fchmodat": lambda: os.chmod("old", 0o600, dir_fd=inside),
        "fchmodat2": lambda: _raw("fchmodat2", _AT_FDCWD, path, 0o600, 0),
        "chown": lambda: os.chown(old, -1, -1),
        "lchown": lambda: os.lchown(old, -1, -1),
        "fchown": lambda: os.fchown(file, 1, -1),
        "fchownat": lambda: os.chown("old", -1, -1, dir_fd=inside),
        "utime": lambda: _raw("utime", path, _TIMES),
        "utimes": lambda: _raw("utimes", path, _TIMES),
        "futimesat": lambda: _raw("futimesat", inside, b"old", _TIMES),
        "utimensat": lambda: os.utime(old, ns=(1, 1)),
        "utimensat of a descriptor": lambda: os.utime(file, ns=(1, 1)),
        "setxattr": lambda: os.setxattr(old, "user.a", b"b"),
        "lsetxattr": lambda: os.setxattr(old, "user.a", b"b", follow_symlinks=False),
        "fsetxattr": lambda: os.setxattr(file, "user.a", b"b"),
        "setxattrat": lambda: _raw("setxattrat", inside, b"old", 0, b"user.a", _TIMES, 16),
        "removexattr": lambda: os.removexattr(old, "user.a"),
        "lremovexattr": lambda: os.removexattr(old, "user.a", follow_symlinks=False),
        "fremovexattr": lambda: os.removexattr(file, "user.a"),
        "removexattrat": lambda: _raw("removexattrat", inside, b"old", 0, b"user.a"),
        "file_setattr": lambda: _raw("file_setattr", inside, b"old", _TIMES, 24, 0),
        "mknod": lambda: _raw("mknod", new.encode(), 0o10600, 0),
        "mknodat": lambda: _raw("mknodat", inside, b"new", 0o10600, 0),
        "bind": lambda: socket.socket(socket.AF_UNIX).bind(os.path.relpath(new)),
        "ioctl": lambda: fcntl.ioctl(file, _FICLONE, other),
        "creat": lambda: _raw("creat", new.encode(), 0o600),
        "open_by_handle_at": lambda: _raw("open_by_handle_at", inside, _TIMES, os.O_TRUNC),
        "sync_file_range": lambda: _raw("sync_file_range", file, 0, 0, 2),
        "syncfs": lambda: _raw("syncfs", inside),
        "splice": lambda: _splice(file),
        "io_submit": lambda: _submit(file, 1),
        "madvise": lambda: _remove(file),
        # Nothing to see:
        "attributes elsewhere": lambda: os.chmod(away, 0o600),
        "times elsewhere": lambda: os.utime(other),
        "clone to elsewhere": lambda: fcntl.ioctl(other, _FICLONE, file),
        "another ioctl": lambda: fcntl.ioctl(file, 0x541B, b"1234"),  # FIONREAD
        "asynchronous read": lambda: _submit(file, 0),
        "asynchronous write elsewhere": lambda: _submit(other, 1),
        "a socket without a name": lambda: socket.socket(socket.AF_UNIX).bind("\0" + new),
        "the owner that it has": lambda: os.fchown(file, os.getuid(), -1),
        "the mode that it has": lambda: os.fchmod(file, 0o644),
        "reading attributes": lambda: (os.listxattr(old), os.stat(old)),
    }


def _splice(file: int) -> None:
    reader, writer = os.pipe()
    os.write(writer, b"x")
    os.splice(reader, file, 1)


def _submit(file: int, operation: int) -> None:
    context = ctypes.c_uint64(0)
    setup, submit = ((206, 209), (0, 2))[column()]
    _LIBC.syscall(setup, 1, ctypes.byref(context))
    data = ctypes.create_string_buffer(b"x")
    control = struct.pack("<QIIHhIQQqQII", 0, 0, 0, operation, 0, file, ctypes.addressof(data), 1, 0, 0, 0, 0)
    block = ctypes.create_string_buffer(control, 64)
    assert _LIBC.syscall(submit, context, 1, ctypes.byref(ctypes.c_void_p(ctypes.addressof(block)))) == 1


def _remove(file: int) -> None:
    mmap.mmap(file, 1, mmap.MAP_SHARED, mmap.PROT_READ).madvise(_MADV_REMOVE, 0, 1)


def watch_attribute_call(_: Channel, name: str, root: Path) -> tuple[list[str], bool]:
    """Return the crash points of one call, and whether the file was untouched at each."""
    (root / "old").write_bytes(b"old")
    os.chmod(root / "old", 0o644)
    (root.parent / "away").write_bytes(b"away")
    before = _look(root)
    points: list[tuple[str, bool]] = []

    def body() -> None:
        os.chdir(root.parent)
        with contextlib.suppress(OSError):  # Not on every filesystem or kernel.
            _calls(root)[name]()
        os._exit(0)

    run_watched(
        body, root=root, journal=None, failpoints=(), at=lambda point, *_: points.append((point, _look(root) == before))
    )
    return [point for point, _ in points], all(untouched for _, untouched in points)


def try_a_ring(_: Channel, root: Path) -> tuple[int, list[str]]:
    """Return the error number of io_uring_setup(2), and what the run could not cover."""
    coverage = Coverage()

    def body() -> None:
        _LIBC.syscall(REFUSED["io_uring_setup"][column()], 1, ctypes.create_string_buffer(120))
        os._exit(ctypes.get_errno())

    status = run_watched(body, root=root, journal=None, failpoints=(), at=lambda *_: None, coverage=coverage)
    return status, coverage.lacks


def _look(root: Path) -> list[object]:
    looked = [(path.name, path.lstat()) for path in sorted(root.iterdir())]
    return [(name, one.st_mode, one.st_size, one.st_ctime_ns, one.st_mtime_ns) for name, one in looked]
