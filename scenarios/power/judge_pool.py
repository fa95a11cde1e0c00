"""The crash states of a recording, shared out among judges: one process each, side by side, here or on other machines."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
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
from crashmatrix.scenarios.recorded.state_verdict import Check, Explored, Judged, Share
from crashmatrix.scenarios.systems.loading import Target, load

__all__ = ["JudgeShare", "JudgedShare", "judge_share", "judge_together", "judged_shares"]


def judge_together(
    jobs: Jobs,
    target: Target,
    recording: Recording,
    workers: int,
    budget: int,
    on_judged: Callable[[Judged], None],
    *,
    verified: frozenset[Check] = frozenset(),
    until_broken: bool = False,
    lives: int = 0,
    learnt: Learnt = NOTHING_LEARNT,
) -> list[JobResult[Share]]:
    """Judge up to ``budget`` states; returns how each judge ended, with its `state_verdict.Share` if in order.

    Args:
        on_judged: called with each state's verdict as it comes, from as many threads as there are workers.
        verified, until_broken, learnt: see `judge.judge`.
        lives: how many second lives each of the workers judges at most.
    """
    share = max(1, budget // workers)

    def drive(number: int) -> JobResult[Share]:
        return judge_share(
            jobs, target, recording, number, workers, share, on_judged,
            verified=verified, until_broken=until_broken, lives=lives, learnt=learnt,
        )  # fmt: skip

    return [result for _, result in side_by_side(jobs, workers, drive, range(workers))]


def judge_share(
    jobs: Jobs,
    target: Target,
    recording: Recording,
    number: int,
    workers: int,
    share: int,
    on_judged: Callable[[Judged], None],
    *,
    verified: frozenset[Check],
    until_broken: bool,
    lives: int,
    learnt: Learnt,
) -> JobResult[Share]:
    """Judge one of ``workers`` parts, up to ``share`` outcomes of it; returns how the judge ended."""
    # Two recoveries, and `verify` at its longest. Second lives that hang come to an end (`LifeJudge.hung`).
    seconds_max = 60 + ((share + 2) * 4 + lives * 3 + 24) * load(target.name).seconds_max
    job = jobs.start(
        power_judge.judge, target, recording, number, workers, share, verified, until_broken, lives, learnt,
        seconds_max=seconds_max, keep_going=True,
    )  # fmt: skip
    while (judged := job.next_message()) is not None:
        on_judged(judged)
    return job.wait()


@dataclass(frozen=True)
class JudgedShare:
    """A part's verdicts and its judge's account; or how the judge ended without one."""

    judged: tuple[Judged, ...]
    share: Share | None = None
    ended: str = ""


@dataclass(frozen=True)
class JudgeShare(Task[Checker, int, JudgedShare]):
    """Judges parts of a recording, by their numbers: ``workers`` parts of ``budget`` outcomes each."""

    result = JudgedShare
    experiment = "power"
    recording: Recording
    workers: int
    budget: int
    verified: frozenset[Check]
    until_broken: bool
    lives: int
    learnt: Learnt

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
        end = judge_share(
            checker.jobs, checker.target, self.recording, item, self.workers, self.budget, judged.append,
            verified=self.verified, until_broken=self.until_broken, lives=self.lives, learnt=self.learnt,
        )  # fmt: skip
        if isinstance(end, Returned):
            return JudgedShare(tuple(judged), end.value)
        return JudgedShare(tuple(judged), ended=str(end))


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
    ends = judge_together(
        checker.jobs, checker.target, task.recording, task.workers, task.budget * task.workers, on_judged,
        verified=task.verified, until_broken=task.until_broken, lives=task.lives, learnt=task.learnt,
    )  # fmt: skip
    return [end.value if isinstance(end, Returned) else str(end) for end in ends]


def _elsewhere(checker: Checker, task: JudgeShare, on_judged: Callable[[Judged], None]) -> list[Share | str]:
    ends: list[Share | str] = []
    for _, part in checker.pool.each(task, {number: number for number in range(task.workers)}, task.workers):
        for judged in part.judged:
            on_judged(judged)
        ends.append(part.share or part.ended)
    return ends
