"""Promises about items that are stored one by one: `exactly-once`, `at-least-once`, `at-most-once`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import ClassVar

from crashmatrix.reports import Verdict
from crashmatrix.scenarios.target.contracts.base import Contract, Violation, some
from crashmatrix.scenarios.target.journal import Item, Promises, item_key

__all__ = ["AtLeastOnce", "AtMostOnce", "ExactlyOnce", "lost_items"]


class ExactlyOnce(Contract):
    """Acknowledged ⊆ recovered ⊆ attempted, none more often than it was attempted."""

    stored_once: ClassVar[bool] = True

    def check(self, promises: Promises, recovered: Sequence[Item]) -> list[Violation]:
        """Judge the guarantee itself."""
        owed = Counter(map(item_key, promises.acknowledged))
        allowed = Counter(map(item_key, promises.attempted))
        found = Counter(map(item_key, recovered))
        violations = []
        if lost := owed - found:
            violations.append(lost_items(promises, lost, found))
        if phantom := [key for key in found if key not in allowed]:
            violations.append(Violation(Verdict.PHANTOM, f"came back but was never attempted: {some(phantom)}"))
        if twice := [key for key in (found - allowed) if key in allowed]:
            violations.append(Violation(Verdict.DUPLICATE, f"came back more often than it was stored: {some(twice)}"))
        return violations


class AtLeastOnce(ExactlyOnce):
    """As `ExactlyOnce`, but an item may come back more often than it was attempted."""

    def check(self, promises: Promises, recovered: Sequence[Item]) -> list[Violation]:
        """Judge the guarantee itself."""
        return [one for one in super().check(promises, recovered) if one.verdict is not Verdict.DUPLICATE]

    def lasts(self, first: Sequence[Item], again: Sequence[Item]) -> bool:
        """Whether a second recovery returned the same items, however often each."""
        return {*map(item_key, first)} == {*map(item_key, again)}


class AtMostOnce(ExactlyOnce):
    """As `ExactlyOnce`, but acknowledged items may be gone."""

    def check(self, promises: Promises, recovered: Sequence[Item]) -> list[Violation]:
        """Judge the guarantee itself."""
        found = super().check(promises, recovered)
        return [one for one in found if one.verdict not in (Verdict.LOSES, Verdict.HOLE)]


def lost_items(promises: Promises, lost: Counter[str], found: Counter[str]) -> Violation:
    """A hole if something acknowledged after the first lost item came back, else a loss of the tail.

    If an item was acknowledged several times and came back fewer times, the later acknowledgements count as lost.
    """
    order = [item_key(item) for item in promises.acknowledged]
    left, gone, survivor = Counter(found), False, None
    for key in order:
        if left[key] == 0:
            gone = True
        elif gone:
            survivor = key
        left[key] -= left[key] > 0
    what = f"acknowledged, but gone: {some(list(lost))} (of {len(order)} acknowledged)"
    if survivor is None:
        return Violation(Verdict.LOSES, what)
    return Violation(Verdict.HOLE, f"{what}, though {survivor}, acknowledged later, came back")
