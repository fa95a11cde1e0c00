"""The harness tried on bugs that are known to be there: each planted bug must be found, and the unbroken engine be safe."""

from __future__ import annotations

import time
from dataclasses import dataclass

from reports import ScenarioResult, Verdict, worst
from scenarios.campaign import Plan, experiment_of, workbench

__all__ = ["Hunt", "hunt"]


@dataclass(frozen=True)
class Hunt:
    """What became of one planted bug. ``found`` is the first scenario that broke a promise, None if none did.

    ``states`` counts the distinct crashed folders judged until then, ``confirmed`` says that a real SIGKILL agreed.
    """

    mutant: str
    found: ScenarioResult | None
    verdict: Verdict
    states: int
    seconds: float
    confirmed: bool


def hunt(mutant: str, *, seed: int = 0, workers: int = 2) -> Hunt:
    """Run the kill experiment on the reference engine with one bug planted, until a promise is broken.

    Args:
        mutant: a planted bug's name; empty for the unbroken engine, which is run to the end.

    Raises:
        UsageError: no such bug.
    """
    start = time.perf_counter()
    plan = Plan(mutant=mutant, seed=seed, workers=workers)
    with workbench(plan) as (checker, _):
        experiment = experiment_of(plan, checker)
        experiment.until_broken = bool(mutant)
        experiment.run()
    results = experiment.ordered()
    broken = [result for result in results if result.verdict.broken]
    return Hunt(
        mutant=mutant,
        found=broken[0] if broken else None,
        verdict=worst(result.verdict for result in results),
        states=experiment.details["distinct_states"],
        seconds=time.perf_counter() - start,
        confirmed=experiment.details["killed_for_real"] == experiment.details["agreed_with_photograph"],
    )
