"""A worker: a process of a Dask cluster that carries out tasks of runs. ``crashmatrix worker tcp://scheduler:8786`` starts some.

When it joins, it says what it can do, as Dask *resources*: its version, and each experiment that its machine can run. The
scheduler gives it no other task. It sets up a run's target once, with the first task of that run, and keeps it until another run
comes. It owns nothing: its tasks can be done by another worker as well.
"""

from __future__ import annotations

import platform
import threading
import time
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

from crashmatrix.faults.disk import FILESYSTEMS
from crashmatrix.scenarios.campaign.cluster.parcel import Content, Parcel, write_content
from crashmatrix.scenarios.campaign.experiments import EXPERIMENTS
from crashmatrix.scenarios.campaign.plan import Plan
from crashmatrix.scenarios.campaign.workbench import workbench
from crashmatrix.scenarios.errors import EnvironmentLacks, UsageError
from crashmatrix.scenarios.experiment import ExperimentOptions
from crashmatrix.scenarios.judging.checker import Checker
from crashmatrix.scenarios.judging.tasks.pool import Task
from crashmatrix.scenarios.systems.program_files import program_digests

__all__ = ["CONFIG", "Answer", "Chunk", "Files", "Run", "carry_out", "resource_of", "resources", "serve", "version"]

CONFIG: dict[str, Any] = {
    "distributed.worker.daemon": False,  # A worker has children: the server that jobs are forked from.
    "distributed.scheduler.allowed-failures": 2,  # So the third death of a worker ends a task.
    "distributed.worker.memory.terminate": False,  # Jobs have limits of their own.
    "distributed.worker.memory.pause": False,
    "distributed.worker.memory.spill": False,
    "distributed.worker.memory.target": False,
    "distributed.admin.system-monitor.gil.enabled": False,
    "distributed.admin.large-graph-warning-threshold": "1 GiB",  # A chunk has the contents of its folders.
    "distributed.scheduler.worker-saturation": 1.0,
}
"""Settings of Dask for workers, and for a cluster that a run starts itself."""

_CHUNK_SECONDS_MAX = 5.0
"""The time after which a worker answers with the results that it has: the next items may hang as well, and others can do them."""


@cache
def version() -> str:
    """Return the version of crashmatrix and of Python, which must be the same on all machines."""
    return f"crashmatrix {metadata.version('crashmatrix')} on Python {platform.python_version().rpartition('.')[0]}"


def resource_of(experiment: str, filesystems: tuple[str, ...]) -> dict[str, float]:
    """Return what a task of an experiment needs, in Dask's terms."""
    kind = EXPERIMENTS[experiment]
    names = [kind.described(ExperimentOptions(filesystems=(filesystem,))) for filesystem in filesystems]
    return {version(): 1, **dict.fromkeys(names, 1)}


def resources() -> tuple[dict[str, float], dict[str, str]]:
    """Return what this machine can do, in Dask's terms, and what it cannot do, with the reason."""
    can: dict[str, float] = {version(): 1}
    cannot: dict[str, str] = {}
    for kind in EXPERIMENTS.values():
        for filesystem in FILESYSTEMS:
            options = ExperimentOptions(filesystems=(filesystem,))
            if reason := kind.lacking(options):
                cannot[kind.described(options)] = reason
            else:
                can[kind.described(options)] = 1
    return can, cannot


def serve(scheduler: str, jobs: int) -> None:
    """Join a cluster with so many workers, and serve until the scheduler is gone. A worker that dies is started again."""
    import asyncio

    import dask
    from distributed import Nanny

    can, _ = resources()

    async def run() -> None:
        made = [Nanny(scheduler, nthreads=1, resources=can, memory_limit=0) for _ in range(jobs)]
        await asyncio.gather(*made)
        await asyncio.gather(*(nanny.finished() for nanny in made))

    with dask.config.set(CONFIG):
        asyncio.run(run())


@dataclass(frozen=True)
class Run:
    """The run that a task belongs to: its plan, a digest of the target's program, and how the target is watched."""

    plan: Plan
    program: str
    watch_calls: bool


@dataclass(frozen=True)
class Chunk:
    """Items of a task, with the contents that they need."""

    run: Run
    task: Task[Checker, Any, Any]
    items: list[Any]
    parcel: Parcel


@dataclass(frozen=True)
class Answer:
    """The results of a chunk's first items, with the contents that the coordinator does not know."""

    results: list[Any]
    parcel: Parcel
    seconds: float
    """How long the items took."""


@dataclass(frozen=True)
class Files:
    """The files of a task: the name of the set, and each one's name and content."""

    name: str
    names: list[str]
    contents: list[Content]


class _Bench:
    """The workbench of the run that this worker process works for now."""

    def __init__(self) -> None:
        self._run: Run | None = None
        self._open: ExitStack | None = None
        self._lock = threading.Lock()
        self._files, self._paths = "", tuple[Path, ...]()
        self.checker: Checker | None = None

    def checker_of(self, run: Run) -> Checker:
        """Return what judges crashes of a run, set up at its first task. Raises UsageError, EnvironmentLacks."""
        with self._lock:
            if self._run != run or self.checker is None:
                self._set_up(run)
            assert self.checker is not None
            return self.checker

    def _set_up(self, run: Run) -> None:
        if self._open is not None:
            self._open.close()
        self._run = self.checker = None
        self._files = ""
        if (mine := program_digests(run.plan.target).texts) != run.program:
            raise UsageError(
                f"{platform.node()} has another {run.plan.target} (digest {mine or 'none: it is not there'}) than the "
                f"coordinator ({run.program}); put the same files there"
            )
        self._open = ExitStack()
        self.checker, _ = self._open.enter_context(workbench(run.plan))
        self.checker.target = replace(self.checker.target, watch_calls=run.watch_calls)
        self._run = run

    def placed(self, files: Files) -> tuple[Path, ...]:
        """Return where the files of a task lie here, and lay them there when they come first."""
        assert self.checker is not None
        if files.name != self._files:
            folder = self.checker.folder()
            for name, content in zip(files.names, files.contents, strict=True):
                write_content(content, folder / name)
            for path in self._paths:
                path.unlink(missing_ok=True)
            self._files, self._paths = files.name, tuple(folder / name for name in files.names)
        return self._paths


_BENCH = _Bench()


def carry_out(packed: bytes, files: Files | None = None) -> Answer:
    """Carry out a `Chunk`. Called by Dask, which brings a task's files once to a worker.

    A chunk is pickled by the coordinator: an argument of several objects would be unpickled and pickled by the scheduler as well.
    """
    from distributed.protocol.pickle import loads

    chunk: Chunk = loads(packed)
    checker, task = _BENCH.checker_of(chunk.run), chunk.task
    if files is not None:
        task = task.moved(_BENCH.placed(files))
    if not chunk.parcel.unpack((tree for item in chunk.items for tree in task.needs(item)), checker.store):
        raise EnvironmentLacks("a part of the task was lost on its way")
    results, begun = list[Any](), time.monotonic()
    for item in chunk.items:
        results.append(task.carry_out(checker, item))
        if time.monotonic() > begun + _CHUNK_SECONDS_MAX:
            break
    answer = Answer(results, Parcel(), time.monotonic() - begun)
    answer.parcel.pack(
        (tree for result in results for tree in task.leaves(result)), checker.store, chunk.parcel.contents
    )
    return answer
