"""The faults that an io-error experiment tries, and their names: pure functions of the calls made, the budget and the seed.

A scenario is a fault and an ending. Its id reads ``io-error:write@3~EIO~once~reopened``: the third write fails once, the
workload goes on to its own end, and the system is opened again.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterator, Sequence
from typing import Final, TypeVar

from crashmatrix.scenarios.errors import UsageError
from crashmatrix.scenarios.io_error.faults import ActionFault, Fault, PointFault, parse_fault
from crashmatrix.scenarios.io_error.messages import (
    CUT,
    CUT_LATER,
    KILLED,
    KILLED_LATER,
    REMOUNTED,
    REOPENED,
    RESUMED,
    UNCACHED,
    Place,
)
from crashmatrix.scenarios.processes.calls.call_faults import CLASSES, CallFault

__all__ = [
    "BUDGET",
    "ENDINGS",
    "NAME",
    "POINT_VARIANTS",
    "VARIANTS",
    "alike",
    "choose",
    "faults_at",
    "parse_id",
    "scenario_id",
    "thinned",
]

T = TypeVar("T")

NAME = "io-error"

BUDGET = 400
"""Default number of faults at most. A run of the workload may serve several; without ``--fs`` it has up to five endings."""

ENDINGS: Final = (KILLED, KILLED_LATER, REOPENED, UNCACHED, REMOUNTED, CUT, CUT_LATER, RESUMED)

_FULL = ("ENOSPC~once", "ENOSPC~on", "ENOSPC~until-freed", "EDQUOT~once", "EROFS~on")

VARIANTS: Final = {
    "open": ("EIO~once", "EIO~on", *_FULL, "EINTR~once"),
    "write": (
        "EIO~once", "EIO~twice", "EIO~and-next", "EIO~on", *_FULL, "EINTR~once", "short~once", "short+ENOSPC~once",
        "short+ENOSPC~and-next", "short+ENOSPC~until-freed", "short+EIO~once", "short+EIO~and-next",
    ),
    "fsync": ("EIO~once", "EIO~twice", "EIO~and-next", "EIO~on", "ENOSPC~once", "EDQUOT~once", "EROFS~on", "EINTR~once"),
    "rename": ("EIO~once", "EIO~on", "ENOSPC~once", "EDQUOT~once", "EROFS~on"),
    "link": ("EIO~once", "ENOSPC~once", "EDQUOT~once", "EROFS~on"),
    "unlink": ("EIO~once", "EIO~on", "EROFS~on"),
    "truncate": ("EIO~once", "EIO~on", "EROFS~on", "EINTR~once"),
    "allocate": ("EIO~once", *_FULL, "EINTR~once"),
    "mkdir": ("EIO~once", "ENOSPC~once", "ENOSPC~until-freed", "EDQUOT~once", "EROFS~on"),
    "rmdir": ("EIO~once", "EROFS~on"),
    "read": ("EIO~once", "EIO~twice", "EIO~on", "EINTR~once"),
}  # fmt: skip
"""The faults of each class of calls: those that POSIX or Linux lets it fail with, the simplest first."""

POINT_VARIANTS: Final = (("EIO", "once"), ("EIO", "on"), ("ENOSPC", "once"))
"""Errors that failpoints raise, and how often."""

_DIGITS = re.compile(r"\d+")
_STRUCTURE = ("open", "rename", "link", "unlink", "truncate", "allocate", "mkdir", "rmdir")


def faults_at(place: Place) -> Iterator[Fault]:
    """Yield every fault that a call, or a hit of a failpoint, can have."""
    made = place.made
    if made.calls not in VARIANTS and made.name != "failpoint":
        yield from (ActionFault(made.calls, made.number, made.name, times) for times in ("once", "on"))
        return
    if made.calls not in VARIANTS:
        yield from (PointFault(made.calls, made.number, *variant) for variant in POINT_VARIANTS)
        return
    for variant in VARIANTS[made.calls]:
        error, times = variant.split("~")
        if error.startswith("short") and not made.length:
            continue
        if made.calls == "open" and error in ("ENOSPC", "EDQUOT") and not made.creates:
            continue  # To open what is there takes no room.
        yield CallFault(made.calls, made.number, error, times)


def choose(places: Sequence[Place], budget: int, seed: int, *, plain: bool = False) -> tuple[list[Fault], str]:
    """Choose at most ``budget`` faults, in the order of calls, and say by what rule (empty: all).

    First the first and the last call of each class; then one call from each place of the program; then calls next to one that
    makes, renames or removes a file, as a rotation does; then others. A call that is not the first or last of its class has a
    drawn one of its plain errors first, so that more calls get one; the rarer errors come two ranks later, and with ``plain``
    not at all. Among equals it is drawn.
    """
    draw = random.Random(f"{seed} errors")
    ranked = [each for place, rank in zip(places, _ranks(places), strict=True) for each in _ranked(place, rank, draw)]
    faults = [(rank, fault) for rank, fault in ranked if not plain or _is_plain(fault)]
    if len(faults) <= budget:
        return [fault for _, fault in faults], ""
    return thinned(faults, budget, f"{seed} faults"), (
        f"{len(faults):,} faults thinned to {budget:,} (--budget, seed {seed}): at the first and the last call of each class, "
        "then at calls from different places of the program, then next to calls that make, rename or remove a file, then at "
        "others; one plain error of each call before its others, and its rarer ones last"
    )


def _ranked(place: Place, rank: int, draw: random.Random) -> Iterator[tuple[float, Fault]]:
    """Yield the faults of a call with their ranks: those of the first and last call of a class are alike."""
    faults = list(faults_at(place))
    first = draw.choice([fault for fault in faults if _is_plain(fault)] or faults)
    for fault in faults:
        later = 0.0 if rank == 0 or fault is first else 0.5 if _is_plain(fault) else 2.0
        yield rank + later, fault


def _is_plain(fault: Fault) -> bool:
    return fault.times == "once" and fault.error not in ("EDQUOT", "EINTR", "short+ENOSPC", "short+EIO")


def thinned(ranked: Sequence[tuple[float, T]], budget: int, seed: str) -> list[T]:
    """Return ``budget`` of these, in their order: those of a low rank, and drawn ones among equals."""
    draw = random.Random(seed)
    order = sorted(range(len(ranked)), key=lambda at: (ranked[at][0], draw.random()))
    return [ranked[at][1] for at in sorted(order[:budget])]


def _ranks(places: Sequence[Place]) -> list[int]:
    first = {place.made.calls: at for at, place in reversed([*enumerate(places)])}
    last = {place.made.calls: at for at, place in enumerate(places)}
    seen: set[tuple[str, ...]] = set()
    ranks = []
    for at, place in enumerate(places):
        key = (place.made.name, _DIGITS.sub("#", place.files), place.stack)
        near = any(other.made.calls in _STRUCTURE for other in places[max(0, at - 1) : at + 2])
        if at in (first[place.made.calls], last[place.made.calls]):
            ranks.append(0)
        else:
            ranks.append(1 if key not in seen else 2 if near else 3)
        seen.add(key)
    return ranks


def scenario_id(fault: Fault, ending: str) -> str:
    """Return the id of a scenario."""
    return f"{NAME}:{fault}~{ending}"


def parse_id(text: str) -> tuple[Fault, str]:
    """Read what `scenario_id` wrote. Raises UsageError."""
    kind, _, rest = text.partition(":")
    fault, _, ending = rest.rpartition("~")
    if kind != NAME or ending not in ENDINGS:
        raise UsageError(
            f"{text!r} is not a scenario id; ids read {NAME}:{next(iter(CLASSES))}@NUMBER~ERROR~TIMES~ENDING, see results.jsonl"
        )
    return parse_fault(fault), ending


def alike(faults: Sequence[Fault]) -> list[list[Fault]]:
    """Group the faults that begin with the same answer to the same call."""
    groups: dict[tuple[str, int, str], list[Fault]] = {}
    for fault in faults:
        groups.setdefault((fault.calls, fault.number, fault.error.partition("+")[0]), []).append(fault)
    return list(groups.values())
