"""Files without their zeros: engines allocate ahead, and a gigabyte of zeros should cost nothing.

Two files of one size that hold the same chunks are equal, whatever of them is allocated, written as zeros, or a hole.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator

from crashmatrix.faults.disk.trace.trace import data_extents

__all__ = ["chunks", "content_digest", "copy_content"]

_CHUNK = 1 << 16
_ZEROS = bytes(_CHUNK)


def chunks(descriptor: int) -> Iterator[tuple[int, bytes]]:
    """Yield the pieces of an open file that are not all zeros, with their offsets, which are multiples of their size."""
    done = 0
    for start, stop in data_extents(descriptor):
        for offset in range(max(done, start - start % _CHUNK), stop, _CHUNK):
            done = offset + _CHUNK
            data = os.pread(descriptor, _CHUNK, offset)
            if data != _ZEROS[: len(data)]:
                yield offset, data


def content_digest(descriptor: int) -> str:
    """Return a digest of an open file's content: equal for equal files, and for no others."""
    digest = hashlib.blake2b(b"%d" % os.fstat(descriptor).st_size, digest_size=20)
    for offset, data in chunks(descriptor):
        digest.update(b"at %d " % offset)
        digest.update(data)
    return digest.hexdigest()


def copy_content(source: int, target: int) -> None:
    """Make an open, empty file equal to another."""
    os.ftruncate(target, os.fstat(source).st_size)
    for offset, data in chunks(source):
        os.pwrite(target, data, offset)
