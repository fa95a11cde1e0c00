"""Names for disk images that are cheap to compute: two states have one digest exactly when their images are equal.

The digest of an image is the exclusive or, over all sectors that differ from the trace's base, of a 128-bit hash of
(sector number, old content) and of (sector number, new content). A set hash can be updated incrementally: a state
costs a look-up for each pending sector, never a pass over the disk. The base has digest 0.

Invariant: only content counts. The digest does not depend on which writes made a sector's content, or how often.
"""

from bisect import bisect_right
from collections.abc import Callable, Iterable
from functools import cache
from hashlib import blake2b
from mmap import mmap

from crashmatrix.faults.disk.block.base import BaseDisk
from crashmatrix.faults.disk.state import CrashState, Tear, tears_by_change
from crashmatrix.faults.disk.trace.operations import SECTOR_BYTES, Flush, Write
from crashmatrix.faults.disk.trace.trace import Trace

__all__ = ["DiskDigests", "sector_hash"]

_SEVERAL = -1


def sector_hash(number: int, content: bytes | memoryview) -> int:
    """128 bits for one sector's number and 512 bytes of content."""
    digest = blake2b(content, digest_size=16, salt=number.to_bytes(16, "little"))
    return int.from_bytes(digest.digest(), "little")


class _Epoch:
    """The writes between two flushes, and the durable content when the first of them arrived."""

    def __init__(self, durable: int) -> None:
        self.durable = durable
        self.writes: list[tuple[int, list[int]]] = []  # first sector, a hash a sector
        self.before: dict[int, int] = {}  # sector -> hash of its durable content
        self.possible: dict[int, int] = {}  # sector -> hash of what it may hold so far; _SEVERAL for different contents
        self.overlapping = False
        self.deltas: list[int] = []  # how each write alone changes the digest; valid if none overlap


class DiskDigests:
    """Digests of a trace's crash states. Building it costs about a microsecond for each sector ever written."""

    def __init__(self, trace: Trace) -> None:
        self._changed: dict[int, tuple[int, ...]] = {}
        self._base = _base_hashes(trace)
        self._starts: list[int] = [0]
        self._epochs: list[_Epoch] = [_Epoch(0)]
        now: dict[int, int] = {}
        for position, operation in enumerate(trace.operations):
            epoch = self._epochs[-1]
            if isinstance(operation, Write):
                self._changed[position] = self._add(epoch, operation, now)
            elif isinstance(operation, Flush) and epoch.writes:
                self._starts.append(position + 1)
                self._epochs.append(_Epoch(_settle(epoch, now)))

    def of(self, state: CrashState) -> int:
        """The digest of the image that is left in this state."""
        epoch = self._epochs[bisect_right(self._starts, state.cut) - 1]
        if epoch.overlapping:
            return _laid_over(epoch, _there(epoch, state))
        digest, kept = epoch.durable, state.kept
        for index, delta in enumerate(epoch.deltas[: kept.bit_length()]):
            if kept >> index & 1:
                digest ^= delta
        for index, tears in tears_by_change(state).items():
            first, hashes = epoch.writes[index]
            for sector in _missing(tears):
                digest ^= hashes[sector] ^ epoch.before[first + sector]
        return digest

    def changed(self, position: int) -> tuple[int, ...]:
        """The sectors of a write that may differ from what they were before it, counted from the write's first."""
        return self._changed[position]

    @staticmethod
    def of_image(trace: Trace, image: mmap, offsets: Iterable[int]) -> int:
        """The digest of a whole image by reading it: the chunks of 64 KiB at `offsets`, all others equal to the base."""
        base = _base_hashes(trace)
        digest = 0
        for offset in offsets:
            for start in range(offset, min(offset + (1 << 16), trace.size_bytes), SECTOR_BYTES):
                number = start // SECTOR_BYTES
                digest ^= base(number) ^ sector_hash(number, image[start : start + SECTOR_BYTES])
        return digest

    def _add(self, epoch: _Epoch, write: Write, now: dict[int, int]) -> tuple[int, ...]:
        """Note a write; return its changed sectors."""
        first = write.offset // SECTOR_BYTES
        data = memoryview(write.data)
        hashes = [
            sector_hash(first + i, data[i * SECTOR_BYTES : (i + 1) * SECTOR_BYTES])
            for i in range(len(data) // SECTOR_BYTES)
        ]
        delta, changed = 0, list[int]()
        for sector, value in enumerate(hashes, first):
            if sector in epoch.before:
                epoch.overlapping = True
            else:
                epoch.before[sector] = epoch.possible[sector] = now[sector] if sector in now else self._base(sector)
            delta ^= value ^ epoch.before[sector]
            if epoch.possible[sector] != value:
                epoch.possible[sector] = _SEVERAL
                changed.append(sector - first)
        epoch.writes.append((first, hashes))
        epoch.deltas.append(delta)
        return tuple(changed)


def _missing(tears: Iterable[Tear]) -> set[int]:
    return {sector for tear in tears for sector in range(tear.first, tear.first + tear.count)}


def _there(epoch: _Epoch, state: CrashState) -> dict[int, int]:
    """The hashes of the sectors that pending writes set, one write over the other."""
    torn, over = tears_by_change(state), dict[int, int]()
    for index, (first, hashes) in enumerate(epoch.writes):
        if state.kept >> index & 1:
            missing = _missing(torn.get(index, ()))
            over.update((first + i, value) for i, value in enumerate(hashes) if i not in missing)
    return over


def _laid_over(epoch: _Epoch, over: dict[int, int]) -> int:
    digest = epoch.durable
    for sector, value in over.items():
        digest ^= value ^ epoch.before[sector]
    return digest


def _settle(epoch: _Epoch, now: dict[int, int]) -> int:
    """Make all the epoch's writes durable; the digest after it."""
    over: dict[int, int] = {}
    for first, hashes in epoch.writes:
        over.update(enumerate(hashes, first))
    now.update(over)
    return _laid_over(epoch, over)


def _base_hashes(trace: Trace) -> Callable[[int], int]:
    """A function from sector number to the hash of its base content."""
    base = BaseDisk(trace)

    @cache
    def hash_of(sector: int) -> int:
        return sector_hash(sector, base.read(sector * SECTOR_BYTES, SECTOR_BYTES))

    return hash_of
