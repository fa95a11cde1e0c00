"""The order among cuts: those at which more can differ come more often.

Cuts of one *sort* come after the same kind of promise, with the same other notes since the last sync, and have about as many
changes and choices: they are the same step of a program, at different times. A bug in the step shows at most of them, so sorts
take turns, not cuts: one cut of each sort says more than many of one.

A sort's *weight* grows with what can differ at its cuts, with the promises made there while something was pending, and, more
slowly, with the number of its cuts. After n turns, the next turn of a sort of weight w is due at time n/w. Within a sort, the
kinds of `shapes` take turns, from a drawn one on, and within each kind the cuts.
"""

import heapq
import math
import random
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence

from crashmatrix.faults.disk.enumeration.choices import Choices
from crashmatrix.faults.disk.state import CrashState

__all__ = ["Kind", "Made", "in_turns", "ordered", "sorts_of", "weight_of"]

Made = tuple[int, CrashState]
"""A state, and how many promises come before it."""

_PROMISED = 3.0
"""The weight added by promises that were made while something was pending."""

Kind = Callable[[Choices], Iterator[Made]]
"""The states of one kind at a cut."""


def weight_of(choices: Choices) -> float:
    """How much can differ at a cut, and how much hangs on that.

    Doubling the changes or the promises adds 1. Doubling the choices within changes, which are often of one kind, adds half.
    """
    hanging = _PROMISED + math.log2(1 + choices.promised) if choices.promised else 0.0
    return 1 + math.log2(1 + len(choices.changes)) + math.log2(1 + choices.number) / 2 + hanging


def sorts_of(cuts: Iterable[Choices]) -> list[list[Choices]]:
    """The cuts, those of one sort together."""
    found: defaultdict[Hashable, list[Choices]] = defaultdict(list)
    for choices in cuts:
        size = len(choices.changes).bit_length(), choices.number.bit_length()
        found[choices.cut.sort, size].append(choices)
    return list(found.values())


def ordered(
    sorts: Sequence[Sequence[Choices]], kinds: Sequence[Kind], last: Kind, chance: random.Random
) -> Iterator[Made]:
    """All states: of each sort, those of the `kinds` in turns, then those of the `last` kind."""
    due: list[tuple[float, float, float, Iterator[Made]]] = []
    for members in sorts:
        cuts = chance.sample(members, len(members))
        weight = sum(map(weight_of, cuts)) / math.sqrt(len(cuts))
        first = chance.randrange(len(kinds))
        states = _of_sort(cuts, [*kinds[first:], *kinds[:first]], last)
        due.append((1 / weight, chance.random(), weight, states))
    heapq.heapify(due)
    while due:
        time, tie, weight, states = due[0]
        state = next(states, None)
        if state is None:
            heapq.heappop(due)
        else:
            yield state
            heapq.heapreplace(due, (time + 1 / weight, tie, weight, states))


def _of_sort(cuts: Sequence[Choices], kinds: Sequence[Kind], last: Kind) -> Iterator[Made]:
    distinct = {kind: in_turns([kind(choices) for choices in cuts]) for kind in dict.fromkeys(kinds)}
    yield from in_turns([distinct[kind] for kind in kinds])
    yield from in_turns([last(choices) for choices in cuts])


def in_turns(streams: Iterable[Iterator[Made]]) -> Iterator[Made]:
    """One of each stream, then another of each, until all run out."""
    going = list(streams)
    while going:
        ended = set[int]()
        for stream in going:
            state = next(stream, None)
            if state is None:
                ended.add(id(stream))
            else:
                yield state
        going = [stream for stream in going if id(stream) not in ended]
