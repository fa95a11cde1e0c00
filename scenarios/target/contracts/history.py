"""Attempts as intervals: each from its line in the journal to its end, and which must have taken effect before which.

    a precedes b        a had ended before b began, so every order of the attempts that explains a result has a before b

Attempts that overlap may have taken effect in either order: several writers do so. A writer is known by its name in
the journal; within one writer, attempts follow each other:

- an attempt that was acknowledged or failed ends there;
- one without an end ends where its writer attempts something else: it had given up. A writer that overlaps itself is several
  writers without names; nothing is then known of attempts without an end;
- the last one without an end was in flight when the crash came, and overlaps everything that follows it.

Where equal items are one request, its tries are one attempt: from the beginning of the first try to the first acknowledgement
(`requests`). It may have taken effect at any time in between.
"""

from __future__ import annotations

import itertools
import math
from collections import deque
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace

from crashmatrix.scenarios.errors import UsageError
from crashmatrix.scenarios.target.journal import Event, Item, item_key

__all__ = ["Budget", "Operation", "operations", "requests"]

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
    def has_end(self) -> bool:
        """Whether the journal says how it ended."""
        return self.acknowledged or self.failed

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
    events = list(events)
    begun = [(line, event) for line, event in enumerate(events) if event.kind == "attempt"]
    ends = _ends(events)
    if overlapping := {writer for writer, each in _by_writer(begun).items() if _overlaps_itself(each, begun, ends)}:
        ends = _ends(events, overlapping)
    given_up = _given_up(begun, ends, overlapping)
    return first + [
        Operation(
            event.item,
            line,
            ends[at][0] if at in ends else given_up.get(at, math.inf) if event.until is None else event.until,
            ends.get(at, (0, ""))[1] == "ack",
            ends.get(at, (0, ""))[1] == "fail",
            event.writer,
        )
        for at, (line, event) in enumerate(begun)
    ]


def requests(attempts: Iterable[Operation]) -> list[Operation]:
    """Return one attempt for those that have equal items, in the order in which they began."""
    tries: dict[str, list[Operation]] = {}
    for each in attempts:
        tries.setdefault(item_key(each.item), []).append(each)
    return [_request(each) for each in tries.values()]


def _request(tries: list[Operation]) -> Operation:
    if acknowledged := [each.end for each in tries if each.acknowledged]:
        return replace(tries[0], end=min(acknowledged), acknowledged=True, failed=False)
    return replace(tries[0], end=max(each.end for each in tries), failed=any(each.failed for each in tries))


def _ends(events: Sequence[Event], overlapping: Collection[str] = ()) -> dict[int, tuple[int, str]]:
    """Return at which line each attempt ended, and how. An end is of one of the attempts of its writer and item that are open.

    It is the last of them, as if the others were retries without a failure in between. If the writer is several ones without
    names, it is the first: so each of them may have taken effect at any time that another choice allows.
    """
    waiting: dict[tuple[str, str], deque[int]] = {}
    ends: dict[int, tuple[int, str]] = {}
    attempts = itertools.count()
    for line, event in enumerate(events):
        open_ones = waiting.setdefault((event.writer, item_key(event.item)), deque())
        if event.kind == "attempt":
            open_ones.append(next(attempts))
        elif open_ones:
            ended = open_ones.popleft() if event.writer in overlapping else open_ones.pop()
            ends[ended] = line, event.kind
    return ends


def _by_writer(begun: list[tuple[int, Event]]) -> dict[str, list[int]]:
    by_writer: dict[str, list[int]] = {}
    for at, (_, event) in enumerate(begun):
        by_writer.setdefault(event.writer, []).append(at)
    return by_writer


def _overlaps_itself(own: list[int], begun: list[tuple[int, Event]], ends: dict[int, tuple[int, str]]) -> bool:
    return any(at in ends and ends[at][0] > begun[after][0] for at, after in itertools.pairwise(own))


def _given_up(
    begun: list[tuple[int, Event]], ends: dict[int, tuple[int, str]], overlapping: Collection[str]
) -> dict[int, float]:
    """Return the ends of attempts that have none of their own, where their writer went on."""
    return {
        at: begun[after][0] - 0.5
        for writer, own in _by_writer(begun).items()
        if writer not in overlapping
        for at, after in itertools.pairwise(own)
        if at not in ends
    }
