"""Promises about items that are stored one by one: `exactly-once`, `at-least-once`, `at-most-once`.

Equal items are attempts of their own, and counted:

    attempt 7, ack 7, attempt 7, ack 7      two are owed
    attempt 7, fail 7, attempt 7, ack 7     one is owed, and two may come back

With ``retries``, an item says which request it is, and every attempt after the first is a retry of it. In both cases one is owed,
and one may come back. So it is across a crash: a retry of what recovery had returned adds nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from crashmatrix.reports import Verdict
from crashmatrix.scenarios.target.contracts.base import OfItems, Violation, some
from crashmatrix.scenarios.target.journal import Item, Promises, item_key

__all__ = ["AtLeastOnce", "AtMostOnce", "ExactlyOnce", "lost_items"]


class ExactlyOnce(OfItems):
    """Acknowledged ⊆ recovered ⊆ attempted, none more often than it was attempted."""

    def check(self, promises: Promises, recovered: Sequence[Item]) -> list[Violation]:
        """Judge the guarantee itself."""
        acknowledged = self._items(promises.acknowledged)
        owed, allowed = Counter(acknowledged), Counter(self._items(promises.attempted))
        found = Counter(map(item_key, recovered))
        violations = []
        if lost := owed - found:
            violations.append(lost_items(acknowledged, lost, found))
        if phantom := [key for key in found if key not in allowed]:
            violations.append(Violation(Verdict.PHANTOM, f"came back but was never attempted: {some(phantom)}"))
        if twice := [key for key in (found - allowed) if key in allowed]:
            more = "more than once, though its request was retried" if self.retries else "more often than it was stored"
            violations.append(Violation(Verdict.DUPLICATE, f"came back {more}: {some(twice)}"))
        return violations

    def _items(self, items: Iterable[Item]) -> list[str]:
        keys = map(item_key, items)
        return list(dict.fromkeys(keys) if self.retries else keys)


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


def lost_items(acknowledged: Sequence[str], lost: Counter[str], found: Counter[str]) -> Violation:
    """A hole if something acknowledged after the first lost item came back, else a loss of the tail.

    If an item was acknowledged several times and came back fewer times, the later acknowledgements count as lost.
    """
    left, gone, survivor = Counter(found), False, None
    for key in acknowledged:
        if left[key] == 0:
            gone = True
        elif gone:
            survivor = key
        left[key] -= left[key] > 0
    what = f"acknowledged, but gone: {some(list(lost))} (of {len(acknowledged)} acknowledged)"
    if survivor is None:
        return Violation(Verdict.LOSES, what)
    return Violation(Verdict.HOLE, f"{what}, though {survivor}, acknowledged later, came back")
