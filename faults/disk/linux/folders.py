"""Folders that a hostile program may have changed, entered by descriptors: never through a link, never into a mount.

    with opened_folder(path) as descriptor:   # raises NotAFolder for anything but a directory of its own
        cursor = Cursor(descriptor)
        cursor.down("name"); os.listdir(cursor.descriptor); cursor.up()

Each name is opened by openat2(2) with RESOLVE_NO_SYMLINKS and RESOLVE_NO_XDEV. Device numbers would not suffice: a bind
mount of the same filesystem has the same number. The kernel compares the mounts themselves, without extra cost.
If openat2 is missing (before Linux 5.6) or forbidden, ``mnt_id`` is read from ``/proc/self/fdinfo``, with five more system
calls. A subvolume of btrfs has a device number of its own but is not a mount: it belongs to the folder.

A cursor holds one descriptor, however deep it is, and no path, so neither depth nor PATH_MAX limits it. It goes up by ``..``
and checks that it arrives where it came from, since a folder may have been moved meanwhile.
"""

import contextlib
import ctypes
import errno
import os
import re
import stat
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any

__all__ = ["Cursor", "NotAFolder", "kind_of", "open_below", "opened_folder", "read_file"]

_libc = ctypes.CDLL(None, use_errno=True)
_OPENAT2 = 437  # asm-generic/unistd.h, on every architecture
_RESOLVE_NO_XDEV = 0x01  # linux/openat2.h
_RESOLVE_NO_SYMLINKS = 0x04
_AT_FDCWD = -100
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY
_ABOVE = os.O_PATH | os.O_DIRECTORY  # It need not be readable.
_MISSING = (errno.ENOSYS, errno.EPERM)
"""Errors of openat2 where the kernel does not have it, or a container's older seccomp profile does not know it."""

_KINDS = {
    stat.S_IFLNK: "a symbolic link",
    stat.S_IFREG: "a file",
    stat.S_IFDIR: "a mount",  # A directory is only ever refused for being one.
    stat.S_IFIFO: "a FIFO",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


class NotAFolder(OSError):
    """Something else is in the place of a directory of ours; ``what`` names it: ``a symbolic link``, ``a mount``, ..."""

    def __init__(self, what: str, name: str) -> None:
        super().__init__(errno.ENOTDIR, f"{what} is in the place of a folder of ours", name)
        self.what = what


class _How(ctypes.Structure):
    _fields_ = (("flags", ctypes.c_uint64), ("mode", ctypes.c_uint64), ("resolve", ctypes.c_uint64))


_HOW_BYTES = ctypes.sizeof(_How)


def open_below(folder: int, name: str, flags: int = _DIRECTORY) -> int:
    """Open this name (or relative path) below a folder; neither a link nor a mount is passed. Raises OSError.

    Where the kernel permits it, reading changes no time of access.

    Raises:
        NotAFolder: for a directory, if it is anything else; for anything, if it is mounted there.
    """
    if not flags & os.O_PATH:
        try:
            return _opened(folder, name, flags | os.O_NOATIME)
        except PermissionError:
            pass  # Only the owner, and root, may leave the time of access alone.
    return _opened(folder, name, flags)


def _opened(folder: int, name: str, flags: int) -> int:
    try:
        return _openat2(folder, name, flags, _RESOLVE_NO_SYMLINKS | _RESOLVE_NO_XDEV)
    except OSError as error:
        if error.errno in _MISSING:
            return _open_and_compare(folder, name, flags)
        if error.errno == errno.EXDEV:
            raise NotAFolder("a mount", name) from None
        if error.errno in (errno.ELOOP, errno.ENOTDIR):
            raise NotAFolder(kind_of(folder, name), name) from None
        raise


def _openat2(folder: int, name: str, flags: int, resolve: int) -> int:
    how = _how(flags | os.O_NOFOLLOW | os.O_CLOEXEC, resolve)
    while (opened := _libc.syscall(_OPENAT2, folder, os.fsencode(name), how, _HOW_BYTES)) < 0:
        if ctypes.get_errno() != errno.EINTR:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), name)
    return int(opened)


@cache
def _how(flags: int, resolve: int) -> Any:
    """A pointer to the kernel's argument, which it only reads."""
    return ctypes.byref(_How(flags, 0, resolve))


def _open_and_compare(folder: int, path: str, flags: int) -> int:
    """Do the work of `open_below`, one name after the other. Opening by O_PATH neither reads nor changes anything."""
    at, *rest = [os.dup(folder)]
    try:
        for name in path.split("/"):
            rest = [os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=at)]
            if _mount_id(rest[0]) != _mount_id(at):
                raise NotAFolder("a mount", path)
            mode = os.fstat(rest[0]).st_mode
            if stat.S_ISLNK(mode) or (flags & os.O_DIRECTORY and not stat.S_ISDIR(mode)):
                raise NotAFolder(_KINDS[stat.S_IFMT(mode)], path)
            left, (at, *rest) = at, rest  # First: an error of close(2) leaves the number free.
            os.close(left)
        return os.open(f"/proc/self/fd/{at}", flags | os.O_CLOEXEC)
    finally:
        for descriptor in (at, *rest):
            os.close(descriptor)


