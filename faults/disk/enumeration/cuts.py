"""Cuts: one for each stretch of a trace in which neither a sync nor a promise comes.

Within a stretch, changes only become more. A cut inside leaves a subset of the pending changes, with the promises made so far,
and the cut at the stretch's end can leave the same subset. A stretch without any change, after a sync, adds nothing: a sync only
takes possible states away.
"""

import re
from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from crashmatrix.faults.disk.trace.operations import Change, Flush, Note, Sync
from crashmatrix.faults.disk.trace.trace import Trace

__all__ = ["Cut", "Sort", "cuts_of"]

Sort = tuple[bytes, frozenset[bytes]]
"""The latest promise's first word, and the other notes of the stretch and of those before it since the last sync."""

_NUMBERS = re.compile(rb"\d+")


@dataclass(frozen=True, slots=True)
class Cut:
    """A stretch of possible cuts, `first` to `position`, by its last one.

    `pending` are the positions of the changes pending at `position`; `notes` counts the promises made before it.
    """

    first: int
    position: int
    pending: tuple[int, ...]
    notes: int
    sort: Sort = (b"", frozenset())
    promises: Sequence[int] = field(default=(), repr=False, compare=False)
    """The positions of the trace's promises."""

    def promised_since(self, position: int) -> int:
        """How many promises were made between a position and the cut."""
        return self.notes - bisect_left(self.promises, position)

    def pending_before(self, position: int) -> int:
        """How many of the pending changes come before a position of the stretch."""
        return bisect_left(self.pending, position)


def cuts_of(trace: Trace, first_cut: int, is_promise: Callable[[bytes], bool]) -> Iterator[Cut]:
    """The cuts between START and FINISH, and not before `first_cut`, by position."""
    start, notes, changes, promised = max(trace.start, first_cut), 0, 0, True
    opened, latest, others, places = start, b"", set[bytes](), list[int]()

    def cut(position: int) -> Cut:
        return Cut(opened, position, trace.pending(position), notes, (latest, frozenset(others)), places)

    for position, operation in enumerate(trace.operations[: trace.finish]):
        syncs = isinstance(operation, Flush | Sync)
        promises = isinstance(operation, Note) and is_promise(operation.text)
        if position >= start and (syncs or promises):
            if changes or promised:
                yield cut(position)
            opened, changes, promised = position + 1, 0, promises
        if isinstance(operation, Change):
            changes += position >= start
        elif syncs:
            others.clear()
        elif isinstance(operation, Note):
            notes += promises
            if promises:
                places.append(position)
                latest = operation.text.partition(b" ")[0]
            else:
                others.add(_NUMBERS.sub(b"", operation.text))
    if changes or promised:
        yield cut(trace.finish)
