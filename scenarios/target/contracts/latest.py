"""`latest`: a map. Each key has its last acknowledged value, or one attempted later; a deleted key is gone.

Items are ``[key, value]``, and ``[key]`` deletes the key. Recovery returns ``[key, value]`` for each key that is there.
``[key, null]`` stores null, or deletes the key: recovery may return the null, or leave the key out.

Keys are independent of each other: some order of all attempts explains a result if, for each key, some order of its own does.
A value is explained if its attempt can be the last of its key: no acknowledged attempt of the key began after it had ended. So
no search is needed, however many writers there are.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import ClassVar, Final

from crashmatrix.reports import Verdict
from crashmatrix.scenarios.errors import UsageError
from crashmatrix.scenarios.target.contracts.base import Contract, Violation, attempted_again, some
from crashmatrix.scenarios.target.contracts.history import Operation, operations
from crashmatrix.scenarios.target.journal import Item, Promises, item_key

__all__ = ["GONE", "Latest", "recovered_map", "write_of"]

GONE: Final = ""
"""In place of a value's text: the key is not there. No JSON text is empty."""

_NULL: Final = item_key(None)


class Latest(Contract):
    """Items are [key, value]: each key has its last acknowledged value, or one attempted after that.

    [key] and [key, null] delete it. If attempts overlap, either may be the last.
    """

    stored_once: ClassVar[bool] = True

    def check(self, promises: Promises, recovered: Sequence[Item]) -> list[Violation]:
        """Judge the guarantee itself."""
        found, violations = recovered_map(recovered)
        by_key: dict[str, list[Operation]] = {}
        attempts = operations(promises.initial, promises.events)  # A writer may give up one key and go on with another.
        for attempt in attempts:
            by_key.setdefault(write_of(attempt.item)[0], []).append(attempt)
        for key, own in by_key.items():
            violations += self._judge_key(key, own, found.pop(key, GONE))
        violations += [Violation(Verdict.PHANTOM, f"key {key} came back but was never attempted") for key in found]
        return violations

    def stored_again(self, promises: Promises) -> list[str]:
        """Return what was there already, if the second life attempted nothing else. To store a value again is right otherwise."""
        again = attempted_again(promises)
        return again if len(again) == sum(event.kind == "attempt" for event in promises.events) else []

    def explains(self, stored: str, found: str) -> bool:
        """Whether a value that was stored may come back like this; both are texts, or GONE."""
        return stored == found or (stored == _NULL and found == GONE)

    def _judge_key(self, key: str, attempts: list[Operation], found: str) -> list[Violation]:
        acknowledged = [each for each in attempts if each.acknowledged]
        newest = max(acknowledged, key=lambda each: each.start, default=None)
        writers = [each for each in attempts if self.explains(write_of(each.item)[1], found)]
        if any(newest is None or not each.precedes(newest) for each in writers) or (newest is None and found == GONE):
            return []
        owed = max(acknowledged, key=lambda each: each.end, default=attempts[0])
        value = write_of(owed.item)[1]
        if found == GONE:
            return [Violation(Verdict.LOSES, f"key {key} is gone; {value} was acknowledged")]
        if not writers:
            what = f"key {key} came back as {found}, which was never stored under it"
            return [Violation(Verdict.CORRUPT, what)]
        by = _overtaken(max(writers, key=lambda each: each.end), acknowledged) or owed
        later = write_of(by.item)[1]
        what = f"{later} was acknowledged after it" if later != GONE else "its deletion was acknowledged after that"
        return [Violation(Verdict.LOSES, f"key {key} came back as {found}, though {what}{_by(by)}")]


def _by(attempt: Operation) -> str:
    return f" (by {attempt.writer})" if attempt.writer else ""


def _overtaken(attempt: Operation, acknowledged: list[Operation]) -> Operation | None:
    """Return the last acknowledged attempt that every order has after this one."""
    later = [each for each in acknowledged if attempt.precedes(each)]
    return max(later, key=lambda each: each.end, default=None)


def write_of(item: Item) -> tuple[str, str]:
    """Return the key and the value that an item stores, as texts; GONE for a deletion. Raises UsageError."""
    if not isinstance(item, list | tuple) or len(item) not in (1, 2):
        raise UsageError(f"this contract needs items [key, value], or [key] to delete it, not {item_key(item)[:60]}")
    return item_key(item[0]), item_key(item[1]) if len(item) == 2 else GONE


def recovered_map(items: Sequence[Item]) -> tuple[dict[str, str], list[Violation]]:
    """Return the value of each key, and a violation for each key that has several. Raises UsageError."""
    pairs = [write_of(item) for item in items]
    if deletions := [item for item, (_, value) in zip(items, pairs, strict=True) if value == GONE]:
        raise UsageError(
            f"recovery must return items [key, value] with this contract, not {item_key(deletions[0])[:60]}"
        )
    counts = Counter(key for key, _ in pairs)
    twice = [key for key, count in counts.items() if count > 1]
    violation = Violation(Verdict.DUPLICATE, f"key came back more than once: {some(twice)}")
    return dict(pairs), [violation] if twice else []
