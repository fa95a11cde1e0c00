"""How far ext4 will replay its journal, and which blocks the replay sets: predicted for any content the journal may have.

Blocks' contents are numbers here; equal contents have equal numbers (`Contents`). A disk is a function from a block to the
number of its content.

The journal is read as by fs/jbd2/recovery.c, do_one_pass: from the start in its superblock, transaction after
transaction, up to the first block that does not continue it. A descriptor without a commit block after it is skipped
with its copies.

Invariant: a transaction counts as whole only if it equals, block for block, the one on the disk when the filesystem had
committed it (`Replay.learn`). So no checksum is computed here: a torn or incomplete transaction is left to ext4 to judge.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from hashlib import blake2b

from crashmatrix.faults.disk.block.ext4.journal import Descriptor, Ext4Journal, unescaped

__all__ = ["Contents", "Log", "Replay"]

Disk = Callable[[int], int]

_PASSING = 1 << 63


class Contents:
    """Numbers for blocks' contents. They are lasting; once `settled`, new contents get numbers that hold until `forget`."""

    def __init__(self) -> None:
        self._lasting: list[bytes] = []
        self._numbers: dict[bytes, int] = {}
        self._passing: dict[int, bytes] = {}
        self.settled = False

    def __getitem__(self, number: int) -> bytes:
        return self._lasting[number] if self.lasts(number) else self._passing[number]

    @staticmethod
    def lasts(number: int) -> bool:
        """Whether this number has its content for ever."""
        return number < _PASSING

    def number(self, content: bytes) -> int:
        """The number of a content, of 64 bits."""
        number = self._numbers.get(content)
        if number is None and self.settled:
            number = _PASSING | int.from_bytes(blake2b(content, digest_size=8).digest(), "little")
            self._passing[number] = content
        elif number is None:
            number = self._numbers[content] = len(self._lasting)
            self._lasting.append(content)
        return number

    def forget(self) -> None:
        """Drop the contents whose numbers do not last; such a content gets the same number again."""
        self._passing.clear()


@dataclass(frozen=True)
class _Transaction:
    """A committed transaction: its blocks in the journal, with contents; the blocks it sets and revokes; the place after it."""

    number: int
    commit: int
    taken: dict[int, int]
    home: dict[int, int]
    revoked: set[int]
    after: int


@dataclass(frozen=True)
class Log:
    """A journal as far as it was read: its blocks, the blocks they set, and number and place of the next transaction."""

    number: int
    at: int
    taken: frozenset[int]
    home: dict[int, int] = field(default_factory=dict)

    def followed_by(self, found: _Transaction) -> "Log":
        """Return this replay with one more transaction, which also revokes its own copies."""
        home = {**self.home, **found.home}
        for block in found.revoked:
            home.pop(block, None)
        return Log(found.number + 1, found.after, self.taken | found.taken.keys(), home)


class Replay:
    """Predicts the replay of one journal, once it has learned how the journal was written."""

    def __init__(self, journal: Ext4Journal, contents: Contents) -> None:
        self._journal, self._contents = journal, contents
        self._superblocks: set[int] = set()
        self._places: dict[int, int] = {}  # where transactions begin, by number
        self._committed: dict[tuple[int, int], dict[int, int]] = {}
        self._descriptors: dict[tuple[int, int], Descriptor | None] = {}
        self.homes: set[int] = set()
        """Every block that a transaction ever had a copy of."""

    def begin(self, disk: Disk) -> None:
        """Learn from the journal as it is before the first write."""
        number = self._learn_superblock(disk(self._journal.blocks[0]))
        while self._learn_transaction(number, disk):
            number += 1

    def learn(self, block: int, disk: Disk) -> None:
        """Learn from one of the journal's blocks that the filesystem has just written, on a disk where no write was lost.

        Call it for each of them, in order.
        """
        content = disk(block)
        if block == self._journal.blocks[0]:
            self._learn_superblock(content)
            return
        kind, number = self._journal.kind(self._contents[content])
        if kind == "commit":
            self._learn_transaction(number, disk)

    def _learn_superblock(self, content: int) -> int:
        superblock = self._journal.superblock(self._contents[content])
        self._superblocks.add(content)
        if superblock.start:
            self._places[superblock.number] = superblock.start
        return superblock.number

    def _learn_transaction(self, number: int, disk: Disk) -> bool:
        found = self._transaction(number, self._places[number], disk) if number in self._places else None
        if not found:
            return False
        self._committed[number, found.commit] = found.taken
        self.homes.update(found.home)
        self._places[number + 1] = found.after
        return True

    def start(self, disk: Disk) -> Log | None:
        """The log before its first transaction; None if nothing can be predicted."""
        block = self._journal.blocks[0]
        content = disk(block)
        superblock = self._journal.superblock(self._contents[content])
        if content not in self._superblocks or superblock.error or superblock.features != self._journal.features:
            return None
        return Log(superblock.number, superblock.start, frozenset({block}))

    def read_on(self, log: Log, disk: Disk) -> Log | None:
        """The log with all transactions that follow; None if nothing can be predicted."""
        while log.at and (found := self._transaction(log.number, log.at, disk)):
            if self._committed.get((found.number, found.commit)) != found.taken:
                return None
            log = log.followed_by(found)
        return log

    def _transaction(self, number: int, at: int, disk: Disk) -> _Transaction | None:
        """The transaction of a number, if one begins at a place in the journal and its commit block is reached."""
        taken: dict[int, int] = {}
        home: dict[int, int] = {}
        revoked: set[int] = set()
        while len(taken) < len(self._journal.blocks):
            block = self._journal.blocks[at]
            content = taken[block] = disk(block)
            data = self._contents[content]
            kind, of = self._journal.kind(data)
            if of != number:
                return None
            at = self._journal.after(at)
            if kind == "commit":
                return _Transaction(number, content, taken, home, revoked, at)
            if kind == "revocation":
                revoked.update(self._journal.revoked(data))
            elif descriptor := self._descriptor(block, content):
                at = descriptor.after
                for logged, of_block in descriptor.home.items():
                    taken[logged] = copy = disk(logged)
                    if logged in descriptor.escaped:
                        copy = self._contents.number(unescaped(self._contents[copy]))
                    home[of_block] = copy
            else:
                return None
        return None

    def _descriptor(self, block: int, content: int) -> Descriptor | None:
        key = block, content
        if key in self._descriptors:
            return self._descriptors[key]
        found = self._journal.descriptor(block, self._contents[content])
        if self._contents.lasts(content):
            self._descriptors[key] = found
        return found
