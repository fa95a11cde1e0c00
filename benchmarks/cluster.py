"""A cluster beside the local pool, on the same processors; and many simulated workers, which sleep for the time of a task.

    python -m benchmarks.cluster pool [ROUNDS]           judged states a second, interleaved, medians
    python -m benchmarks.cluster simulated [WORKERS ...]  speed relative to the ideal, and the load of the coordinator

A simulated worker takes tasks as a real one does, with the states and their contents, and sleeps in place of judging. Its results
are those of a state judged before. The coordinator and the scheduler are real; the scheduler runs in the coordinator's process.
"""

import os
import statistics
import sys
import tempfile
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import psutil

from crashmatrix.scenarios.campaign.cluster.pool import ClusterPool
from crashmatrix.scenarios.campaign.cluster.worker import CONFIG, resources
from crashmatrix.scenarios.campaign.plan import Plan
from crashmatrix.scenarios.campaign.workbench import workbench
from crashmatrix.scenarios.judging.checker import Checked, Checker, CrashState
from crashmatrix.scenarios.judging.snapshots.tree import Tree
from crashmatrix.scenarios.judging.tasks.judge_state import JudgeState
from crashmatrix.scenarios.judging.tasks.pool import Pool, Task
from crashmatrix.scenarios.kill.exploring import snapshots_of
from crashmatrix.scenarios.kill.profile import prepare

TARGET = "sqlite:wal-full"
STATES = 200
SIMULATED = (8, 16, 32, 64)
SECONDS = 10.0
"""How long simulated workers would take in the ideal case."""
THREADS = 16
"""How many simulated workers share a process."""


@dataclass(frozen=True)
class Sleeping(Task[Checker, CrashState, Checked]):
    """Sleeps in place of judging, and answers with a verdict known before."""

    result = Checked
    experiment: str = "kill"  # type: ignore[misc]
    seconds: float = 0.0
    answer: Checked | None = None
    number: int = 0

    def key(self, item: CrashState) -> str:
        return f"{self.number} {item.key}"

    def needs(self, item: CrashState) -> Iterable[Tree]:
        return [item.tree]

    def carry_out(self, checker: Checker, item: CrashState) -> Checked:
        del checker, item
        time.sleep(self.seconds)
        assert self.answer is not None
        return self.answer

    def lost(self, item: CrashState, reason: str) -> Checked:
        raise AssertionError(f"{item.key}: {reason}")


def states_of(checker: Checker) -> list[CrashState]:
    """Distinct crash states of the target."""
    prepared = prepare(checker)
    found = snapshots_of(
        checker, prepared, [hit for hit, _ in zip(prepared.profile.hits, range(4 * STATES), strict=False)]
    )
    return [*{state.key: state for _, state in found}.values()][:STATES]


def timed(
    pool: Pool[Checker], task: Task[Checker, CrashState, Checked], states: Mapping[int, CrashState], workers: int
) -> float:
    begun = time.perf_counter()
    assert len(dict(pool.each(task, states, workers))) == len(states)
    return time.perf_counter() - begun


def compare(rounds: int) -> None:
    import dask
    from distributed import Client, LocalCluster

    workers = os.cpu_count() or 2
    plan = Plan(target=TARGET, report=Path(tempfile.gettempdir()) / "unused")
    with dask.config.set(CONFIG), workbench(plan) as (checker, _):
        states = dict(enumerate(states_of(checker)))
        can, _ = resources()
        with (
            LocalCluster(
                n_workers=workers, threads_per_worker=1, resources=can, dashboard_address=None, memory_limit=0
            ) as made,
            Client(made, set_as_default=False) as client,
        ):
            pool = ClusterPool(plan, checker, client)
            timed(pool, JudgeState("kill"), states, workers)  # Targets are set up.
            ratios, speeds = [], dict[str, list[float]](here=[], cluster=[])
            for _ in range(rounds):
                here = timed(checker.pool, JudgeState("kill"), states, workers)
                there = timed(pool, JudgeState("kill"), states, workers)
                speeds["here"].append(len(states) / here)
                speeds["cluster"].append(len(states) / there)
                ratios.append(here / there)
    for name, values in speeds.items():
        print(f"{name:<8} {statistics.median(values):7.1f} states a second ({min(values):.1f} to {max(values):.1f})")
    print(f"cluster relative to here: {statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})")


def simulate(counts: Iterable[int]) -> None:
    import dask
    from distributed import Client, LocalCluster

    plan = Plan(target=TARGET, report=Path(tempfile.gettempdir()) / "unused")
    with dask.config.set(CONFIG), workbench(plan) as (checker, _):
        few = dict(enumerate(states_of(checker)))
        seconds = timed(checker.pool, JudgeState("kill"), few, 1) / len(few)
        answer = checker.check(few[0])
        print(f"a state of {TARGET} takes {seconds * 1e3:.1f} ms on one processor; so long sleeps a simulated worker")
        print(f"{'workers':>8}{'states':>8}{'took':>9}{'ideal':>9}{'of ideal':>10}{'load':>8}{'limit at':>10}")
        for count in counts:
            processes, threads = max(1, count // THREADS), min(THREADS, count)
            can, _ = resources()
            share = {name: float(threads) for name in can}
            with (
                LocalCluster(
                    n_workers=processes,
                    threads_per_worker=threads,
                    resources=share,
                    dashboard_address=None,
                    memory_limit=0,
                ) as made,
                Client(made, set_as_default=False) as client,
            ):
                pool = ClusterPool(plan, checker, client)
                task = Sleeping(seconds=seconds, answer=answer)
                states = {number: few[number % len(few)] for number in range(round(SECONDS * count / seconds))}
                timed(pool, task, {number: few[number] for number in range(min(len(few), 4 * count))}, count)
                me = psutil.Process()
                before = sum(me.cpu_times()[:2])
                took = timed(pool, replace(task, number=count), states, count)
                busy = sum(me.cpu_times()[:2]) - before
            ideal = seconds * len(states) / count
            limit = count * took / busy  # The coordinator is one process: it uses one processor at most.
            print(
                f"{count:>8}{len(states):>8}{took:>7.1f} s{ideal:>7.1f} s{ideal / took:>10.2f}{busy / took:>8.2f}{limit:>10.0f}",
                flush=True,
            )


if __name__ == "__main__":
    if sys.argv[1:2] == ["pool"]:
        compare(int(sys.argv[2]) if len(sys.argv) > 2 else 5)
    else:
        simulate([int(text) for text in sys.argv[2:]] or SIMULATED)
