"""The part of an ext4 disk that a reader of its files can see, from its inodes.

A block is seen if an inode that has a name leads to it, as an extent that was written, as a node of the tree of extents, or as a
block of extended attributes. Not seen: blocks of deleted files, room that is allocated and was never written (an *unwritten*
extent reads as zeros), free maps and counts, times, and the places on the disk where files lie.

Only contents that the filesystem itself wrote, whole, are read here, so that every checksum holds.

Source: https://docs.kernel.org/filesystems/ext4/ (index nodes, extent tree).
"""

from __future__ import annotations

import struct
from array import array
from bisect import bisect_left
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from hashlib import blake2b

from crashmatrix.faults.disk.block.base import BLOCK
from crashmatrix.faults.disk.block.ext4.layout import Ext4Layout, Extent, NotUnderstood, extents_in, names_in
from crashmatrix.faults.disk.block.ext4.replay import Contents

__all__ = ["Files"]

_MODE_AT, _LINKS_AT, _FLAGS_AT, _MAP, _EXTRA_AT = 0x0, 0x1A, 0x20, slice(0x28, 0x64), 0x80
_SIZE, _ATTRIBUTES = (("<I", 0x4), ("<I", 0x6C)), (("<I", 0x68), ("<H", 0x76))
"""Size, and the block of extended attributes: the places of their lower and upper parts."""
_KEPT = ((0x0, 0x8), (0x18, 0x1C), (0x20, 0x24), (0x64, 0x68), (0x6C, 0x70), (0x78, 0x7C))
"""The parts that show: mode, user, size; group, links; flags; generation; the upper parts of size, user and group."""
_BY_EXTENTS, _INLINE = 0x80000, 0x10000000
_KIND, _DIRECTORY, _REGULAR = 0xF000, 0x4000, 0x8000
_ROOT = 2
"""The inode of the root directory."""
_ZEROS = bytes(BLOCK)
_VIEWS_BLOCKS_MAX = 1 << 20
"""How many blocks are remembered in views at most."""


@dataclass(frozen=True)
class _Inode:
    """An inode as a reader sees it, without its times and the places of its blocks; and its extents, or upper nodes of them."""

    number: int
    fields: bytes
    size: int
    attributes: int
    extents: tuple[Extent, ...] = ()


@dataclass(frozen=True)
class _View:
    """The files of a disk: the written blocks that are seen, in their order, and a digest of all but their contents."""

    structure: tuple[int, ...]
    blocks: array[int]
    ends: list[tuple[int, int]]
    """The last blocks of files that are not seen whole: the place in ``blocks``, and how many bytes are."""


