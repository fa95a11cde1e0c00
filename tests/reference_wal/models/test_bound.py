"""Error bounds: what may come back for a value, and which bounds there are."""

from __future__ import annotations

import math
import sys

import pytest

from crashmatrix.reference_wal import InvalidInput
from crashmatrix.reference_wal.models.bound import LOSSLESS, Bound, absolute, relative

CASES = [
    (LOSSLESS, 1.0, 1.0, True),
    (LOSSLESS, 0.0, -0.0, False),
    (LOSSLESS, 1.0, math.nextafter(1.0, 2.0), False),
    (LOSSLESS, math.nan, math.nan, True),
    (absolute(0.5), 1.0, 1.5, True),
    (absolute(0.5), 1.0, 1.6, False),
    (absolute(0.5), math.inf, math.inf, True),
    (absolute(0.5), math.inf, 1.0, False),
    (absolute(0.5), 1.0, math.nan, False),
    (absolute(0.5), math.nan, 1.0, False),
    (relative(10.0), -20.0, -18.0, True),
    (relative(10.0), -20.0, -17.9, False),
    (relative(10.0), 0.0, 0.0, True),
    (relative(10.0), 0.0, 5e-324, False),
    (relative(5.0), 1.5e308, math.inf, False),
    (relative(2.0), sys.float_info.max, 1.0, False),
    (relative(200.0), 1e308, -1e308, False),
    (relative(1.0), 61 * 5e-324, 60 * 5e-324, False),
    (relative(100.0), 5e-324, 1e-323, False),
    (relative(1.5e-322), 1e300, 1e300 + 1e285, False),
    (absolute(1.7e308), 1e308, math.inf, False),
    (absolute(1.7e308), 1e308, -1e308, False),
    (absolute(5e-324), 0.0, 5e-324, True),
    (absolute(1.0), 2.0**53, 2.0**53 + 2, False),
    (absolute(1.0), -(2.0**-60), 1.0, False),
]


@pytest.mark.parametrize(("bound", "stored", "found", "expected"), CASES)
def test_holds(bound: Bound, stored: float, found: float, expected: bool) -> None:
    """The bound allows this much and no more; what is not a number comes back as it was."""
    assert bound.holds(stored, found) == expected


@pytest.mark.parametrize("size", [0.0, -1.0, math.nan, math.inf])
def test_bounds_that_allow_nothing(size: float) -> None:
    """A bound is a number above 0."""
    for make in (absolute, relative):
        with pytest.raises(InvalidInput, match="give a number above 0"):
            make(size)


def test_intervals() -> None:
    """Each end of an interval is within the bound, and finite for a finite value."""
    values = [0.1, -13.1, 1e300, -1.5e308, sys.float_info.max, 5e-324, 3e-322, 0.0, 2.0**53]
    for bound in (absolute(1.5), absolute(0.1), absolute(1.7e308), relative(1.0), relative(100.0), relative(1e-310)):
        for value in values:
            ends = bound.interval(value)
            assert all(math.isfinite(end) and bound.holds(value, end) for end in ends), (bound, value)
            assert ends[0] <= value <= ends[1]
