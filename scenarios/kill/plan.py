"""The crashes that a kill experiment tries, and their names: pure functions of the profile, the budget and the seed.

A scenario is a path: where the workload is killed, then where its recovery is, then where the recovery of that is. Its id
reads ``kill:wal.append.before_sync@3+recovery.replay.before_batch@1``. Behind ``workload.resumed@1`` stands where the process
is killed once more after it recovered and went on, or ``workload.end@1`` if it is not (`second_lives`).
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterable

from crashmatrix.scenarios.errors import UsageError
from crashmatrix.scenarios.judging.worker import Hit
from crashmatrix.scenarios.processes.calls.long_writes import CUT
from crashmatrix.scenarios.processes.calls.mapped_stores import MAPPED_STORE

__all__ = [
    "BUDGET",
    "DEPTH_MAX",
    "END",
    "FOLLOWED_MIN",
    "INSIDE_MIN",
    "INSIDE_SHARE",
    "RECOVERY_SHARE",
    "RESUMED",
    "SAMPLE_MIN",
    "SAMPLE_SHARE",
    "CrashPath",
    "choose",
    "crash_fault",
    "followed",
    "parse_id",
    "room",
    "scenario_id",
    "thin",
    "thin_states",
]

DEPTH_MAX = 2
"""How many crashes hit recovery: 2 is a crash in the recovery of a crashed recovery."""

BUDGET = 2000
"""Default number of workload hits at most; above it they are thinned."""

RECOVERY_SHARE = 0.03
"""How many distinct states to judge at each depth of crashes during recovery at most, as a share of the budget."""

FOLLOWED_MIN = 24
"""From how many distinct states recovery is followed, to crash it at its hits, even if the next level judges fewer."""

INSIDE_SHARE, INSIDE_MIN = 0.03, 8
"""How many hits inside long writes are tried, and how many stores: this share of all other hits, and at least so many."""

_INSIDE = {"hits inside long writes": CUT, "stores to mapped files": MAPPED_STORE}

SAMPLE_SHARE, SAMPLE_MIN = 0.005, 24
"""How many scenarios are killed for real: this share of all, and at least this many."""

END: Hit = ("workload.end", 1)
"""A crash right after the workload's last step."""

RESUMED: Hit = ("workload.resumed", 1)
"""No crash: recovery came to its end, and the system was resumed. The rest of a path happens in its second life."""

_STEP = re.compile(r"([^+].*?)@([0-9]{1,18})(?:\+|\Z)", re.DOTALL)
"""One crash of an id; a failpoint's name may itself hold a plus sign."""

CrashPath = tuple[Hit, ...]
"""The places of a scenario's crashes: in the workload, then in each recovery."""


def thin(hits: tuple[Hit, ...], budget: int, seed: int, boundaries: Iterable[str]) -> tuple[list[Hit], str]:
    """Choose at most about ``budget`` hits, in their order, and say by what rule (empty: all were kept).

    Always in: the first and last hit of each failpoint, and the hits next to one whose name begins with a boundary.
    The rest is drawn with the seed. Hits inside long writes and at stores are many and much alike: few are drawn before.
    """
    kept, rules = list(hits), list[str]()
    for what, of in _INSIDE.items():
        inside = [hit for hit in hits if hit[0].endswith(of)]
        chosen = _some(inside, sum(not hit[0].endswith(tuple(_INSIDE.values())) for hit in hits), f"{seed} {of}")
        if len(chosen) < len(inside):
            kept = [hit for hit in kept if hit in chosen or not hit[0].endswith(of)]
            rules.append(
                f"of {len(inside):,} {what}, the first, the last and {len(chosen) - 2} drawn are tried (seed {seed})"
            )
    kept, rule = _thin(kept, budget, seed, boundaries)
    return kept, "; ".join([*rules, *([rule] if rule else [])])


def _some(inside: list[Hit], others: int, seed: str) -> set[Hit]:
    """Choose a few of the hits inside writes or at stores; the first and the last are always in."""
    room = max(INSIDE_MIN, round(INSIDE_SHARE * others))
    if len(inside) <= room:
        return set(inside)
    return {inside[0], inside[-1], *random.Random(seed).sample(inside[1:-1], room - 2)}


