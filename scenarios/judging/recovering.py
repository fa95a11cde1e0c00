"""A recovery that returned, in a process that may wait: whether the system is to check itself there is decided once its folder is
known. And the verdicts of recoveries and checks that failed.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from crashmatrix.reports import Verdict
from crashmatrix.scenarios.errors import UsageError, claimed
from crashmatrix.scenarios.judging.worker import Found
from crashmatrix.scenarios.processes.jobs import Job
from crashmatrix.scenarios.processes.result import Died, JobResult, Raised, Returned, TimedOut
from crashmatrix.scenarios.processes.stopping import frozen

__all__ = ["CheckEnded", "Recovering", "failed_check", "failed_recovery"]


class CheckEnded(Exception):
    """Ends a check with its verdict."""

    def __init__(self, verdict: Verdict, explanation: str) -> None:
        self.verdict, self.explanation = verdict, explanation


@dataclass(frozen=True)
class Recovering:
    """A recovery that returned: what it found, and its job if that waits (`worker.recover`)."""

    found: Found
    job: Job[Found] | None = None

    @contextmanager
    def stopped(self) -> Iterator[bool]:
        """For the block, nothing of the process that waits runs, so the folder is what a kill at this instant would leave.

        Yields False if it has started others, which run on. Raises CheckEnded: it has died.
        """
        if self.job is None:
            yield True
            return
        try:
            with frozen(process := self.job.process()):
                yield not process.children()
        except ProcessLookupError:
            raise failed_recovery("recovery", self.job.wait()) from None

    def verify(self, seconds: float) -> None:
        """Let the system check itself, for so long at most. Raises CheckEnded."""
        assert self.job is not None, "only a process that waits can check"
        self.job.grant(seconds)
        self.job.answer(True)
        if not isinstance(result := self.job.wait(), Returned):
            raise failed_check(result)

    def end(self) -> None:
        """Let a process that waits end without a check. Raises CheckEnded: it ends otherwise."""
        if not isinstance(result := self.let_go(), Returned | None):
            raise failed_recovery("recovery", result)

    def let_go(self) -> JobResult[Found] | None:
        """End whatever waits; returns how the job ended."""
        if self.job is None:
            return None
        self.job.answer(False)
        return self.job.wait()


def failed_recovery(which: str, result: JobResult[object]) -> CheckEnded:
    """Return the verdict on a recovery that did not return."""
    match result:
        case TimedOut():
            return CheckEnded(Verdict.HANGS, f"{which} was still running at its time limit")
        case Raised(claim=(verdict, explanation)):
            return CheckEnded(*claimed(verdict, explanation))
        case Raised() as raised if raised.is_a(UsageError):
            return CheckEnded(Verdict.UNKNOWN, raised.message)
        case _:
            return CheckEnded(Verdict.CANNOT_OPEN, f"{which} {result}")


def failed_check(result: Raised | Died | TimedOut) -> CheckEnded:
    """Return the verdict on a system's own check that did not return."""
    match result:
        case Raised(claim=(verdict, explanation)):
            return CheckEnded(*claimed(verdict, explanation))
        case _:
            return CheckEnded(Verdict.UNKNOWN, f"the system's own check {result}")
