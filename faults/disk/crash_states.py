"""Crash states: which disk images a power cut during a trace could leave, named, and enumerated best first.

The model. Power goes at a *cut*, a position between two operations. What was written before the last flush is there.
Of the writes after it, the *pending* ones, any subset is there, each write whole, or *torn*: some of its 512-byte
sectors missing. Sectors present have the content of the last write present that covers them, so pending writes land in
their order. Not modelled: a sector half old and half new, and disks that lie about a flush.

A state's id is `<cut>-<kept>[-t<write>.<first>+<count>]...`: kept is `all`, `none`, or the set of pending writes kept
as hexadecimal digits (bit i is the i-th pending write); each t names a kept write and its missing sectors. With the
trace, the id says everything: the same id on the same trace is the same image, bit for bit.

Cuts. Before each flush, where an epoch has the most writes pending and the most promises are out; after each note, for
what may not be there yet; at seeded places in long stretches without either; at the end. The state just after a flush
needs no cut: it is `all` just before it.

Order of enumeration, so that a small budget finds most: all and none at every cut; then one write missing, one write
alone, and prefixes; then seeded random subsets and torn writes. Within each pass the cuts take turns in a seeded order.
A state is skipped when an earlier one had the same image and the same number of notes before it.
"""

import math
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import count

from faults.disk.digests import ImageDigests
from faults.disk.errors import InvalidState
from faults.disk.trace import SECTOR_BYTES, Flush, Note, Trace, Write

__all__ = ["Coverage", "CrashState", "CrashStates", "Cut", "StateOptions", "Tear", "cuts_of", "pending_at"]


@dataclass(frozen=True, slots=True)
class Tear:
    """Of pending write number `write`, `count` sectors from `first` on are missing."""

    write: int
    first: int
    count: int


@dataclass(frozen=True, slots=True)
class CrashState:
    """What is left after a cut at position `cut`: pending write i iff bit i of `kept`, less the sectors torn off."""

    cut: int
    kept: int
    tears: tuple[Tear, ...] = ()
    pending: int = 0
    """How many writes are pending at the cut."""

    def __str__(self) -> str:
        every = (1 << self.pending) - 1
        kept = "none" if not self.kept else "all" if self.kept == every else f"{self.kept:x}"
        return "-".join([str(self.cut), kept, *(f"t{t.write}.{t.first}+{t.count}" for t in self.tears)])

    @classmethod
    def parse(cls, text: str, trace: Trace) -> "CrashState":
        """From an id. Raises InvalidState if it is none, or none of this trace."""
        remedy = f"take an id that was printed for trace {trace.identity}"
        try:
            cut_text, kept_text, *tear_texts = text.split("-")
            cut = int(cut_text)
            if not 0 <= cut <= len(trace.operations):
                raise InvalidState(f"state {text!r} lies outside the trace", remedy)
            pending = pending_at(trace, cut)
            every = (1 << len(pending)) - 1
            kept = {"all": every, "none": 0}.get(kept_text)
            kept = int(kept_text, 16) if kept is None else kept
            tears = tuple(_parse_tear(tear) for tear in tear_texts)
        except (ValueError, IndexError) as error:
            if isinstance(error, InvalidState):
                raise
            raise InvalidState(f"{text!r} is not the id of a crash state: {error}", remedy) from error
        fits = all(kept >> t.write & 1 and 0 < t.count <= _sectors(pending[t.write]) - t.first for t in tears)
        if kept & ~every or kept < 0 or not fits:
            raise InvalidState(f"state {text!r} keeps or tears writes that are not pending there", remedy)
        return cls(cut, kept, tears, len(pending))

    def patches(self, pending: list[Write]) -> Iterator[tuple[int, memoryview]]:
        """The (offset, data) to lay over the durable content, in this order."""
        torn = {tear.write: tear for tear in self.tears}
        for index, write in enumerate(pending):
            if not self.kept >> index & 1:
                continue
            data = memoryview(write.data)
            if index not in torn:
                yield write.offset, data
                continue
            start = torn[index].first * SECTOR_BYTES
            stop = start + torn[index].count * SECTOR_BYTES
            if start:
                yield write.offset, data[:start]
            if stop < len(data):
                yield write.offset + stop, data[stop:]


