"""What the blocks of an ext4 (or ext2) disk are for, and what its journal's are copies of: read from the bytes.

Sources: https://docs.kernel.org/filesystems/ext4/ (super block, group descriptors, directory entries, journal). Only what
`mkfs.ext4` makes here is understood: no meta_bg, a journal inside; anything else has no layout, and nothing is claimed of it.
"""

import os
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

__all__ = ["BLOCK", "JOURNAL_MAGIC", "Ext4Layout", "Transaction", "names_in", "what_changed"]

BLOCK = 4096

_SUPERBLOCK, _MAGIC = 1024, 0xEF53
_EXTENTS = 0xF30A
_INCOMPAT_META_BG, _INCOMPAT_64BIT = 0x10, 0x80
JOURNAL_MAGIC = 0xC03B3998
_DESCRIPTOR, _COMMIT, _REVOKE = 1, 2, 5
_TAG_ESCAPED, _TAG_SAME_UUID, _TAG_LAST = 1, 2, 8
_JOURNAL_64BIT, _JOURNAL_CHECKSUM_3 = 0x2, 0x10

Read = Callable[[int], bytes]
"""From a block's number to its content."""


@dataclass
class Transaction:
    """A transaction of the journal: where each of its blocks is logged, and what block of the disk that is a copy of."""

    number: int
    home: dict[int, int] = field(default_factory=dict)
    escaped: set[int] = field(default_factory=set)


