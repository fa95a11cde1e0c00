"""`counter`: sums. Each counter is what it was at first and every acknowledged amount, and any of the others.

An item is an amount that is added, a number, or ``[name, amount]`` where there are several counters. Recovery returns the total,
or ``[name, total]`` for each counter; one that does not come back is 0. Additions commute, so writers need no order.
"""

from __future__ import annotations

import math
from collections import Counter as Count
from collections.abc import Sequence

from crashmatrix.reports import Verdict
from crashmatrix.scenarios.errors import UsageError
from crashmatrix.scenarios.target.contracts.base import Contract, Violation, some
from crashmatrix.scenarios.target.journal import Item, Promises, item_key

__all__ = ["Counter"]

_TOTALS_MAX = 100_000
_ROUNDING = 1e-9

Number = int | float


class Counter(Contract):
    """Items are amounts added to a counter, or [name, amount]; recovery returns its total."""

    @property
    def ordered(self) -> bool:
        """No: totals are a map."""
        return False

    def check(self, promises: Promises, recovered: Sequence[Item]) -> list[Violation]:
        """Judge the guarantee itself."""
        named = [_named(item) for item in recovered]
        twice = [name for name, count in Count(name for name, _ in named).items() if count > 1]
        if twice:
            return [Violation(Verdict.DUPLICATE, f"came back more than once: counter {some(twice)}")]
        found, owed, open_amounts = dict(named), dict[str, Number](), dict[str, list[Number]]()
        for item in promises.initial:
            _add(owed, *_named(item))
        for event in promises.events:
            name, amount = _named(event.item)
            open_amounts.setdefault(name, [])
            if event.kind == "attempt":
                open_amounts[name].append(amount)
            elif event.kind == "ack":
                open_amounts[name].remove(amount)
                _add(owed, name, amount)
        names = dict.fromkeys([*owed, *open_amounts, *found])
        judged = (_judge(name, owed.get(name, 0), open_amounts.get(name, []), found.get(name, 0)) for name in names)
        return [violation for violation in judged if violation]


def _named(item: Item) -> tuple[str, Number]:
    """Return the counter that an item is about, and its number. Raises UsageError."""
    name, amount = item if isinstance(item, list | tuple) and len(item) == 2 else (None, item)
    if isinstance(amount, bool) or not isinstance(amount, int | float) or not math.isfinite(amount):
        raise UsageError(
            f"contract 'counter' needs items that are numbers, or [name, number], not {item_key(item)[:60]}"
        )
    return "" if name is None else item_key(name), amount


def _add(totals: dict[str, Number], name: str, amount: Number) -> None:
    totals[name] = totals.get(name, 0) + amount


def _judge(name: str, owed: Number, others: list[Number], found: Number) -> Violation | None:
    low = owed + sum(amount for amount in others if amount < 0)
    high = owed + sum(amount for amount in others if amount > 0)
    counter = f"counter {name}" if name else "the counter"
    span = f"{owed} was acknowledged" + (f", and from {low} to {high} are possible" if low != high else "")
    what = f"{counter} came back as {found}; {span}"
    if found < low and not _equal(found, low):
        return Violation(Verdict.LOSES, what)
    if found > high and not _equal(found, high):
        return Violation(Verdict.DUPLICATE, f"{what}: something was added twice, or never attempted")
    if any(_equal(found, total) for total in _totals(owed, others)):
        return None
    return Violation(Verdict.CORRUPT, f"{what}, but no sum of the amounts makes it")


def _equal(one: Number, other: Number) -> bool:
    if isinstance(one, int) and isinstance(other, int):
        return one == other
    return math.isclose(one, other, rel_tol=_ROUNDING, abs_tol=_ROUNDING)


def _totals(owed: Number, others: list[Number]) -> set[Number]:
    """Return every total that is possible. Raises UsageError if there are too many."""
    totals = {owed}
    for amount in others:
        totals |= {total + amount for total in totals}
        if len(totals) > _TOTALS_MAX:
            raise UsageError(
                f"the check is too large: {len(others)} amounts that were not acknowledged allow more than {_TOTALS_MAX:,} "
                "totals. Add amounts that are alike, or acknowledge more of them"
            )
    return totals
