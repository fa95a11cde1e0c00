"""How far a value may be from the one that was stored, and whether it is.

    absolute(0.5)    |found - stored| <= 0.5
    relative(1.0)    |found - stored| <= 1 % of |stored|
    LOSSLESS         the same bits

A value that is not a number, or infinite, comes back as the same bits under every bound. So does one under a relative bound whose
share is not a normal float: a zero, a value so small that the share is subnormal, or so large that it overflows.

Floats round, and a sum may say that a value is within a bound that is farther off by a rounding. So what is close to the edge is
computed in fractions, which do not round. A finite value never comes back as an infinite one.
"""

from __future__ import annotations

import math
import struct
import sys
from dataclasses import dataclass
from fractions import Fraction

from crashmatrix.reference_wal.errors import InvalidInput

__all__ = ["LOSSLESS", "Bound", "absolute", "relative"]

_NEARLY_ALL, _A_LITTLE_MORE = 1 - 2.0**-50, 1 + 2.0**-48
"""Farther from 1 than a product of three floats is from the exact one."""


@dataclass(frozen=True)
class Bound:
    """A bound of one column: ``kind`` is ``absolute``, ``relative`` (``size`` in per cent) or ``lossless``."""

    kind: str
    size: float = 0.0

    def allowance(self, stored: float) -> float:
        """Return how far a value may be from this one; finite, and less than the bound allows by a rounding at most."""
        if self.kind == "lossless" or not math.isfinite(stored):
            return 0.0
        if self.kind == "absolute":
            return self.size
        share = self.size / 100
        allowance = abs(stored) * share * _NEARLY_ALL
        return allowance if share >= sys.float_info.min and sys.float_info.min <= allowance < math.inf else 0.0

    def holds(self, stored: float, found: float) -> bool:
        """Whether ``found`` may come back for ``stored``."""
        if struct.pack("<d", stored) == struct.pack("<d", found):
            return True
        allowance = self.allowance(stored)
        if not (allowance > 0 and math.isfinite(found)):
            return False
        difference = abs(found - stored)  # Rounded, so it may be the allowance though it is more.
        if not allowance <= difference <= allowance * _A_LITTLE_MORE:
            return difference < allowance
        allowed = Fraction(self.size) if self.kind == "absolute" else Fraction(self.size) * abs(Fraction(stored)) / 100
        return abs(Fraction(found) - Fraction(stored)) <= allowed

    def interval(self, stored: float) -> tuple[float, float]:
        """Return the least and the largest float that may come back for a value: finite ones for a finite value.

        At the edge of a relative bound, the floats of the last few roundings may be missing.
        """
        allowance = self.allowance(stored)
        if allowance == 0:
            return stored, stored
        return -_most(-stored, allowance), _most(stored, allowance)


def _most(value: float, allowance: float) -> float:
    """Return the largest finite float that is at most the sum."""
    total = value + allowance
    if math.isinf(total):
        return sys.float_info.max
    back = total - value  # D. Knuth, The Art of Computer Programming 2, section 4.2.2: the exact error of a sum.
    error = (value - (total - back)) + (allowance - back)
    return math.nextafter(total, -math.inf) if error < 0 else total


LOSSLESS = Bound("lossless")


def absolute(size: float) -> Bound:
    """Return a bound in the column's own unit. Raises InvalidInput."""
    return _checked(Bound("absolute", size))


def relative(per_cent: float) -> Bound:
    """Return a bound in per cent of each value. Raises InvalidInput."""
    return _checked(Bound("relative", per_cent))


def _checked(bound: Bound) -> Bound:
    if not (math.isfinite(bound.size) and bound.size > 0):
        raise InvalidInput(
            f"an {bound.kind} error bound of {bound.size} allows nothing; give a number above 0, or none"
        )
    return bound
