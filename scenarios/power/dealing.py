"""Dealing: the crash states that each judge gets, and their order. Each image is judged once.

Judges share no memory, so the number that deals a state out depends on the state alone. States after neighbouring promises
go to one judge: they share folders, and the system's own check. If there are few promises, states are dealt out by their
images.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from itertools import accumulate

from crashmatrix.faults.disk import CrashState, CrashStates, Trace
from crashmatrix.scenarios.power.recording import is_journal_line

__all__ = ["BATCH", "Dealer"]

BATCH = 200
"""How many states are dealt at once, to be judged in the order of their cuts: neighbours are cheap to move between."""

_PROMISES_MIN, _NEIGHBOURS = 16, 4
_MIXER = 2654435761  # 2**32 over the golden ratio, after Knuth: spreads neighbours
_ENUMERATED_MAX, _ENUMERATED_PER_DEALT = 20_000, 250
"""How many states are enumerated, once enough are dealt, to say how many there are: in all, and for each that is dealt."""


class Dealer:
    """Deals out the crash states of one trace. ``lines_before`` journal lines were written before its recording began."""

    def __init__(self, trace: Trace, states: CrashStates, *, lines_before: int = 0) -> None:
        self._trace, self._states, self._lines_before = trace, states, lines_before
        self._events_at: dict[int, int] = {}

    def batches(self, number: int, workers: int, budget: int) -> Iterator[list[CrashState]]:
        """Yield the states of judge ``number`` of so many, ``budget`` at most; then count how many others there are.

        States come in the order of enumeration, those of one batch by their cuts.
        """
        batch: list[CrashState] = []
        seen: set[tuple[int, int]] = set()
        enumerated_max = min(_ENUMERATED_MAX, _ENUMERATED_PER_DEALT * budget)
        for state in self._states:
            if len(seen) == budget:
                if number or self._states.coverage.enumerated > enumerated_max:
                    break  # It is enough that one judge counts.
                continue
            image, events = self._states.digests.of(state), self.events(state.cut)
            if self._dealt(image, events) % workers != number or (image, events) in seen:
                continue
            seen.add((image, events))
            batch.append(state)
            if len(batch) == BATCH or len(seen) == budget:
                yield sorted(batch, key=lambda state: state.cut)
                batch = []
        yield sorted(batch, key=lambda state: state.cut)

    def events(self, cut: int) -> int:
        """How many journal lines had been written before a position of the trace."""
        if cut not in self._events_at:
            self._events_at[cut] = self._events_by_note[len(self._trace.notes_before(cut))]
        return self._events_at[cut]

    def _dealt(self, image: int, events: int) -> int:
        return image if self._few_promises else events // _NEIGHBOURS * _MIXER >> 8

    @cached_property
    def _few_promises(self) -> bool:
        cuts = self._states.cuts
        return not cuts or self.events(cuts[-1].position) - self.events(cuts[0].position) < _PROMISES_MIN

    @cached_property
    def _events_by_note(self) -> list[int]:
        """How many journal lines had been written by the time of the first notes, by the notes' number."""
        notes = self._trace.notes_before(len(self._trace.operations))
        return list(accumulate(map(is_journal_line, notes), initial=self._lines_before))
