"""A sample of a target's kills, of all kinds, within a budget: to find planted bugs soon. If all are safe, that says little.

Six tenths of the budget are hits of the workload, two tenths crashes in recovery, one tenth second lives, and one crashes in
these. Hits of the failpoints that a changed file declares, or its folder, come first: a bug often shows near to where it is.
"""

from __future__ import annotations

import os
import random
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from crashmatrix.scenarios.judging.checker import Checked, CrashState
from crashmatrix.scenarios.judging.worker import Hit, Profile
from crashmatrix.scenarios.kill.exploring import KillExploration
from crashmatrix.scenarios.kill.plan import END, CrashPath, choose
from crashmatrix.scenarios.kill.second_lives import SecondLives

__all__ = ["SampledKills", "declared_near", "sampled_hits"]

_Found = list[tuple[CrashPath, CrashState, Checked]]


def declared_near(profile: Profile, file: str) -> set[str]:
    """Return the failpoints that a file declares; if it declares none, those of the nearest folder above it that has some."""
    if not file:
        return set()
    places = {name: Path(os.path.realpath(place.rpartition(":")[0])) for name, (_, place) in profile.declared.items()}
    own = Path(os.path.realpath(file))
    for above in (own, *own.parents):
        if found := {name for name, place in places.items() if place.is_relative_to(above)}:
            return found
    return set()


def sampled_hits(profile: Profile, budget: int, seed: int, first: Collection[str]) -> tuple[list[Hit], str]:
    """Choose hits, one of each failpoint before others, half of them of those that come first; in their order, with the rule."""
    size = max(1, round(0.6 * budget))
    drawn = [*profile.hits]
    random.Random(f"{seed} sampled").shuffle(drawn)
    near = choose({(hit,): hit[0] for hit in drawn if hit[0] in first}, size // 2, f"{seed} near")
    others = choose({(hit,): hit[0] for hit in drawn if (hit,) not in near}, size - len(near), f"{seed} others")
    chosen = {hit for (hit,) in (*near, *others)}
    rule = f"a sample: {len(chosen)} of {len(profile.hits):,} hits (budget {budget:,}, seed {seed}), one of each failpoint first"
    return [hit for hit in profile.hits if hit in chosen], rule


@dataclass(frozen=True)
class SampledKills:
    """Judges the states at the chosen hits, then some that follow from them, until a promise is broken."""

    explored: KillExploration
    lives: SecondLives
    first: Collection[str]
    """The failpoints that come first."""

    def run(self) -> None:
        """The end of the undisturbed run comes first: a bug may show without a crash."""
        paths = [path for path in self.explored.paths if path in self.explored.states]
        end = [path for path in paths if path == (END,)]
        near = [path for path in paths if path[0][0] in self.first]
        first = {*end, *near}
        others = [path for path in paths if path not in first]
        random.Random(f"{self.explored.options.seed} order").shuffle(others)
        # Recovery is followed in a third of them, if it is not the changed part.
        more = max(0, len(paths) // 3 - len(near))
        found = self._judge(end)
        found += self._judge([*near, *others[:more]], snapshot=True)
        self._judge(others[more:])
        if not self._done():
            self.lives.run(at_most=self._share(0.1))
        if not self._done():
            self._crash_recovery(found)

    def _share(self, part: float) -> int:
        return max(1, round(part * self.explored.budget))

    def _done(self) -> bool:
        return bool(self.explored.broken())

    def _judge(self, paths: Collection[CrashPath], *, snapshot: bool = False) -> _Found:
        level = {path: self.explored.states[path] for path in paths}
        return [] if self._done() else self.explored.judge_level(level, snapshot=snapshot)

    def _crash_recovery(self, found: _Found) -> None:
        level = self.explored.next_level(found)
        new = {path: path[-1][0] for path, state in level.items() if state.key not in self.explored.checked}
        chosen = choose(new, self._share(0.2), f"{self.explored.options.seed} in recovery")
        self.explored.states.update({path: level[path] for path in chosen})
        self.explored.paths += chosen
        self._judge(chosen)
