"""The recordings of the workload that a run makes, round by round, and how much of the budget each of them gets.

A round has a recording under each kind of nudge on each filesystem, then some that begin with a kill. If it leaves much of the
budget, as its recordings have few outcomes or the same ones, another round follows, in which the kernel writes at other moments.
A run with a smaller budget than usual is to be quick, and has one round.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from crashmatrix.faults.disk import Filesystem
from crashmatrix.scenarios.experiment import ExperimentOptions
from crashmatrix.scenarios.recorded.recording import Recording

__all__ = [
    "NUDGES",
    "RESTARTS",
    "RESUMED_AFTER_KILL",
    "STATES_MAX",
    "Rounds",
    "Weights",
    "drawn",
    "is_restart",
    "nudges_on",
    "restart",
]

NUDGES = ("mixed", "commit", "writeback", "async", "storm")
"""The recordings made, in this order."""

RESTARTS = 3
"""How many more recordings are made in which the process is killed and restarted before the power goes; with a larger budget,
as many more as that is larger."""

RESUMED_AFTER_KILL = "resumed"
"""The recording of a second life that follows a kill."""

STATES_MAX = 400
"""Default number of crash states judged in a run, over all its recordings."""

_RESTART, _DIGITS = "restart", "0123456789"

_AFTER_KILL = 0.25
"""How much is expected to differ in a recording that begins with a kill, compared with one of the whole workload, until one was
made: only states after the kill are judged."""

_LEFT_MIN = 0.1
"""How much of a budget a round has to leave for another one."""

_PART_LATER = 0.5
"""How much of what is left a recording of a later round gets at least: those after it rarely show anything new."""


class Weights:
    """How much can differ in each recording of the workload; of those to come, as much as in the latest of their sort."""

    def __init__(self) -> None:
        self._latest: dict[tuple[str, bool], float] = {}
        """By filesystem and by whether the recording begins with a kill."""

    def part(self, recording: Recording, to_come: Iterable[tuple[str, str]], budget: int) -> int:
        """Return a recording's part of a budget, compared with recordings to come, by their filesystems and kinds."""
        self._latest[recording.filesystem, bool(recording.killed or recording.resumed)] = recording.weight
        others = self.expected(recording, to_come)
        return max(1, round(budget * recording.weight / (recording.weight + others)))

    def expected(self, recording: Recording, to_come: Iterable[tuple[str, str]]) -> float:
        """Return how much can differ in recordings to come, by their filesystems and kinds, judged by those so far."""
        killed = bool(recording.killed or recording.resumed)

        def one(filesystem: str, after_kill: bool) -> float:
            known = self._latest.get((filesystem, after_kill))
            return known or recording.weight * (_AFTER_KILL if after_kill and not killed else 1)

        return sum(one(fs, is_restart(kind) or kind.startswith(RESUMED_AFTER_KILL)) for fs, kind in to_come)


@dataclass
class Rounds:
    """The rounds of a run on a system that can be resumed or not."""

    options: ExperimentOptions = field(default_factory=ExperimentOptions)
    nudges: tuple[str, ...] = NUDGES
    restarts: int = RESTARTS
    resumes: bool = False
    number: int = 0
    kinds: list[tuple[str, str]] = field(default_factory=list)
    """Filesystem and kind of each recording of this round, in their order; of a shard, its part of them."""
    weights: Weights = field(default_factory=Weights)

    def begin(self) -> float:
        """Begin another round; returns how much of it this shard has, as a fraction."""
        self.number += 1
        kinds = self._everything()
        self.kinds = self.options.shard.deal(kinds)
        return len(self.kinds) / max(1, len(kinds))

    def goes_on(self, news: int, left: int) -> bool:
        """Whether another round is worth it, if so many states were judged in this one and so much of the budget is left."""
        most = 1 if self.options.sampled else 1 + self._budget // STATES_MAX
        nudged = any(Filesystem.parse(filesystem).nudges for filesystem in self.options.filesystems)
        return nudged and self.number < most and news > 0 and left >= _LEFT_MIN * self.options.shard.share(self._budget)

    def part(self, recording: Recording, to_come: int, left: int) -> int:
        """Return how much of what is left of the budget a recording gets, given how many of the round are still to come."""
        part = self.weights.part(recording, self._last(to_come), left)
        return part if self.number == 1 else max(part, int(_PART_LATER * left))

    def expected(self, recording: Recording, to_come: int, left: int, rate: float) -> float:
        """Return how much can differ in the last so many recordings of the round, and in another round if one is likely.

        Args:
            left: of the budget.
            rate: how many states were judged so far for each unit of what can differ.
        """
        rest = self.weights.expected(recording, self._last(to_come))
        more = self.goes_on(1, round(left - rate * rest))
        return rest + (self.weights.expected(recording, self.kinds) if more else 0)

    def _last(self, number: int) -> list[tuple[str, str]]:
        return self.kinds[len(self.kinds) - number :]

    @property
    def _budget(self) -> int:
        """The budget of the whole run."""
        return self.options.budget or STATES_MAX

    def _everything(self) -> list[tuple[str, str]]:
        """In a later round, only on filesystems where nudges make a difference."""
        filesystems = [fs for fs in self.options.filesystems if self.number == 1 or Filesystem.parse(fs).nudges]
        after_kill = self._after_kill()
        return [
            (fs, kind)
            for fs in filesystems
            for kind in (*(self._again(nudge) for nudge in nudges_on(fs, self.nudges)), *after_kill)
        ]

    def _after_kill(self) -> list[str]:
        """The kinds of recordings that begin with a kill; a sample has none."""
        if self.options.sampled:
            return []
        count = self.restarts and max(self.restarts, RESTARTS * self._budget // STATES_MAX)
        restarts = [restart(count * (self.number - 1) + each) for each in range(1, count + 1)]
        return [*restarts, self._again(RESUMED_AFTER_KILL)] if self.resumes else restarts

    def _again(self, kind: str) -> str:
        """``mixed2`` is the second of ``mixed``."""
        return f"{kind}{self.number}" if self.number > 1 else kind


def drawn(kind: str) -> tuple[str, int]:
    """Return a kind without its number, and which draw of nudges it is."""
    name = kind.rstrip(_DIGITS)
    return name, int(kind[len(name) :] or 1)


def nudges_on(filesystem: str, nudges: Iterable[str] = NUDGES) -> tuple[str, ...]:
    """Return the nudges to record under: one recording without any where they make no difference."""
    return tuple(nudge for nudge in nudges if nudge in Filesystem.parse(filesystem).nudges) or ("none",)


def restart(number: int) -> str:
    """Return the kind of the restart of this number, from 1."""
    return f"{_RESTART}{number}"


def is_restart(kind: str) -> bool:
    """Whether the workload is killed and restarted in recordings of a kind."""
    return kind.startswith(_RESTART)
