"""The recorder's log: everything that reached the disk or the tree, in one total order.

Format: entries `<u8 kind, u32 length, u64 offset, u64 number>` little-endian, then `length` bytes. Kinds of a disk: WRITE
(offset, data), FLUSH, FAILED (offset; request and length as text; the error number); common to all: NOTE (text), MARK
(text). The kinds of a tree are in `operations`. Each entry is one write(2), so the log is complete at any moment,
even if the recorder dies.
"""

import os
import struct
import sys
from collections.abc import Iterator

__all__ = ["FAILED", "FLUSH", "MARK", "NOTE", "WRITE", "Log", "read_log"]

WRITE, FLUSH, NOTE, MARK, FAILED = range(1, 6)

_ENTRY = struct.Struct("<BIQQ")


class Log:
    """A log being written: `descriptor` is an open file, empty so far."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor, self._end = descriptor, 0
        self.entries = 0
        """How many were added."""

    def append(self, kind: int, offset: int = 0, data: bytes | memoryview = b"", number: int = 0) -> int:
        """Add an entry; return where in the file its data begins. If that fails, end this process."""
        start = self._end + _ENTRY.size
        self._end = start + len(data)
        self.entries += 1
        try:
            written = os.writev(self._descriptor, [_ENTRY.pack(kind, len(data), offset, number), data])
        except OSError:
            written = 0
        if written != _ENTRY.size + len(data):
            # A trace with a gap would accuse innocent systems: better no trace, and an error for every client.
            sys.stderr.write("recorder: cannot write the log (is memory full?)\n")
            os._exit(1)
        return start

    def clear(self) -> None:
        """Begin anew with an empty file."""
        os.ftruncate(self._descriptor, 0)
        os.lseek(self._descriptor, 0, os.SEEK_SET)
        self._end = self.entries = 0

    def read_into(self, target: memoryview, position: int) -> None:
        """Read back an entry's data, from the position that `append` returned."""
        read = os.preadv(self._descriptor, [target], position)
        assert read == len(target), "the log holds what was appended"


def read_log(data: memoryview) -> Iterator[tuple[int, int, bytes, int]]:
    """The entries of a log as (kind, offset, data, number). Raises ValueError at an entry that is cut off."""
    position = 0
    while position < len(data):
        if position + _ENTRY.size > len(data):
            raise ValueError(f"the log ends inside an entry at byte {position}")
        kind, length, offset, number = _ENTRY.unpack_from(data, position)
        start = position + _ENTRY.size
        position = start + length
        if position > len(data):
            raise ValueError(f"the log ends inside an entry at byte {start - _ENTRY.size}")
        yield kind, offset, bytes(data[start:position]), number
