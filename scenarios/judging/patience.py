"""How long a recovery may take: the whole limit, until one has hung for all of it; then a limit learnt from those that ended.

A system that hangs after some crashes would otherwise be waited for again and again. Once a recovery has been seen to hang for
its whole limit, the run has its verdict. From then on, a recovery gets `TIMES` as long as the slowest that ended, and at least
`SECONDS_MIN`. So:

- no run is broken by a learnt limit alone: a hang was seen before, in full;
- a busy machine slows the recoveries that end, too, and the limit grows with them;
- one that exceeds the learnt limit gets it a second time (under power, where a mounted state cannot be had twice, at once), so
  a pause of the machine is not taken for a hang;
- a replay begins anew, with the whole limit.

A system that is resumed has `RESUMED_TIMES` as long as for its recovery (`Patience.resuming`). The same holds there. If no second
life has ended, so many times the slowest recovery stands for it.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from crashmatrix.reports import Verdict
from crashmatrix.scenarios.processes.result import JobResult, Raised, TimedOut

__all__ = ["NOTHING_LEARNT", "RESUMED_TIMES", "SECONDS_MIN", "TIMES", "Learnt", "Patience", "Resuming"]

TIMES, SECONDS_MIN, RESUMED_TIMES = 20, 1.0, 10

T = TypeVar("T")


@dataclass(frozen=True)
class Learnt:
    """Recoveries so far: how long the slowest that ended took, and whether one hung for its whole limit; and second lives."""

    slowest: float = 0.0
    hung: bool = False
    slowest_resumed: float = 0.0
    hung_resumed: bool = False

    def __or__(self, other: Learnt) -> Learnt:
        return Learnt(
            max(self.slowest, other.slowest),
            self.hung or other.hung,
            max(self.slowest_resumed, other.slowest_resumed),
            self.hung_resumed or other.hung_resumed,
        )


NOTHING_LEARNT = Learnt()


class Patience:
    """The limits of one kind of recovery. Thread-safe."""

    def __init__(self, seconds_max: float, learnt: Learnt = NOTHING_LEARNT, *, tries: int = 1) -> None:
        """``tries``: how many times the learnt limit each recovery gets at once."""
        self.seconds_max, self.learnt, self.tries = seconds_max, learnt, tries
        self.resuming = Resuming(self)
        self._lock = threading.Lock()

    @property
    def limit(self) -> float:
        """How long the next one may take, in seconds."""
        return _limit(self.seconds_max, self.tries, self.learnt.slowest if self.learnt.hung else 0)

    def ended(self, seconds: float) -> None:
        """One has ended."""
        self.learn(Learnt(slowest=seconds))

    def hung(self, limit: float) -> bool:
        """One did not end within a limit; returns whether that was the whole limit."""
        whole = limit >= self.seconds_max
        self.learn(Learnt(hung=whole))
        return whole

    def learn(self, learnt: Learnt) -> None:
        """Add what is known from elsewhere."""
        with self._lock:
            self.learnt |= learnt

    @property
    def rule(self) -> str:
        """The rule in words, of second lives, too; empty while these are the whole limits."""
        if self.limit >= self.seconds_max:
            return self.resuming.rule
        rule = (
            f"after a recovery had hung for all of its {self.seconds_max:g} s, others were given {self.limit:.1f} s, "
            f"{TIMES * self.tries} times the slowest that ended or {SECONDS_MIN * self.tries:g} s; a replay gives all"
        )
        return "; ".join(filter(None, [rule, self.resuming.rule]))


class Resuming:
    """The limits of ``resume``, for a system whose recoveries have the limits ``recovering``. Thread-safe."""

    def __init__(self, recovering: Patience) -> None:
        self._recovering = recovering

    @property
    def seconds_max(self) -> float:
        """The whole limit."""
        return RESUMED_TIMES * self._recovering.seconds_max

    @property
    def limit(self) -> float:
        """How long the next second life may take, in seconds."""
        learnt = self._recovering.learnt
        slowest = max(learnt.slowest_resumed, RESUMED_TIMES * learnt.slowest) if learnt.hung_resumed else 0
        return _limit(self.seconds_max, self._recovering.tries, slowest)

    def ended(self, seconds: float) -> None:
        """One has ended."""
        self._recovering.learn(Learnt(slowest_resumed=seconds))

    def hung(self, limit: float) -> bool:
        """One did not end within a limit; returns whether that was the whole limit."""
        whole = limit >= self.seconds_max
        self._recovering.learn(Learnt(hung_resumed=whole))
        return whole

    def tried(self, resume: Callable[[float], JobResult[T]], anew: Callable[[], None]) -> JobResult[T]:
        """Resume within the limit, and once more if only a learnt limit was reached, after ``anew`` has laid out the folder."""
        begun, limit = time.monotonic(), self.limit
        result = resume(limit)
        if isinstance(result, Raised) and result.claim and result.claim[0] is Verdict.HANGS:
            self.hung(self.seconds_max)  # The system itself waited in vain, for most of its time.
        elif not isinstance(result, TimedOut):
            self.ended(time.monotonic() - begun)
        elif not self.hung(limit):
            anew()
            begun, limit = time.monotonic(), self.limit
            result = resume(limit)
            if isinstance(result, TimedOut):
                self.hung(limit)
            else:
                self.ended(time.monotonic() - begun)
        return result

    @property
    def rule(self) -> str:
        """The rule in words; empty while it is the whole limit."""
        if self.limit >= self.seconds_max:
            return ""
        return (
            f"after resume had hung for all of its {self.seconds_max:g} s, other second lives were given {self.limit:.1f} s; "
            "a replay gives all"
        )


def _limit(seconds_max: float, tries: int, slowest: float) -> float:
    """The limit learnt from the slowest that ended; the whole one if there is no such."""
    return min(seconds_max, tries * max(SECONDS_MIN, TIMES * slowest)) if slowest else seconds_max
