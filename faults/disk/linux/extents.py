"""The place of a file on its disk, by the ioctl FS_IOC_FIEMAP; also of a directory, if the filesystem supports that.

Source: https://docs.kernel.org/filesystems/fiemap.html
"""

import fcntl
import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass

__all__ = ["Extent", "extents_of"]

_FIEMAP = 0xC020660B  # linux/fs.h: _IOWR('f', 11, struct fiemap)
_HEAD, _EXTENT = struct.Struct("=QQIIII"), struct.Struct("=QQQQQIIII")
_LAST, _NOWHERE = 0x1, 0x2 | 0x4 | 0x200  # unknown, delayed, inline: linux/fiemap.h
_AT_ONCE = 64


@dataclass(frozen=True)
class Extent:
    """A run of a file, in bytes: where it begins in the file, where on the disk, and how long it is."""

    logical: int
    physical: int
    length: int


def extents_of(path: bytes | str) -> Iterator[Extent]:
    """The extents of a file or directory that have a place on the disk; none where the filesystem does not say."""
    try:
        file = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return
    try:
        yield from _extents(file)
    finally:
        os.close(file)


def _extents(file: int) -> Iterator[Extent]:
    start = 0
    while True:
        request = bytearray(_HEAD.size + _AT_ONCE * _EXTENT.size)
        _HEAD.pack_into(request, 0, start, (1 << 64) - 1 - start, 0, 0, _AT_ONCE, 0)
        try:
            fcntl.ioctl(file, _FIEMAP, request)
        except OSError:
            return
        found = _HEAD.unpack_from(request)[3]
        for number in range(found):
            logical, physical, length, _, _, flags, *_ = _EXTENT.unpack_from(
                request, _HEAD.size + number * _EXTENT.size
            )
            if not flags & _NOWHERE:
                yield Extent(logical, physical, length)
            if flags & _LAST:
                return
            start = logical + length
        if not found:
            return
