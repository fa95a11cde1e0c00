"""The harness tried on bugs that are known to be there: each planted bug must be found, and the unbroken engine be safe."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from pathlib import Path

from crashmatrix.faults.disk import Filesystem
from crashmatrix.reports import ScenarioResult, Verdict, worst
from crashmatrix.scenarios.campaign.campaign import Plan, experiment_of, power_of, workbench
from crashmatrix.scenarios.judging.checker import Checker
from crashmatrix.scenarios.systems.reference.mutants import mutant

__all__ = ["MutantRun", "try_mutant"]


_PASSES = ((500, 30), (4000, 400), (16_000, 400))
"""Crash states to look at, and restarts to record at most: a few of each first, then every place to kill, then many states.

More restarts than in a run: each is killed before another sync, and the bug may lie behind any. In each pass all is recorded
anew, for no two traces are the same.
"""


@dataclass(frozen=True)
class MutantRun:
    """What became of one planted bug. ``found`` is the first scenario that broke a promise, None if none did.

    ``scenarios`` counts those run until then; ``confirmed`` says that the finding held when it was tried again: by a real
    SIGKILL, or on the same crash state a second time.
    """

    mutant: str
    found: ScenarioResult | None
    verdict: Verdict
    scenarios: int
    seconds: float
    confirmed: bool

    @property
    def as_it_should_be(self) -> bool:
        """Whether the bug was found, or the unbroken engine is safe."""
        return self.confirmed and (self.found is not None if self.mutant else self.verdict is Verdict.SAFE)


def try_mutant(name: str, *, seed: int = 0, workers: int = 2) -> MutantRun:
    """Run the experiment that may find one bug planted in the reference engine, until a promise is broken.

    Args:
        name: a planted bug's name; empty for the unbroken engine, whose kill experiment is run to the end.

    Raises:
        UsageError: no such bug.
        EnvironmentLacks: it takes the power experiment, which this machine cannot run.
    """
    start = time.perf_counter()
    filesystems = mutant(name).filesystems if name else Plan.filesystems
    target = mutant(name).target if name else Plan.target
    plan = Plan(
        target=target,
        mutant=name,
        seed=seed,
        workers=workers,
        filesystems=filesystems,
        report=Path("crashmatrix-mutant"),
    )
    with workbench(plan) as (checker, _):
        if name and mutant(name).dies == "machine":
            results, confirmed = _cut_power(plan, checker), True
        else:
            kill = experiment_of(plan, checker)
            kill.until_broken = bool(name)
            kill.run()
            results = kill.ordered()
            confirmed = kill.details["killed_for_real"] == kill.details["agreed_with_snapshot"]
    broken = [result for result in results if result.verdict.broken]
    return MutantRun(
        mutant=name,
        found=broken[0] if broken else None,
        verdict=worst(result.verdict for result in results),
        scenarios=len(results),
        seconds=time.perf_counter() - start,
        confirmed=confirmed,
    )


def _cut_power(plan: Plan, checker: Checker) -> list[ScenarioResult]:
    results: list[ScenarioResult] = []
    for budget, restarts in _PASSES:
        power = power_of(replace(plan, budget=budget), checker)
        power.until_broken, power.keep_traces = True, False
        # Where one recording says what several do elsewhere, its own states are worth more than restarts.
        power.restarts = restarts if all(Filesystem.parse(name).nudges for name in plan.filesystems) else 0
        power.run()
        results += power.ordered()
        if any(result.verdict.broken for result in results):
            break
    return results
