"""The purpose of each block of an ext4 (or ext2) disk, read from the bytes; `journal` reads the journal's blocks.

Sources: https://docs.kernel.org/filesystems/ext4/ (super block, group descriptors, directory entries). Only disks
as `mkfs.ext4` makes them here are understood: without meta_bg, with the journal inside. Any other disk has no layout.
"""

import os
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from crashmatrix.faults.disk.block.base import BLOCK
from crashmatrix.faults.disk.block.ext4.journal import Ext4Journal

__all__ = ["Ext4Layout", "Extent", "NotUnderstood", "extents_in", "names_in", "to_be_recovered"]

_SUPERBLOCK, _MAGIC = 1024, 0xEF53
_NODE_MAGIC, _EXTENT_BYTES, _WRITTEN_MAX = 0xF30A, 12, 0x8000
"""An unwritten extent has its length plus this much."""

_GENERATION_AT = 0x64
_INCOMPAT_RECOVER, _INCOMPAT_META_BG, _INCOMPAT_64BIT = 0x4, 0x10, 0x80
_UNDERSTOOD = (
    0x103D,  # compatible: prealloc, journal, extended attributes, resize and orphan file inodes, indexed directories
    0xA2C6,  # incompatible: file types, journal to recover, extents, 64 bits, flex_bg, seed of checksums, inline data
    0x1047B,  # for reading: sparse superblocks, large and huge files, checksums, links, inode sizes, orphans there
)

Read = Callable[[int], bytes]
"""From a block's number to its content."""


class NotUnderstood(Exception):
    """A structure of the disk that is not understood here."""


@dataclass(frozen=True)
class Extent:
    """Blocks of a file: the first one's number in the file and on the disk, and how many. ``depth`` is not 0 for a lower node."""

    first: int
    start: int
    length: int
    depth: int = 0


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
        features = struct.unpack_from("<III", here, 0x5C)
        self.understood = not any(has & ~known for has, known in zip(features, _UNDERSTOOD, strict=True))
        """Whether it has only known features; others, such as clusters of blocks, change the meaning of the fields read here."""
        incompat = features[1]
        if incompat & _INCOMPAT_META_BG:
            raise ValueError("meta_bg")
        self.blocks = struct.unpack_from("<I", here, 0x4)[0]
        self.per_group = struct.unpack_from("<I", here, 0x20)[0]
        self._inodes_per_group = struct.unpack_from("<I", here, 0x28)[0]
        self.inode_bytes = struct.unpack_from("<H", here, 0x58)[0]
        self.journal_inode = struct.unpack_from("<I", here, 0xE0)[0]
        self._groups = -(-self.blocks // self.per_group)
        size = struct.unpack_from("<H", here, 0xFE)[0] if incompat & _INCOMPAT_64BIT else 32
        self.inode_tables: list[range] = []
        """The blocks that hold the inodes, group by group."""
        self.free_maps: list[int] = []
        """For each group of `per_group` blocks, the block that says which of them are free."""
        self._plain: dict[int, str] = {0: "superblock"}
        for group in range(self._groups):
            number, offset = divmod(group * size, BLOCK)
            self._plain[1 + number] = "group descriptors"
            blocks, inodes, table = struct.unpack_from("<III", read(1 + number), offset)
            self._plain[blocks], self._plain[inodes] = "which blocks are free", "which inodes are free"
            self.free_maps.append(blocks)
            length = -(-self._inodes_per_group * self.inode_bytes // BLOCK)
            self.inode_tables.append(range(table, table + length))
        self.journal = self._find_journal(here, read)

    @staticmethod
    def _find_journal(here: memoryview, read: Read) -> Ext4Journal | None:
        """The journal, if there is one: its inode is backed up in the superblock."""
        backup = here[0x10C : 0x10C + 60]
        try:
            extents = list(extents_in(backup))
        except NotUnderstood:
            return None
        if any(extent.depth for extent in extents):
            return None
        blocks = [block for each in extents for block in range(each.start, each.start + each.length)]
        return Ext4Journal(blocks, read(blocks[0]))

    def plain(self, block: int) -> str:
        """The purpose of a block of the filesystem's own; empty for inodes, directories, files."""
        return self._plain.get(block, "")

    def inodes(self, block: int, before: bytes, after: bytes) -> Iterator[int] | None:
        """The numbers of the inodes that differ; None if the block holds no inodes."""
        first = self.first_inode(block)
        return self._changed(first, before, after) if first else None

    def first_inode(self, block: int) -> int:
        """The number of the first inode in a block; 0 if the block holds none."""
        for group, table in enumerate(self.inode_tables):
            if block in table:
                return int(group * self._inodes_per_group + (block - table.start) * (BLOCK // self.inode_bytes) + 1)
        return 0

    def generations(self, block: int, data: bytes) -> dict[int, int]:
        """The generation of each inode of a block: a number that is used again gets another one. Empty for other blocks."""
        found = self.inodes(block, bytes(BLOCK), b"\xff" * BLOCK) or ()
        places = range(_GENERATION_AT, BLOCK, self.inode_bytes)
        return {number: struct.unpack_from("<I", data, at)[0] for number, at in zip(found, places, strict=False)}

    def _changed(self, first: int, before: bytes, after: bytes) -> Iterator[int]:
        for number, start in enumerate(range(0, BLOCK, self.inode_bytes)):
            stop = start + self.inode_bytes
            if before[start:stop] != after[start:stop]:
                yield first + number


def to_be_recovered(block: bytes) -> bool:
    """Whether the superblock, in the first block, has the journal replayed at the next mount."""
    return bool(struct.unpack_from("<I", block, _SUPERBLOCK + 0x60)[0] & _INCOMPAT_RECOVER)


def extents_in(node: bytes | memoryview, depth: int | None = None) -> Iterator[Extent]:
    """The extents in a node of a tree that were written, or the nodes below it. Raises NotUnderstood.

    Args:
        depth: the depth of the node above; None for a root.
    """
    magic, entries, _, below = struct.unpack_from("<HHHH", node)
    if magic != _NODE_MAGIC or depth not in (None, below + 1) or _EXTENT_BYTES * (1 + entries) > len(node):
        raise NotUnderstood
    for at in range(_EXTENT_BYTES, _EXTENT_BYTES * (1 + entries), _EXTENT_BYTES):
        if below:
            first, low, high = struct.unpack_from("<IIH", node, at)
            yield Extent(first, low | high << 32, 1, below)
        else:
            first, length, high, low = struct.unpack_from("<IHHI", node, at)
            if length <= _WRITTEN_MAX:
                yield Extent(first, low | high << 32, length)


def names_in(block: bytes) -> dict[str, int]:
    """The names in a block of a directory, and the inodes they lead to; none if it is damaged or another kind of block."""
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
