"""The journal of an ext4 disk (jbd2): the kinds of its blocks, and of which blocks they are copies, read from the bytes.

A transaction consists of descriptor blocks, each followed by the copies it lists; of revocation blocks, which list blocks whose
earlier copies no longer count; and of a commit block, without which the transaction does not count. The superblock, the journal's
first block, gives the place and number of the oldest transaction that may not be in place yet. The other blocks form a circle.

Source: https://docs.kernel.org/filesystems/ext4/journal.html
"""

import struct
from collections.abc import Sequence
from dataclasses import dataclass, field

from crashmatrix.faults.disk.block.base import BLOCK

__all__ = ["JOURNAL_MAGIC", "Descriptor", "Ext4Journal", "JournalSuperblock", "unescaped"]

JOURNAL_MAGIC = 0xC03B3998
_DESCRIPTOR, _COMMIT, _REVOKE = 1, 2, 5
_KINDS = {_DESCRIPTOR: "descriptor", _COMMIT: "commit", _REVOKE: "revocation"}
_TAG_ESCAPED, _TAG_SAME_UUID, _TAG_LAST = 1, 2, 8
_REVOKES, _64BIT, _ASYNC_COMMIT, _CHECKSUM_2, _CHECKSUM_3 = 0x1, 0x2, 0x4, 0x8, 0x10
_UNDERSTOOD = _64BIT | _ASYNC_COMMIT | _CHECKSUM_3
_TAIL_BYTES = 4
_HEADER_BYTES = 12


@dataclass
class Descriptor:
    """A descriptor block: where each copy after it is logged, and of which block of the disk it is a copy."""

    number: int
    home: dict[int, int] = field(default_factory=dict)
    escaped: set[int] = field(default_factory=set)
    after: int = 0
    """The block of the journal that follows the last copy."""


@dataclass(frozen=True)
class JournalSuperblock:
    """Number and place of the oldest transaction (place 0: there is none), how the journal is written, and a past error."""

    number: int
    start: int
    features: int
    error: int


class Ext4Journal:
    """A journal's plan. ``blocks`` are its blocks on the disk, in order; ``superblock`` is the content of the first."""

    def __init__(self, blocks: Sequence[int], superblock: bytes) -> None:
        self.blocks = blocks
        self.index = {block: number for number, block in enumerate(blocks)}
        """From a block on the disk to its index in the journal."""
        self.features = features = self.superblock(superblock).features
        self.understood = not features & ~_UNDERSTOOD
        """Whether it has only known features; others, such as fast commits, add content that is not read here."""
        checksums = bool(features & _CHECKSUM_3)
        self._wide = bool(features & _64BIT)
        self._tag_bytes = 16 if checksums else 12 if self._wide else 8
        self._flags_at, self._flags_form = (4, ">I") if checksums else (6, ">H")
        self._stop = BLOCK - (_TAIL_BYTES if features & (_CHECKSUM_2 | _CHECKSUM_3) else 0)

    def after(self, index: int) -> int:
        """The index of the next block in the circle."""
        return index + 1 if index + 1 < len(self.blocks) else 1

    @staticmethod
    def superblock(data: bytes) -> JournalSuperblock:
        """Read the first block."""
        number, start, error, _, features = struct.unpack_from(">5I", data, 0x18)
        return JournalSuperblock(number, start, features & ~_REVOKES, error)  # Revocations come and go.

    @staticmethod
    def kind(data: bytes) -> tuple[str, int]:
        """The kind and transaction of a block of the journal itself; ("", 0) for a copy of another block."""
        magic, kind, number = struct.unpack_from(">III", data)
        return (_KINDS.get(kind, "superblock"), number) if magic == JOURNAL_MAGIC else ("", 0)

    def descriptor(self, block: int, data: bytes) -> Descriptor | None:
        """Read a descriptor block; None for any other block."""
        kind, number = self.kind(data)
        if kind != "descriptor":
            return None
        found, offset, at = Descriptor(number), _HEADER_BYTES, self.after(self.index[block])
        while offset + self._tag_bytes <= self._stop:
            home = struct.unpack_from(">I", data, offset)[0]
            flags = struct.unpack_from(self._flags_form, data, offset + self._flags_at)[0]
            found.home[self.blocks[at]] = home
            if flags & _TAG_ESCAPED:
                found.escaped.add(self.blocks[at])
            at = self.after(at)
            offset += self._tag_bytes + (0 if flags & _TAG_SAME_UUID else 16)
            if flags & _TAG_LAST:
                break
        found.after = at
        return found

    def revoked(self, data: bytes) -> tuple[int, ...]:
        """The blocks a revocation block lists."""
        (stop,) = struct.unpack_from(">I", data, _HEADER_BYTES)
        form = ">Q" if self._wide else ">I"
        places = range(_HEADER_BYTES + 4, min(stop, self._stop), struct.calcsize(form))
        return tuple(struct.unpack_from(form, data, place)[0] for place in places)


def unescaped(data: bytes) -> bytes:
    """The original of an escaped copy: a block that begins like the journal's own blocks."""
    return struct.pack(">I", JOURNAL_MAGIC) + data[4:]
