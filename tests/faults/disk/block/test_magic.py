"""Metadata of xfs and btrfs, known by the magic numbers in its blocks."""

import struct

import pytest

from crashmatrix.faults.disk.block.base import BLOCK
from crashmatrix.faults.disk.block.magic import named_by_magic
from crashmatrix.faults.disk.trace.named import JOURNAL, METADATA, UNKNOWN

UUID = bytes(range(16))
LOG_FIRST = 2 * 1000 + 5
"""The log begins at block 5 of the third group, of 1,000 blocks each."""


def block(data: bytes) -> bytes:
    return data.ljust(BLOCK, b"\0")


def base(number: int) -> bytes:
    """The superblocks, each where its filesystem has it."""
    if number == 0:
        head = bytearray(BLOCK)
        head[:4] = b"XFSB"
        struct.pack_into(">I", head, 4, BLOCK)
        struct.pack_into(">Q", head, 48, 2 << 10 | 5)
        struct.pack_into(">I", head, 84, 1000)
        struct.pack_into(">I", head, 96, 20)
        head[124] = 10
        return bytes(head)
    return block(bytes(32) + UUID)


@pytest.mark.parametrize(
    ("kind", "number", "data", "named"),
    [
        ("xfs", 1, b"IN", (METADATA, "inodes")),
        ("xfs", 1, b"XDD3", (METADATA, "a directory's names")),
        ("xfs", 0, b"XFSB", (METADATA, "")),
        ("xfs", 1, b"AB3B", (METADATA, "")),
        ("xfs", 1, b"a file's", (UNKNOWN, "")),
        ("xfs", LOG_FIRST, b"IN", (JOURNAL, "its log")),
        ("xfs", LOG_FIRST + 19, b"", (JOURNAL, "its log")),
        ("xfs", LOG_FIRST + 20, b"", (UNKNOWN, "")),
        ("xfs", LOG_FIRST - 1, b"", (UNKNOWN, "")),
        ("btrfs", 16, b"", (METADATA, "superblock")),
        ("btrfs", 99, bytes(32) + UUID, (METADATA, "")),
        ("btrfs", 99, bytes(32) + UUID[::-1], (UNKNOWN, "")),
        ("btrfs", 99, b"XFSB", (UNKNOWN, "")),
    ],
)
def test_what_a_block_is(kind: str, number: int, data: bytes, named: tuple[str, str]) -> None:
    """The log by its place, everything else by its first bytes or the filesystem's identity."""
    found = named_by_magic(kind, base, number, block(data))
    assert (found.kind, found.what) == named
