"""The journal's blocks, read from bytes made by hand: kinds, what they are copies of, and what they revoke."""

import struct

import pytest

from crashmatrix.faults.disk.block.base import BLOCK
from crashmatrix.faults.disk.block.ext4.journal import JOURNAL_MAGIC, Ext4Journal, unescaped
from tests.faults.disk.block.ext4.support import commit, descriptor, revocation, superblock

BLOCKS = range(100, 108)
SAME_UUID, LAST, ESCAPED = 2, 8, 1


@pytest.mark.parametrize("features", [0, 0x2, 0x10, 0x12, 0x8])
def test_a_descriptor_says_where_its_copies_belong(features: int) -> None:
    """A descriptor is read in each layout of its tags: with and without checksums and 64-bit numbers."""
    journal = Ext4Journal(BLOCKS, superblock(features=features))
    found = journal.descriptor(102, descriptor(7, {5: 0, 6: ESCAPED, 7: 0}, features=features))
    assert found
    assert (found.number, found.home, found.escaped, found.after) == (7, {103: 5, 104: 6, 105: 7}, {104}, 6)


def test_copies_go_round() -> None:
    """Copies continue after the last block of the journal with its second: the first is the superblock."""
    journal = Ext4Journal(BLOCKS, superblock())
    found = journal.descriptor(106, descriptor(7, {5: 0, 6: 0, 8: 0}))
    assert found
    assert (found.home, found.after) == ({107: 5, 101: 6, 102: 8}, 3)


@pytest.mark.parametrize(
    ("block", "kind"),
    [
        (descriptor(7, {5: 0}), ("descriptor", 7)),
        (commit(8), ("commit", 8)),
        (revocation(9, [1]), ("revocation", 9)),
        (superblock(), ("superblock", 0)),
        (b"a file's".ljust(BLOCK, b"-"), ("", 0)),
        (bytes(BLOCK), ("", 0)),
    ],
)
def test_kinds_of_blocks(block: bytes, kind: tuple[str, int]) -> None:
    """A block without the journal's magic number is a copy of another block."""
    assert Ext4Journal.kind(block) == kind
    assert (Ext4Journal(BLOCKS, superblock()).descriptor(102, block) is None) == (kind[0] != "descriptor")


@pytest.mark.parametrize("features", [0, 0x2, 0x12])
def test_a_revocation_lists_blocks(features: int) -> None:
    """A revocation lists blocks by numbers of 32 or of 64 bits."""
    journal = Ext4Journal(BLOCKS, superblock(features=features))
    assert journal.revoked(revocation(7, [5, 70_000, 6], wide=bool(features & 2))) == (5, 70_000, 6)


@pytest.mark.parametrize(
    ("features", "understood"), [(0, True), (0x1, True), (0x12, True), (0x4, True), (0x8, False), (0x20, False)]
)
def test_what_is_not_understood(features: int, understood: bool) -> None:
    """A journal with old checksums or fast commits is not understood; the revocation feature may come and go."""
    assert Ext4Journal(BLOCKS, superblock(features=features)).understood == understood


def test_the_superblock_says_where_the_log_begins() -> None:
    found = Ext4Journal.superblock(superblock(number=9, start=3, error=5, features=0x13))
    assert (found.number, found.start, found.error, found.features) == (9, 3, 5, 0x12)


def test_an_escaped_copy_is_of_a_block_that_looks_like_the_journals() -> None:
    original = struct.pack(">I", JOURNAL_MAGIC).ljust(BLOCK, b"-")
    assert unescaped(bytes(4) + original[4:]) == original
