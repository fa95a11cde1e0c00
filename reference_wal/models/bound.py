"""How far a value may be from the one that was stored, and whether it is.

    absolute(0.5)    |found - stored| <= 0.5
    relative(1.0)    |found - stored| <= 1 % of |stored|
    LOSSLESS         the same bits

A value that is not a number, or infinite, and a zero under a relative bound, come back as the same bits under every bound.
"""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass

from crashmatrix.reference_wal.errors import InvalidInput

__all__ = ["LOSSLESS", "Bound", "absolute", "relative"]


@dataclass(frozen=True)
class Bound:
    """A bound of one column: ``kind`` is ``absolute``, ``relative`` (``size`` in per cent) or ``lossless``."""

    kind: str
    size: float = 0.0

    def allowance(self, stored: float) -> float:
        """Return how far a value may be from this one."""
        if self.kind == "lossless" or not math.isfinite(stored):
            return 0.0
        return self.size if self.kind == "absolute" else abs(stored) * self.size / 100

    def holds(self, stored: float, found: float) -> bool:
        """Whether ``found`` may come back for ``stored``."""
        if struct.pack("<d", stored) == struct.pack("<d", found):
            return True
        allowance = self.allowance(stored)
        return allowance > 0 and abs(found - stored) <= allowance


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
