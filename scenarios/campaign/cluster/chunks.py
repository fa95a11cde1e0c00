"""How many items go out to a worker at a time: as many as keep it busy for a while.

A chunk costs the coordinator nearly the same with one item in it as with a hundred. So a chunk is long enough for that cost to be
small beside it. And it is short enough for the workers to end together, for little to be lost with a worker that dies, and for a
time limit to be kept.
"""

from __future__ import annotations

__all__ = ["ChunkSize"]

_SECONDS_MIN, _SECONDS_MAX = 0.05, 1.0
_FIRST = 4
"""How many items are sent together while nothing is known of their time."""
_CHUNKS_PER_WORKER = 2
"""Among how many chunks for each worker the items that are left would be divided."""
_WEIGHT = 1 / 8
"""How much a chunk's time changes what is expected of the next."""


class ChunkSize:
    """The number of items in the next chunk of one kind of task, from the time that items took."""

    def __init__(self) -> None:
        self._seconds: float | None = None

    def learn(self, items: int, seconds: float) -> None:
        """Note how long a worker took for a chunk of so many items."""
        mean = seconds / items
        self._seconds = mean if self._seconds is None else self._seconds + _WEIGHT * (mean - self._seconds)

    def next(self, left: int, workers: int) -> int:
        """Return how many of the items that are left go out together; at least one."""
        share = -(-left // (_CHUNKS_PER_WORKER * max(1, workers)))
        if self._seconds is None:
            return min(_FIRST, share)
        if not self._seconds:
            return share
        least, most = (int(seconds / self._seconds) for seconds in (_SECONDS_MIN, _SECONDS_MAX))
        return max(1, min(left, most, max(least, share)))