class Files:
    """The files of one trace's disk, by what can be seen of them.

    Args:
        written: the blocks that are written at any time.
        base: the content of the others.
        unseen: a file in the root directory that nobody looks at.
    """

    def __init__(
        self,
        layout: Ext4Layout,
        contents: Contents,
        written: Collection[int],
        base: Callable[[int], bytes],
        unseen: str,
    ) -> None:
        self._unseen = unseen
        self._layout, self._contents, self._base = layout, contents, base
        self._written, self._sorted = frozenset(written), sorted(written)
        tables = [block for table in layout.inode_tables for block in table]
        self._tables = [block for block in tables if block in self._written]
        self._own = [block for block in self._written if layout.plain(block)] + self._tables
        """The filesystem's own blocks, whose contents have to be ones that it wrote."""
        self._inodes: dict[tuple[int, int], list[_Inode]] = {}
        self._views: dict[tuple[int, ...], _View] = {}
        self._views_blocks = 0
        self._heads: dict[tuple[int, int], int] = {}
        self._fixed: list[_Inode] | None = []
        """The inodes in blocks that are never written; None if one of them is not understood."""
        try:
            for block in tables:
                if block not in self._written and (data := base(block)) != _ZEROS:
                    self._fixed += self._read(block, data)
        except NotUnderstood:
            self._fixed = None

    def seen(self, disk: Mapping[int, int]) -> array[int] | None:
        """Numbers that are equal only for disks whose files look the same; None if nothing can be said.

        Args:
            disk: the content of every block that is written at any time.
        """
        if self._fixed is None or not all(self._contents.lasts(disk[block]) for block in self._own):
            return None
        try:
            view = self._view(disk, self._fixed)
        except NotUnderstood:
            return None
        numbers = array("Q", [*view.structure, *map(disk.__getitem__, view.blocks)])
        for at, end in view.ends:
            numbers[len(view.structure) + at] = self._head(disk[view.blocks[at]], end)
        return numbers

    def _head(self, content: int, end: int) -> int:
        """The number of a content whose rest, from a byte on, is not seen."""
        if (content, end) in self._heads:
            return self._heads[content, end]
        number = self._contents.number(self._contents[content][:end].ljust(BLOCK, b"\0"))
        if self._contents.lasts(content) and self._contents.lasts(number):
            self._heads[content, end] = number
        return number

    def _view(self, disk: Mapping[int, int], fixed: list[_Inode]) -> _View:
        """Return the files of a disk, which depend on the inodes, on the root directory, and on the nodes of extents."""
        inodes = [*fixed, *(inode for block in self._tables for inode in self._inodes_in(block, disk[block]))]
        nodes = [extent for inode in inodes for extent in inode.extents if extent.depth]
        root = self._root(inodes)
        blocks = [
            *self._tables,
            *(block for block in (*root, *(node.start for node in nodes)) if block in self._written),
        ]
        key = tuple(disk[block] for block in blocks)
        if key in self._views:
            return self._views[key]
        unseen = {names_in(self._content(block, disk)).get(self._unseen) for block in root}
        view = self._view_of([inode for inode in inodes if inode.number not in unseen], disk)
        if all(node.depth == 1 for node in nodes):  # Else it depends on further blocks.
            self._views_blocks += len(view.blocks)
            if self._views_blocks > _VIEWS_BLOCKS_MAX:
                self._views.clear()
                self._views_blocks = len(view.blocks)
            self._views[key] = view
        return view

    @staticmethod
    def _root(inodes: Iterable[_Inode]) -> list[int]:
        """The blocks of the root directory; none if it is too large to be looked at."""
        extents = next((inode.extents for inode in inodes if inode.number == _ROOT), ())
        return [block for each in extents if not each.depth for block in range(each.start, each.start + each.length)]

    def _view_of(self, inodes: Iterable[_Inode], disk: Mapping[int, int]) -> _View:
        structure, blocks, ends = blake2b(digest_size=16), array("Q"), list[tuple[int, int]]()
        for inode in inodes:
            structure.update(f"inode {inode.number} {inode.fields.hex()}".encode())
            if inode.attributes:
                structure.update(b" attributes")
                self._add(inode.attributes, structure, blocks)
            count = -(-inode.size // BLOCK)
            for extent in self._leaves(inode.extents, disk):
                length = min(extent.length, count - extent.first)
                if not self._writes_to(extent.start, length):
                    structure.update(b" %d:%d+%d" % (extent.first, extent.start, length))
                    continue
                for at in range(length):
                    structure.update(b" %d" % (extent.first + at))
                    self._add(extent.start + at, structure, blocks)
                if extent.first + length == count and inode.size % BLOCK and extent.start + length - 1 in self._written:
                    ends.append((len(blocks) - 1, inode.size % BLOCK))
        return _View(struct.unpack("<QQ", structure.digest()), blocks, ends)

    def _add(self, block: int, structure: blake2b, blocks: array[int]) -> None:
        """Add a block that is seen: one that is never written has one content."""
        if block in self._written:
            blocks.append(block)
        else:
            structure.update(b":%d" % block)

    def _writes_to(self, start: int, length: int) -> bool:
        """Whether one of these blocks is written at any time."""
        at = bisect_left(self._sorted, start)
        return at < len(self._sorted) and self._sorted[at] < start + length

    def _leaves(self, extents: Iterable[Extent], disk: Mapping[int, int]) -> Iterator[Extent]:
        for extent in extents:
            if extent.depth:
                yield from self._leaves(extents_in(self._content(extent.start, disk), extent.depth), disk)
            else:
                yield extent

    def _content(self, block: int, disk: Mapping[int, int]) -> bytes:
        """The content of a block of the filesystem's own. Raises NotUnderstood if it is not as the filesystem wrote it."""
        if block not in self._written:
            return self._base(block)
        if not self._contents.lasts(disk[block]):
            raise NotUnderstood
        return self._contents[disk[block]]

    def _inodes_in(self, block: int, content: int) -> list[_Inode]:
        if (block, content) not in self._inodes:
            self._inodes[block, content] = list(self._read(block, self._contents[content]))
        return self._inodes[block, content]

    def _read(self, block: int, data: bytes) -> Iterator[_Inode]:
        """The inodes in a block of a table that have names. Raises NotUnderstood."""
        size = self._layout.inode_bytes
        for number, start in enumerate(range(0, BLOCK, size), self._layout.first_inode(block)):
            inode = data[start : start + size]
            (mode,), (links,) = struct.unpack_from("<H", inode, _MODE_AT), struct.unpack_from("<H", inode, _LINKS_AT)
            if not mode or not links or number == self._layout.journal_inode:
                continue
            fields = b"".join(inode[one:other] for one, other in _KEPT) + _attributes_within(inode)
            size_bytes, attributes = _number(inode, _SIZE), _number(inode, _ATTRIBUTES)
            by_extents = struct.unpack_from("<I", inode, _FLAGS_AT)[0] & (_BY_EXTENTS | _INLINE) == _BY_EXTENTS
            if by_extents:
                yield _Inode(number, fields, size_bytes, attributes, tuple(extents_in(inode[_MAP])))
            elif mode & _KIND in (_DIRECTORY, _REGULAR) and any(inode[_MAP]):
                raise NotUnderstood  # Its blocks are in a map, as ext3 had it; or it lies within its inode.
            else:  # A link or a device.
                yield _Inode(number, fields + inode[_MAP], size_bytes, attributes)


def _number(inode: bytes, parts: tuple[tuple[str, int], tuple[str, int]]) -> int:
    """A number of two parts, the lower one first."""
    (low, low_at), (high, high_at) = parts
    return int(struct.unpack_from(low, inode, low_at)[0]) | int(struct.unpack_from(high, inode, high_at)[0]) << 32


def _attributes_within(inode: bytes) -> bytes:
    """The extended attributes within an inode."""
    return inode[_EXTRA_AT + struct.unpack_from("<H", inode, _EXTRA_AT)[0] :] if len(inode) > _EXTRA_AT else b""
