"""The cost of a disabled failpoint: the price of leaving failpoints in production code.

    python -m benchmarks.failpoint_cost

The variants run interleaved, round after round in one process, so that a change of the machine's clock speed meets
all of them alike. Printed are medians over the rounds, in nanoseconds for one call, with the loop's own cost (a loop
around `pass`, measured in the same rounds) taken off.
"""

import itertools
import statistics
import time
from collections.abc import Callable

from crashmatrix import faults

CALLS = 20_000
ROUNDS = 201

UNCONFIGURED = faults.declare("benchmark.unconfigured", "nothing is configured here")
OFF = faults.declare("benchmark.off", "configured to do nothing")


class Empty:
    __slots__ = ()

    def method(self) -> None:
        return None


def time_loop() -> int:
    start = time.perf_counter_ns()
    for _ in itertools.repeat(None, CALLS):
        pass
    return time.perf_counter_ns() - start


def time_empty_method(target: Empty) -> int:
    start = time.perf_counter_ns()
    for _ in itertools.repeat(None, CALLS):
        target.method()
    return time.perf_counter_ns() - start


def time_hit(point: faults.FailPoint) -> int:
    start = time.perf_counter_ns()
    for _ in itertools.repeat(None, CALLS):
        point.hit()
    return time.perf_counter_ns() - start


def ignore(_point: faults.FailPoint, _number: int) -> None:
    return None


def time_observed_hit() -> int:
    previous = faults.observe(ignore)
    try:
        return time_hit(UNCONFIGURED)
    finally:
        faults.observe(previous)


VARIANTS: dict[str, Callable[[], int]] = {
    "empty method": lambda: time_empty_method(Empty()),
    "hit(), nothing configured": lambda: time_hit(UNCONFIGURED),
    "hit(), observer installed": time_observed_hit,
    "hit(), configured off": lambda: time_hit(OFF),
}


def measure() -> dict[str, float]:
    """Median nanoseconds of one call, by variant."""
    samples: dict[str, list[float]] = {name: [] for name in VARIANTS}
    for _ in range(ROUNDS):
        loop = time_loop()
        for name, variant in VARIANTS.items():
            samples[name].append((variant() - loop) / CALLS)
    return {name: statistics.median(values) for name, values in samples.items()}


def main() -> None:
    with faults.scenario(f"{OFF.name}=off"):
        medians = measure()
    empty = medians["empty method"]
    print(f"{'':<28}{'ns a call':>10}{'x empty':>10}")
    for name, median in medians.items():
        print(f"{name:<28}{median:>10.1f}{median / empty:>10.2f}")


if __name__ == "__main__":
    main()
