"""Rows of a table by models that sensors do not send: uneven times, floats of both widths, values at the edge of their bound.

Times differ by whole seconds, so that the differences of many uneven runs add up to what even ones would. Values stay the same
for a while, or jump to and fro by as much as one constant may stand for, where half of that is not a float of four bytes; some
are not numbers. The last column has no bound.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

import pyarrow as pa

from crashmatrix.reference_wal.models.bound import Bound, absolute, relative

__all__ = ["UNEVEN_BOUNDS", "UNEVEN_SCHEMA", "UNEVEN_TAGS", "uneven_batch"]

UNEVEN_SCHEMA = pa.schema(
    [
        pa.field("coarse", pa.float32(), nullable=False),
        pa.field("channel", pa.int16(), nullable=False),
        pa.field("timestamp", pa.timestamp("us"), nullable=False),
        pa.field("fine", pa.float64(), nullable=False),
        pa.field("live", pa.bool_(), nullable=False),
        pa.field("exact", pa.float64(), nullable=False),
    ]
)
UNEVEN_TAGS = ["channel", "live"]
UNEVEN_BOUNDS: dict[str, Bound] = {"coarse": absolute(1.5), "fine": relative(2.0)}

_SERIES = ((-3, True), (-3, False), (12, True))
_ROWS = 33
_BEGIN = -40_000_000_000_000
_SECOND = 1_000_000
_LARGE = 2.0**24
_STRANGE = (float("nan"), float("inf"), float("-inf"), -0.0, 0.0, 5e-324, -1e308)


def uneven_batch(number: int) -> pa.RecordBatch:
    """Return batch ``number``: rows of each series, later than those of the batches before, not in the order of their times."""
    draw = random.Random(f"uneven {number}")
    rows = [row for series in _SERIES for row in _series(draw, number, *series)]
    draw.shuffle(rows)
    columns = list(zip(*rows, strict=True))
    return pa.RecordBatch.from_arrays(
        [pa.array(column, field.type) for column, field in zip(columns, UNEVEN_SCHEMA, strict=True)],
        schema=UNEVEN_SCHEMA,
    )


def _series(draw: random.Random, number: int, channel: int, live: bool) -> list[tuple[object, ...]]:
    time, rows = _BEGIN + number * _ROWS * 4 * _SECOND, list[tuple[object, ...]]()
    coarse, fine = _values(draw, _LARGE, _LARGE + 2), _values(draw, 100.0, 103.0)
    for place in range(_ROWS):
        time += draw.choice((1, 1, 2, 3)) * _SECOND
        rows.append((coarse[place], channel, time, fine[place], live, draw.choice((*_STRANGE, 1.5, 1.5))))
    return rows


def _values(draw: random.Random, low: float, high: float) -> Sequence[float]:
    found = list[float]()
    while len(found) < _ROWS:
        length = draw.randint(1, 17)
        found += draw.choice(([low] * length, [low, high] * length, [draw.choice(_STRANGE[:5])]))
    return found[:_ROWS]
