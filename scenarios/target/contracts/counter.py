"""`counter`: sums. Each counter is what it was at first and every acknowledged amount, and any of the others.

An item is an amount that is added, a number, or ``[name, amount]`` where there are several counters. Recovery returns the total,
or ``[name, total]`` for each counter; one that does not come back is 0. Additions commute, so writers need no order.

Sums are exact. Beside floats, a total may be off by the rounding of float additions; one beyond the range of floats, by the
rounding to a whole number.
"""

from __future__ import annotations

import math
import sys
from collections import Counter as Count
from collections.abc import Sequence
from fractions import Fraction

from crashmatrix.reports import Verdict
from crashmatrix.scenarios.errors import UsageError
from crashmatrix.scenarios.target.contracts.base import Contract, Violation, some
from crashmatrix.scenarios.target.journal import Item, Promises, item_key

__all__ = ["Counter"]

_TOTALS_MAX = 100_000
_ROUNDING = 16 * 2**-52
"""For each number added: so little that the loss of an amount shows beside a large total."""

_FLOAT_MAX = int(sys.float_info.max)
_HALF = Fraction(1, 2)

Number = int | Fraction
"""An exact number. An int takes part in no rounding."""


class Counter(Contract):
    """Items are amounts added to a counter, or [name, amount]; recovery returns its total."""

    def check(self, promises: Promises, recovered: Sequence[Item]) -> list[Violation]:
        """Judge the guarantee itself."""
        named = [_named(item) for item in recovered]
        twice = [name for name, count in Count(name for name, _ in named).items() if count > 1]
        if twice:
            return [Violation(Verdict.DUPLICATE, f"came back more than once: counter {some(twice)}")]
        found, owed, open_amounts = dict(named), dict[str, Number](), dict[str, list[Number]]()
        slack = _slack(promises)
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
        judged = (
            _judge(
                name, owed.get(name, 0), open_amounts.get(name, []), found.get(name, 0), slack.get(name, Fraction(0))
            )
            for name in names
        )
        return [violation for violation in judged if violation]


def _named(item: Item) -> tuple[str, Number]:
    """Return the counter that an item is about, and its number. Raises UsageError."""
    name, amount = item if isinstance(item, list | tuple) and len(item) == 2 else (None, item)
    finite = isinstance(amount, int) or (isinstance(amount, float) and math.isfinite(amount))
    if isinstance(amount, bool) or not finite:
        raise UsageError(
            f"contract 'counter' needs items that are numbers, or [name, number], not {item_key(item)[:60]}"
        )
    return "" if name is None else item_key(name), Fraction(amount) if isinstance(amount, float) else amount


def _add(totals: dict[str, Number], name: str, amount: Number) -> None:
    totals[name] = totals.get(name, 0) + amount


def _slack(promises: Promises) -> dict[str, Fraction]:
    """Return how far the sum of each counter may be off by rounding, in whatever order its amounts were added.

    Amounts beyond the range of floats cannot have been added as floats.
    """
    amounts: dict[str, list[Number]] = {}
    for item in promises.attempted:
        name, amount = _named(item)
        if _size(amount) <= _FLOAT_MAX:
            amounts.setdefault(name, []).append(_size(amount))
    rounding = Fraction(_ROUNDING)
    return {
        name: rounding * len(each) * sum(each)
        for name, each in amounts.items()
        if any(isinstance(amount, Fraction) for amount in each)
    }


def _judge(name: str, owed: Number, others: list[Number], found: Number, slack: Fraction) -> Violation | None:
    low = owed + sum(amount for amount in others if amount < 0)
    high = owed + sum(amount for amount in others if amount > 0)
    counter = f"counter {name}" if name else "the counter"
    possible = f", and from {_text(low)} to {_text(high)} are possible" if low != high else ""
    what = f"{counter} came back as {_text(found)}; {_text(owed)} was acknowledged{possible}"
    if found < low and not _equal(found, low, slack):
        return Violation(Verdict.LOSES, what)
    if found > high and not _equal(found, high, slack):
        return Violation(Verdict.DUPLICATE, f"{what}: something was added twice, or never attempted")
    if any(_equal(found, total, slack) for total in _totals(owed, others)):
        return None
    return Violation(Verdict.CORRUPT, f"{what}, but no sum of the amounts makes it")


def _equal(one: Number, other: Number, slack: Fraction) -> bool:
    if isinstance(one, int) and isinstance(other, int):
        return one == other
    beyond = max(_size(one), _size(other)) > _FLOAT_MAX  # No float is so large: the nearest total is a whole number.
    return _size(one - other) <= (max(slack, _HALF) if beyond else slack)


def _size(number: Number) -> Number:
    return number if number >= 0 else -number


def _text(number: Number) -> str:
    if isinstance(number, int) or abs(number) > _FLOAT_MAX:
        return str(int(number))
    return str(float(number))


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
