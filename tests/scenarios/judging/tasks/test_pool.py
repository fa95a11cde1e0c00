"""A pool carries each task out once, also for a run that is resumed."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from crashmatrix.reports import ReportWriter
from crashmatrix.scenarios.judging.tasks.memory import Memory
from crashmatrix.scenarios.judging.tasks.pool import Pool, Task
from crashmatrix.scenarios.processes.jobs import Jobs
from crashmatrix.scenarios.processes.result import JobResult, Returned
from tests.scenarios import job_functions as do
from tests.scenarios.judging.tasks.test_memory import RESULT, store_in


@dataclass(frozen=True)
class Squaring(Task[str, int, int]):
    result = int
    experiment = "kill"
    done: list[int] = field(default_factory=list)

    def key(self, item: int) -> str:
        return str(item)

    def carry_out(self, checker: str, item: int) -> int:
        assert checker == "bench"
        self.done.append(item)
        return item * item

    def lost(self, item: int, reason: str) -> int:
        raise AssertionError(reason)


def test_each_task_once(tmp_path: Path) -> None:
    """The results of an earlier run are recalled; the rest is carried out, and each result has its name."""
    task, store = Squaring(), store_in(tmp_path / "store")
    for count in (3, 5):
        with ReportWriter(tmp_path / "report", resume=True) as writer:
            pool = Pool(Jobs(), "bench", Memory(store, writer.ledger))
            found = dict(pool.each(task, {f"n{number}": number for number in range(count)}, 2))
            assert found == {f"n{number}": number * number for number in range(count)}
            writer.add(RESULT)
    assert sorted(task.done) == [0, 1, 2, 3, 4]


@dataclass(frozen=True)
class Judging(Task[str, str, str]):
    """A judgement by a job: one ends, the other hangs until the run is interrupted."""

    result = str
    experiment = "kill"
    jobs: Jobs

    def key(self, item: str) -> str:
        return item

    def carry_out(self, checker: str, item: str) -> str:
        if item == "ends":
            result: JobResult[object] = self.jobs.run(do.give, item, seconds_max=200)
        else:
            result = self.jobs.run(do.hang_deaf, seconds_max=200)
        return "safe" if isinstance(result, Returned) else f"cannot-open: {result}"

    def lost(self, item: str, reason: str) -> str:
        raise AssertionError(reason)


def test_an_interrupted_judgement_is_not_remembered(tmp_path: Path) -> None:
    """An interrupt kills the jobs of a run. Their ends are not verdicts, in this run or in the one that resumes it."""
    store = store_in(tmp_path / "store")
    with (
        Jobs(preload=["tests.scenarios.job_functions"]) as jobs,
        ReportWriter(tmp_path / "report", resume=True) as writer,
    ):
        pool = Pool(jobs, "bench", Memory(store, writer.ledger))
        judged = iter(pool.each(Judging(jobs), {"1": "ends", "2": "hangs"}, 2))
        assert next(judged) == ("1", "safe")
        assert isinstance(judged, Generator)
        with pytest.raises(KeyboardInterrupt):
            judged.throw(KeyboardInterrupt)
        writer.add(RESULT)
    with ReportWriter(tmp_path / "report", resume=True) as writer:
        memory = Memory(store, writer.ledger)
        assert memory.recall("ends", str) == "safe"
        assert memory.recall("hangs", str) is None
