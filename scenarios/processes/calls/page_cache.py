"""Pages that a failed sync left clean: what a file holds once the page cache is dropped.

When the kernel cannot write a page, ext4 and xfs mark it clean all the same and keep it ("Can Applications Recover from fsync
Failures?", USENIX ATC 2020). Readers see the new content as long as the page is cached. A second fsync finds nothing to write,
and succeeds. Once the page is dropped, the file has its old content again; if the page was changed in between, it was written
as a whole.

A call that is answered in the kernel's place leaves the real pages dirty. So this module keeps account of what the disk would
hold. It compares contents at syncs, page by page:

    disk        the content as of the last sync that succeeded, or as the run began
    clean       pages that a failed sync took from dirty to clean, with the content they had then

A page that is written again is dirty again, also with the same content: a program that writes its data anew after an error, and
syncs it, is right.

Not modelled, and left out: files larger than `SIZE_MAX`, files written to through O_SYNC, O_DSYNC or O_DIRECT, folders, and
everything once msync, syncfs or sync_file_range was called.
"""

from __future__ import annotations

import os
import stat
import struct
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from crashmatrix.scenarios.processes.calls.arguments import descriptor, int32, open_flags
from crashmatrix.scenarios.processes.calls.long_writes import WRITES, written_range
from crashmatrix.scenarios.processes.calls.seccomp import Call

__all__ = ["PAGE", "SIZE_MAX", "CachedFile", "PageCache", "beyond_account"]

SIZE_MAX: Final = 4 << 20
"""Larger files are left out."""

PAGE: Final = 4096

_FSYNCS = ("fsync", "fdatasync")
_OTHER_SYNCS = ("msync", "syncfs", "sync_file_range")
_PAST_THE_CACHE = os.O_SYNC | os.O_DSYNC | os.O_DIRECT
_RWF_SYNCS = 0x02 | 0x04
_TRUNCATES = ("truncate", "ftruncate")
_CHANGES_SOMEWHERE = ("sendfile", "copy_file_range", "splice", "io_submit", "fallocate", "ioctl")
"""Calls that may change a file at a place that is not looked up."""


