"""The calls that make bytes and names survive a power cut, and the steps that put a failpoint on both sides of each.

These are the calls that several modules make. A call that one module alone needs is made there, such as the rename of a segment,
a spill file that is never synced, or a table that deltalake writes and that is synced afterwards. The rules hold for all of them:

1. contents first: a file is synced before its name is moved into place;
2. every create, rename and unlink ends in a sync of the directory that holds the name. The exceptions are names from which
   nothing is concluded, whether a power cut brings them back or takes them: spill files of a running engine, the note of a
   log's end, the lock, what is left of removed logs, and temporary files that the next opening removes;
3. a failed sync is never retried: the kernel may have marked the lost pages clean, so a second sync would succeed
   without them (https://wiki.postgresql.org/wiki/Fsync_Errors). The writer is poisoned instead;
4. recovery believes the disk, not the page cache: what a killed process wrote may not be durable yet, what a failed
   sync lost still reads as if it were. `settle` comes before anything is concluded from such a file.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from crashmatrix.faults import FailPoint, declare

Buffer = Any
"""Memory that the kernel takes without a copy: bytes, memoryview, pyarrow.Buffer (Python 3.12's collections.abc.Buffer)."""

__all__ = [
    "Step",
    "make_folder",
    "names_in",
    "remove_tree",
    "settle",
    "step",
    "sync_directory",
    "sync_path",
    "write_all",
    "write_at",
]


@dataclass(frozen=True)
class Step:
    """A step that touches the disk, with a failpoint on each side: ``with RECORD_SYNC: os.fdatasync(fd)``.

    The second failpoint is hit only when the step succeeded.
    """

    before: FailPoint
    after: FailPoint

    def __enter__(self) -> None:
        self.before.hit()

    def __exit__(self, kind: type[BaseException] | None, _: BaseException | None, __: TracebackType | None) -> None:
        if kind is None:
            self.after.hit()


def step(name: str, before: str, after: str) -> Step:
    """Declare the failpoints of ``area.action.verb`` as ``area.action.before_verb`` and ``area.action.after_verb``.

    ``before`` and ``after`` say in a few words what a crash there finds on disk.
    """
    area, _, verb = name.rpartition(".")
    return Step(
        declare(f"{area}.before_{verb}", before, stacklevel=2),
        declare(f"{area}.after_{verb}", after, stacklevel=2),
    )


def write_all(fd: int, data: bytes | memoryview) -> None:
    """Hand all of ``data`` to the kernel: one write in all but the rarest cases (a short write goes on)."""
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


def write_at(fd: int, parts: Sequence[Buffer], offset: int) -> None:
    """Write all of ``parts``, one after the other, at position ``offset`` (bytes), without joining them.

    This is one write in all but the rarest cases; at most 1,024 parts (Linux's IOV_MAX).
    """
    written = os.pwritev(fd, parts, offset)
    if written < sum(map(len, parts)):
        rest = memoryview(b"".join(parts))
        while rest := rest[written:]:
            offset += written
            written = os.pwrite(fd, rest, offset)


def sync_path(path: Path) -> None:
    """Make the contents and size of the file at ``path`` durable, whichever process wrote it. Raises OSError."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def sync_directory(path: Path) -> None:
    """Make the names in the directory at ``path`` durable: creations, renames and unlinks. Raises OSError."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def settle(path: Path) -> None:
    """Make the file's contents durable, then drop the page cache's copy: what is read next is on the disk. Raises OSError."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
    finally:
        os.close(fd)


def names_in(folder: Path) -> list[str]:
    """Return the names in a folder, sorted; an empty list if the folder does not exist."""
    try:
        return sorted(os.listdir(folder))  # noqa: PTH208  # Path.glob takes ten times as long; openings call it often.
    except (FileNotFoundError, NotADirectoryError):
        return []


def make_folder(path: Path) -> None:
    """Make the folder at ``path``, and those above it, durable, whether they are there already or not. Raises OSError."""
    missing = [folder for folder in (path, *path.parents) if not folder.exists()]
    path.mkdir(parents=True, exist_ok=True)
    for folder in missing or [path]:  # An existing folder may come from a process that was killed before its sync.
        sync_directory(folder.parent)


def remove_tree(path: Path) -> None:
    """Delete a folder that nothing depends on any more, then make that durable."""
    shutil.rmtree(path)
    sync_directory(path.parent)
