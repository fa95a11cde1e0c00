"""Where a run's tasks are carried out: side by side in this process, or by another pool, such as a cluster of machines.

A task is a piece of work on one item. The pool remembers each result, so a resumed run carries out no task twice.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeVar

from crashmatrix.scenarios.judging.snapshots.tree import Tree
from crashmatrix.scenarios.judging.tasks.memory import Memory
from crashmatrix.scenarios.processes.jobs import Jobs
from crashmatrix.scenarios.processes.parallel import side_by_side

__all__ = ["Pool", "Task"]

C = TypeVar("C")
K = TypeVar("K")
T = TypeVar("T")
R = TypeVar("R")


class Task(ABC, Generic[C, T, R]):
    """Work to be done on each item, given the checker of this process. Task, items and results can be pickled."""

    result: ClassVar[Any]
    """The type of results."""
    experiment: ClassVar[str]
    """The experiment that this is a part of: only a machine that can run it gets the task."""

    @abstractmethod
    def key(self, item: T) -> str:
        """Return the name under which the result is remembered."""

    @abstractmethod
    def carry_out(self, checker: C, item: T) -> R:
        """Do it."""

    @abstractmethod
    def lost(self, item: T, reason: str) -> R:
        """Return the result if every process that carried it out died, as ``reason`` says."""

    def needs(self, item: T) -> Iterable[Tree]:
        """Return the snapshots that it lays out."""
        del item
        return ()

    def leaves(self, result: R) -> Iterable[Tree]:
        """Return the snapshots in a result."""
        del result
        return ()

    def files(self) -> tuple[Path, ...]:
        """Return files that the task reads, and that travel with it."""
        return ()

    def moved(self, files: tuple[Path, ...]) -> Task[C, T, R]:
        """Return the task with its files in other places."""
        assert not files
        return self


class Pool(Generic[C]):
    """Carries out tasks in threads of this process, which start jobs."""

    remote = False
    """Whether tasks are carried out by other processes, which answer once they are done."""

    def __init__(self, jobs: Jobs, checker: C, memory: Memory) -> None:
        self.jobs, self.checker, self.memory = jobs, checker, memory
        self.shared: dict[str, Any] = {}
        """Objects that the tasks of one experiment share here, by its name."""
        self.remarks: set[str] = set()
        """Remarks for the report."""

    def each(self, task: Task[C, T, R], items: Mapping[K, T], workers: int) -> Iterator[tuple[K, R]]:
        """Yield the result for each item, with its name, in the order in which they are done; ``workers`` at a time."""
        yield from side_by_side(self.jobs, workers, lambda name: self._once(task, items[name]), items)

    def _once(self, task: Task[C, T, R], item: T) -> R:
        make = lambda: task.carry_out(self.checker, item)  # noqa: E731
        found: R = self.memory.once(task.key(item), task.result, make, task.leaves)
        return found
