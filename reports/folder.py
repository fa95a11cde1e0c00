"""A report directory's files, written and read without following a symbolic link.

A report may come from an archive, or lie where others write. So its names may lead anywhere. Therefore:

1. The directory is opened once, not through a link. All writing goes through its descriptor.
2. A file is written under a new name of its own (`O_EXCL`), then renamed to its place. The rename replaces a link; a
   file that has a second name elsewhere keeps its content there.
3. Only regular files are read. A FIFO, a device, a directory or a link is `NotAFile`, found before anything waits for it.
"""

from __future__ import annotations

import errno
import os
import re
import secrets
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from crashmatrix.reports.formats.text import visible

__all__ = ["Folder", "NotAFile", "ReportError", "allocated", "copy_file", "is_leftover", "open_file"]

_KINDS = {
    stat.S_IFLNK: "a symbolic link", stat.S_IFDIR: "a directory", stat.S_IFIFO: "a FIFO", stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device", stat.S_IFBLK: "a device",
}  # fmt: skip
_LEFTOVER = re.compile(r".+\.[0-9a-f]{16}\.tmp")
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class ReportError(Exception):
    """The report directory cannot be used; the message says why and what to do, in one line, whatever names it has to quote."""

    def __init__(self, message: str) -> None:
        super().__init__(visible(message).replace("\n", " "))


class NotAFile(OSError):
    """A name does not lead to a regular file; `strerror` says what it leads to."""

    def __str__(self) -> str:
        return str(self.strerror)


def allocated(status: os.stat_result) -> int:
    """Return how many bytes a file takes on the disk: a file with holes takes less than its size."""
    return status.st_blocks * 512


def is_leftover(name: str) -> bool:
    """Whether this is a file whose program died before renaming it to its place."""
    return _LEFTOVER.fullmatch(name) is not None


def open_file(path: str | Path, within: int | None = None) -> BinaryIO:
    """Open a regular file to read it, in the directory with the descriptor `within`. Raises NotAFile, OSError."""
    _refuse_other_kinds(os.stat(path, dir_fd=within, follow_symlinks=False))  # Opening a device may start it.
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=within)
    file = open(descriptor, "rb")  # noqa: SIM115  # the caller closes it
    try:
        _refuse_other_kinds(os.fstat(descriptor))
    except NotAFile:
        file.close()
        raise
    return file


def copy_file(source: Path, to: Path) -> None:
    """Copy a regular file to a new file in a folder that nobody else writes. Raises NotAFile, OSError."""
    with open_file(source) as file, open(to, "xb") as copy:
        shutil.copyfileobj(file, copy, 2**20)


def _refuse_other_kinds(status: os.stat_result) -> None:
    if kind := _kind(status.st_mode):
        raise NotAFile(errno.EINVAL, f"it is {kind}, not a file")


def _kind(mode: int) -> str:
    return _KINDS.get(stat.S_IFMT(mode), "")


class Folder:
    """An open directory. Use as a context manager, or `close` it."""

    def __init__(self, path: Path, descriptor: int) -> None:
        self.path, self._descriptor = path, descriptor

    @classmethod
    def open(cls, path: Path) -> Folder:
        """Open a directory. Raises NotAFile for a symbolic link, and OSError."""
        if _kind(path.lstat().st_mode) == "a symbolic link":
            raise NotAFile(errno.ELOOP, "it is a symbolic link")
        return cls(path, os.open(path, _DIRECTORY))

    def within(self, name: str, *, make: bool = False) -> Folder:
        """Open a directory in this one. Raises OSError."""
        if make and name not in self.names():
            os.mkdir(name, dir_fd=self._descriptor)
        return Folder(self.path / name, os.open(name, _DIRECTORY, dir_fd=self._descriptor))

    def close(self) -> None:
        """Close it."""
        os.close(self._descriptor)

    def __enter__(self) -> Folder:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def names(self) -> list[str]:
        """The names of its entries, sorted."""
        return sorted(os.listdir(self._descriptor))  # noqa: PTH208  # a descriptor has no path

    def kind(self, name: str) -> str:
        """Return what a name is: ``a symbolic link``, ``a directory``, ...; empty for a regular file."""
        return _kind(os.stat(name, dir_fd=self._descriptor, follow_symlinks=False).st_mode)

    def is_in_place(self) -> bool:
        """Whether the folder's path still leads to the folder."""
        try:
            return os.path.samestat(self.path.lstat(), os.fstat(self._descriptor))
        except FileNotFoundError:
            return False

    def open_file(self, name: str) -> BinaryIO:
        """Open one of its regular files to read. Raises NotAFile, OSError."""
        return open_file(name, self._descriptor)

    def open_to_append(self, name: str) -> BinaryIO:
        """Open a regular file, which has no other name, to read it and to write at its end. Raises NotAFile, OSError."""
        self.open_file(name).close()
        flags = os.O_RDWR | os.O_APPEND | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        file = open(os.open(name, flags, dir_fd=self._descriptor), "r+b")  # noqa: SIM115  # the caller closes it
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode) or status.st_nlink > 1:
            file.close()
            raise NotAFile(errno.EINVAL, "it is not a file of its own")
        return file

    def allocated(self, name: str) -> int:
        """Return how many bytes one of its files takes on the disk."""
        return allocated(os.stat(name, dir_fd=self._descriptor, follow_symlinks=False))

    def check_writable(self, name: str) -> None:
        """Raise OSError if there is such a file and it may not be written. Changes nothing."""
        if name in self.names():
            os.close(os.open(name, os.O_WRONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=self._descriptor))

    def remove(self, name: str) -> None:
        """Remove a file, or a link itself; no error if there is none. Raises OSError for a directory."""
        with suppress(FileNotFoundError):
            os.unlink(name, dir_fd=self._descriptor)

    def remove_tree(self, name: str) -> None:
        """Remove a directory and its contents, without following links; no error if there is none."""
        if name not in self.names():
            return
        if self.kind(name) == "a directory":
            shutil.rmtree(name, dir_fd=self._descriptor)
        else:
            self.remove(name)

    @contextmanager
    def replace(self, name: str, *, sync: bool = True) -> Iterator[BinaryIO]:
        """Write a new file that takes its name when the block ends, and stays open. If the block fails, nothing changes.

        With ``sync``, a power cut leaves the old file or the new one, and the new one once this has returned.
        """
        temporary = f"{name}.{secrets.token_hex(8)}.tmp"
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        file = open(os.open(temporary, flags, 0o666, dir_fd=self._descriptor), "wb")  # noqa: SIM115  # it stays open
        try:
            yield file
            file.flush()
            if sync:
                os.fsync(file.fileno())  # The content first; until now a power cut could lose it.
            os.rename(temporary, name, src_dir_fd=self._descriptor, dst_dir_fd=self._descriptor)
            if sync:
                os.fsync(self._descriptor)  # Then the name.
        except BaseException:
            file.close()
            # It has its name already, and its sync was interrupted; or the folder was closed before this block was thrown away.
            with suppress(OSError):
                os.unlink(temporary, dir_fd=self._descriptor)
            raise

    def write(self, name: str, content: bytes) -> None:
        """Put a file in place. Raises OSError."""
        with self.replace(name) as file:
            file.write(content)
        file.close()

    def copy(self, source: BinaryIO, name: str) -> None:
        """Put a copy of an open file in place. Raises OSError."""
        with self.replace(name) as file:
            shutil.copyfileobj(source, file, 2**20)
        file.close()
