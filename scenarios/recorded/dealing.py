"""Dealing: the crash states that each judge gets, and their order. Each outcome is judged once after the same promises.

The *outcome* of a state is the folder that it is predicted to become (`prediction`). A state with an outcome that was dealt
already, after the same promises, costs nothing and does not count; one in so many is dealt all the same, to check the prediction.

Judges share no memory, so each of them looks at all states, in the same order, and knows its own. States after neighbouring
promises go to one judge: they share folders, and the system's own check. If there are few promises, outcomes are dealt out in
turn.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from functools import cached_property
from itertools import accumulate, islice, takewhile

from crashmatrix.faults.disk import CrashState, CrashStates, Trace
from crashmatrix.scenarios.recorded.prediction import Prediction
from crashmatrix.scenarios.recorded.recording import is_journal_line

__all__ = ["BATCH", "Dealer"]

BATCH, _FIRST_BATCH = 200, 25
"""How many states are dealt at once, to be judged in the order of their cuts: neighbours are cheap to move between. The first
batches are smaller, so that a bug which shows at once is found at once."""

_PROMISES_MIN, _NEIGHBOURS = 16, 4
_MIXER = 2654435761  # 2**32 over the golden ratio, after Knuth: spreads neighbours
_COUNTED_MAX, _COUNTED_PER_DEALT, _LOOKED_AT_MAX = 2_000, 250, 50_000
"""How many states are enumerated: once enough are dealt, to say how many there are, in all and for each that is dealt;
in search of more to deal."""
_OUTCOMES_EACH = 8
"""How many outcomes are judged for each state that is dealt to check a prediction, at least."""


class Dealer:
    """Deals out the crash states of one trace. ``lines_before`` journal lines were written before its recording began."""

    def __init__(
        self, trace: Trace, states: CrashStates, *, lines_before: int = 0, prediction: Prediction | None = None
    ) -> None:
        self._trace, self._states, self._lines_before = trace, states, lines_before
        self._prediction = prediction or Prediction(states.outcomes)
        self._events_at: dict[int, int] = {}
        self._seen: set[tuple[int, int]] = set()
        self._turns: dict[int, int] = {}
        self.again: set[CrashState] = set()
        """The states dealt to check a prediction."""
        self.outcomes = 0
        """How many distinct outcomes were dealt, with the promises before them."""
        self.free = 0
        """How many of them cost nothing, as they were found to repeat what an earlier recording had."""
        self.complete = False
        """Whether the enumeration came to its end, and all of this judge's states were dealt."""

    def batches(self, number: int, workers: int, budget: int) -> Iterator[list[CrashState]]:
        """Yield the states of judge ``number`` of so many, ``budget`` at most; then count how many others there are.

        States come in the order of enumeration, those of one batch by their cuts.
        """
        states, coverage, size = iter(self._states), self._states.coverage, _FIRST_BATCH
        self.outcomes, self.free, self.complete = 0, 0, False
        ended, waiting = False, list[tuple[int, int, CrashState]]()
        while self.outcomes - self.free < budget and (waiting or not (ended or coverage.enumerated >= _LOOKED_AT_MAX)):
            if not waiting:
                looked_at = list(islice(states, size))
                ended, size = len(looked_at) < size, min(BATCH, 2 * size)
                waiting = self._of(looked_at, number, workers)
            batch, waiting = self._new(waiting, budget)
            if batch:
                yield batch
        self.complete = ended and not waiting
        if not number and not ended:  # It is enough that one judge counts.
            counted_max = min(_COUNTED_MAX, _COUNTED_PER_DEALT * budget)
            deque(takewhile(lambda _: coverage.enumerated < counted_max, states), 0)

    def _of(self, states: list[CrashState], number: int, workers: int) -> list[tuple[int, int, CrashState]]:
        """Return the states of one judge, in the same order, with their outcomes and how many journal lines precede them."""
        found = []
        for place, state in sorted(
            enumerate(states), key=lambda each: each[1].cut
        ):  # Outcomes are cheapest in this order.
            events = self.events(state.cut)
            if self._few_promises or self._dealt(events) % workers == number:
                outcome = self._prediction.outcome(state)
                # In turn, not by its name: that may hold a time, which is another one in each recording.
                if not self._few_promises or self._turns.setdefault(outcome, len(self._turns)) % workers == number:
                    found.append((place, outcome, events, state))
        return [(outcome, events, state) for _, outcome, events, state in sorted(found, key=lambda each: each[0])]

    def _new(
        self, states: list[tuple[int, int, CrashState]], budget: int
    ) -> tuple[list[CrashState], list[tuple[int, int, CrashState]]]:
        """Return those to judge, by their cuts, and those that have to wait until there is budget again."""
        batch = []
        for at, (outcome, events, state) in enumerate(states):
            if self._prediction.holds and (outcome, events) in self._seen:
                if not self._prediction.spares() and _OUTCOMES_EACH * len(self.again) <= self.outcomes:
                    self.again.add(state)
                    batch.append(state)
                continue
            if self.outcomes - self.free >= budget:
                return sorted(batch, key=lambda state: state.cut), states[at:]
            self._seen.add((outcome, events))
            self.outcomes += 1
            batch.append(state)
        return sorted(batch, key=lambda state: state.cut), []

    def events(self, cut: int) -> int:
        """How many journal lines had been written before a position of the trace."""
        if cut not in self._events_at:
            self._events_at[cut] = self._events_by_note[len(self._trace.notes_before(cut))]
        return self._events_at[cut]

    @staticmethod
    def _dealt(events: int) -> int:
        return events // _NEIGHBOURS * _MIXER >> 8

    @cached_property
    def _few_promises(self) -> bool:
        cuts = self._states.cuts
        return not cuts or self.events(cuts[-1].position) - self.events(cuts[0].position) < _PROMISES_MIN

    @cached_property
    def _events_by_note(self) -> list[int]:
        """How many journal lines had been written by the time of the first notes, by the notes' number."""
        notes = self._trace.notes_before(len(self._trace.operations))
        return list(accumulate(map(is_journal_line, notes), initial=self._lines_before))
