"""`within`: values that come back within a bound of those stored, as from a store that compresses with losses.

Items are ``[key, value]``; numbers in a value, also within lists and tables, may differ by the bound, everything else must be
equal. Which values a key may have is up to the contract that it is laid over, `latest` or `exactly-once`.

A value that came back may be near several that were stored. For `latest` it is read as the newest of these: if any of them is
allowed, the newest is. For `exactly-once` values are matched with attempts: everything that came back needs an attempt of its
own, and every acknowledged attempt something that came back. If there is a matching for each of these, there is one for both
(Mendelsohn and Dulmage).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from crashmatrix.reports import Verdict
from crashmatrix.scenarios.target.contracts.base import Contract, Violation
from crashmatrix.scenarios.target.contracts.latest import Latest, write_of
from crashmatrix.scenarios.target.journal import Item, Promises, item_key

__all__ = ["Within"]


@dataclass(frozen=True)
class Within(Contract):
    """Same keys, values within a bound: ``absolute``, or ``relative`` to the value stored, or the larger if both are given."""

    absolute: float = 0.0
    relative: float = 0.0
    of: Literal["latest", "exactly-once"] = "latest"

    @property
    def ordered(self) -> bool:
        """As the contract that it is laid over."""
        return self.of != "latest"

    def check(self, promises: Promises, recovered: Sequence[Item]) -> list[Violation]:
        """Judge the guarantee itself."""
        for item in [*recovered, *promises.attempted]:
            write_of(item)
        if self.of == "latest":
            read = [self._newest(item, promises.attempted) for item in recovered]
            return [self._explained(one) for one in Latest().check(promises, read)]
        keys = dict.fromkeys(item_key(item[0]) for item in [*promises.attempted, *recovered])
        return [violation for key in keys for violation in self._match(key, promises, recovered)]

    def _newest(self, item: Item, attempted: Sequence[Item]) -> Item:
        near = (each for each in reversed(attempted) if _key(each) == _key(item) and self._near(item, each))
        return next(near, item)

    def _near(self, found: Item, stored: Item) -> bool:
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

    def _match(self, key: str, promises: Promises, recovered: Sequence[Item]) -> Iterable[Violation]:
        """Judge one key by `exactly-once`."""
        attempted = [item for item in promises.attempted if _key(item) == key]
        acknowledged = [item for item in promises.acknowledged if _key(item) == key]
        found = [item for item in recovered if _key(item) == key]
        if lone := _unmatched(found, attempted, self._near):
            far = not any(self._near(lone[0], each) for each in attempted)
            verdict = (Verdict.CORRUPT if attempted else Verdict.PHANTOM) if far else Verdict.DUPLICATE
            why = f"no value within {self._text()} was stored under it" if far else "more often than it was stored"
            yield Violation(verdict, f"key {key} came back as {item_key(lone[0][1])}: {why}")
        elif lone := _unmatched(acknowledged, found, lambda stored, came: self._near(came, stored)):
            yield Violation(Verdict.LOSES, f"acknowledged, but gone: {item_key(lone[0])}")


def _key(item: Item) -> str:
    return item_key(item[0])


def _close(found: Any, stored: Any, bound: Callable[[float], float]) -> bool:
    """Whether all is equal, but for numbers, which are within their bounds."""
    if _is_number(found) and _is_number(stored):
        return bool(found == stored or abs(found - stored) <= bound(stored))
    if isinstance(found, list | tuple) and isinstance(stored, list | tuple):
        return len(found) == len(stored) and all(_close(*pair, bound) for pair in zip(found, stored, strict=True))
    if isinstance(found, dict) and isinstance(stored, dict):
        return found.keys() == stored.keys() and all(_close(found[key], stored[key], bound) for key in stored)
    return item_key(found) == item_key(stored)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _unmatched(left: list[Item], right: list[Item], near: Callable[[Item, Item], bool]) -> list[Item]:
    """Return the first item of the left that finds no partner of its own on the right (Kuhn); nothing if all do."""
    partner: dict[int, int] = {}

    def find(at: int, tried: set[int]) -> bool:
        for other, item in enumerate(right):
            if other not in tried and near(left[at], item):
                tried.add(other)
                if other not in partner or find(partner[other], tried):
                    partner[other] = at
                    return True
        return False

    return next(([item] for at, item in enumerate(left) if not find(at, set())), [])
