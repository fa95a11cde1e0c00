"""The order of the states of one cut, as bits of its `Choices`: boundaries first.

ends       nothing pending is there; everything is
singles    one change is missing, or alone; the changes from one on are missing (a disk that keeps their order), or those
           before it (a disk that reverses it). On a tree: all changes to one file or directory are missing, or alone
torn       one change is there in part: after its first changed sector, before its last, each half, without its middle; then
           one sector missing, one alone, each prefix. By blocks of 4 KiB, in which kernels write, before single sectors. The
           changes after it are missing; or everything else is there; or nothing else is
subsets    drawn, of whole changes and of sectors in turn
rest       every combination, in a drawn order
"""

import random
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from itertools import chain, islice, zip_longest

from crashmatrix.faults.disk.enumeration.choices import Choices, Chosen
from crashmatrix.faults.disk.trace.operations import Attribute, Change, Data, Names, Size

__all__ = ["Shape", "ends", "promised", "rest", "shuffled", "singles", "subsets", "torn"]

Bits = Iterator[int]
Shape = Callable[[Choices, random.Random], Bits]


def promised(choices: Choices, chance: random.Random) -> Bits:
    """Right after a promise, nothing, and everything so far; nothing is the likelier first."""
    cut = choices.cut
    if not cut.promised_since(cut.first - 1):
        return
    so_far = sum(chosen.bits for chosen in choices.changes if chosen.position < cut.first)
    yield from (0, so_far) if chance.random() < 0.75 else (so_far, 0)


def ends(choices: Choices, _: random.Random) -> Bits:
    """Nothing, and everything."""
    yield 0
    yield choices.every


def singles(choices: Choices, chance: random.Random) -> Bits:
    """One change, file or directory missing or alone, and each place in the order of changes.

    At first the latest alone, and all but the earliest: the younger is kept, the older lost.
    """
    every, found = choices.every, list[Callable[[], int]]()
    if len(choices.changes) > 1:
        yield choices.changes[-1].bits
        yield every ^ choices.changes[0].bits
    found += [partial(getattr, chosen, "bits") for chosen in choices.changes]
    found += [partial(getattr, chosen, "upto") for chosen in choices.changes[:-1]]
    found += [partial(int, bits) for bits in _objects(choices)]
    turns = [(one, turned) for one in found for turned in (0, every)]
    chance.shuffle(turns)
    for one, turned in turns:
        yield one() ^ turned  # Made one by one: large numbers take much room.


def torn(choices: Choices, chance: random.Random, most: int) -> Bits:
    """Each change of several units torn in up to `most` ways; the first way of each, then the second, and so on."""
    several = [chosen for chosen in choices.changes if chosen.width > 1]
    chance.shuffle(several)
    turns = [islice(_torn_one(choices, chosen, chance), most) for chosen in several]
    return (bits for turn in zip_longest(*turns) for bits in turn if bits is not None)


def subsets(choices: Choices, chance: random.Random, number: int) -> Bits:
    """Drawn subsets, `number` of them, of whole changes and of parts of them in turn."""
    for turn in range(number if choices.number > 1 else 0):
        drawn = 0
        for chosen in choices.changes:
            if chance.random() < 0.5:
                drawn |= chosen.bits & ~_run(chosen, chance) if turn % 2 else chosen.bits
        yield drawn


def _run(chosen: Chosen, chance: random.Random) -> int:
    """The bits of a run of units. (Single units, drawn each by itself, would make a state's name long.)"""
    first, last = sorted(chance.randrange(chosen.width) for _ in range(2))
    return (1 << last + 1) - (1 << first) << chosen.shift


def rest(choices: Choices, chance: random.Random) -> Bits:
    """Every combination."""
    return iter(shuffled(1 << choices.number, chance))


def shuffled(number: int, chance: random.Random) -> list[int]:
    """The numbers below another, in a drawn order."""
    return chance.sample(range(number), number)


def _objects(choices: Choices) -> Iterator[int]:
    """The bits of all changes to one file, or one directory, where that is more than one change and not all of them."""
    together: defaultdict[int, int] = defaultdict(int)
    for chosen in choices.changes:
        for inode in _inodes(chosen.change):
            together[inode] |= chosen.bits
    single = {chosen.bits for chosen in choices.changes}
    return (bits for bits in together.values() if bits not in single and bits != choices.every)


def _inodes(change: Change) -> Iterable[int]:
    match change:
        case Data(inode) | Size(inode) | Attribute(inode):
            return [inode]
        case Names(entries):
            return {folder for folder, _, _ in entries}
    return []


def _torn_one(choices: Choices, chosen: Chosen, chance: random.Random) -> Bits:
    """One change torn: each boundary with the changes after it missing, then with everything else there, then the others."""
    before = (1 << chosen.shift) - 1
    others = choices.every ^ chosen.bits
    blocks, sectors = choices.blocks(chosen), choices.sectors(chosen)
    boundaries = dict.fromkeys(chain(_boundaries(blocks), _boundaries(sectors)))
    inside = [bits for bits in dict.fromkeys(_inside(sectors)) if bits not in boundaries]
    chance.shuffle(inside)
    for one in dict.fromkeys(chain(boundaries, inside)):
        for context in (
            dict.fromkeys((before, others, 0)) if one in boundaries else (chance.choice((before, others, 0)),)
        ):
            yield context | one


def _boundaries(units: Sequence[int]) -> Iterator[int]:
    """The first alone, all but the last, the halves, all but the first, the last alone, all but the middle."""
    size, every = len(units), sum(units)
    if size < 2:
        return
    half, third = sum(units[: size // 2]), sum(units[size // 3 : -(-2 * size // 3)])
    for bits in (units[0], every ^ units[-1], half, every ^ half, every ^ units[0], units[-1], every ^ third):
        if bits not in (0, every):
            yield bits


def _inside(units: Sequence[int]) -> Iterator[int]:
    """One missing, one alone, each prefix."""
    every, upto = sum(units), 0
    for bits in units:
        yield every ^ bits
        yield bits
        upto |= bits
        if upto != every:
            yield upto
