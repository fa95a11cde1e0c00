"""The models: each takes one value after the other, as long as one function is within the bound of all.

PMC-mean (I. Lazaridis, S. Mehrotra, "Capturing Sensor-Generated Time Series with Quality Guarantees", 2003): a constant, the
mean of the values. Swing (H. Elmeleegy and others, "Online Piece-wise Linear Approximation of Numerical Streams with
Precision Guarantees", 2009): a line through the first value. Both as in ModelarDB.

The arithmetic rounds and overflows, so a model's claim is not believed: `longest` decodes what it is about to store and compares
each value. The points before the first that it misses can be kept. A model that stops before a value it cannot stand for is not
refused for it: neither takes a NaN, nor a line infinity.

A model looks at few points first, and at four times as many once these are decoded and compared. So it looks at no more than
a multiple of the points that it will stand for: a model whose claims fail cannot make the whole scan again at each place.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Mapping, Sequence
from itertools import takewhile

from crashmatrix.reference_wal.models.bound import LOSSLESS, Bound

__all__ = ["MODELS", "PMC_MEAN", "RAW", "SWING", "Fit", "decode", "longest", "raw"]

RAW, PMC_MEAN, SWING = "raw", "pmc-mean", "swing"
SHORTEST: Mapping[str, int] = {PMC_MEAN: 8, SWING: 12}
"""Fewer points take less room as they are: a segment has times, a count and more besides its parameters."""

_MORE = 4
"""How many times as many points a model looks at, once it stands for everything that it has looked at."""

Fit = tuple[str, bytes, int]
"""A model, its parameters, and how many points it stands for."""

Rounded = Callable[[float], float]
"""Rounds a value as the column's type does."""


def _pmc_mean(values: Sequence[float], start: int, end: int, bound: Bound) -> tuple[bytes, int]:
    lower, upper, total, count, parameter = -math.inf, math.inf, 0.0, 0, b""
    exact: float | None = None
    for place in range(start, end):
        value = values[place]
        low, high = bound.interval(value)
        lower, upper, total = max(lower, low), min(upper, high), total + value
        if not lower <= upper or math.isnan(value):
            break
        if low == high:  # Only its own bits may come back: of two zeros with different signs, one.
            if exact is not None and not LOSSLESS.holds(exact, value):
                break
            exact = value
        mean = total / (count + 1) if exact is None else exact
        if not lower <= mean <= upper:
            mean = _middle(lower, upper)  # With equal values, the mean may be a rounding away from them.
        count, parameter = count + 1, struct.pack("<d", mean)
    return parameter, count


def _swing(values: Sequence[float], times: Sequence[int], start: int, end: int, bound: Bound) -> tuple[bytes, int]:
    first, begin = values[start], times[start]
    lower, upper, count = -math.inf, math.inf, 1
    if not math.isfinite(first):
        return b"", 0
    for place in range(start + 1, end):
        least, most = bound.interval(values[place])
        if (elapsed := times[place] - begin) <= 0:
            if not least <= first <= most:
                break
        else:
            low, high = max(lower, (least - first) / elapsed), min(upper, (most - first) / elapsed)
            if not -math.inf < low <= high < math.inf:
                break
            lower, upper = low, high
        count += 1
    slope = _middle(lower, upper) if math.isfinite(lower) else 0.0
    return struct.pack("<dd", first, slope), count


def _middle(lower: float, upper: float) -> float:
    middle = (lower + upper) / 2
    if not math.isfinite(middle):
        middle = lower / 2 + upper / 2
    return min(max(middle, lower), upper)


def decode(model: str, parameters: bytes, times: Sequence[int]) -> list[float]:
    """Return the values of a segment with these times. Raises ValueError for parameters that are no model's."""
    try:
        if model == RAW:
            return list(struct.unpack(f"<{len(times)}d", _joined(parameters)))
        if model == PMC_MEAN:
            (mean,) = struct.unpack("<d", parameters)
            return [mean] * len(times)
        if model == SWING:
            first, slope = struct.unpack("<dd", parameters)
            return [first + slope * (time - times[0]) for time in times]
    except struct.error as error:
        raise ValueError(f"parameters of {model}: {error}") from error
    raise ValueError(f"no model {model!r}")


def raw(values: Sequence[float]) -> bytes:
    """Return the parameters of values as they are: all first bytes, all second ones, and so on, which Parquet compresses."""
    data = struct.pack(f"<{len(values)}d", *values)
    return b"".join(data[byte::8] for byte in range(8))


def _joined(data: bytes) -> bytes:
    count = len(data) // 8
    return b"".join(data[place::count] for place in range(count))


def longest(
    values: Sequence[float], times: Sequence[int], start: int, end: int, bound: Bound, rounded: Rounded,
    *, shortest: Mapping[str, int] = SHORTEST,
) -> Fit | None:  # fmt: skip
    """Return a model that stands for many points from ``start`` on, every one of them within the bound; None for none.

    Args:
        end: the place before which it stops.
        shortest: how many points each model must stand for.
    """
    best, limit = None, max(shortest.values())
    while True:
        stop = min(end, start + limit)
        found = _longest_before(values, times, start, stop, bound, rounded, shortest)
        if found is not None and (best is None or found[2] > best[2]):
            best = found
        if stop == end or found is None or found[2] < limit:
            return best
        limit *= _MORE


def _longest_before(
    values: Sequence[float], times: Sequence[int], start: int, end: int, bound: Bound, rounded: Rounded,
    shortest: Mapping[str, int],
) -> Fit | None:  # fmt: skip
    """Return the model that stands for the most points, of those that each model claims or the first of them."""
    tried = [(PMC_MEAN, *_pmc_mean(values, start, end, bound)), (SWING, *_swing(values, times, start, end, bound))]
    best: Fit | None = None
    for claim in sorted(tried, key=_worth, reverse=True):
        model, parameters, claimed = claim
        if claimed < shortest[model] or (best is not None and _worth(claim) < _worth(best)):
            continue
        found = map(rounded, decode(model, parameters, times[start : start + claimed]))
        kept = sum(1 for _ in takewhile(bool, map(bound.holds, values[start : start + claimed], found)))
        fit = model, parameters, kept
        if kept >= shortest[model] and (best is None or _worth(fit) > _worth(best)):
            best = fit
    return best


def _worth(fit: Fit) -> tuple[int, int]:
    """Many points, then few parameters."""
    return fit[2], -len(fit[1])


MODELS = (RAW, PMC_MEAN, SWING)