def _mount_id(descriptor: int) -> int:
    with open(f"/proc/self/fdinfo/{descriptor}", "rb", buffering=0) as file:
        found = re.search(rb"^mnt_id:\s*(\d+)$", file.read(), re.MULTILINE)
    assert found, "Linux has had it since 3.15"
    return int(found[1])


def kind_of(folder: int, path: str) -> str:
    """Say what the first part of a relative path is that is not a directory."""
    parts = path.split("/")
    for count in range(1, len(parts) + 1):
        mode = os.stat("/".join(parts[:count]), dir_fd=folder, follow_symlinks=False).st_mode
        if not stat.S_ISDIR(mode):
            break
    return _KINDS[stat.S_IFMT(mode)]


@contextlib.contextmanager
def opened_folder(path: Path, names: int = 1) -> Iterator[int]:
    """A folder, open for the block: no name of its path is a link, and none of its last ``names`` a mount. Raises OSError.

    Raises:
        NotAFolder: there is something else.
    """
    path = path.absolute()
    above = path.parents[names - 1] if names else path
    descriptor = _open_anywhere(above)
    try:
        if names:
            left, descriptor = descriptor, open_below(descriptor, str(path.relative_to(above)))
            os.close(left)
        yield descriptor
    finally:
        os.close(descriptor)


def read_file(path: Path) -> bytes:
    """The content of a file in a folder of ours; empty if file or folder is gone or something else by now. Raises OSError."""
    try:
        with opened_folder(path.parent) as folder:
            descriptor = open_below(folder, path.name, os.O_RDONLY | os.O_NONBLOCK)
            with open(descriptor, "rb") as file:
                return file.read() if stat.S_ISREG(os.fstat(descriptor).st_mode) else b""
    except (FileNotFoundError, NotAFolder):
        return b""


def _open_anywhere(path: Path) -> int:
    """Open a folder, on whatever mount, by a path without links. Raises OSError, NotAFolder."""
    try:
        return _openat2(_AT_FDCWD, str(path), _ABOVE, _RESOLVE_NO_SYMLINKS)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENOTDIR):
            raise NotAFolder("a symbolic link" if path.resolve() != path else "a file", str(path)) from None
        if error.errno not in _MISSING:
            raise
        if path.resolve() != path:
            raise NotAFolder("a symbolic link", str(path)) from None
        return os.open(path, _ABOVE | os.O_NOFOLLOW | os.O_CLOEXEC)


class Cursor:
    """A place in a tree, beginning at an open folder, which stays the caller's. A context manager."""

    def __init__(self, folder: int) -> None:
        self._start = self.descriptor = folder
        self.state = os.fstat(folder)
        self.names: list[str] = []
        """The path from the start to where it is."""
        self._above: list[tuple[int, int]] = []

    def __enter__(self) -> "Cursor":
        return self

    def __exit__(self, *_: object) -> None:
        if self.descriptor != self._start:
            os.close(self.descriptor)

    def down(self, name: str) -> None:
        """Enter a folder. Raises OSError, NotAFolder; it stays where it is then."""
        self._above.append((self.state.st_dev, self.state.st_ino))
        try:
            self._take(open_below(self.descriptor, name))
        except OSError:
            self._above.pop()
            raise
        self.names.append(name)

    def up(self) -> str:
        """Go back to the folder above; returns the name of the one left. Raises OSError, also if that was moved."""
        if len(self._above) == 1:
            self._above.pop()
            self._take(self._start)
            return self.names.pop()
        opened = os.open("..", _DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=self.descriptor)
        found = os.fstat(opened)
        if (found.st_dev, found.st_ino) != self._above[-1]:
            os.close(opened)
            raise OSError(errno.ESTALE, "moved away meanwhile", "/".join(self.names))
        self._above.pop()
        self._take(opened, found)
        return self.names.pop()

    def go(self, names: Sequence[str]) -> None:
        """Go to the folder of this path from the start. Raises OSError, NotAFolder."""
        while self.names != list(names[: len(self.names)]):
            self.up()
        for name in names[len(self.names) :]:
            self.down(name)

    def _take(self, descriptor: int, state: os.stat_result | None = None) -> None:
        state = state or os.fstat(descriptor)
        left, self.descriptor, self.state = self.descriptor, descriptor, state
        if left != self._start:  # Last: an error of close(2) leaves the number free.
            os.close(left)
