"""Names for what ext4 will make of crash images, told without mounting them: equal names, equal folders.

Crash images mostly differ where nobody will look: behind the last whole transaction of the journal, in blocks about to be
overwritten from it, in blocks that no file has. What the folder depends on is less:

    @A  the journal, from where its superblock says on, up to the first block that is not what must follow there (`ext4_replay`)
    @B  each block that a whole transaction in @A has a copy of, and did not revoke: what the copy says
    @C  every other block in use: what the disk says

@A decides only what @B is. So a name is made of the contents of @B and @C; blocks that are never written are left out, since
they are the same in every image. Which blocks are in use is said by blocks of @B and @C.

Where that cannot be told, the image's digest is all there is: equal images become the same folder, too. That is so where
`ext4_replay` tells nothing, on other filesystems, and for a trace too large to keep in memory twice.
"""

from array import array
from hashlib import blake2b

from faults.disk.base_disk import BLOCK, BaseDisk
from faults.disk.ext4_layout import Ext4Layout, to_be_recovered
from faults.disk.ext4_replay import Contents, Log, Replay
from faults.disk.filesystem import Filesystem
from faults.disk.operations import Write
from faults.disk.state import CrashState, StateNames, pieces_of
from faults.disk.trace import Trace

__all__ = ["DiskOutcomes"]

_WRITTEN_BYTES_MAX = 1 << 27
_WITHOUT_REPLAY = {"noload", "norecovery"}


class DiskOutcomes:
    """The names for one trace's crash states; cheapest for states in the order of their cuts."""

    def __init__(self, trace: Trace, digests: StateNames) -> None:
        self._trace, self._digests = trace, digests
        self._base = BaseDisk(trace)
        self._contents = Contents()
        self._first: dict[int, int] = {}
        """The base's contents, of the blocks that were asked for."""
        self._writes = {at: write for at, write in enumerate(trace.operations) if isinstance(write, Write)}
        self._whole: dict[int, dict[int, int]] = {}
        """What the writes of whole blocks make of them, by position."""
        self._in_use: dict[tuple[int, ...], list[int]] = {}
        self._layout = self._find_layout()
        if self._layout and self._layout.journal:
            self._replay = Replay(self._layout.journal, self._contents)
            self._learn(self._layout)
            self._rewind()

    def of(self, state: CrashState) -> int:
        """The name of what the state's image becomes, for comparing with others of this object."""
        disk = self._recovered(state) if self._layout and self._layout.journal else None
        if disk is None:
            return self._digests.of(state)
        contents = array("Q", [disk[block] for block in self._used(disk)])
        return int.from_bytes(blake2b(contents, digest_size=16).digest(), "little")

    def _recovered(self, state: CrashState) -> dict[int, int] | None:
        """What is in each block that is ever written, once the journal has been replayed; None if that cannot be told."""
        self._move_to(self._trace.epoch_start(state.cut))
        over = self._pending(state)
        log = self._log
        if log is None or not log.taken.isdisjoint(over):
            log = self._replay.start(lambda block: self._at(block, over))
        log = log and self._replay.read_on(log, lambda block: self._at(block, over))
        if log is None or (log.at and not to_be_recovered(self._contents[self._at(0, over)])):
            return None  # Without its mark in the superblock, a journal is discarded.
        return {**self._durable, **over, **log.home}

    def _find_layout(self) -> Ext4Layout | None:
        filesystem = Filesystem.parse(self._trace.filesystem)
        written = sum(len(write.data) for write in self._writes.values())
        if filesystem.name != "ext4" or written > _WRITTEN_BYTES_MAX or _WITHOUT_REPLAY & {*filesystem.options}:
            return None
        return Ext4Layout.read(self._base.block)

    def _learn(self, layout: Ext4Layout) -> None:
        """Go through all that was written, once, as if no power were ever cut."""
        assert layout.journal
        self._durable: dict[int, int] = {}
        journal = layout.journal.index
        self._replay.learn(layout.journal.blocks[0], self._at)
        for position, write in self._writes.items():
            written = self._lay({}, write.offset, write.data)
            if write.offset % BLOCK == 0 and len(write.data) % BLOCK == 0:
                self._whole[position] = written
            self._durable.update(written)
            for block in written:
                if block in journal:
                    self._replay.learn(block, self._at)
        homes = {block for block in self._durable if block not in journal} | self._replay.homes
        maps = {layout.free_maps[block // layout.per_group] for block in homes}
        self._homes, self._maps = sorted(homes | maps), sorted(maps)
        self._map_of = {block: layout.free_maps[block // layout.per_group] for block in self._homes}
        self._per_group = layout.per_group
        for block in {*self._homes, *self._durable}:
            self._base_content(block)

    # Contents.

    def _base_content(self, block: int) -> int:
        if block not in self._first:
            self._first[block] = self._contents.number(self._base.block(block))
        return self._first[block]

    def _at(self, block: int, over: dict[int, int] | None = None) -> int:
        """What is in a block: what lies over it, what is durable, what was there first."""
        for layer in (over or {}, self._durable):
            if block in layer:
                return layer[block]
        return self._base_content(block)

    def _lay(self, over: dict[int, int], offset: int, data: bytes | memoryview) -> dict[int, int]:
        """Lay bytes over what is durable, and over what lies there already."""
        stop = offset + len(data)
        for block in range(offset // BLOCK, -(-stop // BLOCK)):
            start = block * BLOCK
            piece = bytes(data[max(0, start - offset) : start + BLOCK - offset])
            if len(piece) < BLOCK:
                old, before = self._contents[self._at(block, over)], max(0, offset - start)
                piece = old[:before] + piece + old[before + len(piece) :]
            over[block] = self._contents.number(piece)
        return over

    def _pending(self, state: CrashState) -> dict[int, int]:
        """What the pending writes that are there make of the blocks they touch."""
        torn = {tear.write: tear for tear in state.tears}
        over: dict[int, int] = {}
        for index, position in enumerate(self._trace.pending(state.cut)):
            if not state.kept >> index & 1:
                continue
            if index not in torn and position in self._whole:
                over.update(self._whole[position])
                continue
            for offset, data in pieces_of(self._writes[position], torn.get(index)):
                self._lay(over, offset, data)
        return over

    def _used(self, disk: dict[int, int]) -> list[int]:
        """The blocks that may differ and are in use."""
        maps = tuple(disk[block] for block in self._maps)
        if maps not in self._in_use:
            contents = {block: self._contents[disk[block]] for block in self._maps}
            self._in_use[maps] = [
                block
                for block, place in ((block, block % self._per_group) for block in self._homes)
                if contents[self._map_of[block]][place >> 3] >> (place & 7) & 1
            ]
        return self._in_use[maps]

    # What is durable.

    def _rewind(self) -> None:
        self._position, self._durable = 0, dict(self._first)
        self._log: Log | None = None

    def _move_to(self, target: int) -> None:
        """Make durable what was written before a position, and nothing else; read the journal there."""
        if target < self._position:
            self._rewind()
        touched: set[int] = set()
        for position in range(self._position, target):
            if position in self._writes:
                write = self._writes[position]
                written = self._whole.get(position) or self._lay({}, write.offset, write.data)
                self._durable.update(written)
                touched.update(written)
        self._position = target
        if self._log is None or not self._log.taken.isdisjoint(touched):
            self._log = self._replay.start(self._at)
        self._log = self._log and self._replay.read_on(self._log, self._at)
