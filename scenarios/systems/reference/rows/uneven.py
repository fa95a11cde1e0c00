"""Rows of a table by models that sensors do not send: uneven times, floats of both widths, values at the edge of their bound.

One series of each batch is extreme. Its times begin with the first one there is and end with the last one, farther apart than an
int64 can say. Its values are subnormal, or so large that a share of them overflows, or small beside the largest one there is.

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
_ROWS = 25
_BEGIN = -40_000_000_000_000
_SECOND = 1_000_000
_LARGE = 2.0**24
_CHANNEL, _EXTREME_ROWS = 100, 24
_MOST, _LEAST, _MOST_COARSE = 1.7976931348623157e308, 5e-324, 3.4028234663852886e38
_EXTREMES = (
    [*[1.0] * 8, _MOST, 1.0, -_MOST], [1.5e308] * 12, [60 * _LEAST, 61 * _LEAST] * 6, [_MOST] * 12, [-1e308, -1.01e308] * 6
)  # fmt: skip
_EXTREMES_COARSE = ([_MOST_COARSE] * 9, [1.0, _MOST_COARSE] * 5, [-_MOST_COARSE] * 9, [1e-45, 2.0] * 5)
_STRANGE = (float("nan"), float("inf"), float("-inf"), -0.0, 0.0, 5e-324, -1e308)


def uneven_batch(number: int) -> pa.RecordBatch:
    """Return batch ``number``: rows of each series, later than those of the batches before, not in the order of their times."""
    draw = random.Random(f"uneven {number}")
    rows = [row for series in _SERIES for row in _series(draw, number, *series)]
    rows += _extreme_series(draw, number)
    draw.shuffle(rows)
    columns = list(zip(*rows, strict=True))
    return pa.RecordBatch.from_arrays(
        [_array(column, field.type) for column, field in zip(columns, UNEVEN_SCHEMA, strict=True)],
        schema=UNEVEN_SCHEMA,
    )


def _array(values: Sequence[object], kind: pa.DataType) -> pa.Array:
    return pa.array(values, pa.int64()).cast(kind) if pa.types.is_timestamp(kind) else pa.array(values, kind)


def _extreme_series(draw: random.Random, number: int) -> list[tuple[object, ...]]:
    """Return rows of a series of this batch alone."""
    times = [-(2**63), *(place * _SECOND for place in range(_EXTREME_ROWS - 2)), 2**63 - 1]
    fine, coarse = list[float](), list[float]()
    while len(fine) < _EXTREME_ROWS:
        fine += draw.choice(_EXTREMES)
    while len(coarse) < _EXTREME_ROWS:
        coarse += draw.choice(_EXTREMES_COARSE)
    columns = zip(times, coarse[:_EXTREME_ROWS], fine[:_EXTREME_ROWS], strict=True)
    return [(small, _CHANNEL + number, time, large, True, draw.choice(_STRANGE)) for time, small, large in columns]


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
