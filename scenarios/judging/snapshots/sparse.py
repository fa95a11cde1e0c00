"""Files without their zeros: engines allocate ahead, and a gigabyte of zeros should cost nothing.

Two files of one size that hold the same chunks are equal, whatever of them is allocated, written as zeros, or a hole.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator

from crashmatrix.faults.disk.trace.trace import data_extents

__all__ = ["chunks", "copy_content", "copy_ranges", "digest_of", "extents_of", "look_at"]

_CHUNK = 1 << 16
_ZEROS = bytes(_CHUNK)


def chunks(descriptor: int) -> Iterator[tuple[int, bytes]]:
    """Yield the pieces of an open file that are not all zeros, with their offsets, which are multiples of their size."""
    return _chunks(descriptor, data_extents(descriptor))


def _chunks(descriptor: int, extents: Iterable[tuple[int, int]]) -> Iterator[tuple[int, bytes]]:
    done = 0
    for start, stop in extents:
        for offset in range(max(done, start - start % _CHUNK), stop, _CHUNK):
            done = offset + _CHUNK
            data = os.pread(descriptor, _CHUNK, offset)
            if data != _ZEROS[: len(data)]:
                yield offset, data


def look_at(descriptor: int, size: int) -> tuple[str, tuple[tuple[int, int], ...]]:
    """Return a digest of an open file's content, equal for equal files and for no others, and the ranges that are no holes."""
    extents = extents_of(descriptor, size)
    return _digest(size, _chunks(descriptor, extents)), extents


def digest_of(content: bytes, size: int) -> str:
    """Return the digest of a file of this content, as `look_at` does."""
    pieces = ((offset, content[offset : offset + _CHUNK]) for offset in range(0, len(content), _CHUNK))
    return _digest(size, ((offset, data) for offset, data in pieces if data != _ZEROS[: len(data)]))


def _digest(size: int, chunks: Iterable[tuple[int, bytes]]) -> str:
    digest = hashlib.blake2b(b"%d" % size, digest_size=20)
    for offset, data in chunks:
        digest.update(b"at %d " % offset)
        digest.update(data)
    return digest.hexdigest()


def extents_of(descriptor: int, size: int) -> tuple[tuple[int, int], ...]:
    """The ranges of data; most files have no hole, which one call says."""
    if not size:
        return ()
    if os.lseek(descriptor, 0, os.SEEK_HOLE) >= size:
        return ((0, size),)
    return tuple(data_extents(descriptor))


def copy_content(source: int, target: int) -> None:
    """Make an open, empty file equal to another."""
    os.ftruncate(target, os.fstat(source).st_size)
    for offset, data in chunks(source):
        os.pwrite(target, data, offset)


def copy_ranges(source: int, target: int, extents: Iterable[tuple[int, int]]) -> None:
    """Make an open, empty file equal to another, with these ranges written, zeros included, and holes elsewhere."""
    size = os.fstat(source).st_size
    os.ftruncate(target, size)
    for start, stop in extents:
        for offset in range(start, min(stop, size), _CHUNK):
            os.pwrite(target, os.pread(source, min(_CHUNK, stop - offset), offset), offset)
