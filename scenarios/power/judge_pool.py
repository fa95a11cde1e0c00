"""The crash states of a recording, shared out among judges: one process each, side by side, here or on other machines."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from crashmatrix.reports import Verdict
from crashmatrix.scenarios.judging.checker import Checker
from crashmatrix.scenarios.judging.patience import NOTHING_LEARNT, Learnt
from crashmatrix.scenarios.judging.tasks.pool import Task
from crashmatrix.scenarios.power import judge as power_judge
from crashmatrix.scenarios.processes.jobs import Jobs
from crashmatrix.scenarios.processes.parallel import side_by_side
from crashmatrix.scenarios.processes.result import JobResult, Returned
from crashmatrix.scenarios.recorded.recording import Recording
from crashmatrix.scenarios.recorded.state_verdict import Check, Explored, Judged, Safe, Share
from crashmatrix.scenarios.systems.loading import Target, load

__all__ = ["JudgeShare", "JudgedShare", "judge_together", "judged_shares", "judges_for"]

_FEW_STATES = 8
"""Compared with a budget, and with how much can differ in a recording."""


@dataclass(frozen=True)
class JudgedShare:
    """A part's verdicts and its judge's account; or how the judge ended without one."""

    judged: tuple[Judged, ...]
    share: Share | None = None
    ended: str = ""


@dataclass(frozen=True)
class JudgeShare(Task[Checker, int, JudgedShare]):
    """Judges parts of a recording, by their numbers: ``workers`` parts of ``budget`` outcomes each.

    For ``verified``, ``until_broken``, ``learnt`` and ``before`` see `judge.judge`; ``lives`` is how many second lives each part
    has at most.
    """

    result = JudgedShare
    experiment = "power"
    recording: Recording
    workers: int
    budget: int
    verified: frozenset[Check] = frozenset()
    until_broken: bool = False
    lives: int = 0
    learnt: Learnt = NOTHING_LEARNT
    before: Mapping[str, Safe] = field(default_factory=dict)

    def judge(self, jobs: Jobs, target: Target, number: int, on_judged: Callable[[Judged], None]) -> JobResult[Share]:
        """Judge a part; returns how the judge ended, with its `state_verdict.Share` if in order."""
        # Two recoveries, and `verify` at its longest; second lives, which are judged twice if they hang.
        seconds_max = 60 + ((2 * self.budget + 2) * 4 + self.lives * 24 + 24) * load(target.name).seconds_max
        job = jobs.start(
            power_judge.judge, target, self.recording, number, self.workers, self.budget, self.verified, self.until_broken,
            self.lives, self.learnt, self.before, seconds_max=seconds_max, keep_going=True,
        )  # fmt: skip
        while (judged := job.next_message()) is not None:
            on_judged(judged)
        return job.wait()

    def key(self, item: int) -> str:
        """The recording and the part."""
        return f"part {item} of {self.workers} judged: {self.recording.name}"

    def files(self) -> tuple[Path, ...]:
        """The trace."""
        return (self.recording.trace,)

    def moved(self, files: tuple[Path, ...]) -> JudgeShare:
        """With the trace elsewhere."""
        return replace(self, recording=replace(self.recording, trace=files[0]))

    def lost(self, item: int, reason: str) -> JudgedShare:
        """It says nothing."""
        del item
        return JudgedShare((), ended=f"was lost: {reason}")

    def carry_out(self, checker: Checker, item: int) -> JudgedShare:
        """Judge one part."""
        judged: list[Judged] = []
        end = self.judge(checker.jobs, checker.target, item, judged.append)
        if isinstance(end, Returned):
            return JudgedShare(tuple(judged), end.value)
        return JudgedShare(tuple(judged), ended=str(end))


def judges_for(recording: Recording, budget: int, workers: int) -> int:
    """Return how many judges a recording gets: one for few states, since the start of another takes as long as some of them."""
    return 1 if min(recording.weight, budget) < _FEW_STATES else workers


def judge_together(
    jobs: Jobs, target: Target, task: JudgeShare, on_judged: Callable[[Judged], None]
) -> list[JobResult[Share]]:
    """Judge all parts side by side; ``on_judged`` is called with each verdict as it comes, from a thread for each part."""
    ends = side_by_side(
        jobs, task.workers, lambda number: task.judge(jobs, target, number, on_judged), range(task.workers)
    )
    return [result for _, result in ends]


def judged_shares(checker: Checker, task: JudgeShare, on_judged: Callable[[Judged], None]) -> tuple[list[Share], float]:
    """Have all parts of a recording judged, here or elsewhere, unless the run that is resumed has.

    Args:
        on_judged: called with each verdict as it comes; from elsewhere, a part's verdicts come together.

    Returns:
        The accounts of the judges, and how many seconds they took.
    """
    ledger, key, begun = checker.memory.ledger, f"explored: {task.recording.name}", time.perf_counter()
    if known := ledger.get(key, Explored):
        for each in known.judged:
            on_judged(each)
        return [*known.shares], known.seconds
    judged: list[Judged] = []

    def add(each: Judged) -> None:
        judged.append(each)
        on_judged(each)

    ends = _elsewhere(checker, task, add) if checker.pool.remote else _here(checker, task, add)
    shares, seconds = [end for end in ends if isinstance(end, Share)], time.perf_counter() - begun
    if len(shares) == len(ends):
        ledger.put(key, Explored(tuple(judged), tuple(shares), seconds))
    for end in ends:
        if not isinstance(end, Share):
            on_judged(Judged("none", Verdict.UNKNOWN, f"a judge of this recording {end}"))
    return shares, seconds


def _here(checker: Checker, task: JudgeShare, on_judged: Callable[[Judged], None]) -> list[Share | str]:
    ends = judge_together(checker.jobs, checker.target, task, on_judged)
    return [end.value if isinstance(end, Returned) else str(end) for end in ends]


def _elsewhere(checker: Checker, task: JudgeShare, on_judged: Callable[[Judged], None]) -> list[Share | str]:
    ends: list[Share | str] = []
    for _, part in checker.pool.each(task, {number: number for number in range(task.workers)}, task.workers):
        for judged in part.judged:
            on_judged(judged)
        ends.append(part.share or part.ended)
    return ends