class CachedFile:
    """One file: what the disk holds, and which pages are clean without being there."""

    def __init__(self, disk: bytes = b"") -> None:
        self.disk = disk
        self._clean: dict[int, bytes] = {}

    def synced(self, content: bytes) -> None:
        """A sync succeeded: what is dirty reaches the disk."""
        self.disk = self.dropped(content)
        self._clean = {at: page for at, page in self._clean.items() if _page(content, at) == page}

    def failed(self, content: bytes) -> None:
        """A sync failed: what is dirty is clean from now on."""
        for at in range(-(-len(content) // PAGE)):
            if _page(content, at) != _page(self.disk, at):
                self._clean[at] = _page(content, at)

    def changed(self, start: int, stop: int | None = None) -> None:
        """These bytes are written, or cut off: their pages are dirty from now on. ``stop`` None: all from ``start`` on."""
        last = max(self._clean, default=-1) if stop is None else (stop - 1) // PAGE
        for at in range(start // PAGE, last + 1):
            self._clean.pop(at, None)

    @property
    def differs(self) -> bool:
        """Whether a page is clean without being on the disk."""
        return bool(self._clean)

    def dropped(self, content: bytes) -> bytes:
        """Return what the file holds once dirty pages have been written, and all pages dropped."""
        pages = range(-(-len(content) // PAGE))
        lost = {at for at in pages if self._clean.get(at) == _page(content, at)}
        last = max((at for at in pages if at not in lost), default=-1)
        written = b"".join(
            _page(self.disk, at).ljust(PAGE, b"\0") if at in lost else _page(content, at).ljust(PAGE, b"\0")
            for at in range(last + 1)
        )
        size = len(content) if last + 1 == len(pages) else max(len(written), min(len(self.disk), len(content)))
        return (written + self.disk[len(written) :])[:size]


def _page(content: bytes, at: int) -> bytes:
    return content[at * PAGE : (at + 1) * PAGE]


class PageCache:
    """The files of a folder, by inode, as a run goes on."""

    def __init__(self, root: Path) -> None:
        self._files: dict[int, CachedFile] = {}
        self._left_out: set[int] = set()
        self._root, self._blind = root, False
        for path in _files_below(root):
            if (content := _content(str(path))) is not None:
                self._files[path.stat().st_ino] = CachedFile(content)

    def note(self, call: Call, name: str, files: Sequence[str], answer: int | None) -> None:
        """Take note of a call that is about to be done, or was answered in the kernel's place."""
        if name in _FSYNCS:
            self._sync(call, failed=answer is not None)
        elif name in _OTHER_SYNCS:
            self._blind = True
        elif name in ("unlink", "unlinkat", "rename", "renameat", "renameat2") and answer is None:
            with suppress(OSError):  # Its inode may be another file's soon.
                found = os.lstat(files[-1])
                if found.st_nlink == 1:
                    self._files.pop(found.st_ino, None)
        elif name in WRITES:
            flags = descriptor(call, call.arguments[0])["flags"]
            if flags & _PAST_THE_CACHE or (name == "pwritev2" and call.arguments[5] & _RWF_SYNCS):
                self._left_out.add(os.stat(_fd(call)).st_ino)  # noqa: PTH116  # follows to what is open
        if answer is None or answer > 0:
            self._change(call, name, files)

    def _change(self, call: Call, name: str, files: Sequence[str]) -> None:
        """Take note of what a call writes, or cuts off."""
        if not any(file.differs for file in self._files.values()) or not (changed := _changed(call, name)):
            return
        for path in files:
            with suppress(OSError):  # It is not there yet.
                if file := self._files.get(os.stat(path).st_ino):  # noqa: PTH116  # as above
                    file.changed(*changed)

    def dropped(self) -> dict[str, bytes]:
        """Return the contents that change once all pages are dropped, by path relative to the folder."""
        changed: dict[str, bytes] = {}
        if self._blind:
            return changed
        for path in _files_below(self._root):
            with suppress(OSError):
                inode = path.stat().st_ino
                file, content = self._files.get(inode), _content(str(path))
                if file is None or content is None or inode in self._left_out:
                    continue
                if (left := file.dropped(content)) != content:
                    changed[str(path.relative_to(self._root))] = left
        return changed

    def _sync(self, call: Call, *, failed: bool) -> None:
        inode = os.stat(_fd(call)).st_ino  # noqa: PTH116  # as above
        content = _content(_fd(call))
        if content is None:
            self._left_out.add(inode)
            return
        file = self._files.setdefault(inode, CachedFile())
        file.failed(content) if failed else file.synced(content)


def beyond_account(call: Call, name: str) -> str:
    """Return what a call is, in words, if there is no account here of what its failure leaves; else nothing."""
    if name in _OTHER_SYNCS:
        return name
    with suppress(OSError, struct.error):  # It was killed meanwhile.
        if name in _FSYNCS and stat.S_ISDIR(os.stat(_fd(call)).st_mode):  # noqa: PTH116  # as above
            return "sync of a folder"
        if name in WRITES and _is_synced(call, name):
            return "write through O_SYNC or O_DSYNC"
    return ""


def _is_synced(call: Call, name: str) -> bool:
    flags = descriptor(call, call.arguments[0])["flags"]
    return bool(flags & (os.O_SYNC | os.O_DSYNC)) or (name == "pwritev2" and bool(call.arguments[5] & _RWF_SYNCS))


def _changed(call: Call, name: str) -> tuple[int, int | None] | None:
    """Return which bytes of its files a call writes, or cuts off: from, to (None: the end). None if it does neither."""
    if name in WRITES:
        return written_range(call, name)
    if name in _TRUNCATES:
        return call.arguments[1], None
    if (flags := open_flags(call, name)) is not None:
        return (0, None) if flags & os.O_TRUNC else None
    return (0, None) if name in _CHANGES_SOMEWHERE else None


def _fd(call: Call) -> str:
    return f"/proc/{call.pid}/fd/{int32(call.arguments[0])}"


def _content(path: str) -> bytes | None:
    """The content of a regular file that is not too large."""
    with suppress(OSError):
        found = os.stat(path)  # noqa: PTH116  # as above
        if stat.S_ISREG(found.st_mode) and found.st_size <= SIZE_MAX:
            with open(path, "rb", buffering=0) as file:
                return file.read(SIZE_MAX)
    return None


def _files_below(root: Path) -> list[Path]:
    return [path for path in sorted(root.rglob("*")) if path.is_file() and not path.is_symlink()]
