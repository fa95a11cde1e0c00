"""The crashes that a kill experiment tries, and their names: pure functions of the profile, the budget and the seed.

A scenario is a path: where the workload is killed, then where its recovery is, then where the recovery of that is. Its id
reads ``kill:wal.append.before_sync@3+recovery.replay.before_batch@1``.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterable

from crashmatrix.scenarios.errors import UsageError
from crashmatrix.scenarios.judging.worker import Hit

__all__ = [
    "BUDGET",
    "DEPTH_MAX",
    "END",
    "RECOVERY_SHARE",
    "SAMPLE_MIN",
    "SAMPLE_SHARE",
    "CrashPath",
    "crash_fault",
    "parse_id",
    "scenario_id",
    "thin",
    "thin_states",
]

DEPTH_MAX = 2
"""How many crashes hit recovery: 2 is a crash in the recovery of a crashed recovery."""

BUDGET = 2000
"""Default number of workload hits at most; above it they are thinned."""

RECOVERY_SHARE = 0.05
"""How many distinct states to judge at each depth of crashes during recovery at most, as a share of the budget."""

SAMPLE_SHARE, SAMPLE_MIN = 0.005, 24
"""How many scenarios are killed for real: this share of all, and at least this many."""

END: Hit = ("workload.end", 1)
"""A crash right after the workload's last step."""

_STEP = re.compile(r"([^+].*?)@([0-9]{1,18})(?:\+|\Z)", re.DOTALL)
"""One crash of an id; a failpoint's name may itself hold a plus sign."""

CrashPath = tuple[Hit, ...]
"""The places of a scenario's crashes: in the workload, then in each recovery."""


def thin(hits: tuple[Hit, ...], budget: int, seed: int, boundaries: Iterable[str]) -> tuple[list[Hit], str]:
    """Choose at most about ``budget`` hits, in their order, and say by what rule (empty: all were kept).

    Always in: the first and last hit of each failpoint, and the hits next to one whose name begins with a boundary.
    The rest is drawn with the seed.
    """
    if len(hits) <= budget:
        return list(hits), ""
    keep: set[int] = set()
    places: dict[str, list[int]] = {}
    for place, (name, _) in enumerate(hits):
        places.setdefault(name, []).append(place)
        if any(name.startswith(boundary) for boundary in boundaries):
            keep.update((place - 1, place, place + 1))
    for found in places.values():
        keep.update((found[0], found[-1]))
    keep &= set(range(len(hits)))
    others = sorted(set(range(len(hits))) - keep)
    room = max(0, budget - len(keep))
    drawn = random.Random(f"{seed} thin").sample(others, min(room, len(others)))
    chosen = [hits[place] for place in sorted(keep | set(drawn))]
    near = f", those next to {', '.join(boundaries)}" if list(boundaries) else ""
    return chosen, (
        f"{len(hits):,} hits thinned to {len(chosen):,} (budget {budget:,}, seed {seed}): first and last of each "
        f"failpoint{near}, and {len(drawn):,} drawn"
    )


def thin_states(depth: int, states: dict[CrashPath, str], budget: int, seed: int) -> tuple[set[str], str]:
    """Choose which states that recovery passes through are judged, and say by what rule (empty: all are).

    Always in: the first state of each failpoint. The rest is drawn with the seed, up to `RECOVERY_SHARE` of the budget.

    Args:
        states: the digest of the state each path leads to, in order.

    Returns:
        The digests chosen, and the rule.
    """
    room = max(1, round(RECOVERY_SHARE * budget))
    distinct = list(dict.fromkeys(states.values()))
    if len(distinct) <= room:
        return set(distinct), ""
    keep = set({path[-1][0]: digest for path, digest in reversed(states.items())}.values())
    others = [digest for digest in distinct if digest not in keep]
    keep.update(random.Random(f"{seed} depth {depth}").sample(others, min(len(others), max(0, room - len(keep)))))
    return keep, (
        f"{depth} deep in recovery, {len(keep):,} of {len(distinct):,} distinct states were judged (seed {seed}): the first "
        f"of each failpoint, and others drawn; --budget sets how many"
    )


def scenario_id(path: CrashPath) -> str:
    """Return the id of a scenario: ``kill:point@hit``, one ``+point@hit`` more for each crash during recovery."""
    return "kill:" + "+".join(_at(hit) for hit in path)


def parse_id(text: str) -> CrashPath:
    """Read what `scenario_id` wrote. Raises UsageError."""
    kind, _, rest = text.partition(":")
    path: list[Hit] = []
    end = 0
    while step := _STEP.match(rest, end):
        path.append((step[1], int(step[2])))
        end = step.end()
    if kind != "kill" or not path or end < len(rest) or rest.endswith("+") or not all(number for _, number in path):
        raise UsageError(f"{text!r} is not a scenario id; ids read kill:FAILPOINT@HIT, see results.jsonl")
    return tuple(path)


def _at(hit: Hit) -> str:
    return f"{hit[0]}@{hit[1]}"


def crash_fault(hit: Hit) -> str:
    """Return the kill at a hit in the syntax of `faults`."""
    name, number = hit
    return f"{name}={number - 1}*off->kill" if number > 1 else f"{name}=kill"
