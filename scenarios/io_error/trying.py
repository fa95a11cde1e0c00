"""The task of trying faults: the workload is run with each, and every ending is judged."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from crashmatrix.faults.disk.linux.removal import remove_tree
from crashmatrix.reports import ScenarioResult, Verdict
from crashmatrix.scenarios.experiment import ExperimentOptions
from crashmatrix.scenarios.io_error.explain import cause_of
from crashmatrix.scenarios.io_error.faults import Fault
from crashmatrix.scenarios.io_error.judge import Judge, Judged
from crashmatrix.scenarios.io_error.messages import REOPENED, RESUMED
from crashmatrix.scenarios.io_error.plan import ENDINGS, NAME, scenario_id
from crashmatrix.scenarios.io_error.runs import Begun, FaultyRun, Prepared, TriedFault, prepared_from, run_with, serves
from crashmatrix.scenarios.judging.checker import Checked, Checker
from crashmatrix.scenarios.judging.snapshots.tree import Tree
from crashmatrix.scenarios.judging.tasks.pool import Task
from crashmatrix.scenarios.shards import plan_digest

__all__ = ["TryFaults", "in_its_place", "result_of"]

_TRIES = 3
"""How many runs a fault gets to be met, for a workload that does not make the same calls each time."""


@dataclass(frozen=True)
class TryFaults(Task[Checker, Sequence[Fault], tuple[TriedFault, ...]]):
    """Tries faults of one call and error. A run that another fault would not change serves for it, too."""

    result = tuple[TriedFault, ...]
    experiment = NAME
    begun: Begun
    options: ExperimentOptions

    def key(self, item: Sequence[Fault]) -> str:
        """The faults."""
        return f"tried: {plan_digest(item)}"

    def needs(self, item: Sequence[Fault]) -> Iterable[Tree]:
        """The prepared folder."""
        del item
        return [self.begun.tree]

    def lost(self, item: Sequence[Fault], reason: str) -> tuple[TriedFault, ...]:
        """Each fault is unknown."""
        checked = Checked(Verdict.UNKNOWN, reason)
        return tuple(
            TriedFault(str(fault), False, False, at, (result_of(self.options, fault, REOPENED, checked),))
            for at, fault in enumerate(item)
        )

    def carry_out(self, checker: Checker, item: Sequence[Fault]) -> tuple[TriedFault, ...]:
        """Run and judge."""
        return tuple(self._carry_out(_bench_of(checker, self.begun), item))

    def _carry_out(self, bench: _Bench, faults: Sequence[Fault]) -> Iterator[TriedFault]:
        runs: list[FaultyRun] = []
        for fault in faults:
            same = next((run for run in runs if serves(run, fault)), None)
            if same and same.fired:
                run, judged = same, bench.judge.judge(fault, same)
            else:
                fault, run, judged = bench.one(fault)
            runs.append(run)
            results = tuple(
                result_of(
                    self.options, fault, ending, checked, state.digest if state else "",
                    cause_of(bench.prepared, fault, run) if checked.verdict.broken else "",
                )
                for ending, (checked, state) in judged.items()
            )  # fmt: skip
            first = next(number for number, other in enumerate(runs) if other is run)
            yield TriedFault(str(fault), run.fired is not None, run.went_on, first, results, run.died, run.met)


@dataclass(frozen=True)
class _Bench:
    """The things that all tasks of one checker share: the prepared folder, and the states judged so far."""

    checker: Checker
    prepared: Prepared
    judge: Judge

    def one(self, fault: Fault) -> tuple[Fault, FaultyRun, Judged]:
        """Run and judge. In place of a call or hit that a run does not make, its last one fails in the next run."""
        nearest = fault
        for _ in range(_TRIES):
            fault, folder = nearest, self.checker.folder()
            try:
                run = run_with(self.checker, self.prepared, [fault], ENDINGS, folder)
            finally:
                remove_tree(folder)
            if run.fired or run.senseless:
                break
            nearest = in_its_place(fault, run)
        return fault, run, self.judge.judge(fault, run)


def in_its_place(fault: Fault, run: FaultyRun) -> Fault:
    """Return the fault at the last call of its class, or hit of its failpoint, if a run has not come to the planned one."""
    made = len(run.account.of_class) if run.account else 0
    return replace(fault, number=made) if 0 < made < fault.number else fault


def _bench_of(checker: Checker, begun: Begun) -> _Bench:
    shared = checker.pool.shared
    if NAME not in shared:  # Two threads may come here first; then one bench is made in vain.
        shared.setdefault(NAME, _Bench(checker, prepared_from(checker, begun), Judge(checker)))
    bench: _Bench = shared[NAME]
    return bench


def result_of(
    options: ExperimentOptions, fault: Fault, ending: str, checked: Checked, state: str = "", cause: str = ""
) -> ScenarioResult:
    """Return the result of a fault and an ending."""
    name = scenario_id(fault, ending)
    return ScenarioResult(
        id=name, experiment=NAME, point=fault.kind, hit=fault.number,
        depth=int(ending == RESUMED), method=ending, fault=str(fault), verdict=checked.verdict,
        explanation=checked.explanation, state=state, replay=options.replay_command(name), cause=cause,
    )  # fmt: skip
