"""Names for the folders that ext4 recovers from crash images, predicted without mounting: equal names, equal folders.

Most differences between crash images do not affect recovery: they lie behind the last whole transaction of the journal, in blocks
that the replay will overwrite, or in blocks that no file has. The folder depends only on:

    @A  the journal, from the start in its superblock up to the first block that does not continue it (`replay`)
    @B  each block that a whole transaction in @A has a copy of, and did not revoke: the copy's content
    @C  every other block in use: its content on the disk
    @D  the disk's superblock, which a mount reads before the replay: it is whole, and requires the replay

@A only decides @B. So a name is made of the bytes in @B and @C that a reader of the files can see (`inodes`), and not of their
times, of bytes behind their ends, or of room that was never written. If a block of the filesystem's own was torn, or an inode is
not understood, it is made of the contents of @B and @C. Blocks that are never written are left out, since they are the same in
every image. Blocks of @B and @C also say which blocks are in use: they never contradict the files, since the filesystem flushes
the disk before it releases a transaction.

Without a prediction, the name is the image's digest: equal images also become the same folder. This happens if `replay`
or @D predicts nothing, on other filesystems, with features of ext4 that are not understood here, without flushes or
with writes that failed, and for a trace too large to keep in memory twice.
"""

from array import array
from functools import partial
from hashlib import blake2b

from crashmatrix.faults.disk.block.base import BLOCK, BaseDisk, blocks_of
from crashmatrix.faults.disk.block.ext4.inodes import Files
from crashmatrix.faults.disk.block.ext4.journal import Ext4Journal
from crashmatrix.faults.disk.block.ext4.layout import Ext4Layout, to_be_recovered
from crashmatrix.faults.disk.block.ext4.replay import Contents, Log, Replay
from crashmatrix.faults.disk.filesystem import Filesystem
from crashmatrix.faults.disk.stage import UNRELATED
from crashmatrix.faults.disk.state import CrashState, ImageNames, pieces_of, tears_by_change
from crashmatrix.faults.disk.trace.operations import Failure, Write
from crashmatrix.faults.disk.trace.trace import Trace

__all__ = ["DiskOutcomes"]

_WRITTEN_BYTES_MAX = 1 << 27
_UNTOLD = {"noload", "norecovery", "nobarrier", "barrier"}
"""Mount options without a replay, or without a flush where one is needed."""
_LISTS_MAX = 16


