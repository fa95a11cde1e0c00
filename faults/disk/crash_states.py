"""The crash states of a trace, enumerated so that a small budget finds most. `state` defines a crash state.

`enumeration` says what can differ at a cut, and in which order its states come. A state is skipped when an earlier one had the
same image and the same number of promises before it.
"""

import math
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property, partial

from crashmatrix.faults.disk.enumeration import shapes
from crashmatrix.faults.disk.enumeration.choices import Choices, Units
from crashmatrix.faults.disk.enumeration.cuts import Cut, cuts_of
from crashmatrix.faults.disk.enumeration.turns import in_turns, ordered, sorts_of, weight_of
from crashmatrix.faults.disk.errors import InvalidOption
from crashmatrix.faults.disk.filesystem import Filesystem
from crashmatrix.faults.disk.media import medium_of
from crashmatrix.faults.disk.state import CrashState, ImageNames, OutcomeNames
from crashmatrix.faults.disk.trace.operations import SECTOR_BYTES
from crashmatrix.faults.disk.trace.trace import Trace

__all__ = ["EXHAUSTIVE_MAX", "Coverage", "CrashStates", "Cut", "StateOptions"]

EXHAUSTIVE_MAX = 1 << 14
"""How many states are enumerated at most to have every combination; cuts with few choices come first."""


@dataclass(frozen=True, kw_only=True)
class StateOptions:
    """How far to go. `seed` drives all choices.

    `random_subsets` is a count for each cut, `torn_per_write` for each write. They bound the states of cuts with too many choices
    for every combination (`exhaustive_max`). `atomic_bytes` is the unit that the disk writes whole (None: what the filesystem
    relies on, see Filesystem.atomic_bytes and atomic_range); a multiple of 512. Power fails at position `first_cut` of the trace
    at the earliest.
    """

    seed: int = 0
    random_subsets: int = 12
    torn_per_write: int = 60
    exhaustive_max: int = EXHAUSTIVE_MAX
    atomic_bytes: int | None = None
    first_cut: int = 0


@dataclass(kw_only=True)
class Coverage:
    """The numbers enumerated so far.

    `choices` counts, over all cuts, the sectors and other changes that make a difference; `possible_log2` their combinations.
    `exhaustive` says that an iteration that has come to its end has given every combination.
    """

    cuts: int
    pending_most: int
    choices: int
    possible_log2: float
    exhaustive: bool
    enumerated: int = 0
    distinct: int = 0


