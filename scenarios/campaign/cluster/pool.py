"""A pool whose tasks are carried out by a Dask cluster: ``--cluster tcp://scheduler:8786``, or ``local:4`` for this machine.

The items of a task go out in chunks. Only so many chunks are out at a time that no worker waits for one: the rest can go to any
worker that joins. A chunk whose workers die is divided, and its items go out one at a time, while nothing else does. So the death
is charged to the item that causes it, and to no other. An item whose workers die each time is `Task.lost`.

A result that comes is remembered before it is passed on, so a run whose coordinator dies is resumed as any other.
"""

from __future__ import annotations

import time
import uuid
from collections import defaultdict, deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import CancelledError
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, TypeVar

from crashmatrix.scenarios.campaign.cluster.chunks import ChunkSize
from crashmatrix.scenarios.campaign.cluster.parcel import Parcel, read_content
from crashmatrix.scenarios.campaign.cluster.worker import (
    CONFIG,
    Answer,
    Chunk,
    Files,
    Run,
    carry_out,
    resource_of,
    resources,
    version,
)
from crashmatrix.scenarios.campaign.plan import Plan
from crashmatrix.scenarios.errors import EnvironmentLacks, UsageError
from crashmatrix.scenarios.extras import extra_installed
from crashmatrix.scenarios.judging.checker import Checker
from crashmatrix.scenarios.judging.tasks.pool import Pool, Task
from crashmatrix.scenarios.systems.program_files import program_digests

__all__ = ["ClusterPool", "cluster_pool", "workers_of"]

K = TypeVar("K")
T = TypeVar("T")
R = TypeVar("R")

_OUT_PER_WORKER = 2
"""How many chunks are out for each worker: one at work, one that waits."""
_JOIN_SECONDS_MAX = 30
_LOOK_SECONDS = 2.0


@contextmanager
def cluster_pool(plan: Plan, checker: Checker) -> Iterator[ClusterPool]:
    """Connect to a plan's cluster, or start it. All workers of one that is started have joined then.

    Raises:
        UsageError: there is no such cluster, or no worker of it can serve.
    """
    with extra_installed("--cluster"):
        import dask
        from distributed import Client
    with ExitStack() as stack:
        stack.enter_context(dask.config.set(CONFIG))
        address = _started(plan.cluster, stack)
        try:
            client = stack.enter_context(Client(address, timeout=_JOIN_SECONDS_MAX, set_as_default=False))
        except (OSError, ValueError) as error:
            raise UsageError(f"--cluster {plan.cluster}: no scheduler answers there ({error})") from None
        pool = ClusterPool(plan, checker, client)
        pool.check()
        yield pool


def _started(cluster: str, stack: ExitStack) -> Any:
    """Return the address of a cluster; one on this machine is started."""
    kind, _, number = cluster.partition(":")
    if kind != "local":
        return cluster
    if not number.isdecimal() or not 1 <= int(number) <= 256:
        raise UsageError(
            f"no cluster {cluster!r}; write --cluster tcp://SCHEDULER:8786, or local:N with N workers here"
        )
    from distributed import LocalCluster

    can, _ = resources()
    made = LocalCluster(
        n_workers=int(number), threads_per_worker=1, processes=True, resources=can, dashboard_address=None, memory_limit=0,
        host="127.0.0.1", silence_logs=50,
    )  # fmt: skip
    return stack.enter_context(made)


@dataclass(frozen=True)
class _Fit:
    """A worker that has our version: what it can do, and how many tasks at a time."""

    can: frozenset[str]
    threads: int


def workers_of(client: Any) -> tuple[list[_Fit], list[str]]:
    """Return the workers that have our version, and what is wrong with each of the others."""
    fit, refused = [], []
    for address, worker in client.scheduler_info(n_workers=-1)["workers"].items():
        can = frozenset(worker.get("resources") or ())
        if version() in can:
            fit.append(_Fit(can, worker["nthreads"]))
            continue
        ours = (name for name in can if name.startswith("crashmatrix "))
        theirs = next(ours, "no crashmatrix; start it with: crashmatrix worker")
        refused.append(f"worker {address} gets no task: it has {theirs}, the coordinator has {version()}")
    return fit, refused