class Ext4Layout:
    """The plan of one disk. ``read`` gives its blocks as mkfs left them. Raises ValueError for a plan it does not know."""

    @classmethod
    def read(cls, read: Read) -> "Ext4Layout | None":
        """The plan, if it is a known one."""
        try:
            return cls(read)
        except ValueError:
            return None

    def __init__(self, read: Read) -> None:
        block = read(0)
        here = memoryview(block)[_SUPERBLOCK:]
        (magic,) = struct.unpack_from("<H", here, 0x38)
        if magic != _MAGIC or struct.unpack_from("<I", here, 0x18)[0] != 2:
            raise ValueError("no ext4 with blocks of 4096 bytes")
        incompat = struct.unpack_from("<I", here, 0x60)[0]
        if incompat & _INCOMPAT_META_BG:
            raise ValueError("meta_bg")
        self.blocks = struct.unpack_from("<I", here, 0x4)[0]
        per_group = struct.unpack_from("<I", here, 0x20)[0]
        self._inodes_per_group = struct.unpack_from("<I", here, 0x28)[0]
        self._inode_bytes = struct.unpack_from("<H", here, 0x58)[0]
        self._groups = -(-self.blocks // per_group)
        size = struct.unpack_from("<H", here, 0xFE)[0] if incompat & _INCOMPAT_64BIT else 32
        self._tables: list[int] = []
        self._plain: dict[int, str] = {0: "superblock"}
        for group in range(self._groups):
            number, offset = divmod(group * size, BLOCK)
            self._plain[1 + number] = "group descriptors"
            blocks, inodes, table = struct.unpack_from("<III", read(1 + number), offset)
            self._plain[blocks], self._plain[inodes] = "which blocks are free", "which inodes are free"
            self._tables.append(table)
        self._journal = self._find_journal(here, read)
        self.journal = {block: number for number, block in enumerate(self._journal)}
        """The blocks of the journal, and which of its blocks each is."""

    def _find_journal(self, here: memoryview, read: Read) -> list[int]:
        """The journal's blocks, in its own order; its inode is backed up in the superblock. Empty if there is none."""
        backup = here[0x10C : 0x10C + 60]
        magic, entries, _, depth = struct.unpack_from("<HHHH", backup)
        if magic != _EXTENTS or depth:
            return []
        blocks: list[int] = []
        for number in range(entries):
            _, length, _, start = struct.unpack_from("<IHHI", backup, 12 * (1 + number))
            blocks += range(start, start + length)
        features = struct.unpack_from(">I", read(blocks[0]), 0x28)[0]
        checksums = bool(features & _JOURNAL_CHECKSUM_3)
        self._tag_bytes = 16 if checksums else 12 if features & _JOURNAL_64BIT else 8
        self._flags_at, self._flags_form = (4, ">I") if checksums else (6, ">H")
        return blocks

    def plain(self, block: int) -> str:
        """What a block of the filesystem's own is for; empty for inodes, directories, files."""
        return self._plain.get(block, "")

    def inodes(self, block: int, before: bytes, after: bytes) -> Iterator[int] | None:
        """The numbers of the inodes that differ; None if the block holds no inodes."""
        for group, table in enumerate(self._tables):
            in_table = block - table
            if 0 <= in_table < -(-self._inodes_per_group * self._inode_bytes // BLOCK):
                first = group * self._inodes_per_group + in_table * (BLOCK // self._inode_bytes) + 1
                return self._changed(first, before, after)
        return None

    def _changed(self, first: int, before: bytes, after: bytes) -> Iterator[int]:
        for number, start in enumerate(range(0, BLOCK, self._inode_bytes)):
            stop = start + self._inode_bytes
            if before[start:stop] != after[start:stop]:
                yield first + number

    def transaction(self, block: int, data: bytes) -> Transaction | None:
        """What a descriptor block says of the blocks that follow it in the journal; None for any other block."""
        magic, kind, number = struct.unpack_from(">III", data)
        if (magic, kind) != (JOURNAL_MAGIC, _DESCRIPTOR):
            return None
        found, offset, at = Transaction(number), 12, self.journal[block]
        while offset + self._tag_bytes <= BLOCK:
            home = struct.unpack_from(">I", data, offset)[0]
            flags = struct.unpack_from(self._flags_form, data, offset + self._flags_at)[0]
            at = at + 1 if at + 1 < len(self._journal) else 1  # The first is its superblock.
            found.home[self._journal[at]] = home
            if flags & _TAG_ESCAPED:
                found.escaped.add(self._journal[at])
            offset += self._tag_bytes + (0 if flags & _TAG_SAME_UUID else 16)
            if flags & _TAG_LAST:
                break
        return found

    @staticmethod
    def journal_block(data: bytes) -> tuple[str, int]:
        """What a block of the journal itself is, and of which transaction; ("", 0) for a copy of another block."""
        magic, kind, number = struct.unpack_from(">III", data)
        names = {_DESCRIPTOR: "descriptor", _COMMIT: "commit", _REVOKE: "revocation"}
        return (names.get(kind, "superblock"), number) if magic == JOURNAL_MAGIC else ("", 0)


def names_in(block: bytes) -> dict[str, int]:
    """The names in a block of a directory, and the inodes they lead to; none if it is damaged or no such block."""
    found: dict[str, int] = {}
    offset = 0
    while offset + 8 <= len(block):
        inode, length, name_bytes, _ = struct.unpack_from("<IHBB", block, offset)
        if length < 8 or offset + length > len(block):
            return found
        name = block[offset + 8 : offset + 8 + name_bytes]
        if inode and name not in (b"", b".", b".."):
            found[os.fsdecode(name)] = inode
        offset += length
    return found


def what_changed(before: dict[str, int], after: dict[str, int]) -> list[str]:
    """What became of a directory's names, in words."""
    gone = {inode: name for name, inode in before.items() if after.get(name) != inode}
    removed = {name for name in before if name not in after}
    words = []
    for name, inode in after.items():
        if before.get(name) == inode:
            continue
        old = gone.get(inode)
        if old is not None and old in removed:
            removed.discard(old)
            words.append(f"{old} becomes {name}")
        else:
            words.append(f"{name} {'replaced' if name in before else 'made'}")
    return [*words, *(f"{name} removed" for name in sorted(removed))]
