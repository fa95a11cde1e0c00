"""Try whether a sync would have helped: record the workload again with it and without it, and judge the same crash states.

Without the sync, the broken promise must show again; otherwise the trial says nothing. Recordings differ: threads come in another
order, and the kernel writes at other moments. So few broken states may be chance, and both are recorded again then, some times.

    broken with the sync     than without it     it
    none                     fewer for certain   helps
    some, at most half       fewer for certain   eases
    at most half             perhaps by chance   is not known to help
    more than half                               does not help

Fewer for certain: by Fisher's exact test (The Design of Experiments, 1935), chance alone would do that in one of twenty trials.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from math import comb, inf
from pathlib import Path

from crashmatrix.reports import ScenarioResult
from crashmatrix.reports.findings import finding_id
from crashmatrix.scenarios.power.explain import explain as explain_power
from crashmatrix.scenarios.power.judge_pool import JudgeShare, judge_together
from crashmatrix.scenarios.power.results import result_of
from crashmatrix.scenarios.power.schedule import run_recorder
from crashmatrix.scenarios.processes.jobs import Jobs
from crashmatrix.scenarios.processes.result import Returned
from crashmatrix.scenarios.recorded import recording as power_record
from crashmatrix.scenarios.recorded.recording import Recording, trace_path
from crashmatrix.scenarios.recorded.remedies import BEFORE_ACK, Remedy, syncs_made
from crashmatrix.scenarios.recorded.state_verdict import Judged
from crashmatrix.scenarios.systems.loading import Target

__all__ = ["STATES_TRIED", "Trial", "Trials"]

STATES_TRIED = 60
"""How many crash states are judged of each recording at least."""

_Key = tuple[str, Remedy | None, int]
"""The name of the recording that is made again, with what, and for which time."""

_STATES_TRIED_MAX, _SECONDS_TRIED = 300, 3.0
"""If a system is judged quickly: at most so many, and as many as take so long."""

_REMEDIES_MAX, _ROUNDS_MAX = 6, 5
_CHANCE_MAX = 0.05


@dataclass(frozen=True)
class Trial:
    """The result of one remedy: how many states were broken with it and without. ``synced`` counts its syncs.

    Counted are the states that show the finding. If none did without the remedy, then ``in_any_way`` those that show any: the
    same missing sync often breaks promises in many ways.
    """

    remedy: Remedy
    synced: int
    broken: int
    judged: int
    broken_without: int
    judged_without: int
    in_any_way: bool = False

    @property
    def helps(self) -> bool | None:
        """Whether the remedy helps; None if the trial was inconclusive."""
        if not (self.synced and self.judged and self.broken_without):
            return None
        if self.in_any_way and self.broken:
            return None  # They may have another cause.
        return None if self.perhaps_by_chance else not self.broken

    @property
    def eases(self) -> bool:
        """Whether at least half of the broken states, but not all, are safe with it: there is more to fix."""
        return self.helps is False and self._halved

    @property
    def perhaps_by_chance(self) -> bool:
        """Whether it seems to help, and more states would have to be judged to know that it does."""
        tried = self.synced and self.judged and self.broken_without and not (self.in_any_way and self.broken)
        return bool(tried) and self._halved and self._chance > _CHANCE_MAX

    @property
    def _halved(self) -> bool:
        return 2 * self.broken * self.judged_without <= self.broken_without * self.judged

    @property
    def _chance(self) -> float:
        """How likely so few of the broken states would be among those with the remedy if it made no difference."""
        every, broken = self.judged + self.judged_without, self.broken + self.broken_without
        ways = (comb(broken, few) * comb(every - broken, self.judged - few) for few in range(self.broken + 1))
        return sum(ways) / comb(every, self.judged)

    def and_(self, other: Trial) -> Trial:
        """Return both trials of the remedy as one."""
        return replace(
            self,
            synced=self.synced + other.synced,
            broken=self.broken + other.broken,
            judged=self.judged + other.judged,
            broken_without=self.broken_without + other.broken_without,
            judged_without=self.judged_without + other.judged_without,
        )

    @property
    def text(self) -> str:
        """The trial in a sentence."""
        if not self.broken_without:
            return f"It could not be tried: recorded again without it, none of {self.judged_without} crash states was broken."
        if not self.synced:
            return "It could not be tried: the harness found nothing to sync, or the program writes its journal itself."
        if self.helps is None and not self.perhaps_by_chance:
            return f"Recorded again, this did not show in {self.judged_without} crash states: whether it helps is not known."
        how = " in any way" if self.in_any_way else ""
        doubt = " This may be chance: whether it helps is not known." if self.perhaps_by_chance else ""
        return (
            f"Recorded again with it: {self.broken} of {self.judged} crash states broken{how}; "
            f"without it: {self.broken_without} of {self.judged_without}.{doubt}"
        )


@dataclass
class Trials:
    """Tries remedies on one target. A recording with a remedy, and one without, serve all findings of a kind.

    A kind is a filesystem and the place where the workload is killed, if it is: another place shows another bug."""

    jobs: Jobs
    target: Target
    scratch: Path
    workers: int
    states: int = STATES_TRIED
    until: float = inf
    """The time (`time.perf_counter`) from which on nothing is recorded more than once again to rule out chance."""
    _tried: dict[_Key, _Tried] = field(default_factory=dict)
    _like: dict[tuple[str, tuple[int, ...]], Recording] = field(default_factory=dict)

    @staticmethod
    def affordable(judged: int, seconds: float) -> int:
        """Return how many states to judge, given that one worker judged ``judged`` states in ``seconds``."""
        rate = judged / seconds if seconds else 0.0
        return max(STATES_TRIED, min(_STATES_TRIED_MAX, round(rate * _SECONDS_TRIED)))

    def first_that_helps(self, like: Recording, finding: str, remedies: Iterable[Remedy], notes: int) -> Trial | None:
        """Try remedies in turn; returns the first that helps, else the one that left least broken, None if there was none.

        Args:
            notes: how many notes came before the minimised cut: states there are judged, besides others.
        """
        tried: list[Trial] = []
        like = self._like.setdefault(_kind(like), like)
        for remedy in list(remedies)[:_REMEDIES_MAX]:
            trial = self._trial(like, finding, remedy, notes)
            if not trial.broken_without:
                return trial
            tried.append(trial)
            if trial.helps:
                return trial
            if not trial.synced and remedy.before == BEFORE_ACK and not like.killed:
                break  # No other remedy will sync either: the acknowledgements go past us.
        return min(tried, key=lambda trial: (not trial.synced, trial.broken / max(1, trial.judged)), default=None)

    def known(self, like: Recording, finding: str, remedies: Iterable[Remedy]) -> Trial | None:
        """Return the trial of the first remedy that helps, as far as the recordings made so far show; None if they do not.

        They may show a finding too seldom: then every broken state counts.
        """
        like = self._like.get(_kind(like), like)
        without = self._tried.get((like.name, None, 0))
        for remedy in remedies:
            found = self._tried.get((like.name, remedy, 0))
            if without and found:
                for shows in (finding, ""):
                    trial = _trial_of(remedy, shows, without, found)
                    if trial.helps:
                        return trial
        return None

    def _trial(self, like: Recording, finding: str, remedy: Remedy, notes: int) -> Trial:
        """Try a remedy, again and again while what it does may be chance."""
        without = self._results(like, None, notes)
        shown = _count(without, finding)
        if not (shown or _count(without)):
            return Trial(remedy, 1, 0, 0, 0, len(without))
        shows = finding if shown else ""
        trial = self._once(like, shows, remedy, notes, 0)
        for number in range(1, _ROUNDS_MAX):
            late = number > 1 and time.perf_counter() > self.until  # Once, always: on a busy machine all is late.
            if not trial.perhaps_by_chance or late:
                break
            trial = trial.and_(self._once(like, shows, remedy, notes, number))
        return trial

    def _once(self, like: Recording, shows: str, remedy: Remedy, notes: int, number: int) -> Trial:
        for tried in (None, remedy):
            self._results(like, tried, notes, number)
        return _trial_of(remedy, shows, self._tried[like.name, None, number], self._tried[like.name, remedy, number])

    def _results(self, like: Recording, remedy: Remedy | None, notes: int, number: int = 0) -> list[ScenarioResult]:
        """The results of crash states of a recording like this one, with a remedy or without; none if recording fails."""
        key = like.name, remedy, number
        if key not in self._tried:
            self._tried[key] = self._try(like, remedy)
        tried = self._tried[key]
        if tried.results and notes not in tried.looked_after:
            tried.looked_after.add(notes)
            result = run_recorder(self.jobs, explain_power.judge_like, self.target, tried.recording, notes)
            tried.add(result.value if isinstance(result, Returned) else ())
        return list(tried.results.values())

    def _try(self, like: Recording, remedy: Remedy | None) -> _Tried:
        name = f"{like.name}~tried{len(self._tried) + 1}"
        recording = replace(like, name=name, trace=trace_path(self.scratch, name), remedy=remedy)
        result = run_recorder(self.jobs, power_record.record_run, self.target, recording)
        if not isinstance(result, Returned):
            return _Tried(recording, 0)
        tried = _Tried(result.value, syncs_made(result.value.syncs_count))
        if like.killed and not result.value.killed:
            return tried  # It ended before the place of the kill, so its crash states say nothing of a restart.
        if remedy is None or tried.synced:
            judged: list[Judged] = []
            task = JudgeShare(tried.recording, self.workers, max(1, self.states // self.workers))
            judge_together(self.jobs, self.target, task, judged.append)
            tried.add(judged)
        return tried


@dataclass
class _Tried:
    """A recording with a remedy, or without: how many syncs that made, and the results of its crash states by their ids."""

    recording: Recording
    synced: int
    results: dict[str, ScenarioResult] = field(default_factory=dict)
    looked_after: set[int] = field(default_factory=set)
    """Numbers of notes whose neighbourhood was judged as well."""

    def add(self, judged: Iterable[Judged]) -> None:
        self.results.update((one.state, result_of(self.recording, one)) for one in judged)


def _kind(like: Recording) -> tuple[str, tuple[int, ...]]:
    return like.filesystem, like.killed.numbers if like.killed else ()


def _trial_of(remedy: Remedy, shows: str, without: _Tried, found: _Tried) -> Trial:
    """Count the states that show a finding, or any if there is none, in a recording without a remedy and in one with it."""
    with_it, without_it = found.results.values(), without.results.values()
    broken, broken_without = _count(with_it, shows), _count(without_it, shows)
    return Trial(remedy, found.synced, broken, len(with_it), broken_without, len(without_it), not shows)


def _count(results: Iterable[ScenarioResult], finding: str = "") -> int:
    """Count the states that show a finding, or any broken promise."""
    return sum(finding_id(result) == finding if finding else result.verdict.broken for result in results)
