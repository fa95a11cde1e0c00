"""A pool carries each task out once, also for a run that is resumed."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from crashmatrix.reports import ReportWriter
from crashmatrix.scenarios.judging.tasks.memory import Memory
from crashmatrix.scenarios.judging.tasks.pool import Pool, Task
from crashmatrix.scenarios.processes.jobs import Jobs
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
