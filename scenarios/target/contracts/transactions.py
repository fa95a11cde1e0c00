"""`transactions`: a map that is changed by transactions. Each took effect as a whole or not at all, in some order.

An item is a list of writes, ``[[key, value], [key], ...]``; ``[key]`` deletes. Recovery returns ``[key, value]`` for each key
that is there. The result is explained if there is an order

- of every acknowledged transaction, and of any of those that failed or were in flight,
- in which one that had ended before another began comes before it,
- after which each key has the value that came back.

The search chooses, key by key, the transaction that wrote the key last. All others of the key come before it. A choice stands if
these demands and those of time have no circle. Only transactions that are the last of some key need be added to the acknowledged
ones: any other could be left out. If each value is stored once, there is one choice for each key.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import cast

from crashmatrix.reports import Verdict
from crashmatrix.scenarios.errors import UsageError
from crashmatrix.scenarios.target.contracts.base import Contract, Violation, some
from crashmatrix.scenarios.target.contracts.history import Budget, Operation, operations
from crashmatrix.scenarios.target.contracts.latest import GONE, recovered_map, write_of
from crashmatrix.scenarios.target.journal import Item, Promises, item_key

__all__ = ["Transactions"]


class Transactions(Contract):
    """Items are lists of writes; all or nothing of each, in an order that respects acknowledgements."""

    @property
    def ordered(self) -> bool:
        """No: it is a map."""
        return False

    def check(self, promises: Promises, recovered: Sequence[Item]) -> list[Violation]:
        """Judge the guarantee itself."""
        found, violations = recovered_map(recovered)
        given = _transactions(promises)
        stored = {key for each in given for key in each.writes}
        unknown = [key for key in found if key not in stored]
        if unknown:
            violations.append(Violation(Verdict.PHANTOM, f"came back but was never attempted: key {some(unknown)}"))
        values = {key: found.get(key, GONE) for key in sorted(stored)}
        if wrong := [key for key, value in values.items() if value != GONE and not _writers(given, key, value)]:
            what = "; ".join(f"key {key} came back as {values[key]}" for key in wrong[:3])
            return [*violations, Violation(Verdict.CORRUPT, f"{what}, which was never stored under it")]
        budget = Budget(len(promises.attempted))
        if violations or _explained(given, values, budget):
            return violations
        try:
            return [_why(given, values, budget)]
        except UsageError:  # It is broken, whatever the reason.
            return [_unexplained(given)]


@dataclass(frozen=True)
class _Transaction:
    """An attempt and its writes; the last write to a key counts."""

    attempt: Operation
    writes: dict[str, str]

    @property
    def owed(self) -> bool:
        return self.attempt.acknowledged


def _transactions(promises: Promises) -> list[_Transaction]:
    initial: list[Item] = [[item] for item in promises.initial]
    return [_Transaction(each, _writes(each.item)) for each in operations(initial, promises.events)]


def _writes(item: Item) -> dict[str, str]:
    if not isinstance(item, list | tuple) or not all(isinstance(write, list | tuple) for write in item):
        raise UsageError(f"contract 'transactions' needs items that are lists of writes, not {item_key(item)[:60]}")
    return dict(map(write_of, item))


def _writers(given: list[_Transaction], key: str, value: str) -> list[_Transaction]:
    return [each for each in given if each.writes.get(key) == value]


def _explained(given: list[_Transaction], values: dict[str, str], budget: Budget) -> bool:
    """Whether some order of the transactions leads to these values. Raises UsageError if the search is too large."""
    choices: list[tuple[str, list[_Transaction | None]]] = []
    for key, value in values.items():
        writers = cast("list[_Transaction | None]", _writers(given, key, value))
        if value == GONE and not any(each.owed for each in given if key in each.writes):
            writers = [None, *writers]
        choices.append((key, writers))
    choices.sort(key=lambda choice: len(choice[1]))
    return _choose(choices, {}, [each for each in given if each.owed], budget)


def _choose(
    choices: list[tuple[str, list[_Transaction | None]]],
    last: dict[str, _Transaction | None],
    taken: list[_Transaction],
    budget: Budget,
) -> bool:
    """Choose the last writers of the keys that are left; ``taken`` are the transactions that took effect."""
    budget.spend(len(taken) ** 2)
    alone = len(choices) > len(last) and len(choices[len(last)][1]) == 1
    if not alone and not _is_sound(taken, last):  # Keys of one choice each are settled together.
        return False
    if len(last) == len(choices):
        return True
    key, writers = choices[len(last)]
    for writer in writers:
        more = [writer] if writer is not None and not any(writer is each for each in taken) else []
        if _choose(choices, {**last, key: writer}, [*taken, *more], budget):
            return True
    return False


def _is_sound(taken: list[_Transaction], last: dict[str, _Transaction | None]) -> bool:
    """Whether the demands on the order of these transactions have no circle."""
    left = list(taken)
    if any(writer is None and any(key in each.writes for each in left) for key, writer in last.items()):
        return False
    while left:
        free = [each for each in left if not any(_before(other, each, last) for other in left if other is not each)]
        if not free:
            return False
        left = [each for each in left if not any(each is one for one in free)]
    return True


def _before(one: _Transaction, other: _Transaction, last: dict[str, _Transaction | None]) -> bool:
    if one.attempt.precedes(other.attempt):
        return True
    return any(key in one.writes and last.get(key) is other for key in other.writes)


def _why(given: list[_Transaction], values: dict[str, str], budget: Budget) -> Violation:
    """Say what no order explains: something acknowledged that is gone, or a transaction that is there in part."""
    owed = [each for each in given if each.owed]
    optional = [replace(each, attempt=replace(each.attempt, acknowledged=False)) for each in given]
    for at, each in enumerate(given):
        if each.owed and _explained([*given[:at], optional[at], *given[at + 1 :]], values, budget):
            what = f"acknowledged, but gone: {each.attempt.text} (of {len(owed)} acknowledged)"
            return Violation(Verdict.LOSES, what)
    if _explained(optional, values, budget):
        there = {
            item_key(each.attempt.item) for each in given for key in each.writes if each.writes[key] == values[key]
        }
        gone = [each.attempt.text for each in owed if item_key(each.attempt.item) not in there]
        what = f"acknowledged, but gone: {some(gone)} (of {len(owed)} acknowledged)"
        return Violation(
            Verdict.LOSES, what if gone else "acknowledged transactions are gone, or came back in a wrong order"
        )
    for at in range(len(given)):
        if not given[at].owed and _explained(_split(given, at), values, budget):
            return Violation(Verdict.CORRUPT, _in_part(given[at], values))
    for each in owed:
        if 0 < len(_kept(each, values)) < len(each.writes):
            return Violation(Verdict.CORRUPT, _in_part(each, values))
    return _unexplained(given)


def _unexplained(given: list[_Transaction]) -> Violation:
    return Violation(Verdict.CORRUPT, f"no order of the {len(given)} transactions leads to what came back")


def _split(given: list[_Transaction], at: int) -> list[_Transaction]:
    """Take one transaction apart into its writes, each of which may have taken effect."""
    whole = given[at]
    parts = [_Transaction(whole.attempt, {key: value}) for key, value in whole.writes.items()]
    return [*given[:at], *parts, *given[at + 1 :]]


def _kept(each: _Transaction, values: dict[str, str]) -> list[str]:
    return [key for key, value in each.writes.items() if values[key] == value]


def _in_part(each: _Transaction, values: dict[str, str]) -> str:
    kept = _kept(each, values)
    gone = [key for key in each.writes if key not in kept]
    shown = ", ".join(f"key {key} is {'gone' if values[key] == GONE else values[key]}" for key in gone[:3])
    return f"transaction {each.attempt.text} is there in part: it has written key {some(kept)}, but {shown}"
