"""A file beside the directory under test that fills the disk, as another program's files do.

Filesystems keep some blocks back, each in its own way, so the room left is measured by what can be allocated: the file takes
everything that it can get, and then gives some of it back.
"""

import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Neighbour"]

_BLOCK_BYTES = 4096


@dataclass(frozen=True)
class Neighbour:
    """The file, by its path."""

    path: Path

    def fill(self, room_bytes: int) -> None:
        """Take all room but so much. Raises OSError."""
        descriptor = os.open(self.path, os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC, 0o600)
        try:
            size = _allocate_all(descriptor, os.fstatvfs(descriptor).f_bfree * os.fstatvfs(descriptor).f_frsize)
            os.ftruncate(descriptor, max(0, size - room_bytes))
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def leave(self) -> None:
        """Give all of it back; nothing if it is gone, or the filesystem refuses changes."""
        with suppress(OSError):
            self.path.unlink()


def _allocate_all(descriptor: int, step: int) -> int:
    """Allocate in smaller and smaller steps until nothing is left; returns the size."""
    size = 0
    step -= step % _BLOCK_BYTES
    while step >= _BLOCK_BYTES:
        try:
            os.posix_fallocate(descriptor, size, step)
            size += step
        except OSError:
            step = step // 2 - step // 2 % _BLOCK_BYTES
    return size
