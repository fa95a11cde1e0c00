"""How long a kill experiment has still to go, judged by what its steps took so far.

Costs are counted in judgements: of states known, of states that recoveries are expected to pass through, of second lives, and of
real kills, which run the workload as well. Judgements that a resumed run remembers cost nothing and do not count.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from crashmatrix.scenarios.judging.checker import Checked, CrashState

__all__ = ["TimeLeft"]

_LIFE = 1.5
"""The cost of a second life and of its end, compared with a judgement."""

_UNFOLLOWED = 0.7
"""The cost of a judgement without snapshots of the recovery, compared with one that has them."""


@dataclass
class TimeLeft:
    """The account of one experiment.

    Attributes:
        levels: how many levels of crashes during recovery are still to come.
        room: how many states are judged on each of these at most.
        lives: how many second lives there will be, kills in them included.
        kills: how many real kills there will be.
        workload_seconds: how long the workload takes.
    """

    levels: int = 0
    room: int = 0
    lives: int = 0
    kills: int = 0
    workload_seconds: float = 0.0
    _todo: float = 0
    _made: int = 0
    _of_level: int = 0
    _done_of_level: int = 0
    _found: set[tuple[str, int]] = field(default_factory=set)
    _seconds: float = 0.0
    _since: float = 0.0

    def level(self, todo: int, to_come: int = 0, *, rated: bool = True) -> None:
        """So many states are to be judged now.

        Args:
            to_come: how many others of the level follow, whose recovery is not followed.
            rated: whether the recoveries of these states say how many states the next level will have.
        """
        self._since = time.monotonic()
        self._todo = todo + _UNFOLLOWED * to_come
        if rated:
            self._of_level, self._done_of_level = todo, 0
            self._found.clear()

    def judged(self, state: CrashState, checked: Checked, made: int, *, rated: bool = True) -> None:
        """One of them was judged. ``made`` counts the judgements of the run that were not remembered."""
        now = time.monotonic()
        self._seconds, self._since = self._seconds + now - self._since, now
        self._made, self._todo, self._done_of_level = made, self._todo - 1, self._done_of_level + rated
        events = len(state.promises.events)
        self._found.update((snapshot.tree.digest, events) for snapshot in checked.recovery if rated)

    @property
    def each(self) -> float:
        """The seconds that a judgement takes, several at a time."""
        return self._seconds / self._made if self._made else 0.0

    def seconds(self, workers: int) -> float:
        """The seconds that are left."""
        judgements = self._todo + sum(self._levels_to_come()) + _LIFE * self.lives + self.kills
        return self.each * judgements + self.kills * self.workload_seconds / workers

    def _levels_to_come(self) -> Sequence[int]:
        """How many states the levels to come will have, if recoveries go on as they did on this one."""
        rate = len(self._found) / self._done_of_level if self._done_of_level else 1.0
        counts, count = list[int](), self._of_level
        for _ in range(self.levels):
            count = min(self.room, round(rate * count))
            counts.append(count)
        return counts
