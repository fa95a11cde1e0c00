"""How far the journal will be replayed, for journals made by hand; `test_outcomes` compares with ext4 itself."""

import pytest

from crashmatrix.faults.disk.block.base import BLOCK
from crashmatrix.faults.disk.block.ext4.journal import Ext4Journal
from crashmatrix.faults.disk.block.ext4.replay import Contents, Replay
from tests.faults.disk.block.ext4.support import commit, descriptor, revocation, superblock

FIRST = 100
"""The journal's first block; it has eight."""


def text(word: str) -> bytes:
    return word.encode().ljust(BLOCK, b"-")


ONE = [descriptor(1, {5: 0, 6: 0}), text("five"), text("six"), commit(1)]
TWO = [descriptor(2, {6: 0}), text("six again"), commit(2)]


class Disk:
    """The journal's blocks, learned from in the order in which the filesystem wrote them."""

    def __init__(self, *written: bytes, features: int = 0) -> None:
        self.contents = Contents()
        self.blocks = {block: self.contents.number(bytes(BLOCK)) for block in range(FIRST, FIRST + 8)}
        self.blocks[FIRST] = self.contents.number(superblock(features=features))
        self.replay = Replay(Ext4Journal(range(FIRST, FIRST + 8), superblock(features=features)), self.contents)
        self.replay.begin(self.at)
        for number, data in enumerate(written, 1):
            self.write(number, data)
            self.replay.learn(FIRST + number, self.at)
        self.contents.settled = True

    def write(self, number: int, data: bytes) -> None:
        self.blocks[FIRST + number] = self.contents.number(data)

    def at(self, block: int) -> int:
        return self.blocks[block]

    def replayed(self) -> dict[int, str] | None:
        """The content that the replay gives each block; None if nothing can be predicted."""
        log = self.replay.start(self.at)
        log = log and self.replay.read_on(log, self.at)
        if log is None:
            return None
        return {block: self.contents[number].rstrip(b"-").decode() for block, number in log.home.items()}


@pytest.mark.parametrize(
    ("written", "becomes"),
    [
        ([], {}),
        (ONE[:3], {}),
        (ONE, {5: "five", 6: "six"}),
        ([*ONE, *TWO[:2]], {5: "five", 6: "six"}),
        ([*ONE, *TWO], {5: "five", 6: "six again"}),
        ([*ONE, revocation(2, [5]), commit(2)], {6: "six"}),
        ([*ONE, commit(3)], {5: "five", 6: "six"}),
    ],
    ids=["empty", "no commit", "one", "second without commit", "two", "revoked", "a number too high"],
)
def test_what_was_committed_is_replayed(written: list[bytes], becomes: dict[int, str]) -> None:
    """Transactions are replayed up to the first block that does not continue them; a later copy counts, a revoked one not."""
    assert Disk(*written).replayed() == becomes


@pytest.mark.parametrize("torn", range(1, 5))
def test_a_lost_block_is_not_taken_for_whole(torn: int) -> None:
    """A transaction that lacks a block is for ext4 to judge; one without its descriptor or commit was never there."""
    disk = Disk(*ONE)
    disk.write(torn, bytes(BLOCK))
    assert disk.replayed() == ({} if torn in (1, 4) else None)


def test_a_block_that_comes_back_counts_again() -> None:
    """A block with its earlier content counts again: contents are compared, not writes."""
    disk = Disk(*ONE, *TWO)
    disk.write(6, text("never committed"))
    assert disk.replayed() is None
    disk.write(6, TWO[1])
    assert disk.replayed() == {5: "five", 6: "six again"}
    disk.write(7, bytes(BLOCK))
    assert disk.replayed() == {5: "five", 6: "six"}


def test_an_unknown_superblock_says_nothing() -> None:
    """A superblock that is torn, or notes an error of an earlier mount, gives no prediction."""
    disk = Disk(*ONE)
    for block in (superblock(number=2), superblock(error=5), superblock(features=0x12)):
        disk.write(0, block)
        assert disk.replayed() is None


def test_a_log_that_begins_later() -> None:
    """Once the superblock has moved on, earlier transactions are in place; a start of 0 means nothing to replay."""
    disk = Disk(*ONE, *TWO)
    for number, start, becomes in ((2, 5, {6: "six again"}), (3, 0, {})):
        disk.contents.settled = False
        disk.write(0, superblock(number=number, start=start))
        disk.replay.learn(FIRST, disk.at)
        assert disk.replayed() == becomes


def test_numbers_of_contents() -> None:
    """Equal contents have one number. A number given after settling lasts until it is forgotten, and is then given again."""
    contents = Contents()
    first = contents.number(b"a")
    assert contents.number(b"a") == first != contents.number(b"b")
    contents.settled = True
    passing = contents.number(b"c")
    assert (contents.lasts(first), contents.lasts(passing)) == (True, False)
    assert (contents[first], contents[passing]) == (b"a", b"c")
    contents.forget()
    with pytest.raises(KeyError):
        contents[passing]
    assert contents.number(b"c") == passing
    assert contents.number(b"a") == first