@dataclass(frozen=True, slots=True)
class Cut:
    """A position, the position of the first operation after the flush before it, and the writes pending."""

    position: int
    epoch: int
    pending: tuple[Write, ...]
    notes: int


@dataclass(frozen=True, kw_only=True)
class StateOptions:
    """How far to go. `seed` drives all choices.

    `random_subsets` and `torn_per_write` are counts a cut and a write; a stretch of more than `stretch_writes` writes
    without flush or note gets cuts inside.
    """

    seed: int = 0
    random_subsets: int = 12
    torn_per_write: int = 3
    stretch_writes: int = 16


@dataclass(kw_only=True)
class Coverage:
    """What was enumerated, so far. `possible_log2` counts subsets of whole writes over all cuts, without tearing."""

    cuts: int
    pending_most: int
    possible_log2: float
    enumerated: int = 0
    distinct: int = 0


class CrashStates:
    """The crash states of a trace between its marks START and FINISH, lazily, each image once per promise count.

    Iterating starts anew each time and always gives the same sequence for one trace and options. `coverage` is about
    the latest iteration: it grows while iterating.
    """

    def __init__(self, trace: Trace, options: StateOptions | None = None) -> None:
        self._trace = trace
        self._options = options or StateOptions()

    @cached_property
    def cuts(self) -> tuple[Cut, ...]:
        """All cuts, by position."""
        return tuple(cuts_of(self._trace, self._options))

    @cached_property
    def digests(self) -> ImageDigests:
        """The digests that tell images apart; `digests.of(state)` is an image's name."""
        return ImageDigests(self._trace)

    @cached_property
    def coverage(self) -> Coverage:
        """How much there is, and how much of it the latest iteration has given."""
        pending = [len(cut.pending) for cut in self.cuts]
        most = max(pending, default=0)
        # The sum of powers of two, by its logarithm: the numbers themselves have thousands of digits.
        log2 = most + math.log2(sum(2.0 ** max(n - most, -1000) for n in pending)) if pending else 0.0
        return Coverage(cuts=len(pending), pending_most=most, possible_log2=log2)

    def __iter__(self) -> Iterator[CrashState]:
        seen: set[tuple[int, int]] = set()
        images: set[int] = set()
        self.coverage.enumerated = self.coverage.distinct = 0
        notes = {cut.position: cut.notes for cut in self.cuts}
        for state in self._candidates():
            self.coverage.enumerated += 1
            image = self.digests.of(state)
            if (image, notes[state.cut]) in seen:
                continue
            seen.add((image, notes[state.cut]))
            images.add(image)
            self.coverage.distinct = len(images)
            yield state

    @property
    def clean(self) -> CrashState:
        """The state after the orderly unmount: what a run without any crash leaves. For checking the checker."""
        end = len(self._trace.operations)
        pending = len(pending_at(self._trace, end))
        return CrashState(end, (1 << pending) - 1, (), pending)

    def _candidates(self) -> Iterator[CrashState]:
        for name, make in (("extremes", _extremes), ("singles", _singles), ("random", self._random)):
            yield from self._in_turns(name, make)

    def _in_turns(self, name: str, make: Callable[[Cut, random.Random], Iterator[CrashState]]) -> Iterator[CrashState]:
        order = list(self.cuts)
        random.Random(f"{self._options.seed} {name}").shuffle(order)
        turns = [make(cut, random.Random(f"{self._options.seed} {name} {cut.position}")) for cut in order]
        while turns:
            going_on = []
            for turn in turns:
                state = next(turn, None)
                if state is not None:
                    yield state
                    going_on.append(turn)
            turns = going_on

    def _random(self, cut: Cut, chance: random.Random) -> Iterator[CrashState]:
        """Random subsets and torn writes, alternating until either runs out, then the rest of the other."""
        turns = [_subsets(cut, chance, self._options.random_subsets), _torn(cut, chance, self._options.torn_per_write)]
        for number in count():
            state = next(turns[number % len(turns)], None)
            if state is not None:
                yield state
                continue
            del turns[number % len(turns)]
            if turns:
                yield from turns[0]
            return


