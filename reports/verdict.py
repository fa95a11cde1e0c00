"""Verdicts: whether one scenario kept the contract, and how the verdicts of many add up."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum

__all__ = ["Verdict", "worst"]


class Verdict(StrEnum):
    """Whether one scenario kept the contract, best first."""

    SAFE = "safe"
    UNMOUNTABLE = "unmountable"
    """The filesystem itself refused the crashed disk, which says nothing about the system that used it."""
    UNKNOWN = "unknown"
    """The scenario says nothing: the fault never fired, the checker crashed, or nothing differed."""
    HANGS = "hangs"
    REORDERED = "reordered"
    PHANTOM = "phantom"
    """Something came back that was never attempted."""
    DUPLICATE = "duplicate"
    HOLE = "hole"
    """An acknowledged item is gone though a later one came back."""
    LOSES = "loses"
    CANNOT_OPEN = "cannot-open"
    CORRUPT = "corrupt"
    """Something came back with the wrong content."""

    @property
    def broken(self) -> bool:
        """Whether the contract was broken."""
        return self not in (Verdict.SAFE, Verdict.UNMOUNTABLE, Verdict.UNKNOWN)

    @property
    def exit_status(self) -> int:
        """The exit status of a run with this verdict."""
        return {Verdict.SAFE: 0, Verdict.UNMOUNTABLE: 3, Verdict.UNKNOWN: 3}.get(self, 1)

    @property
    def meaning(self) -> str:
        """The verdict in a sentence."""
        return _MEANINGS[self]


_MEANINGS = {
    Verdict.SAFE: "The promise was kept.",
    Verdict.UNMOUNTABLE: "The filesystem itself refused the crashed disk.",
    Verdict.UNKNOWN: "Nothing can be said: the fault did not fire, or a check failed.",
    Verdict.HANGS: "Recovery did not come to an end.",
    Verdict.REORDERED: "The stored items came back in another order.",
    Verdict.PHANTOM: "Something came back that was never attempted.",
    Verdict.DUPLICATE: "Something came back more often than it was stored.",
    Verdict.HOLE: "Acknowledged data is gone, though later data came back.",
    Verdict.LOSES: "Acknowledged data is gone.",
    Verdict.CANNOT_OPEN: "Recovery failed on what the crash left.",
    Verdict.CORRUPT: "Something came back with the wrong content.",
}


def worst(verdicts: Iterable[Verdict]) -> Verdict:
    """Return the worst verdict: a broken contract beats unknown, unknown beats safe. Without any, it is unknown."""
    order = list(Verdict)
    return max(verdicts, key=order.index, default=Verdict.UNKNOWN)
