"""The crash states of a trace, enumerated so that a small budget finds most. `state` defines a crash state.

Cuts. Before each sync, where the most changes are pending and the most promises were made; after each note, when its data may
not be there yet; at seeded positions in long stretches without either; at the end. The state just after a flush needs no
cut: it equals `all` just before the flush.

Order of enumeration. There are four kinds of states: (1) all and none, (2) one change missing, one change alone, and prefixes,
(3) torn writes, (4) seeded random subsets. Two states of the first kind come with one of each other kind, until each
runs out. Within each kind the cuts take turns in a seeded order. A state is skipped when an earlier one had the same image and
the same number of notes before it.
"""

import math
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property

from crashmatrix.faults.disk.errors import InvalidOption
from crashmatrix.faults.disk.filesystem import Filesystem
from crashmatrix.faults.disk.media import medium_of
from crashmatrix.faults.disk.state import CrashState, StateNames, Tear, pending_at
from crashmatrix.faults.disk.trace.operations import SECTOR_BYTES, Change, Flush, Note, Sync, sectors_of
from crashmatrix.faults.disk.trace.trace import Trace

__all__ = ["Coverage", "CrashStates", "Cut", "StateOptions", "cuts_of"]


@dataclass(frozen=True, slots=True)
class Cut:
    """A position, the changes pending there, and how many notes come before it."""

    position: int
    pending: tuple[Change, ...]
    notes: int


@dataclass(frozen=True, kw_only=True)
class StateOptions:
    """How far to go. `seed` drives all choices.

    `random_subsets` is a count for each cut, `torn_per_write` for each write; a stretch of more than `stretch_writes` changes
    without sync or note gets cuts inside. `atomic_bytes` is the unit that the disk writes whole (None: the one the filesystem
    relies on, see Filesystem.atomic_bytes); a multiple of 512. Power fails at position `first_cut` of the trace at the earliest.
    """

    seed: int = 0
    random_subsets: int = 12
    torn_per_write: int = 3
    stretch_writes: int = 16
    atomic_bytes: int | None = None
    first_cut: int = 0


@dataclass(kw_only=True)
class Coverage:
    """The numbers enumerated so far. `possible_log2` counts subsets of whole changes over all cuts, without tearing."""

    cuts: int
    pending_most: int
    possible_log2: float
    enumerated: int = 0
    distinct: int = 0


class CrashStates:
    """The crash states of a trace between its marks START and FINISH, lazily, each image once for each number of promises.

    Iterating starts again each time and always gives the same sequence for the same trace and options. `coverage` describes
    the latest iteration and grows with it.
    """

    def __init__(self, trace: Trace, options: StateOptions | None = None) -> None:
        self._trace = trace
        self._options = options or StateOptions()
        atomic_bytes = self._options.atomic_bytes or Filesystem.parse(trace.filesystem).atomic_bytes
        if atomic_bytes % SECTOR_BYTES:
            raise InvalidOption(f"no disk writes {atomic_bytes} bytes whole", f"give a multiple of {SECTOR_BYTES}")
        self._unit = atomic_bytes // SECTOR_BYTES

    @cached_property
    def cuts(self) -> tuple[Cut, ...]:
        """All cuts, by position."""
        return tuple(cuts_of(self._trace, self._options))

    @cached_property
    def digests(self) -> StateNames:
        """Names for images: `digests.of(state)`."""
        return medium_of(self._trace.filesystem).digests(self._trace)

    @cached_property
    def outcomes(self) -> StateNames:
        """Names for the folders that images become once mounted, predicted without mounting: `outcomes.of(state)`."""
        return medium_of(self._trace.filesystem).outcomes(self._trace, self.digests)

    @cached_property
    def coverage(self) -> Coverage:
        """How many states there are, and how many the latest iteration has given."""
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
        """The state after the orderly unmount, as a run without any crash leaves it. For checking the checker."""
        return CrashState.whole(self._trace, len(self._trace.operations))

    def _candidates(self) -> Iterator[CrashState]:
        options = self._options
        extremes = self._in_turns("extremes", _extremes)
        singles = self._in_turns("singles", _singles)
        torn = self._in_turns("torn", lambda cut, chance: _torn(cut, chance, options.torn_per_write, self._unit))
        subsets = self._in_turns("subsets", lambda cut, chance: _subsets(cut, chance, options.random_subsets))
        kinds = [extremes, singles, extremes, torn, subsets]
        while kinds:
            for kind in list(kinds):
                state = next(kind, None)
                if state is not None:
                    yield state
                else:
                    kinds = [other for other in kinds if other is not kind]

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


def cuts_of(trace: Trace, options: StateOptions) -> Iterator[Cut]:
    """The cuts between START and FINISH, by position. The module's docstring says where they are."""
    chance = random.Random(f"{options.seed} cuts")
    notes, stretch, start = 0, 0, max(trace.start, options.first_cut)

    def cut(position: int) -> Cut:
        return Cut(position, tuple(pending_at(trace, position)), notes)

    for position, operation in enumerate(trace.operations[: trace.finish]):
        started = position >= start
        if isinstance(operation, Flush | Sync):
            if started and stretch:
                yield cut(position)
            stretch = 0
        elif isinstance(operation, Change):
            stretch += 1
            if started and stretch > options.stretch_writes and chance.random() < 2 / options.stretch_writes:
                yield cut(position + 1)
        elif isinstance(operation, Note):
            notes += 1
            if started:
                yield cut(position + 1)
            stretch = 0
        elif not started:
            stretch = 0
    if stretch or not trace.operations:
        yield cut(trace.finish)


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
    if size < 3:  # All subsets of fewer changes were enumerated already.
        return
    for _ in range(number):
        yield CrashState(cut.position, chance.getrandbits(size), (), size)


def _torn(cut: Cut, chance: random.Random, number: int, unit: int) -> Iterator[CrashState]:
    """Each write of several units torn in each way, on top of its prefix, of all others, or of a random subset.

    `unit` is in sectors.
    """
    size = len(cut.pending)
    writes = [i for i, write in enumerate(cut.pending) if sectors_of(write) > unit] * number
    chance.shuffle(writes)
    for turn, write in enumerate(writes):
        sectors = sectors_of(cut.pending[write])
        place = chance.randrange(unit, sectors, unit)
        first, missing = ((place, sectors - place), (0, place), (place, min(unit, sectors - place)))[turn % 3]
        kept = ((1 << write + 1) - 1, (1 << size) - 1, chance.getrandbits(size) | 1 << write)[chance.randrange(3)]
        yield CrashState(cut.position, kept, (Tear(write, first, missing),), size)
