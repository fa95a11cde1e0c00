"""The processes that try faults of a disk: each keeps its disk, its cell and what it has judged until the end."""

from __future__ import annotations

import time
from collections.abc import Sequence
from queue import Empty, SimpleQueue
from typing import Self

from crashmatrix.scenarios.io_error.disk.base import Base
from crashmatrix.scenarios.io_error.disk.tries import Tried, try_faults
from crashmatrix.scenarios.io_error.faults import RequestFault
from crashmatrix.scenarios.judging.checker import Checker
from crashmatrix.scenarios.processes.jobs import Job
from crashmatrix.scenarios.processes.result import JobResult

__all__ = ["Workers"]


class Workers:
    """As many processes as threads try faults at a time. A context manager; its end waits for the processes."""

    def __init__(self, checker: Checker, base: Base) -> None:
        self._checker, self._base = checker, base
        self._limit = self.limit(checker, base)
        self._idle = SimpleQueue[_Worker]()

    @staticmethod
    def limit(checker: Checker, base: Base) -> float:
        """How long a recorded workload may take, in seconds."""
        return max(checker.system.seconds_max, 3 * base.seconds)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        while worker := self._next_idle():
            worker.end()

    def tried(
        self, faults: Sequence[RequestFault], *, keep_steps: bool = False, exactly: bool = True
    ) -> tuple[list[Tried], JobResult[None] | None]:
        """Try faults; returns the outcomes in their order, and how the process ended if it died before the last one."""
        seconds = len(faults) * (60 + 20 * self._limit)
        worker = self._next_idle() or _Worker(self._checker, self._base, self._limit)
        tried = worker.tried(faults, seconds, keep_steps, exactly)
        if worker.job.result is not None:
            return tried, worker.job.result
        self._idle.put(worker)
        return tried, None

    def _next_idle(self) -> _Worker | None:
        try:
            return self._idle.get_nowait()
        except Empty:
            return None


class _Worker:
    def __init__(self, checker: Checker, base: Base, limit: float) -> None:
        self._deadline = time.monotonic()
        self.job: Job[None] = checker.jobs.start(
            try_faults, checker.target, base, limit, seconds_max=0, keep_going=True
        )

    def tried(self, faults: Sequence[RequestFault], seconds: float, keep_steps: bool, exactly: bool) -> list[Tried]:
        self._allow(seconds)
        self.job.answer((tuple(faults), keep_steps, exactly))
        tried = list[Tried]()
        while len(tried) < len(faults) and (message := self.job.next_message()) is not None:
            tried.append(message)
        return tried

    def end(self) -> None:
        self._allow(60)
        self.job.answer(None)
        self.job.wait()

    def _allow(self, seconds: float) -> None:
        """From now on, it may take so long."""
        deadline = time.monotonic() + seconds
        self.job.grant(deadline - self._deadline)
        self._deadline = deadline
