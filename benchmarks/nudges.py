"""Counts the recordings of each kind of nudge that expose the bug that only this kind should expose.

    python -m benchmarks.nudges [RECORDINGS]

A row is a store that only one kind should expose, a column a kind of nudge, a cell the number of recordings that exposed it.
Needs root.
"""

import sys

from crashmatrix.scenarios.power.rounds import NUDGES
from tests.scenarios.nudge_systems import EXPOSED_BY, exposed


def main() -> None:
    seeds = range(int(sys.argv[1]) if len(sys.argv) > 1 else 3)
    print(f"{f'of {len(seeds)} recordings':<28}", *(f"{kind:>10}" for kind in NUDGES))
    for system in EXPOSED_BY.values():
        target = f"{system.__module__}:{system.__name__}"
        counts = [sum(bool(exposed(target, kind, seed)) for seed in seeds) for kind in NUDGES]
        print(f"{system.__name__:<28}", *(f"{count:>10}" for count in counts))
    counts = [sum("corrupt" in exposed("replace:none", kind, seed) for seed in seeds) for kind in NUDGES]
    print(f"{'replace:none, corrupt':<28}", *(f"{count:>10}" for count in counts))


if __name__ == "__main__":
    main()
