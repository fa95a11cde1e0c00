"""`transactions`: a map that is changed by transactions. Each took effect as a whole or not at all, in some order.

An item is a list of writes, ``[[key, value], [key], ...]``; ``[key]`` deletes. Recovery returns ``[key, value]`` for each key
that is there. The result is explained if there is an order

- of every acknowledged transaction, and of any of those that failed or were in flight,
- in which one that had ended before another began comes before it,
- after which each key has the value that came back.

A choice of the last writer of each key stands if its demands have no circle: all others of the key come before the last one, and
those that had ended come before those that began later. Only transactions that are the last of some key need be added to the
acknowledged ones: any other could be left out. A transaction cannot be the last of a key if an acknowledged one that began after
its end wrote the key, too. So most keys have one choice, and a search is needed only for keys that overlapping transactions, or
those in flight, gave the same value.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import islice

from crashmatrix.reports import Verdict
from crashmatrix.scenarios.errors import UsageError
from crashmatrix.scenarios.target.contracts.base import Contract, Violation, some
from crashmatrix.scenarios.target.contracts.history import Budget, Operation, operations
from crashmatrix.scenarios.target.contracts.latest import GONE, recovered_map, write_of
from crashmatrix.scenarios.target.journal import Item, Promises, item_key

__all__ = ["Transactions"]


class Transactions(Contract):
    """Items are lists of writes; all or nothing of each, in an order that respects acknowledgements."""

    def check(self, promises: Promises, recovered: Sequence[Item]) -> list[Violation]:
        """Judge the guarantee itself."""
        found, violations = recovered_map(recovered)
        given = _transactions(promises)
        stored = {(key, value) for each in given for key, value in each.writes.items()}
        keys = {key for key, _ in stored}
        if unknown := [key for key in found if key not in keys]:
            violations.append(Violation(Verdict.PHANTOM, f"came back but was never attempted: key {some(unknown)}"))
        values = {key: found.get(key, GONE) for key in sorted(keys)}
        if wrong := [key for key, value in values.items() if value != GONE and (key, value) not in stored]:
            what = "; ".join(f"key {key} came back as {values[key]}" for key in wrong[:3])
            return [*violations, Violation(Verdict.CORRUPT, f"{what}, which was never stored under it")]
        if violations or _explained(given, values, Budget(len(promises.attempted))):
            return violations
        return [_why(given, values, Budget(len(promises.attempted)))]


@dataclass(frozen=True, eq=False)
class _Transaction:
    """An attempt and its writes; the last write to a key counts."""

    attempt: Operation
    writes: dict[str, str]

    @property
    def owed(self) -> bool:
        return self.attempt.acknowledged


_Last = dict[str, _Transaction | None]
"""The last writer of keys; None if nobody wrote the key."""


def _transactions(promises: Promises) -> list[_Transaction]:
    initial: list[Item] = [[item] for item in promises.initial]
    return [_Transaction(each, _writes(each.item)) for each in operations(initial, promises.events)]


def _writes(item: Item) -> dict[str, str]:
    if not isinstance(item, list | tuple) or not all(isinstance(write, list | tuple) for write in item):
        raise UsageError(f"contract 'transactions' needs items that are lists of writes, not {item_key(item)[:60]}")
    return dict(map(write_of, item))


def _explained(given: list[_Transaction], values: dict[str, str], budget: Budget) -> bool:
    """Whether some order of the transactions leads to these values. Raises UsageError if the search is too large."""
    choices = _choices(given, values)
    settled: _Last = {key: writers[0] for key, writers in choices.items() if len(writers) == 1}
    several = sorted(
        ((key, writers) for key, writers in choices.items() if len(writers) > 1), key=lambda each: len(each[1])
    )
    if len(settled) + len(several) < len(values):
        return False
    owed = [each for each in given if each.owed]
    pending: list[list[_Transaction | None]] = [[]]
    while pending:
        chosen = pending.pop()
        last = settled | {key: writer for (key, _), writer in zip(several, chosen, strict=False)}
        taken = list(dict.fromkeys([*owed, *filter(None, last.values())]))
        budget.spend(sum(1 + len(each.writes) for each in taken))
        if not _is_sound(taken, last):
            continue
        if len(chosen) == len(several):
            return True
        pending += ([*chosen, writer] for writer in reversed(several[len(chosen)][1]))
    return False


def _choices(given: list[_Transaction], values: dict[str, str]) -> dict[str, list[_Transaction | None]]:
    """Return the transactions that can be the last of each key, and None if nobody need have written it."""
    owed_until: dict[str, float] = {}
    for each in given:
        if each.owed:
            owed_until |= {key: max(each.attempt.start, owed_until.get(key, -math.inf)) for key in each.writes}
    choices: dict[str, list[_Transaction | None]] = {
        key: [None] if value == GONE and key not in owed_until else [] for key, value in values.items()
    }
    for each in given:
        for key, value in each.writes.items():
            if values[key] == value and each.attempt.end >= owed_until.get(key, -math.inf):
                choices[key].append(each)
    return choices


def _is_sound(taken: list[_Transaction], last: _Last) -> bool:
    """Whether the demands on the order of these transactions have no circle: take those that may come next until none is left."""
    followers: dict[_Transaction, list[_Transaction]] = {each: [] for each in taken}
    waits = dict.fromkeys(taken, 0)
    for each in taken:
        for key in each.writes:
            writer = last.get(key, each)
            if writer is None:
                return False
            if writer is not each:
                followers[each].append(writer)
                waits[writer] += 1
    ends = sorted(taken, key=lambda each: each.attempt.end, reverse=True)
    to_begin = sorted(taken, key=lambda each: each.attempt.start, reverse=True)
    gone, free = set[_Transaction](), list[_Transaction]()
    while ends:
        while ends and ends[-1] in gone:
            ends.pop()
        while to_begin and to_begin[-1].attempt.start <= ends[-1].attempt.end:  # Nothing that is left precedes it.
            begun = to_begin.pop()
            waits[begun] -= 1  # -1: it waits for nothing.
            free += [begun] * (waits[begun] < 0)
        if not free:
            return not ends
        each = free.pop()
        gone.add(each)
        for follower in followers[each]:
            waits[follower] -= 1
            free += [follower] * (waits[follower] < 0)
    return True


def _why(given: list[_Transaction], values: dict[str, str], budget: Budget) -> Violation:
    """Say what no order explains: something acknowledged that is gone, or a transaction that is there in part."""
    try:
        if _explained([_optional(each) for each in given], values, budget):
            return _lost(given, values, budget)
        for at in range(len(given)):
            if not given[at].owed and _explained(_split(given, at), values, budget):
                return Violation(Verdict.CORRUPT, _in_part(given[at], values))
    except UsageError:  # It is broken, whatever the reason.
        pass
    for each in given:
        if each.owed and 0 < len(_kept(each, values)) < len(each.writes):
            return Violation(Verdict.CORRUPT, _in_part(each, values))
    return Violation(Verdict.CORRUPT, f"no order of the {len(given)} transactions leads to what came back")


def _lost(given: list[_Transaction], values: dict[str, str], budget: Budget) -> Violation:
    """Name the transactions that cannot have taken effect, or the one without which all is explained."""
    owed = [each for each in given if each.owed]
    until = dict.fromkeys(values, -math.inf)
    for each in given:
        until |= {key: max(until[key], each.attempt.end) for key in _kept(each, values)}
    gone = [each for each in owed if any(until[key] < each.attempt.start for key in each.writes)]
    if not gone:
        without = (
            one
            for one in owed
            if _explained([each if each is not one else _optional(one) for each in given], values, budget)
        )
        gone = [*islice(without, 1)]
    if not gone:
        return Violation(Verdict.LOSES, "acknowledged transactions are gone, or came back in a wrong order")
    names = some([each.attempt.text for each in gone])
    return Violation(Verdict.LOSES, f"acknowledged, but gone: {names} (of {len(owed)} acknowledged)")


def _optional(each: _Transaction) -> _Transaction:
    return replace(each, attempt=replace(each.attempt, acknowledged=False))


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
