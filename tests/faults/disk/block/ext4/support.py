"""Blocks of an ext4 journal, made by hand as https://docs.kernel.org/filesystems/ext4/journal.html describes them."""

import struct
from collections.abc import Mapping, Sequence

from crashmatrix.faults.disk.block.base import BLOCK
from crashmatrix.faults.disk.block.ext4.journal import JOURNAL_MAGIC

_SAME_UUID, _LAST = 2, 8


def superblock(*, number: int = 1, start: int = 1, error: int = 0, features: int = 0) -> bytes:
    """The journal's first block. `start` is the place of transaction `number`, the oldest; 0 for none."""
    return (
        struct.pack(">III", JOURNAL_MAGIC, 4, 0).ljust(0x18, b"\0")
        + struct.pack(">5I", number, start, error, 0, features)
    ).ljust(BLOCK, b"\0")


def descriptor(number: int, home: Mapping[int, int], *, features: int = 0) -> bytes:
    """A descriptor block: for each copy after it, the block it is of, and flags beside those that are set here."""
    data = struct.pack(">III", JOURNAL_MAGIC, 1, number)
    for at, (block, flags) in enumerate(home.items(), 1):
        flags |= _SAME_UUID | (_LAST if at == len(home) else 0)
        if features & 0x10:
            data += struct.pack(">IIII", block, flags, 0, 0)
        else:
            data += struct.pack(">IHH", block, 0, flags) + (bytes(4) if features & 0x2 else b"")
    return data.ljust(BLOCK, b"\0")


def commit(number: int) -> bytes:
    """A commit block."""
    return struct.pack(">III", JOURNAL_MAGIC, 2, number).ljust(BLOCK, b"\0")


def revocation(number: int, blocks: Sequence[int], *, wide: bool = False) -> bytes:
    """A revocation block; `wide` for numbers of 64 bits."""
    listed = b"".join(struct.pack(">Q" if wide else ">I", block) for block in blocks)
    return (struct.pack(">IIII", JOURNAL_MAGIC, 5, number, 16 + len(listed)) + listed).ljust(BLOCK, b"\0")
