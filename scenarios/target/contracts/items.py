"""Promises about items that are stored one by one: `exactly-once`, `at-least-once`, `at-most-once`, and those of queues."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from crashmatrix.reports import Verdict
from crashmatrix.scenarios.errors import UsageError
from crashmatrix.scenarios.target.contracts.base import Contract, Violation, some
from crashmatrix.scenarios.target.journal import Item, Promises, item_key

__all__ = ["AtLeastOnce", "AtMostOnce", "ExactlyOnce", "Queue", "lost_items"]


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


@dataclass(frozen=True)
class Queue(Contract):
    """A queue: items are ``["put", X]`` and ``["done", X]``, and recovery returns each X that is still to be consumed.

    - X is owed from the acknowledgement of its ``put``: also once a consumer has received it, until its ``done`` is attempted.
    - X must not come back once its ``done``, by which the consumer says that it is finished, was acknowledged.
    - In between it may come back or not.
    """

    lossy: bool = False
    """Whether items that are owed may be gone: at most once."""
    repeats: bool = False
    """Whether an item may come back more often than it was put: at least once."""

    def check(self, promises: Promises, recovered: Sequence[Item]) -> list[Violation]:
        """Judge the guarantee itself."""
        counts = _Counts.of(promises)
        found = Counter(map(item_key, recovered))
        owed = counts.put - counts.finishing
        allowed = counts.putting - counts.finished
        violations = []
        if not self.lossy and (lost := owed - found):
            violations.append(Violation(Verdict.LOSES, f"put and acknowledged, not done, but gone: {some([*lost])}"))
        if phantom := [key for key in found if key not in counts.putting]:
            violations.append(Violation(Verdict.PHANTOM, f"came back but was never put: {some(phantom)}"))
        known = [key for key in found if key in counts.putting]
        if again := [key for key in known if not allowed[key]]:
            done = f"came back though its done was acknowledged: {some(again)}"
            violations.append(Violation(Verdict.DUPLICATE, done))
        if twice := [key for key in known if found[key] > allowed[key] > 0 and not self.repeats]:
            violations.append(Violation(Verdict.DUPLICATE, f"came back more often than it was put: {some(twice)}"))
        return violations

    def lasts(self, first: Sequence[Item], again: Sequence[Item]) -> bool:
        """Whether a second recovery returned the same items, and as often unless that may vary."""
        return AtLeastOnce().lasts(first, again) if self.repeats else super().lasts(first, again)


@dataclass(frozen=True)
class _Counts:
    """How often each item was put and finished: acknowledged, and attempted at all."""

    put: Counter[str]
    putting: Counter[str]
    finished: Counter[str]
    finishing: Counter[str]

    @classmethod
    def of(cls, promises: Promises) -> _Counts:
        there = Counter(map(item_key, promises.initial))
        counts = cls(there, Counter(there), Counter(), Counter())
        for event in promises.events:
            what, key = _operation(event.item)
            if event.kind == "attempt":
                (counts.putting if what == "put" else counts.finishing)[key] += 1
            elif event.kind == "ack":
                (counts.put if what == "put" else counts.finished)[key] += 1
        return counts


def _operation(item: Item) -> tuple[str, str]:
    if not isinstance(item, list | tuple) or len(item) != 2 or item[0] not in ("put", "done"):
        raise UsageError(f'a queue needs items ["put", X] and ["done", X], not {item_key(item)[:60]}')
    return str(item[0]), item_key(item[1])


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
