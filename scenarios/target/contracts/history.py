"""Attempts as intervals: each from its line in the journal to its end, and which must have taken effect before which.

    a precedes b        a had ended before b began, so every order of the attempts that explains a result has a before b

Attempts that overlap may have taken effect in either order: several writers do so. A writer is known by its name in
the journal; within one writer, attempts follow each other:

- an attempt that was acknowledged or failed ends there;
- one without an end ends where its writer attempts something else: it had given up. A writer that overlaps itself is several
  writers without names; nothing is then known of attempts without an end;
- the last one without an end was in flight when the crash came, and overlaps everything that follows it.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from crashmatrix.scenarios.errors import UsageError
from crashmatrix.scenarios.target.journal import Event, Item, item_key

__all__ = ["Budget", "Operation", "operations"]

_STEPS_MAX = 2_000_000
"""A few seconds."""

_REMEDY = "Let fewer writers overlap, or never store one value twice"


@dataclass(frozen=True)
class Operation:
    """One attempt: from line ``start`` of the journal to line ``end``. Items that were there at first have lines below 0."""

    item: Item
    start: float
    end: float = math.inf
    acknowledged: bool = False
    failed: bool = False
    writer: str = ""

    def precedes(self, other: Operation) -> bool:
        """Whether it had ended before another one began."""
        return self.end < other.start

    @property
    def text(self) -> str:
        """Its item, and who attempted it, if that has a name."""
        return f"{item_key(self.item)} (by {self.writer})" if self.writer else item_key(self.item)


class Budget:
    """Counts the steps of a search. `spend` raises UsageError when they are more than a check may take."""

    def __init__(self, attempts: int, steps_max: int = _STEPS_MAX, remedy: str = _REMEDY) -> None:
        self._attempts, self._steps_max, self._left, self._remedy = attempts, steps_max, steps_max, remedy

    def spend(self, steps: int = 1) -> None:
        """Take steps. Raises UsageError: the verdict is then ``unknown``."""
        self._left -= steps
        if self._left < 0:
            raise UsageError(
                f"the check is too large: {self._steps_max:,} steps did not settle whether some order of {self._attempts} "
                f"attempts explains what came back. {self._remedy}"
            )


def operations(initial: Sequence[Item], events: Iterable[Event]) -> list[Operation]:
    """Return the attempts of a journal that makes sense, in the order in which they began; the items of the beginning first."""
    first = [Operation(item, at, at, acknowledged=True) for at, item in enumerate(initial, -len(initial))]
    begun: list[tuple[int, Event]] = []
    ends: dict[int, tuple[int, str]] = {}
    waiting: dict[tuple[str, str], list[int]] = {}
    for line, event in enumerate(events):
        name = event.writer, item_key(event.item)
        if event.kind == "attempt":
            waiting.setdefault(name, []).append(len(begun))
            begun.append((line, event))
        elif waiting.get(name):  # The latest of several open attempts, as retries without a failure in between are.
            ends[waiting[name].pop()] = line, event.kind
    given_up = _given_up(begun, ends)
    return first + [
        Operation(
            event.item,
            line,
            ends[at][0] if at in ends else min(event.until, given_up.get(at, math.inf)),
            ends.get(at, (0, ""))[1] == "ack",
            ends.get(at, (0, ""))[1] == "fail",
            event.writer,
        )
        for at, (line, event) in enumerate(begun)
    ]


def _given_up(begun: list[tuple[int, Event]], ends: dict[int, tuple[int, str]]) -> dict[int, float]:
    """Return the ends of attempts that have none of their own, where their writer went on."""
    by_writer: dict[str, list[int]] = {}
    for at, (_, event) in enumerate(begun):
        by_writer.setdefault(event.writer, []).append(at)
    found: dict[int, float] = {}
    for each in by_writer.values():
        follows = list(itertools.pairwise(each))
        if any(at in ends and ends[at][0] > begun[after][0] for at, after in follows):
            continue
        found |= {at: begun[after][0] - 0.5 for at, after in follows if at not in ends}
    return found
