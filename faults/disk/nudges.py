"""Nudges: making the kernel write as a busy machine would, at seeded moments.

During a recording of a second, the kernel writes almost nothing that was not synced, so few crash states
differ. A loaded machine writes dirty pages whenever memory is short, and commits the filesystem's journal whenever
any process calls fsync. Kinds:

    none        nothing
    commit      sync an unrelated file: metadata of unsynced files becomes durable, without their data
    writeback   write some pages of a recently changed file: data becomes durable, without its metadata
    mixed       either, or one after the other: part of a change becomes durable
    async       `mixed`, from another process every few milliseconds instead of at notes
    storm       as `async`, but little else than commits, so that some fall between a write and the sync after it

The seed fixes which nudges are made, not what the kernel then writes. Asynchronous kinds also depend on timing. So
traces of one seed differ: keep the trace, not only the seed.

Synchronous kinds nudge at notes. A recording may have nudges at other moments, too, such as before sync calls. The seed fixes
which of them nudge.

Invariants: a nudge never changes content and never makes the system under test wait for the nudge's syncs. A kernel may do
everything that a nudge does at any time, so a promise that breaks under nudges is broken. Files changed last are favoured,
because a missing sync matters there.
"""

import fcntl
import os
import random
import time
from pathlib import Path
from typing import NoReturn

from crashmatrix.faults.disk.errors import InvalidOption
from crashmatrix.faults.disk.linux.kernel import start_writeback

__all__ = ["ASYNCHRONOUS", "NUDGES", "Nudger", "check_nudge", "nudge_for_ever"]

NUDGES = ("none", "commit", "writeback", "mixed", "async", "storm")
"""Names of the nudges that a recording can have (`RecordOptions.nudge`)."""

ASYNCHRONOUS = ("async", "storm")

_BTRFS_IOC_START_SYNC = 0x80089418  # linux/btrfs.h
_BTRFS_IOC_WAIT_SYNC = 0x40089416
_PAGE = 4096
_FILES_MOST = 2000
_ODDS = {
    "none": (0, 0),
    "commit": (0, 1),
    "writeback": (1, 0),
    "mixed": (2 / 3, 2 / 3),
    "async": (0.5, 0.5),
    "storm": (0.1, 0.9),
}
"""How likely a nudge of a kind writes back, and how likely it then commits; with 2/3 each, one in three does both."""
_PAUSE_SECONDS = {"async": (0.001, 0.006), "storm": (0.0, 0.002)}


def check_nudge(kind: str) -> str:
    """Return the kind. Raises InvalidOption if there is no such kind."""
    if kind not in NUDGES:
        raise InvalidOption(f"{kind!r} is not a kind of nudge", f"use one of {', '.join(NUDGES)}")
    return kind


class Nudger:
    """Nudges one filesystem. `root` is the tree under test, `unrelated` a file beside it on the same filesystem.

    `device` is the block device of a filesystem without a journal, which writes metadata there at any time; else
    empty. Use it in one process: the first process that nudges opens the file.
    """

    def __init__(self, kind: str, seed: int | str, root: Path, unrelated: Path, device: str = "") -> None:
        self._kind = check_nudge(kind)
        self._chance = random.Random(f"{seed} {kind}")
        self._root, self._unrelated, self._device = root, unrelated, device
        self._descriptor = -1
        self._version = 0

    @property
    def synchronous(self) -> bool:
        """Whether `nudge` does anything."""
        return self._kind in ("commit", "writeback", "mixed")

    def nudge(self) -> None:
        """At a seeded half of the calls, make the kernel write something. Does nothing for asynchronous kinds."""
        if self.synchronous and self._chance.random() < 0.5:
            self.nudge_now()

    def nudge_now(self) -> None:
        """Make the kernel write something, as the kind says."""
        drawn, (writes_back, commits) = self._chance.random(), _ODDS[self._kind]
        if drawn < writes_back:
            self._write_back()
        if drawn >= 1 - commits:
            self._commit()

    def pause_seconds(self) -> float:
        """How long an asynchronous kind waits before the next nudge."""
        return self._chance.uniform(*_PAUSE_SECONDS.get(self._kind, (0.002, 0.002)))

    def _commit(self) -> None:
        try:
            if self._descriptor < 0:
                self._descriptor = os.open(self._unrelated, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
            self._version += 1
            # Something has to be dirty, or there is nothing to commit.
            os.pwrite(self._descriptor, b"%8d" % self._version, 0)
            os.fsync(self._descriptor)
            self._commit_transaction()
        except OSError:
            pass  # A disk that fails also fails the nudge; only the system under test is judged.

    def _commit_transaction(self) -> None:
        """Write the other files' metadata, too: fsync does so on ext4 and xfs, but on btrfs and ext2 it writes one file only."""
        if self._device:
            device = os.open(self._device, os.O_RDONLY | os.O_CLOEXEC)
            try:
                os.fsync(device)
            finally:
                os.close(device)
            return
        transaction = bytearray(8)
        try:
            fcntl.ioctl(self._descriptor, _BTRFS_IOC_START_SYNC, transaction)
            fcntl.ioctl(self._descriptor, _BTRFS_IOC_WAIT_SYNC, transaction)
        except OSError:
            return  # Not btrfs.

    def _write_back(self) -> None:
        files = self._recent_files()
        if not files:
            return
        # Squaring favours the front of the list: the files changed last.
        path, size = files[int(len(files) * self._chance.random() ** 2)]
        pages = max(1, -(-size // _PAGE))
        first = self._chance.randrange(pages)
        number = self._chance.randint(1, pages - first)
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError:
            return  # Removed meanwhile.
        try:
            start_writeback(descriptor, first * _PAGE, number * _PAGE)
        finally:
            os.close(descriptor)

    def _recent_files(self) -> list[tuple[str, int]]:
        """Regular files with their sizes in bytes, last changed first."""
        found: list[tuple[int, str, int]] = []
        folders = [str(self._root)]
        while folders and len(found) < _FILES_MOST:
            try:
                with os.scandir(folders.pop()) as entries:
                    for entry in entries:
                        if entry.is_dir(follow_symlinks=False):
                            folders.append(entry.path)
                        elif entry.is_file(follow_symlinks=False):
                            status = entry.stat(follow_symlinks=False)
                            found.append((status.st_mtime_ns, entry.path, status.st_size))
            except OSError:
                continue  # Removed meanwhile.
        return [(path, size) for _, path, size in sorted(found, reverse=True)]


def nudge_for_ever(nudger: Nudger) -> NoReturn:
    """The body of the process behind the asynchronous kinds; it ends by being killed."""
    while True:
        time.sleep(nudger.pause_seconds())
        nudger.nudge_now()