def _thin(hits: list[Hit], budget: int, seed: int, boundaries: Iterable[str]) -> tuple[list[Hit], str]:
    if len(hits) <= budget:
        return hits, ""
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


def room(budget: int) -> int:
    """Return how many distinct states are judged at each depth of crashes during recovery at most."""
    return max(1, round(RECOVERY_SHARE * budget))


def thin_states(depth: int, states: dict[CrashPath, str], budget: int, seed: int) -> tuple[set[str], str]:
    """Choose which states that recovery passes through are judged, and say by what rule (empty: all are).

    Always in: the first state of each failpoint. The rest is drawn with the seed, up to `RECOVERY_SHARE` of the budget.

    Args:
        states: the digest of the state each path leads to, in order.

    Returns:
        The digests chosen, and the rule.
    """
    most = room(budget)
    distinct = list(dict.fromkeys(states.values()))
    if len(distinct) <= most:
        return set(distinct), ""
    keep = set({path[-1][0]: digest for path, digest in reversed(states.items())}.values())
    others = [digest for digest in distinct if digest not in keep]
    keep.update(random.Random(f"{seed} depth {depth}").sample(others, min(len(others), max(0, most - len(keep)))))
    in_a_row = f", {depth} in a row," if depth > 1 else ""
    return keep, (
        f"crashes during recovery{in_a_row} left {len(distinct):,} distinct states; {len(keep):,} of them were judged (seed "
        f"{seed}): the first of each failpoint, and others drawn; --budget sets how many"
    )


def followed(depth: int, states: dict[CrashPath, str], budget: int, seed: int) -> tuple[set[CrashPath], str]:
    """Choose the states whose recovery is followed, to crash it at its hits, and say by what rule (empty: all are).

    As many as the next level judges, and at least `FOLLOWED_MIN`: of each failpoint one, as far as there is room, then others.

    Args:
        states: the key of the state each path leads to, in order.

    Returns:
        A path to each state chosen, and the rule.
    """
    first = [*{key: path for path, key in reversed(states.items())}.values()][::-1]
    most = max(room(budget), FOLLOWED_MIN)
    if len(first) <= most:
        return set(first), ""
    chosen = choose({path: path[-1][0] for path in first}, most, f"{seed} followed {depth}")
    crashed = f"recovery was crashed {depth + 1} times in a row" if depth else "recovery was crashed"
    return set(chosen), (
        f"{crashed} from {len(chosen):,} of {len(first):,} distinct states (seed {seed}), and from others whose recovery passed "
        "failpoints not seen in these; --budget sets how many"
    )


def choose(kinds: dict[CrashPath, str], room: int, seed: str) -> list[CrashPath]:
    """Choose at most ``room`` paths, in a drawn order: of each kind the first one, as far as there is room, and drawn others.

    Args:
        kinds: what each path is an example of, such as the failpoint where it ends.
    """
    draw = random.Random(seed)
    first = [*{kind: path for path, kind in reversed(kinds.items())}.values()]
    others = [path for path in kinds if path not in {*first}]
    draw.shuffle(first)
    draw.shuffle(others)
    return [*first, *others][:room]


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
    at = [place for place, hit in enumerate(path) if hit == RESUMED]
    misplaced = at and at != [len(path) - 2]  # It happens once at most; exactly one crash, or the end, comes after it.
    if (
        kind != "kill" or not path or end < len(rest) or rest.endswith("+") or misplaced or at == [0]
        or not all(number for _, number in path)
    ):  # fmt: skip
        raise UsageError(f"{text!r} is not a scenario id; ids read kill:FAILPOINT@HIT, see results.jsonl")
    return tuple(path)


def _at(hit: Hit) -> str:
    return f"{hit[0]}@{hit[1]}"


def crash_fault(hit: Hit) -> str:
    """Return the kill at a hit in the syntax of `faults`."""
    name, number = hit
    return f"{name}={number - 1}*off->kill" if number > 1 else f"{name}=kill"