def pending_at(trace: Trace, cut: int) -> list[Write]:
    """The writes since the last flush before position `cut`, in order."""
    return [op for op in trace.operations[trace.epoch_start(cut) : cut] if isinstance(op, Write)]


def cuts_of(trace: Trace, options: StateOptions) -> Iterator[Cut]:
    """The cuts between START and FINISH, by position. See the module's text for where they are."""
    chance = random.Random(f"{options.seed} cuts")
    epoch, notes, pending = 0, 0, list[Write]()
    stretch = 0
    for position, operation in enumerate(trace.operations[: trace.finish]):
        if isinstance(operation, Flush):
            if position >= trace.start and stretch:
                yield Cut(position, epoch, tuple(pending), notes)
            epoch, pending, stretch = position + 1, [], 0
        elif isinstance(operation, Write):
            pending.append(operation)
            stretch += 1
            if stretch > options.stretch_writes and chance.random() < 2 / options.stretch_writes:
                yield Cut(position + 1, epoch, tuple(pending), notes)
        elif isinstance(operation, Note):
            notes += 1
            if position >= trace.start:
                yield Cut(position + 1, epoch, tuple(pending), notes)
            stretch = 0
    if stretch or not trace.operations:
        yield Cut(trace.finish, epoch, tuple(pending), notes)


def _extremes(cut: Cut, _: random.Random) -> Iterator[CrashState]:
    size = len(cut.pending)
    yield CrashState(cut.position, 0, (), size)
    yield CrashState(cut.position, (1 << size) - 1, (), size)


def _singles(cut: Cut, chance: random.Random) -> Iterator[CrashState]:
    size = len(cut.pending)
    every = (1 << size) - 1
    kept = [mask for i in range(size) for mask in (every ^ 1 << i, 1 << i, (1 << i + 1) - 1)]
    chance.shuffle(kept)
    for mask in kept:
        yield CrashState(cut.position, mask, (), size)


def _subsets(cut: Cut, chance: random.Random, number: int) -> Iterator[CrashState]:
    size = len(cut.pending)
    if size < 3:  # Fewer have no subset that was not enumerated already.
        return
    for _ in range(number):
        yield CrashState(cut.position, chance.getrandbits(size), (), size)


def _torn(cut: Cut, chance: random.Random, number: int) -> Iterator[CrashState]:
    """Each multi-sector write torn in each way, on top of its prefix, of all others, or of a random subset."""
    size = len(cut.pending)
    writes = [i for i, write in enumerate(cut.pending) if _sectors(write) > 1] * number
    chance.shuffle(writes)
    for turn, write in enumerate(writes):
        sectors = _sectors(cut.pending[write])
        place = chance.randrange(1, sectors)
        first, missing = ((place, sectors - place), (0, place), (place, 1))[turn % 3]
        kept = ((1 << write + 1) - 1, (1 << size) - 1, chance.getrandbits(size) | 1 << write)[chance.randrange(3)]
        yield CrashState(cut.position, kept, (Tear(write, first, missing),), size)


def _sectors(write: Write) -> int:
    return len(write.data) // SECTOR_BYTES


def _parse_tear(text: str) -> Tear:
    if not text.startswith("t"):
        raise ValueError(f"{text!r} is not a tear")
    write, _, sectors = text[1:].partition(".")
    first, _, missing = sectors.partition("+")
    return Tear(int(write), int(first), int(missing))
