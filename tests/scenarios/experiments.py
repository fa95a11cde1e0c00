"""A single experiment on a target, for tests: ``with workbench(plan) as (checker, _): kill_of(plan, checker).run()``."""

from __future__ import annotations

from dataclasses import replace

from crashmatrix.scenarios.campaign.plan import Plan
from crashmatrix.scenarios.judging.checker import Checker
from crashmatrix.scenarios.kill.experiment import KILL, KillExperiment
from crashmatrix.scenarios.power.experiment import POWER, PowerExperiment


def kill_of(plan: Plan, checker: Checker) -> KillExperiment:
    """The plan's kill experiment, not yet begun."""
    return KILL.experiment(checker, plan.experiment_options)


def power_of(
    plan: Plan, checker: Checker, *, until_broken: bool = False, keep_evidence: bool = True
) -> PowerExperiment:
    """The plan's power experiment, not yet begun."""
    options = replace(plan.experiment_options, until_broken=until_broken, keep_evidence=keep_evidence)
    return POWER.experiment(checker, options)
