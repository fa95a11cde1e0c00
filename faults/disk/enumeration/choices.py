"""Choices: what can be there or not at one cut, a bit each, and the crash state that such bits name.

A pending change has a bit for each unit of it that makes a difference: a sector, or a larger unit that the disk writes whole. A
change that cannot be torn has one bit. A change that makes no difference has none; it is there, as far as anything after it is.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby

from crashmatrix.faults.disk.enumeration.cuts import Cut
from crashmatrix.faults.disk.state import CrashState, Tear
from crashmatrix.faults.disk.trace.operations import SECTOR_BYTES, Change, Data, Write, sectors_of

__all__ = ["BLOCK_SECTORS", "Choices", "Chosen", "Part", "Units", "parts_of"]

BLOCK_SECTORS = 8
"""A page, and a block of each filesystem here."""

Part = tuple[int, int]
"""Sectors of a change that are written together: the first, counted from the change's first, and how many."""


@dataclass(frozen=True, slots=True)
class Units:
    """A disk writes aligned units of so many sectors whole, and those of its sectors that are `together`."""

    sectors: int = 1
    together: range = range(0)

    def of(self, sector: int) -> range:
        """The unit with a sector of the disk."""
        if sector in self.together:
            return self.together
        start = sector - sector % self.sectors
        return range(start, start + self.sectors)


@dataclass(frozen=True, slots=True)
class Chosen:
    """A pending change that makes a difference, by its `index` among the pending ones; `shift` is its lowest bit."""

    index: int
    position: int
    change: Change
    parts: tuple[Part, ...]
    shift: int

    @property
    def width(self) -> int:
        """How many bits it has."""
        return max(1, len(self.parts))

    @property
    def bits(self) -> int:
        """Its bits."""
        return (1 << self.width) - 1 << self.shift

    @property
    def upto(self) -> int:
        """Its bits, and those of all changes before it."""
        return (1 << self.shift + self.width) - 1


class Choices:
    """The choices at a cut.

    `changed` gives, for the position of a change, the numbers of its sectors that make a difference, counted from its first; None
    if it cannot be torn. The changes at the positions `inert` make no difference either.
    """

    def __init__(
        self,
        cut: Cut,
        operations: Sequence[object],
        changed: Callable[[int], tuple[int, ...] | None],
        units: Units = Units(),
        inert: frozenset[int] = frozenset(),
    ) -> None:
        self.cut = cut
        self.changes: list[Chosen] = []
        self._idle = 0
        shift = 0
        for index, position in enumerate(cut.pending):
            change, sectors = operations[position], changed(position)
            assert isinstance(change, Change)
            if sectors == () or position in inert:
                self._idle |= 1 << index
                continue
            chosen = Chosen(index, position, change, parts_of(change, sectors or (), units), shift)
            self.changes.append(chosen)
            shift += chosen.width
        self.number = shift
        """How many choices there are."""
        self.every = (1 << shift) - 1
        """The bits of the state in which everything is there."""

    @property
    def promised(self) -> int:
        """How many promises were made while the first of these changes was pending."""
        return self.cut.promised_since(self.changes[0].position) if self.changes else 0

    @property
    def idles(self) -> int:
        """How many pending changes make no difference."""
        return self._idle.bit_count()

    def blocks(self, chosen: Chosen) -> list[int]:
        """The bits of a change, block by block."""
        first = _first_sector(chosen.change)

        def block(number: int) -> int:
            return (first + chosen.parts[number][0]) // BLOCK_SECTORS

        together = groupby(range(len(chosen.parts)), key=block)
        return [sum(1 << chosen.shift + number for number in numbers) for _, numbers in together]

    def sectors(self, chosen: Chosen) -> list[int]:
        """The bits of a change, unit by unit."""
        return [1 << chosen.shift + number for number in range(chosen.width)]

    def state(self, bits: int, *, idle: bool = True) -> CrashState:
        """The crash state in which these bits are there; `idle` is whether what makes no difference is, too.

        It has the earliest cut at which it can come about.
        """
        kept, tears, cut = 0, list[Tear](), self.cut.first
        every = f"{bits:0{self.number}b}"[::-1]  # Digits, since it takes long to shift a large number for each change.
        for chosen in self.changes:
            there = every[chosen.shift : chosen.shift + chosen.width]
            if "1" in there:
                kept |= 1 << chosen.index
                cut = max(cut, chosen.position + 1)
                tears += _torn(chosen, there)
        size = self.cut.pending_before(cut)
        if kept and idle:
            kept |= self._idle & (1 << size) - 1
        return CrashState(cut, kept, tuple(tears), size)


def parts_of(change: Change, changed: Iterable[int], units: Units) -> tuple[Part, ...]:
    """The units of a change that hold a changed sector."""
    first, sectors = _first_sector(change), sectors_of(change)
    parts = []
    for unit, _ in groupby(changed, key=lambda sector: units.of(first + sector)):
        start = max(0, unit.start - first)
        parts.append((start, min(sectors, unit.stop - first) - start))
    return tuple(parts)


def _first_sector(change: Change) -> int:
    return change.offset // SECTOR_BYTES if isinstance(change, Write | Data) else 0


def _torn(chosen: Chosen, there: str) -> list[Tear]:
    """The runs of a change that are missing. A run of the first parts begins with the change, one of the last ends with it."""
    tears, parts, last = list[Tear](), chosen.parts, len(chosen.parts) - 1
    for missing, numbers in groupby(range(len(parts)), key=lambda number: there[number] == "0"):
        if missing:
            run = list(numbers)
            start = parts[run[0]][0] if run[0] else 0
            stop = sum(parts[run[-1]]) if run[-1] < last else sectors_of(chosen.change)
            tears.append(Tear(chosen.index, start, stop - start))
    return tears
