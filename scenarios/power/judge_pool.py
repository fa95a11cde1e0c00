"""The crash states of a recording, shared out among judges: one process each, side by side."""

from __future__ import annotations

from collections.abc import Callable

from crashmatrix.scenarios.judging.patience import NOTHING_LEARNT, Learnt
from crashmatrix.scenarios.power import judge as power_judge
from crashmatrix.scenarios.power.recording import Recording
from crashmatrix.scenarios.power.state_verdict import Check, Judged, Share
from crashmatrix.scenarios.processes.jobs import Jobs
from crashmatrix.scenarios.processes.parallel import side_by_side
from crashmatrix.scenarios.processes.result import JobResult
from crashmatrix.scenarios.systems.loading import Target, load

__all__ = ["judge_share", "judge_together"]


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
