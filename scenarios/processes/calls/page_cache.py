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

A store to a mapped file takes no call, so it may be made again without our seeing it. A page of such a file is only taken for
clean if a write changed it since the last sync; nor is it from when the file is mapped for stores after the failure.

Not modelled, and left out: files larger than `SIZE_MAX`, folders, everything once msync, syncfs or sync_file_range was called,
and files

    written to through O_SYNC, O_DSYNC, O_DIRECT or io_submit, opened with O_DIRECT, or moved into the folder
    synced after a failure by another open file description of that time: the kernel reports the error to each of them, once
    whose pages the program itself drops after a failure (POSIX_FADV_DONTNEED): it would read what the disk holds
"""

from __future__ import annotations

import os
import stat
import struct
from collections.abc import Collection, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from crashmatrix.scenarios.processes.calls.arguments import (
    OpenFile,
    descriptor,
    int32,
    is_same,
    open_file,
    open_flags,
    others,
)
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
_REMOVES = ("unlink", "unlinkat", "rename", "renameat", "renameat2")
_NOTHING_GOES = 1 | 2  # RENAME_NOREPLACE, RENAME_EXCHANGE
_DESCRIPTOR: Final = {
    **dict.fromkeys((*WRITES, "ftruncate", "fallocate", "ioctl", "sendfile"), 0),
    "copy_file_range": 2,
    "splice": 2,
}
"""Which argument is the descriptor of the file that a call changes: the file may have no name any more, or none yet."""
_MAY_BE_PAST = (*WRITES, "sendfile", "copy_file_range", "splice")
_PROT_WRITE = 2
_CHANGES_SOMEWHERE = ("sendfile", "copy_file_range", "splice", "io_submit", "fallocate", "ioctl")
"""Calls that may change a file at a place that is not looked up."""


class CachedFile:
    """One file: what the disk holds, and which pages are clean without being there."""

    def __init__(self, disk: bytes = b"") -> None:
        self.disk = disk
        self.mapped = False
        """Whether the file has been mapped so that it can be stored to."""
        self.to_be_told: list[OpenFile] = []
        """The open file descriptions to which the kernel would still report the failure of a sync."""
        self._clean: dict[int, bytes] = {}
        self._written = set[int]()

    def synced(self, content: bytes) -> None:
        """A sync succeeded: what is dirty reaches the disk."""
        self.disk = self.dropped(content)
        self._clean = {at: page for at, page in self._clean.items() if _page(content, at) == page}
        self._written.clear()

    def failed(self, content: bytes) -> None:
        """A sync failed: what is dirty is clean from now on."""
        for at in range(-(-len(content) // PAGE)):
            if _page(content, at) != _page(self.disk, at) and (at in self._written or not self.mapped):
                self._clean[at] = _page(content, at)

    def written(self, start: int, stop: int) -> None:
        """These bytes are written."""
        self._written.update(range(start // PAGE, (stop - 1) // PAGE + 1))
        self.changed(start, stop)

    def changed(self, start: int, stop: int | None = None) -> None:
        """These bytes change, or are cut off: their pages are dirty from now on. ``stop`` None: all from ``start`` on."""
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
        self._root, self._real, self._blind = root, os.path.realpath(root), False
        for path in _files_below(root):
            if (content := _content(str(path))) is not None:
                self._files[path.stat().st_ino] = CachedFile(content)
            else:
                self._left_out.add(path.stat().st_ino)

    def note(self, call: Call, name: str, files: Sequence[str], answer: int | None) -> None:
        """Take note of a call that is about to be done, or was answered in the kernel's place."""
        if name in _FSYNCS:
            self._sync(call, failed=answer is not None)
        elif name in _OTHER_SYNCS:
            self._blind = True
        elif name in _REMOVES and answer is None:
            self._remove(call, name, files)
        elif name == "io_submit":
            self._left_out.update(_inodes(call, name, files))
        elif name in _MAY_BE_PAST:
            flags = descriptor(call, call.arguments[_DESCRIPTOR[name]])["flags"]
            if flags & _PAST_THE_CACHE or (name == "pwritev2" and call.arguments[5] & _RWF_SYNCS):
                self._left_out.update(_inodes(call, name, files))
        if answer is None or answer > 0:
            self._change(call, name, files)

    def mapping(self, call: Call) -> None:
        """Take note of a shared mapping that is about to be made, of a file that is open for reading and writing."""
        file = self._files.setdefault(os.stat(_fd(call, 4)).st_ino, CachedFile())  # noqa: PTH116  # follows to what is open
        file.mapped = True
        if call.arguments[2] & _PROT_WRITE:
            file.changed(call.arguments[5], call.arguments[5] + call.arguments[1])

    def aside(self, call: Call, name: str, files: Sequence[str]) -> None:
        """Take note of a call that changes no file: sync(2), advice that drops pages, an opening past the page cache."""
        if name == "sync":
            for path in _files_below(self._root):
                with suppress(OSError):
                    self._all_written(path.stat().st_ino, _content(str(path)))
            return
        for inode in _inodes(call, name, files):
            file = self._files.get(inode)
            if name != "fadvise64" or (file and file.differs):
                self._left_out.add(inode)

    def _remove(self, call: Call, name: str, files: Sequence[str]) -> None:
        """Take note of a file that goes, since its inode may be another file's soon; and of one that comes from elsewhere."""
        if name == "renameat2" and call.arguments[4] & _NOTHING_GOES:
            return
        with suppress(OSError):
            if name not in ("unlink", "unlinkat") and not files[0].startswith(f"{self._real}/"):
                self._left_out.add(os.lstat(files[0]).st_ino)
        with suppress(OSError):
            found = os.lstat(files[-1])
            if found.st_nlink == 1:
                self._files.pop(found.st_ino, None)

    def _change(self, call: Call, name: str, files: Sequence[str]) -> None:
        """Take note of what a call writes, or cuts off."""
        wrote = name in WRITES
        if not (wrote or any(file.differs for file in self._files.values())) or not (changed := _changed(call, name)):
            return
        start, stop = changed
        for inode in _inodes(call, name, files):
            if wrote and stop is not None:
                self._files.setdefault(inode, CachedFile()).written(start, stop)
            elif file := self._files.get(inode):
                file.changed(start, stop)

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
        inode, content = os.stat(_fd(call)).st_ino, _content(_fd(call))  # noqa: PTH116  # as above
        file = self._files.setdefault(inode, CachedFile())
        untold = [one for one in file.to_be_told if not is_same(open_file(call), one)]
        is_told = len(untold) < len(file.to_be_told)
        if content is None or not failed:
            if is_told:  # It would have failed.
                self._left_out.add(inode)
            self._all_written(inode, content)
            return
        file.failed(content)
        file.to_be_told = untold if is_told else others(call)

    def _all_written(self, inode: int, content: bytes | None) -> None:
        if content is None:
            self._left_out.add(inode)
        else:
            self._files.setdefault(inode, CachedFile()).synced(content)


def beyond_account(call: Call, name: str, mapped: Collection[int]) -> str:
    """Return what a call is, in words, if there is no account here of what its failure leaves; else nothing.

    ``mapped`` are the inodes of files that have been mapped so that they can be stored to.
    """
    if name in _OTHER_SYNCS:
        return name
    with suppress(OSError, struct.error):  # It was killed meanwhile.
        if name in _FSYNCS:
            found = os.stat(_fd(call))  # noqa: PTH116  # as above
            if stat.S_ISDIR(found.st_mode):
                return "sync of a folder"
            return "sync of stores to a mapped file" if found.st_ino in mapped else ""
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


def _inodes(call: Call, name: str, files: Sequence[str]) -> Iterator[int]:
    """The files that a call is about. One that is not there yet has none."""
    for path in [_fd(call, _DESCRIPTOR[name])] if name in _DESCRIPTOR else files:
        with suppress(OSError):
            yield os.stat(path).st_ino  # noqa: PTH116  # as above


def _fd(call: Call, at: int = 0) -> str:
    return f"/proc/{call.pid}/fd/{int32(call.arguments[at])}"


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
