"""Mutation runs: each planted bug must be found, and the unbroken engine be safe."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from crashmatrix.reports import ScenarioResult, Verdict
from crashmatrix.scenarios.campaign.experiments import EXPERIMENTS
from crashmatrix.scenarios.campaign.plan import Plan
from crashmatrix.scenarios.campaign.until_broken import Search, search
from crashmatrix.scenarios.errors import EnvironmentLacks, TargetFails
from crashmatrix.scenarios.experiment import Experiment, ExperimentKind
from crashmatrix.scenarios.judging.checker import Checker
from crashmatrix.scenarios.systems.reference.mutation.mutant import Mutant
from crashmatrix.scenarios.systems.reference.mutation.mutants import mutant

__all__ = ["MutantRun", "kinds_for", "try_mutant"]


@dataclass(frozen=True)
class MutantRun:
    """The outcome of one planted bug. ``found`` is the first scenario that broke a promise, None if none did.

    ``scenarios`` counts those run until then; ``confirmed`` says that the finding held when it was tried a second time.
    """

    mutant: str
    found: ScenarioResult | None
    verdict: Verdict
    scenarios: int
    seconds: float
    confirmed: bool

    @property
    def id(self) -> str:
        """The scenario's id; empty if none was found."""
        return self.found.id if self.found else ""

    @property
    def as_it_should_be(self) -> bool:
        """Whether the bug was found, or the unbroken engine is safe."""
        return self.confirmed and (self.found is not None if self.mutant else self.verdict is Verdict.SAFE)


def kinds_for(dies: str) -> list[ExperimentKind]:
    """Return the experiments that find bugs which show when the ``process`` or the ``machine`` dies."""
    return [kind for kind in EXPERIMENTS.values() if kind.dies == dies]


def try_mutant(name: str, *, seed: int = 0, workers: int = 2) -> MutantRun:
    """Run the experiments that may find one bug planted in the reference engine, until a promise is broken.

    Args:
        name: a planted bug's name; empty for the unbroken engine, whose process is killed everywhere.

    Raises:
        UsageError: no such bug.
        EnvironmentLacks: this machine cannot run any of these experiments.
    """
    start = time.perf_counter()
    bug = mutant(name) if name else None
    plan = _plan(bug, seed, workers)
    kinds = kinds_for(bug.dies if bug else "process")
    done = _search(plan, kinds) if bug is None else _search_or_failure(plan, kinds)
    return MutantRun(
        mutant=name,
        found=done.found,
        verdict=done.verdict,
        scenarios=len(done.results),
        seconds=time.perf_counter() - start,
        confirmed=done.confirmed,
    )


def _search(plan: Plan, kinds: list[ExperimentKind]) -> Search:
    return search(plan, lambda checker: _searches(plan, kinds, checker))


def _search_or_failure(plan: Plan, kinds: list[ExperimentKind]) -> Search:
    """Search for a bug that may break the engine without a crash. The engine works without it, and fails with it each time."""
    try:
        return _search(plan, kinds)
    except TargetFails as error:
        failed = ScenarioResult(
            id="undisturbed", experiment="", point="undisturbed", hit=1, depth=0, method="clean-end", fault="",
            verdict=Verdict.CANNOT_OPEN, explanation=str(error),
        )  # fmt: skip
    try:
        _search(plan, kinds)
    except TargetFails:
        return Search([failed])
    return Search([failed], confirmed=False)


def _plan(bug: Mutant | None, seed: int, workers: int) -> Plan:
    plan = Plan(seed=seed, workers=workers, report=Path("crashmatrix-mutant"))
    if bug is None:
        return plan
    return replace(
        plan, target=bug.target, options=dict(bug.options), mutant=bug.name,
        filesystems=bug.filesystems, filesystems_named=bug.on_disk,
    )  # fmt: skip


def _searches(plan: Plan, kinds: list[ExperimentKind], checker: Checker) -> Iterator[Experiment]:
    """The experiments to run in turn. The unbroken engine's run to their end."""
    options = replace(plan.experiment_options, until_broken=bool(plan.mutant), keep_evidence=False)
    lacking = {kind.name: kind.lacking(options) for kind in kinds}
    if all(lacking.values()):
        raise EnvironmentLacks("; ".join(f"{name}: {reason}" for name, reason in lacking.items()))
    for kind in kinds:
        if not lacking[kind.name]:
            yield from kind.searches(checker, options)
