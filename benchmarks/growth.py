"""Memory, open files, loop devices, mounts and processes of a long campaign, as it goes on: none may grow.

    python -m benchmarks.growth [SECONDS] [TARGET]

The target is crashed with one seed after another in this process, as `crashmatrix soak` does, kill and power. After each seed it
prints what the process holds, and at its end how each grows with every 100,000 scenarios, from the second half of the seeds: what
is loaded and cached once does not count.
"""

import gc
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import astuple, dataclass, fields
from pathlib import Path

import psutil

from crashmatrix.scenarios.campaign.campaign import Campaign
from crashmatrix.scenarios.campaign.plan import Plan

TARGET = "sqlite:wal-full"
BUDGET = 60


@dataclass(frozen=True)
class Held:
    """Everything that is held after so many scenarios. Memory is that of this process and of its children, in MiB."""

    scenarios: int
    memory: float
    childrens: float
    files: int
    loops: int
    mounts: int
    children: int
    scratch: float


def held(scenarios: int) -> Held:
    gc.collect()
    me = psutil.Process()
    children = me.children(recursive=True)
    scratch = sum(
        path.stat().st_blocks * 512
        for top in ("/dev/shm", tempfile.gettempdir())
        for path in Path(top).glob("crashmatrix-*/**/*")
    )
    return Held(
        scenarios,
        me.memory_info().rss / 2**20,
        sum(child.memory_info().rss for child in children) / 2**20,
        me.num_fds(),
        sum((device / "loop" / "backing_file").exists() for device in Path("/sys/block").glob("loop*")),
        len(Path("/proc/self/mountinfo").read_text().splitlines()),
        len(children),
        scratch / 2**20,
    )


def slope(curve: Sequence[Held], name: str) -> float:
    """Growth with every 100,000 scenarios, over the second half of the curve."""
    half = curve[len(curve) // 2 :]
    if len(half) < 2:
        return 0.0
    line = statistics.linear_regression([each.scenarios for each in half], [getattr(each, name) for each in half])
    return line.slope * 100_000


def main(seconds: float = 280.0, target: str = TARGET) -> None:
    names = [field.name for field in fields(Held)]
    print("".join(f"{name:>12}" for name in names))
    curve: list[Held] = []
    end, scenarios, seed = time.monotonic() + seconds, 0, 0
    with tempfile.TemporaryDirectory() as folder:
        while time.monotonic() < end:
            campaign = Campaign(
                Plan(
                    target=target, seed=seed, budget=BUDGET, workers=os.cpu_count() or 2, report=Path(folder) / "report"
                )
            )
            campaign.run()
            seed, scenarios = seed + 1, scenarios + len(campaign.results)
            curve.append(held(scenarios))
            print(
                "".join(
                    f"{value:>12,.1f}" if isinstance(value, float) else f"{value:>12,}" for value in astuple(curve[-1])
                )
            )
            sys.stdout.flush()
    print(f"\n{seed} seeds; growth with every 100,000 scenarios, over the second half:")
    for name in names[1:]:
        print(f"  {name:<10} {slope(curve, name):+10.1f}")


if __name__ == "__main__":
    main(*(kind(text) for kind, text in zip((float, str), sys.argv[1:], strict=False)))
