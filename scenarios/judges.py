"""The crash states of a recording, shared out among judges: one process each, side by side."""

from __future__ import annotations

from collections.abc import Callable

from scenarios import power_judge
from scenarios.endings import Ended
from scenarios.jobs import Jobs
from scenarios.power_account import Judged
from scenarios.power_record import Recording
from scenarios.side_by_side import side_by_side
from scenarios.system import Target, load

__all__ = ["judge_together"]


def judge_together(
    jobs: Jobs,
    target: Target,
    recording: Recording,
    workers: int,
    budget: int,
    on_judged: Callable[[Judged], None],
    *,
    verified: frozenset[int] = frozenset(),
    until_broken: bool = False,
) -> list[Ended]:
    """Judge up to ``budget`` states; returns how each judge ended, with its `power_account.Share` if in order.

    Args:
        on_judged: called with each state's verdict as it comes, from as many threads as there are workers.
        verified, until_broken: see `power_judge.judge`.
    """
    share = max(1, budget // workers)
    seconds_max = 60 + (share + 2) * 3 * load(target.name).seconds_max

    def drive(number: int) -> Ended:
        job = jobs.start(
            power_judge.judge, target, recording, number, workers, share, verified, until_broken,
            seconds_max=seconds_max, keep_going=True,
        )  # fmt: skip
        while (judged := job.next_message()) is not None:
            on_judged(judged)
        assert job.ended is not None
        return job.ended

    return [ended for _, ended in side_by_side(jobs, workers, drive, range(workers))]
