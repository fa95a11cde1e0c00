"""One experiment on one target, as tests drive it: ``with workbench(plan) as (checker, _): kill_of(plan, checker).run()``."""

from __future__ import annotations

from crashmatrix.scenarios.campaign.plan import Plan
from crashmatrix.scenarios.judging.checker import Checker
from crashmatrix.scenarios.kill.experiment import KILL, KillExperiment
from crashmatrix.scenarios.power.experiment import POWER, PowerExperiment


def kill_of(plan: Plan, checker: Checker) -> KillExperiment:
    """The plan's kill experiment, not yet begun."""
    return KILL.experiment(checker, plan.experiment_options)


def power_of(plan: Plan, checker: Checker) -> PowerExperiment:
    """The plan's power experiment, not yet begun."""
    return POWER.experiment(checker, plan.experiment_options)
