"""`within`: values that come back within a bound of those stored, as from a store that compresses with losses.

Items are ``[key, value]``; numbers in a value, also within lists and tables, may differ by the bound, everything else must be
equal. Which values a key may have is up to the contract that it is laid over, `latest` or `exactly-once`.

A value that came back may be near several that were stored. For `latest`, one of them must be allowed. For `exactly-once`
values are matched with attempts: everything that came back needs an attempt of its own, and every acknowledged attempt something
that came back. If there is a matching for each of these, there is one for both (Mendelsohn and Dulmage).
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, Literal

from crashmatrix.reports import Verdict
from crashmatrix.scenarios.target.contracts.base import Contract, Violation
from crashmatrix.scenarios.target.contracts.history import Budget
from crashmatrix.scenarios.target.contracts.latest import GONE, Latest, write_of
from crashmatrix.scenarios.target.journal import Item, Promises, item_key

__all__ = ["Within"]

_STEPS = 4
"""Steps of a search that it takes to compare two values."""

_ANY_SLACK = 1e9
"""A value may be as far from the one stored as that is large: any two values may be of one."""

_REMEDY = "Store fewer values that are within the bound of each other under one key"


@dataclass(frozen=True)
class Within(Contract):
    """Same keys, values within a bound: ``absolute``, or ``relative`` to the value stored, or the larger if both are given."""

    absolute: float = 0.0
    relative: float = 0.0
    of: Literal["latest", "exactly-once"] = "latest"

    def check(self, promises: Promises, recovered: Sequence[Item]) -> list[Violation]:
        """Judge the guarantee itself."""
        for item in [*recovered, *promises.attempted]:
            write_of(item)
        if self.of == "latest":
            return [self._explained(one) for one in _Near(self._near).check(promises, recovered)]
        attempted = _by_key(promises.attempted)
        acknowledged, found = _by_key(promises.acknowledged), _by_key(recovered)
        budget = Budget(len(promises.attempted), remedy=_REMEDY)
        return [
            violation
            for key in dict.fromkeys([*attempted, *found])
            for violation in self._match(
                key, attempted.get(key, []), acknowledged.get(key, []), found.get(key, []), budget
            )
        ]

    def lasts(self, first: Sequence[Item], again: Sequence[Item]) -> bool:
        """Whether a second recovery returned the same keys, and values that may be of the same one stored: twice as far apart."""
        slack = 2 / (1 - self.relative) if self.relative < 1 else _ANY_SLACK
        budget = Budget(len(first), remedy=_REMEDY)

        def near(one: Item, other: Item) -> bool:
            return _close(one, other, lambda value: slack * self._bound(value))

        before, after = _by_key(first), _by_key(again)
        return all(
            len(before.get(key, ())) == len(after.get(key, ()))
            and not _unmatched([each[1:] for each in before[key]], [each[1:] for each in after[key]], near, budget)
            for key in {**before, **after}
        )

    def _near(self, found: Item, stored: Item) -> bool:
        return _close(found, stored, self._bound)

    def _pair(self, found: Item, stored: Item) -> bool:
        return len(found) == len(stored) and _close(found[1:], stored[1:], self._bound)

    def _bound(self, stored: float) -> float:
        return max(self.absolute, self.relative * abs(stored))

    def _explained(self, violation: Violation) -> Violation:
        if violation.verdict is not Verdict.CORRUPT:
            return violation
        return Violation(violation.verdict, f"{violation.explanation}, nor any value within {self._text()}")

    def _text(self) -> str:
        bounds = [f"{self.absolute:g}"] * (self.absolute > 0) + [f"{self.relative:g} of the value"] * (
            self.relative > 0
        )
        return " or ".join(bounds)

    def _match(
        self, key: str, attempted: list[Item], acknowledged: list[Item], found: list[Item], budget: Budget
    ) -> Iterable[Violation]:
        """Judge one key by `exactly-once`."""
        if lone := _unmatched(found, attempted, self._pair, budget):
            far = not any(self._pair(lone[0], each) for each in attempted)
            verdict = (Verdict.CORRUPT if attempted else Verdict.PHANTOM) if far else Verdict.DUPLICATE
            why = f"no value within {self._text()} was stored under it" if far else "more often than it was stored"
            came = item_key(lone[0][1]) if len(lone[0]) > 1 else "a key without a value"
            yield Violation(verdict, f"key {key} came back as {came}: {why}")
        elif lone := _unmatched(acknowledged, found, lambda stored, came: self._pair(came, stored), budget):
            yield Violation(Verdict.LOSES, f"acknowledged, but gone: {item_key(lone[0])}")


class _Near(Latest):
    """`latest`, where a value explains those near it."""

    def __init__(self, near: Callable[[Item, Item], bool]) -> None:
        self._near = near

    def explains(self, stored: str, found: str) -> bool:
        """Whether a value that was stored may come back like this; both are texts, or GONE."""
        if GONE in (stored, found):
            return super().explains(stored, found)
        return self._near(json.loads(found), json.loads(stored))


def _by_key(items: Iterable[Item]) -> dict[str, list[Item]]:
    groups: dict[str, list[Item]] = {}
    for item in items:
        groups.setdefault(_key(item), []).append(item)
    return groups


def _key(item: Item) -> str:
    return item_key(item[0])


def _close(found: Any, stored: Any, bound: Callable[[float], float]) -> bool:
    """Whether all is equal, but for numbers, which are within their bounds."""
    if _is_number(found) and _is_number(stored):
        return _is_near(found, stored, bound)
    if isinstance(found, list | tuple) and isinstance(stored, list | tuple):
        return len(found) == len(stored) and all(_close(*pair, bound) for pair in zip(found, stored, strict=True))
    if isinstance(found, dict) and isinstance(stored, dict):
        return found.keys() == stored.keys() and all(_close(found[key], stored[key], bound) for key in stored)
    return item_key(found) == item_key(stored)


def _is_near(found: float, stored: float, bound: Callable[[float], float]) -> bool:
    """Whether a number is within the bound: of an infinite one, or none, only itself; of an integer beyond floats likewise."""
    if found == stored or item_key(found) == item_key(stored):
        return True
    try:
        return math.isfinite(found) and math.isfinite(stored) and abs(found - stored) <= bound(stored)
    except OverflowError:
        return False


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _unmatched(left: list[Item], right: list[Item], near: Callable[[Item, Item], bool], budget: Budget) -> list[Item]:
    """Return the first item of the left that finds no partner of its own on the right; nothing if all do. Raises UsageError."""
    left, right = sorted(left, key=_order), sorted(right, key=_order)
    pairs = _Pairs(len(right))
    for at in range(len(left)):
        if not pairs.add(at, lambda one, other: near(left[one], right[other]), budget):
            return [left[at]]
    return []


class _Pairs:
    """A matching, which grows by one pair at a time: partners may change for it (Kuhn)."""

    def __init__(self, size: int) -> None:
        self._free = list(range(size))
        self._of_right: dict[int, int] = {}
        self._of_left: dict[int, int] = {}

    def add(self, first: int, near: Callable[[int, int], bool], budget: Budget) -> bool:
        """Find a partner for one more on the left; returns whether there is one. Raises UsageError."""
        wanted_by: dict[int, int] = {}
        waiting = [first]
        while waiting:
            one = waiting.pop()
            for other in chain(self._free, self._of_right):
                if other in wanted_by:
                    continue
                budget.spend(_STEPS)
                if not near(one, other):
                    continue
                wanted_by[other] = one
                if other not in self._of_right:
                    self._free.remove(other)
                    self._change(other, wanted_by)
                    return True
                waiting.append(self._of_right[other])
        return False

    def _change(self, free: int, wanted_by: dict[int, int]) -> None:
        """Pair a free one with whom it is wanted by; what that leaves goes to whom it is wanted by, and so on."""
        other: int | None = free
        while other is not None:
            one = wanted_by[other]
            self._of_right[other] = one
            left = self._of_left.get(one)
            self._of_left[one] = other
            other = left


def _order(item: Item) -> tuple[int, float, str]:
    """Let like numbers stand beside each other, so that partners are found soon."""
    value = item[-1]
    return (0, value, "") if _is_number(value) else (1, 0, item_key(item))
