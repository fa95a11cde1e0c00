"""The batches that the targets store: points of a few series, with values drawn from the seed, and how they are found again."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

import pyarrow as pa

from crashmatrix.scenarios.errors import PromiseBroken
from crashmatrix.scenarios.systems.modelardb.stream import SCHEMA
from crashmatrix.scenarios.systems.values import value_of

__all__ = ["batch_of", "numbers_in", "points_of"]

_LONE, _LONE_EVERY = 4, 8
_FAST = (4, 4, 3, 3)
"""Points of the fast series in each batch of a segment: 14, as many as a buffer takes."""
_FAST_AFTER_LONE = (0, 5, 5, 4)


def points_of(number: int) -> Mapping[str, int]:
    """Return how many points of which series a batch holds: the steady one has one in each, now and then by itself."""
    place = number % 4
    fast = (_FAST_AFTER_LONE if number % _LONE_EVERY >= _LONE else _FAST)[place]
    return {"steady": 1, "fast": fast} if fast else {"steady": 1}


def batch_of(seed: int, number: int) -> pa.RecordBatch:
    """Return batch ``number``."""
    keys = [(name, row) for name, rows in points_of(number).items() for row in range(rows)]
    value = value_of(seed, number)
    size = -(-len(value) // len(keys))
    points = [(number, *key, value[place * size : (place + 1) * size]) for place, key in enumerate(keys)]
    return pa.RecordBatch.from_arrays([pa.array(column) for column in zip(*points, strict=True)], schema=SCHEMA)


def numbers_in(seed: int, rows: pa.Table, *, parts: bool = False) -> list[int]:
    """Return the batches among these rows, each as often as it is there.

    Args:
        parts: a batch counts if some of its points are there.

    Raises:
        PromiseBroken: points of a batch are there, others are not; or points that nobody stored.
    """
    found = Counter((row["number"], row["series"], row["row"], row["value"]) for row in rows.to_pylist())
    numbers = []
    for number in sorted({point[0] for point in found}):
        points = [tuple(row.values()) for row in batch_of(seed, number).to_pylist()]
        times = {found.pop(point, 0) for point in points}
        if len(times) > 1 and not parts:
            verdict = "loses" if 0 in times else "duplicate"
            raise PromiseBroken(verdict, f"the points of batch {number} came back {min(times)} to {max(times)} times")
        numbers += [number] * max(times)
    if found:
        raise PromiseBroken("corrupt", f"points came back that were never stored: {[p[:3] for p in found][:3]}")
    return numbers
