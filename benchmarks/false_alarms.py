"""Counts false alarms: a system that keeps its promises must never be reported as broken.

    python -m benchmarks.false_alarms [--seeds 20] [--budget 150] [TARGET ...]

Each target is run with each seed by every experiment that this machine can run. A row gives the verdicts and the number of
scenarios. A scenario that is not safe is printed with the command that runs it again, and ends in exit status 1. Needs root.
"""

import argparse
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from crashmatrix.reports import Verdict
from crashmatrix.scenarios.campaign.campaign import Campaign
from crashmatrix.scenarios.campaign.plan import Plan

SAFE = (
    *("reference", "sqlite:wal-full", "sqlite:wal-extra", "sqlite:delete-extra", "sqlite:truncate-extra"),
    *("sqlite:persist-extra", "lmdb:default", "replace:fsync-dir"),
)


def run(target: str, seed: int, budget: int) -> Campaign:
    with tempfile.TemporaryDirectory() as folder:
        campaign = Campaign(Plan(target=target, seed=seed, budget=budget, report=Path(folder) / "report"))
        campaign.run()
        return campaign


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("targets", nargs="*", default=SAFE)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--budget", type=int, default=150)
    options = parser.parse_args()
    alarms = 0
    for target in options.targets:
        start, scenarios, verdicts = time.perf_counter(), 0, Counter[Verdict]()
        for seed in range(options.seeds):
            campaign = run(target, seed, options.budget)
            verdicts[campaign.summary.verdict] += 1
            scenarios += len(campaign.results)
            if campaign.summary.verdict is not Verdict.SAFE:
                worst = next(result for result in campaign.results if result.verdict is campaign.summary.verdict)
                print(
                    f"  crashmatrix run {target} --seed {seed} --budget {options.budget}: {worst.id}: {worst.explanation}"
                )
        alarms += options.seeds - verdicts[Verdict.SAFE]
        found = ", ".join(f"{count} {verdict}" for verdict, count in verdicts.items())
        print(f"{target:<24}{found:<16}{scenarios:>8,} scenarios{time.perf_counter() - start:8.0f} s", flush=True)
    return 1 if alarms else 0


if __name__ == "__main__":
    sys.exit(main())
