"""The estimate of the time that a run takes still, a tenth into the run, beside what it then took. Right means: within 1.5.

    python -m benchmarks.time_left [TARGET=EXPERIMENTS=BUDGET ...]

The first tenth has to be enough for an estimate: of a run that has no estimate by then, the first one is taken, with its place.
"""

import os
import sys
import tempfile
import time
from pathlib import Path

from crashmatrix.scenarios.campaign.campaign import Campaign
from crashmatrix.scenarios.campaign.plan import Plan
from crashmatrix.scenarios.experiment import Listener

RUNS = ("replace:fsync-dir=kill=300", "sqlite:wal-full=power=600", "sqlite:wal-full=kill,power=300")


class Noting(Listener):
    """Notes each estimate, and when it was made."""

    def __init__(self) -> None:
        self.begun = time.monotonic()
        self.estimates: list[tuple[float, float]] = []

    def time_left(self, seconds: float, each: float = 0.0) -> None:
        del each
        self.estimates.append((time.monotonic() - self.begun, seconds))


def main(*runs: str) -> None:
    print(f"{'run':<34}{'took':>8}{'estimated at':>14}{'left':>8}{'was':>8}{'ratio':>7}   ratios at 20, 40, 60, 80 %")
    for run in runs or RUNS:
        target, experiments, budget = run.split("=")
        listener = Noting()
        with tempfile.TemporaryDirectory() as folder:
            plan = Plan(
                target=target, experiments=tuple(experiments.split(",")), budget=int(budget),
                workers=os.cpu_count() or 2, report=Path(folder) / "report",
            )  # fmt: skip
            Campaign(plan, listener).run()
        took = time.monotonic() - listener.begun
        ratios = []
        for part in (0.1, 0.2, 0.4, 0.6, 0.8):
            at, left = next(
                ((at, left) for at, left in listener.estimates if at >= part * took), listener.estimates[-1]
            )
            ratios.append((at, left, took - at, left / (took - at) if took > at else 1.0))
        at, left, was, ratio = ratios[0]
        others = "  ".join(f"{each[3]:.2f}" for each in ratios[1:])
        print(f"{run:<34}{took:>6.1f} s{at:>12.1f} s{left:>6.1f} s{was:>6.1f} s{ratio:>7.2f}   {others}", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