class CrashStates:
    """The crash states of a trace between its marks START and FINISH, lazily, each image once for each number of promises.

    Iterating starts again each time and always gives the same sequence for the same trace and options. `coverage` describes
    the latest iteration and grows with it. `is_promise` chooses the notes that are promises; by default, all are.
    """

    def __init__(
        self,
        trace: Trace,
        options: StateOptions | None = None,
        is_promise: Callable[[bytes], bool] = lambda _: True,
    ) -> None:
        self._trace, self._is_promise = trace, is_promise
        self._options = options or StateOptions()
        filesystem = Filesystem.parse(trace.filesystem)
        atomic_bytes = self._options.atomic_bytes or filesystem.atomic_bytes
        if atomic_bytes % SECTOR_BYTES:
            raise InvalidOption(f"no disk writes {atomic_bytes} bytes whole", f"give a multiple of {SECTOR_BYTES}")
        whole = range(0) if self._options.atomic_bytes else filesystem.atomic_range
        self._units = Units(
            atomic_bytes // SECTOR_BYTES, range(whole.start // SECTOR_BYTES, whole.stop // SECTOR_BYTES)
        )

    @cached_property
    def cuts(self) -> tuple[Cut, ...]:
        """All cuts, by position."""
        return tuple(cuts_of(self._trace, self._options.first_cut, self._is_promise))

    @cached_property
    def digests(self) -> ImageNames:
        """Names for images: `digests.of(state)`."""
        return medium_of(self._trace.filesystem).digests(self._trace)

    @cached_property
    def outcomes(self) -> OutcomeNames:
        """Names for the folders that images become once mounted, predicted without mounting: `outcomes.of(state)`."""
        return medium_of(self._trace.filesystem).outcomes(self._trace, self.digests)

    @cached_property
    def choices(self) -> tuple[Choices, ...]:
        """The choices at each cut."""
        operations = self._trace.operations
        return tuple(
            Choices(cut, operations, self.digests.changed, self._units, self.outcomes.inert(cut.position))
            for cut in self.cuts
        )

    @property
    def weight(self) -> float:
        """How much can differ at all cuts together."""
        return sum(map(weight_of, self.choices))

    @cached_property
    def coverage(self) -> Coverage:
        """How many states there are, and how many the latest iteration has given."""
        numbers = [choices.number for choices in self.choices]
        most = max(numbers, default=0)
        # The sum of powers of two, by its logarithm: the numbers themselves have thousands of digits.
        log2 = most + math.log2(sum(2.0 ** max(n - most, -1000) for n in numbers)) if numbers else 0.0
        return Coverage(
            cuts=len(numbers),
            pending_most=max((len(cut.pending) for cut in self.cuts), default=0),
            choices=sum(numbers),
            possible_log2=log2,
            exhaustive=len(self._small) == len(numbers),
        )

    def __iter__(self) -> Iterator[CrashState]:
        seen: set[tuple[int, int]] = set()
        images: set[int] = set()
        self.coverage.enumerated = self.coverage.distinct = 0
        for notes, state in self._candidates():
            self.coverage.enumerated += 1
            image = self.digests.of(state)
            if (image, notes) in seen:
                continue
            seen.add((image, notes))
            images.add(image)
            self.coverage.distinct = len(images)
            yield state

    @property
    def clean(self) -> CrashState:
        """The state after the orderly unmount, as a run without any crash leaves it. For checking the checker."""
        return CrashState.whole(self._trace, len(self._trace.operations))

    @cached_property
    def _small(self) -> frozenset[Choices]:
        """The cuts at which every combination is enumerated."""
        found, states = set[Choices](), 0
        for choices in sorted(self.choices, key=lambda choices: choices.number):
            states += 1 << min(choices.number, 64)
            if states > self._options.exhaustive_max:
                break
            found.add(choices)
        return frozenset(found)

    def _candidates(self) -> Iterator[tuple[int, CrashState]]:
        options = self._options
        kinds: dict[str, shapes.Shape] = {
            "promised": shapes.promised,
            "ends": shapes.ends,
            "singles": shapes.singles,
            "torn": partial(shapes.torn, most=options.torn_per_write),
            "subsets": partial(shapes.subsets, number=options.random_subsets),
            "rest": lambda choices, chance: shapes.rest(choices, chance) if choices in self._small else iter(()),
        }
        made = {name: partial(self._states, name, shape) for name, shape in kinds.items()}
        turns = [made[name] for name in ("singles", "ends", "singles", "torn", "subsets")]
        chance = random.Random(f"{options.seed} turns")
        promised = in_turns([made["promised"](choices) for choices in chance.sample(self.choices, len(self.choices))])
        others = ordered(sorts_of(self.choices), turns, made["rest"], chance)
        # At first, every third state is one right after a promise: it may be in memory only, without any pending write.
        return in_turns([promised, others, others])

    def _states(self, name: str, shape: shapes.Shape, choices: Choices) -> Iterator[tuple[int, CrashState]]:
        chance = random.Random(f"{self._options.seed} {name} {choices.cut.position}")
        notes = choices.cut.notes
        for bits in shape(choices, chance):
            yield notes, choices.state(bits)
        if name == "ends" and choices.idles:
            # Predicted to make no difference: given all the same, so that predictions can be checked.
            yield notes, choices.state(choices.every, idle=False)