class DiskOutcomes:
    """The names for one trace's crash states; cheapest for states in the order of their cuts."""

    def __init__(self, trace: Trace, digests: ImageNames) -> None:
        self._trace, self._digests = trace, digests
        self._base = BaseDisk(trace)
        self._contents = Contents()
        self._first: dict[int, int] = {}
        """The base's contents, for all blocks that are ever needed."""
        self._writes = {at: write for at, write in enumerate(trace.operations) if isinstance(write, Write)}
        self._whole: dict[int, dict[int, int]] = {}
        """For each write of whole blocks, by position: the blocks' contents after it."""
        self._superblocks: set[int] = set()
        """All contents that block 0 had while it was whole."""
        self._in_use: dict[tuple[int, ...], list[int]] = {}
        self._commits: tuple[int, frozenset[int]] | None = None
        self._commit_of: dict[int, int] = {}
        """For durable contents of the journal: the transaction of one that is a commit block, else 0."""
        self._layout = self._find_layout()
        if self._layout and self._layout.journal:
            self._replay = Replay(self._layout.journal, self._contents)
            self._learn(self._layout)
            self._rewind()

    def of(self, state: CrashState) -> int:
        """The name of the folder that the state's image becomes; compare it only with names from this object."""
        disk = self._recovered(state) if self._layout else None
        if disk is None:
            return self._digests.of(state)
        seen = self._files.seen(disk)
        if seen is None:
            seen = array("Q", [disk[block] for block in (*self._maps, *self._used(disk))])
        return int.from_bytes(blake2b(seen, digest_size=16).digest(), "little")

    def inert(self, cut: int) -> frozenset[int]:
        """The positions of pending writes that cannot affect the folder, whichever of the pending writes are there, torn or not.

        If the journal has no commit block for its next transaction, neither a durable one nor a pending one, then @A and @B
        depend on the journal's superblock only. So writes do not matter to the rest of the journal, to blocks of @B, and to
        blocks that are free by each free map that may be there.
        """
        pending = self._trace.pending(cut)
        if not self._layout or not pending:
            return frozenset()
        self._contents.forget()
        self._move_to(self._trace.epoch_start(cut))
        touched = {at: _touched(self._writes[at]) for at in pending}
        logs = self._possible_logs(touched)
        if not logs:
            return frozenset()
        journal = self._journal
        hidden = set(journal.blocks[1:]) | set.intersection(*(set(log.home) for log in logs))
        if not any(journal.blocks[0] in blocks for blocks in touched.values()):
            hidden.add(journal.blocks[0])
        maps = {block: self._possible_maps(block, logs, touched) for block in self._maps}

        def matters(block: int) -> bool:
            place = block % self._per_group
            return block not in hidden and (
                block in maps
                or block not in self._map_of
                or any(free_map[place >> 3] >> (place & 7) & 1 for free_map in maps[self._map_of[block]])
            )

        return frozenset(at for at in pending if not any(map(matters, touched[at])))

    @property
    def _journal(self) -> Ext4Journal:
        assert self._layout and self._layout.journal
        return self._layout.journal

    def _possible_logs(self, touched: dict[int, range]) -> list[Log]:
        """The log for each superblock that the journal may have at a cut; empty if it may depend on more than that."""
        first, superblock = self._journal.blocks[0], self._at(0)
        durable = self._at(first)
        others = set().union(*touched.values()) - {first}
        writers = [at for at, blocks in touched.items() if first in blocks]
        if 0 in others or any(at not in self._whole or len(self._digests.changed(at) or ()) > 1 for at in writers):
            return []  # It may be torn.
        logs = []
        for content in {durable, *(self._whole[at][first] for at in writers)}:
            log = self._log if content == durable else self._replay.start(partial(self._at, over={first: content}))
            log = log and self._replay.read_on(log, self._at)
            if log is None or not log.taken.isdisjoint(others) or self._may_commit(log.number, touched):
                return []
            if superblock not in self._superblocks or (log.at and not to_be_recovered(self._contents[superblock])):
                return []
            logs.append(log)
        return logs

    def _may_commit(self, number: int, touched: dict[int, range]) -> bool:
        """Whether the journal may hold a commit block of this transaction; a block's first sector says what it is."""
        if number in self._durable_commits():
            return True
        heads = list[bytes]()
        for at, blocks in touched.items():
            write = self._writes[at]
            inside = (block * BLOCK - write.offset for block in blocks if block in self._journal.index)
            heads += [write.data[start : start + BLOCK] for start in inside if start >= 0]
        return ("commit", number) in {self._journal.kind(head) for head in heads}

    def _durable_commits(self) -> frozenset[int]:
        """The transactions of which the journal holds a durable commit block."""
        if self._commits is None or self._commits[0] != self._position:
            contents = set(map(self._durable.__getitem__, self._journal.index))
            for content in contents - self._commit_of.keys():
                kind, number = self._journal.kind(self._contents[content])
                self._commit_of[content] = number if kind == "commit" else 0
            self._commits = self._position, frozenset(map(self._commit_of.__getitem__, contents)) - {0}
        return self._commits[1]

    def _possible_maps(self, block: int, logs: list[Log], touched: dict[int, range]) -> list[bytes]:
        """The contents from which a free map has its bits, in any of the states at a cut."""
        found = [self._contents[log.home[block]] for log in logs if block in log.home]
        if len(found) == len(logs):
            return found
        durable = self._contents[self._at(block)]
        found.append(durable)
        for at, blocks in touched.items():
            if block in blocks:
                pieces = blocks_of(self._writes[at].offset, self._writes[at].data, lambda _: durable)
                found += [piece for number, piece in pieces if number == block]
        return found

    def _recovered(self, state: CrashState) -> dict[int, int] | None:
        """The content of each block that is ever written, after the replay of the journal; None if it cannot be predicted."""
        self._contents.forget()
        self._move_to(self._trace.epoch_start(state.cut))
        over = self._pending(state)
        log = self._log
        if log is None or not log.taken.isdisjoint(over):
            log = self._replay.start(lambda block: self._at(block, over))
        log = log and self._replay.read_on(log, lambda block: self._at(block, over))
        superblock = self._at(0, over)
        if log is None or superblock not in self._superblocks:
            return None
        if log.at and not to_be_recovered(self._contents[superblock]):
            return None  # The journal would be discarded.
        return {**self._durable, **over, **log.home}

    def _find_layout(self) -> Ext4Layout | None:
        """The disk's plan, if all of it is understood."""
        filesystem = Filesystem.parse(self._trace.filesystem)
        options = {option.partition("=")[0] for option in filesystem.options}
        failed = any(isinstance(operation, Failure) for operation in self._trace.operations)
        written = sum(len(write.data) for write in self._writes.values())
        if filesystem.name != "ext4" or options & _UNTOLD or failed or written > _WRITTEN_BYTES_MAX:
            return None
        layout = Ext4Layout.read(self._base.block)
        return layout if layout and layout.understood and layout.journal and layout.journal.understood else None

    def _learn(self, layout: Ext4Layout) -> None:
        """Go once through all writes, as without a power cut."""
        assert layout.journal
        self._durable: dict[int, int] = {}
        journal = layout.journal.index
        self._replay.begin(self._at)
        self._superblocks.add(self._at(0))
        for position, write in self._writes.items():
            written = self._made_by(position)
            if write.offset % BLOCK == 0 and len(write.data) % BLOCK == 0:
                self._whole[position] = written
            self._durable.update(written)
            self._superblocks.add(self._at(0))
            for block in written:
                if block in journal:
                    self._replay.learn(block, self._at)
        homes = {block for block in self._durable if block not in journal} | self._replay.homes
        self._map_of = {block: layout.free_maps[block // layout.per_group] for block in homes}
        self._per_group, self._homes, self._maps = layout.per_group, sorted(homes), sorted(set(self._map_of.values()))
        for block in {0, *self._homes, *self._maps, *journal}:
            self._base_content(block)
        self._contents.settled = True
        self._files = Files(layout, self._contents, self._homes, self._base.block, UNRELATED)

    # Contents.

    def _base_content(self, block: int) -> int:
        if block not in self._first:
            self._first[block] = self._contents.number(self._base.block(block))
        return self._first[block]

    def _at(self, block: int, over: dict[int, int] | None = None) -> int:
        """The content of a block: from `over`, else the durable content, else the base's."""
        for layer in (over or {}, self._durable):
            if block in layer:
                return layer[block]
        return self._base_content(block)

    def _made_by(self, position: int) -> dict[int, int]:
        """The contents of the blocks that a write touches, after it, if all changes before it are durable."""
        write = self._writes[position]
        blocks = blocks_of(write.offset, write.data, lambda block: self._contents[self._at(block)])
        return {block: self._contents.number(content) for block, content in blocks}

    def _pending(self, state: CrashState) -> dict[int, int]:
        """The contents of the blocks that the state's pending writes touch."""
        torn = tears_by_change(state)
        over, loose = dict[int, int](), dict[int, bytes]()

        def before(block: int) -> bytes:
            return loose[block] if block in loose else self._contents[self._at(block, over)]

        for index, position in enumerate(self._trace.pending(state.cut)):
            if not state.kept >> index & 1:
                continue
            if index not in torn and position in self._whole:
                over.update(self._whole[position])
                for block in self._whole[position]:
                    loose.pop(block, None)
                continue
            for offset, data in pieces_of(self._writes[position], torn.get(index, ())):
                loose.update(blocks_of(offset, data, before))
        over.update((block, self._contents.number(content)) for block, content in loose.items())
        return over

    def _used(self, disk: dict[int, int]) -> list[int]:
        """The blocks that are ever written and may be a file's."""
        maps = tuple(disk[block] for block in self._maps)
        if maps not in self._in_use:
            if len(self._in_use) == _LISTS_MAX:
                self._in_use.clear()
            contents = {block: self._contents[disk[block]] for block in self._maps}
            self._in_use[maps] = [
                block
                for block, place in ((block, block % self._per_group) for block in self._homes)
                if contents[self._map_of[block]][place >> 3] >> (place & 7) & 1
            ]
        return self._in_use[maps]

    # The durable part.

    def _rewind(self) -> None:
        self._position, self._durable = 0, dict(self._first)
        self._log: Log | None = None

    def _move_to(self, target: int) -> None:
        """Make durable all writes before a position, and nothing else; read the journal there."""
        if target < self._position:
            self._rewind()
        touched: set[int] = set()
        for position in range(self._position, target):
            if position in self._writes:
                written = self._whole.get(position) or self._made_by(position)
                self._durable.update(written)
                touched.update(written)
        self._position = target
        if self._log is None or not self._log.taken.isdisjoint(touched):
            self._log = self._replay.start(self._at)
        self._log = self._log and self._replay.read_on(self._log, self._at)


def _touched(write: Write) -> range:
    return range(write.offset // BLOCK, -(-(write.offset + len(write.data)) // BLOCK))
