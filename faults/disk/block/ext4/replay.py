"""How far ext4 will replay its journal, and what that sets: predicted for any content the journal may have.

Blocks' contents are numbers here, each content the same everywhere (`Contents`), and a disk is a function from a block to the
number of what is in it.

The journal is read as fs/jbd2/recovery.c, do_one_pass, reads it: from where its superblock says on, transaction after
transaction, up to the first block that is not what must follow there. A descriptor that no commit block follows is passed by
its list, and counts for nothing.

Invariant: no transaction is taken for whole unless it is, block for block, what was on the disk when the filesystem had
committed it (`Replay.learn`). So no checksum is computed here: whatever is torn, or lacks a part, is for ext4 to judge.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from hashlib import blake2b

from crashmatrix.faults.disk.block.ext4.journal import Descriptor, Ext4Journal, unescaped

__all__ = ["Contents", "Log", "Replay"]

Disk = Callable[[int], int]

_PASSING = 1 << 63


class Contents:
    """Numbers for blocks' contents: lasting ones, but once it is `settled`, for new contents, ones that hold until `forget`."""

    def __init__(self) -> None:
        self._lasting: list[bytes] = []
        self._numbers: dict[bytes, int] = {}
        self._passing: dict[int, bytes] = {}
        self.settled = False

    def __getitem__(self, number: int) -> bytes:
        return self._lasting[number] if self.lasts(number) else self._passing[number]

    @staticmethod
    def lasts(number: int) -> bool:
        """Whether this number holds for ever."""
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
        """Let go of the contents whose numbers do not last; one of them that comes again has the same number."""
        self._passing.clear()


@dataclass(frozen=True)
class _Transaction:
    """A committed one: the journal's blocks that it takes, with their contents; what it sets and revokes; what follows it."""

    number: int
    commit: int
    taken: dict[int, int]
    home: dict[int, int]
    revoked: set[int]
    after: int


@dataclass(frozen=True)
class Log:
    """A journal as far as it was read: the blocks that took, and what they set; number and place of what must come next."""

    number: int
    at: int
    taken: frozenset[int]
    home: dict[int, int] = field(default_factory=dict)

    def followed_by(self, found: _Transaction) -> "Log":
        """With one more transaction. What that revokes, it revokes of itself, too."""
        home = {**self.home, **found.home}
        for block in found.revoked:
            home.pop(block, None)
        return Log(found.number + 1, found.after, self.taken | found.taken.keys(), home)


class Replay:
    """Foretells the replay of one journal, once it has learned how that came about."""

    def __init__(self, journal: Ext4Journal, contents: Contents) -> None:
        self._journal, self._contents = journal, contents
        self._superblocks: set[int] = set()
        self._places: dict[int, int] = {}  # where transactions begin, by number
        self._committed: dict[tuple[int, int], dict[int, int]] = {}
        self._descriptors: dict[tuple[int, int], Descriptor | None] = {}
        self.homes: set[int] = set()
        """Every block that a transaction ever had a copy of."""

    def begin(self, disk: Disk) -> None:
        """Learn from the journal as it is when all begins."""
        number = self._learn_superblock(disk(self._journal.blocks[0]))
        while self._learn_transaction(number, disk):
            number += 1

    def learn(self, block: int, disk: Disk) -> None:
        """Learn from one of the journal's blocks that the filesystem has just written, on a disk where no write was lost.

        To be told of each of them, in order.
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
        """The log before its first transaction; None if nothing can be told."""
        block = self._journal.blocks[0]
        content = disk(block)
        superblock = self._journal.superblock(self._contents[content])
        if content not in self._superblocks or superblock.error or superblock.features != self._journal.features:
            return None
        return Log(superblock.number, superblock.start, frozenset({block}))

    def read_on(self, log: Log, disk: Disk) -> Log | None:
        """The log with all transactions that follow; None if nothing can be told."""
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
