"""Error bounds: what may come back for a value, and which bounds there are."""

from __future__ import annotations

import math

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
