"""A single experiment on a target, for tests: ``with workbench(plan) as (checker, _): kill_of(plan, checker).run()``."""

from __future__ import annotations

from dataclasses import replace

from crashmatrix.scenarios.campaign.plan import Plan
from crashmatrix.scenarios.campaign.workbench import workbench
from crashmatrix.scenarios.judging.checker import Checker
from crashmatrix.scenarios.kill.experiment import KILL, KillExperiment
from crashmatrix.scenarios.kill.plan import DEPTH_MAX
from crashmatrix.scenarios.power.experiment import POWER, PowerExperiment


def kill_of(plan: Plan, checker: Checker) -> KillExperiment:
    """The plan's kill experiment, not yet begun."""
    return KILL.experiment(checker, plan.experiment_options)


def run_kill(target: str, *, real_kills: int = 3, depth_max: int = DEPTH_MAX, **changes: object) -> KillExperiment:
    """Run a kill experiment on a target, with a plan's other fields as given.

    Real kills take most of the time, and have tests of their own; the others are content with few. So have crashes in recovery.
    """
    plan = Plan(target=target, **changes)  # type: ignore[arg-type]
    with workbench(plan) as (checker, _):
        experiment = kill_of(plan, checker)
        experiment.sample_min, experiment.depth_max = real_kills, depth_max
        experiment.run()
    return experiment


def power_of(
    plan: Plan, checker: Checker, *, until_broken: bool = False, keep_evidence: bool = True
) -> PowerExperiment:
    """The plan's power experiment, not yet begun."""
    options = replace(plan.experiment_options, until_broken=until_broken, keep_evidence=keep_evidence)
    return POWER.experiment(checker, options)
