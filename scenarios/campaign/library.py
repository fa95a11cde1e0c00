"""A run as a library call: ``crashmatrix.run(MyStore()).assert_safe()``."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from crashmatrix.scenarios.campaign.campaign import Campaign
from crashmatrix.scenarios.campaign.experiments import experiment_named
from crashmatrix.scenarios.campaign.outcome import Outcome
from crashmatrix.scenarios.campaign.plan import Plan
from crashmatrix.scenarios.experiment import Listener
from crashmatrix.scenarios.systems.loading import Target, load, whole_name
from crashmatrix.scenarios.target.contract import name_of
from crashmatrix.scenarios.target.system import SystemUnderTest

__all__ = ["outcome_of", "run"]


def run(
    system: SystemUnderTest | str,
    *,
    experiments: Iterable[str] = (),
    budget: int | None = None,
    seed: int = 0,
    filesystems: Iterable[str] = (),
    report: str | os.PathLike[str] = "crashmatrix-report",
    workers: int | None = None,
    listener: Listener | None = None,
) -> Outcome:
    """Crash a system everywhere, recover, and judge what came back, as ``crashmatrix run`` does.

    Args:
        system: an instance of a class at the top of a Python file, made with JSON values; or a target's name, as on the
            command line. Other processes make their own instance of it.
        experiments: which to run; empty for those that ``crashmatrix run`` runs by default. Those of them that this machine
            cannot run are in `Outcome.not_run`.
        budget: how far to go; each experiment has its default.
        seed: draws everything random.
        filesystems: on which the death of the machine is tried; empty for ext4, or posix where only that is possible.
        report: the directory for the report, written over if it is one.
        workers: how many crashes are judged at a time; None for one a processor.
        listener: hears of each stage and each result.

    Raises:
        UsageError: the system, or an argument, cannot be used.
        EnvironmentLacks: this machine cannot run an experiment that was named.
        crashmatrix.reports.ReportError: the report cannot be written.
    """
    target = Target(whole_name(system)) if isinstance(system, str) else Target.of(system)
    names, given = tuple(experiments), tuple(filesystems)
    for name in names:
        experiment_named(name)
    plan = Plan(
        target=target.name,
        options=target.options,
        experiments=names,
        or_alternative=not given,
        seed=seed,
        workers=workers or len(os.sched_getaffinity(0)),
        budget=budget,
        filesystems=given or Plan.filesystems,
        report=Path(report),
    )
    return outcome_of(plan, listener)


def outcome_of(plan: Plan, listener: Listener | None = None) -> Outcome:
    """Run a plan. Raises what `Campaign.run` does."""
    kind = load(plan.target)
    campaign = Campaign(plan, listener or Listener())
    campaign.run()
    contract = name_of(kind.contract)
    named = ":" in plan.target and plan.target.rpartition(":")[2] == kind.__name__
    return Outcome(kind.__name__ if named else plan.name, contract, campaign.summary, campaign.results, plan.report)
