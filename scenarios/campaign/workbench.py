"""A run's workbench: scratch space, worker processes, the target set up."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from crashmatrix.reports.unfinished.ledger import Ledger
from crashmatrix.scenarios.campaign.experiments import by_default, experiment_named
from crashmatrix.scenarios.campaign.plan import Plan
from crashmatrix.scenarios.errors import UsageError
from crashmatrix.scenarios.judging import worker as work
from crashmatrix.scenarios.judging.checker import Checker
from crashmatrix.scenarios.judging.snapshots.snapshot import SnapshotStore
from crashmatrix.scenarios.judging.tasks.memory import Memory
from crashmatrix.scenarios.judging.tasks.pool import Pool
from crashmatrix.scenarios.processes.jobs import Jobs
from crashmatrix.scenarios.processes.result import Raised, Returned
from crashmatrix.scenarios.processes.sandbox.cell import NOT_COVERED, lacking as no_cells
from crashmatrix.scenarios.processes.scratch import scratch_folder
from crashmatrix.scenarios.systems.loading import Target

__all__ = ["workbench"]


@contextmanager
def workbench(plan: Plan, ledger: Ledger | None = None) -> Iterator[tuple[Checker, list[str]]]:
    """Set up the plan's target; yields what judges its crashes, and the target's remarks for the report.

    Args:
        ledger: where a run that can be resumed remembers what it found out.

    Raises:
        UsageError: the target cannot be set up.
    """
    with scratch_folder() as scratch:
        workspace = scratch / "workspace"
        workspace.mkdir()
        target = Target(plan.target, plan.options, plan.mutant, plan.seed, str(workspace))
        store = SnapshotStore(scratch, names=2)
        with Jobs(preload=_modules(plan, target), scratch=scratch) as jobs:
            checker = Checker(jobs, store, target, scratch)
            checker.memory = Memory(store, ledger)
            checker.pool = Pool(jobs, checker, checker.memory)
            result = jobs.run(work.setup, target, seconds_max=600)
            if isinstance(result, Raised) and result.is_a(UsageError):
                raise UsageError(result.message)
            if not isinstance(result, Returned):
                raise UsageError(f"target {plan.name} cannot be set up: it {result}")
            unconfined = [f"targets ran without a sandbox: {no_cells()}. {NOT_COVERED}"] if no_cells() else []
            yield checker, [*result.value, *unconfined]


def _modules(plan: Plan, target: Target) -> list[str]:
    """The modules that the jobs of the plan's experiments need."""
    kinds = map(experiment_named, plan.experiments or by_default())
    return [*(module for kind in kinds for module in kind.modules), *filter(None, [target.module])]
