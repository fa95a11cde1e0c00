"""How long a recovery may take: the whole limit, until one has hung for all of it; then a limit learnt from those that ended.

A system that hangs after some crashes would otherwise be waited for again and again. Once a recovery has been seen to hang for
its whole limit, the run has its verdict. From then on, a recovery gets `TIMES` as long as the slowest that ended, and at least
`SECONDS_MIN`. So:

- no run is broken by a learnt limit alone: a hang was seen before, in full;
- a busy machine slows the recoveries that end, too, and the limit grows with them;
- one that exceeds the learnt limit gets it a second time (under power, where a mounted state cannot be had twice, at once), so
  a pause of the machine is not taken for a hang;
- a replay begins anew, with the whole limit.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass

__all__ = ["NOTHING_LEARNT", "SECONDS_MIN", "TIMES", "Learnt", "Patience"]

TIMES, SECONDS_MIN = 20, 1.0


@dataclass(frozen=True)
class Learnt:
    """Recoveries so far: how long the slowest that ended took, and whether one hung for its whole limit."""

    slowest: float = 0.0
    hung: bool = False

    def __or__(self, other: Learnt) -> Learnt:
        return Learnt(max(self.slowest, other.slowest), self.hung or other.hung)


NOTHING_LEARNT = Learnt()


class Patience:
    """The limits of one kind of recovery. Thread-safe."""

    def __init__(self, seconds_max: float, learnt: Learnt = NOTHING_LEARNT, *, tries: int = 1) -> None:
        """``tries``: how many times the learnt limit each recovery gets at once."""
        self.seconds_max, self.learnt, self._tries = seconds_max, learnt, tries
        self._lock = threading.Lock()

    @property
    def limit(self) -> float:
        """How long the next one may take, in seconds."""
        if not self.learnt.hung or not self.learnt.slowest:
            return self.seconds_max
        return min(self.seconds_max, self._tries * max(SECONDS_MIN, TIMES * self.learnt.slowest))

    def ended(self, seconds: float) -> None:
        """One has ended."""
        self._learn(Learnt(slowest=seconds))

    def hung(self, limit: float) -> bool:
        """One did not end within a limit; returns whether that was the whole limit."""
        whole = limit >= self.seconds_max
        self._learn(Learnt(hung=whole))
        return whole

    @property
    def rule(self) -> str:
        """The rule in words; empty while it is the whole limit."""
        if self.limit >= self.seconds_max:
            return ""
        return (
            f"after a recovery had hung for all of its {self.seconds_max:g} s, others were given {self.limit:.1f} s, "
            f"{TIMES * self._tries} times the slowest that ended or {SECONDS_MIN * self._tries:g} s; a replay gives all"
        )

    def _learn(self, learnt: Learnt) -> None:
        with self._lock:
            self.learnt |= learnt