class ClusterPool(Pool[Checker]):
    """Carries out tasks on a cluster."""

    remote = True
    alone_seconds_max = 300.0
    """How long to wait for a worker once all have gone."""

    def __init__(self, plan: Plan, checker: Checker, client: Any) -> None:
        super().__init__(checker.jobs, checker, checker.memory)
        # A worker knows nothing of the report, and its own pool is its machine.
        self._plan, self._client = replace(plan, cluster="", resume=False, seconds_max=None), client
        self._program = program_digests(plan.target).texts
        self._workers: list[_Fit] = []
        self._looked = -_LOOK_SECONDS
        self._alone_since: float | None = None
        self._scattered: dict[tuple[Path, ...], Any] = {}
        self._sizes = defaultdict[type, ChunkSize](ChunkSize)

    @property
    def size(self) -> int:
        """How many tasks the workers that had joined in the beginning do at a time."""
        return sum(worker.threads for worker in self._workers)

    def check(self) -> None:
        """Wait for workers that can serve. Raises UsageError if there are none."""
        end = time.monotonic() + _JOIN_SECONDS_MAX
        while True:
            fit, refused = workers_of(self._client)
            self.remarks.update(refused)
            self._workers = fit
            if fit:
                return
            if refused or time.monotonic() > end:
                break
            time.sleep(_LOOK_SECONDS / 10)
        raise UsageError(
            "; ".join(sorted(self.remarks)) or "the cluster has no worker; start one with: crashmatrix worker ADDRESS"
        )

    def each(self, task: Task[Checker, T, R], items: Mapping[K, T], workers: int) -> Iterator[tuple[K, R]]:
        """Yield the result for each item, with its name, in the order in which they are done."""
        del workers
        left = []
        for name, item in items.items():
            known = self.memory.recall(task.key(item), task.result, task.leaves)
            if known is None:
                left.append(name)
            else:
                yield name, known
        for name, found in self._each(task, items, left):
            self.memory.remember(task.key(items[name]), found, task.leaves(found))
            yield name, found

    def _each(self, task: Task[Checker, T, R], items: Mapping[K, T], left: Sequence[K]) -> Iterator[tuple[K, R]]:
        """Send chunks out, and yield results as they come; then try the items whose workers died, one at a time."""
        suspects: list[K] = []
        for chunk, answer in self._sent(task, items, deque(left)):
            if answer is None:
                suspects += chunk
            else:
                yield from zip(chunk, answer, strict=True)
        for chunk, answer in self._sent(task, items, deque(suspects), alone=True):
            if answer is None:
                reason = "the worker that carried it out died, each of three times"
                yield chunk[0], task.lost(items[chunk[0]], reason)
            else:
                yield from zip(chunk, answer, strict=True)

    def _sent(
        self, task: Task[Checker, T, R], items: Mapping[K, T], waiting: deque[K], alone: bool = False
    ) -> Iterator[tuple[list[K], list[R] | None]]:
        """Yield each chunk with its results, or None if its workers died. ``alone``: one item is out at a time."""
        done = SimpleQueue[Any]()
        size = self._sizes[type(task)]
        out: dict[Any, list[K]] = {}
        self._alone_since = None
        try:
            while waiting or out:
                able = self._able(task)
                while waiting and len(out) < (1 if alone else max(1, _OUT_PER_WORKER * able)):
                    chunk = [waiting.popleft() for _ in range(1 if alone else size.next(len(waiting), able))]
                    future = self._submit(task, [items[name] for name in chunk])
                    out[future] = chunk
                    future.add_done_callback(done.put)
                try:
                    ended = [done.get(timeout=_LOOK_SECONDS)]
                except Empty:
                    continue
                while not done.empty():
                    ended.append(done.get())
                answers = self._gathered(ended)
                for future in ended:
                    chunk, results = out.pop(future), self._results(task, future, answers)
                    if results is not None:
                        waiting.extendleft(reversed(chunk[len(results) :]))
                        chunk = chunk[: len(results)]
                    yield chunk, results
        finally:
            for future in out:
                future.cancel()

    def _able(self, task: Task[Checker, T, R]) -> int:
        """Return how many such tasks can be done at a time. Raises EnvironmentLacks.

        No worker that has joined can do one, or all have gone, and none has come back for minutes.
        """
        if time.monotonic() > self._looked + _LOOK_SECONDS:
            self._workers, refused = workers_of(self._client)
            self._looked = time.monotonic()
            self.remarks.update(refused)
            self._wait_for_workers()
        wanted = set(resource_of(task.experiment, self._plan.filesystems))
        able = [worker.threads for worker in self._workers if wanted <= worker.can]
        if self._workers and not able:
            raise EnvironmentLacks(
                f"no worker of the cluster can run {', '.join(sorted(wanted - {version()}))}; see what `crashmatrix worker` says "
                "on each machine when it starts"
            )
        return sum(able)

    def _wait_for_workers(self) -> None:
        if self._workers:
            self._alone_since = None
            return
        self.remarks.add("all workers of the cluster had gone for a time; the run waited for another")
        self._alone_since = self._looked if self._alone_since is None else self._alone_since
        if self._looked > self._alone_since + self.alone_seconds_max:
            raise EnvironmentLacks(
                f"all workers of the cluster have gone, and none has come back for {self.alone_seconds_max:g} s; start one with: "
                "crashmatrix worker ADDRESS, then run again with --resume"
            )

    def _submit(self, task: Task[Checker, T, R], items: list[T]) -> Any:
        from distributed.protocol.pickle import dumps

        parcel = Parcel()
        parcel.pack((tree for item in items for tree in task.needs(item)), self.checker.store)
        run = Run(self._plan, self._program, self.checker.target.watch_calls)
        packed = dumps(Chunk(run, task, items, parcel))
        needs = resource_of(task.experiment, self._plan.filesystems)
        return self._client.submit(carry_out, packed, self._files(task), resources=needs, pure=False, retries=0)

    def _files(self, task: Task[Checker, T, R]) -> Any:
        """Give a task's files to the cluster, which brings them once to each worker."""
        paths = task.files()
        if not paths:
            return None
        if paths not in self._scattered:
            self._scattered.clear()  # Those of the task before are needed no longer.
            files = Files(uuid.uuid4().hex, [path.name for path in paths], [read_content(path) for path in paths])
            self._scattered[paths] = self._client.scatter(files, broadcast=True, hash=False)
        return self._scattered[paths]

    def _gathered(self, futures: list[Any]) -> dict[Any, Answer]:
        """Have all answers at once: a trip to the scheduler takes milliseconds. If that cannot be, have none."""
        try:
            return dict(zip(futures, self._client.gather(futures), strict=True))
        except Exception:  # Any: then each is looked at alone.
            return {}

    def _results(self, task: Task[Checker, T, R], future: Any, answers: Mapping[Any, Answer]) -> list[R] | None:
        from distributed.scheduler import KilledWorker

        try:
            answer = answers.get(future) or future.result()
        except CancelledError:  # Its files went with a worker.
            self._scattered.clear()
            return None
        except KilledWorker:
            return None
        except (UsageError, EnvironmentLacks):
            raise
        except Exception as error:  # Any: it is the task's.
            raise EnvironmentLacks(f"a task failed on the cluster: {type(error).__name__}: {error}") from error
        self._sizes[type(task)].learn(len(answer.results), answer.seconds)
        trees = (tree for result in answer.results for tree in task.leaves(result))
        if not answer.parcel.unpack(trees, self.checker.store):
            raise EnvironmentLacks("a part of a result was lost on its way")
        results: list[R] = answer.results
        return results
