"""`prefix`: a log. Recovered is a prefix of the attempted sequence and covers every acknowledged item.

With several writers, the order of attempts that overlap is open: recovered must be the beginning of some order of the attempts.
An item is due before another only if its attempt had ended before the other's began.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Sequence
from typing import ClassVar

from crashmatrix.reports import Verdict
from crashmatrix.scenarios.target.contracts.base import Contract, Violation
from crashmatrix.scenarios.target.contracts.history import Budget, Operation, operations
from crashmatrix.scenarios.target.contracts.items import ExactlyOnce, lost_items
from crashmatrix.scenarios.target.journal import Item, Promises, item_key

__all__ = ["Prefix"]


class Prefix(Contract):
    """Recovered is a prefix of the attempted sequence and covers every acknowledged item. Failed attempts may be left out."""

    stored_once: ClassVar[bool] = True

    def lasts(self, first: Sequence[Item], again: Sequence[Item]) -> bool:
        """Whether a second recovery returned the same items in the same order."""
        return [*map(item_key, first)] == [*map(item_key, again)]

    def check(self, promises: Promises, recovered: Sequence[Item]) -> list[Violation]:
        """Judge the guarantee itself."""
        if len({event.writer for event in promises.events}) > 1:
            return _check_writers(promises, recovered)
        attempted = [item_key(item) for item in promises.attempted]
        found = [item_key(item) for item in recovered]
        if not _is_prefix(found, _steps(promises)):
            return self._explain(promises, attempted, found)
        owed = Counter(map(item_key, promises.acknowledged)) - Counter(found)
        return [lost_items(promises, owed, Counter(found))] if owed else []

    def _explain(self, promises: Promises, attempted: list[str], found: list[str]) -> list[Violation]:
        violations = ExactlyOnce().check(promises, [json.loads(key) for key in found])
        place = next(i for i, key in enumerate(found) if attempted[i : i + 1] != [key])
        due = attempted[place] if place < len(attempted) else "nothing more"
        same_items = Counter(found) == Counter(attempted[: len(found)])
        explanation = (
            f"no prefix of what was attempted: {found[place]} came back at place {place + 1}, where {due} is due"
        )
        return violations or [Violation(Verdict.REORDERED if same_items else Verdict.HOLE, explanation)]


def _steps(promises: Promises) -> list[tuple[str, bool]]:
    """Return each attempt, in order: its item, and whether it failed."""
    steps = [(item_key(item), False) for item in promises.initial]
    open_at: dict[str, list[int]] = {}
    for event in promises.events:
        key = item_key(event.item)
        if event.kind == "attempt":
            open_at.setdefault(key, []).append(len(steps))
            steps.append((key, False))
        else:  # The latest of several open attempts, as retries without a failure in between are, ended.
            at = open_at[key].pop()
            steps[at] = key, event.kind == "fail"
    return steps


def _is_prefix(found: list[str], steps: list[tuple[str, bool]]) -> bool:
    """Whether items are the first of these attempts, if some of those that failed are left out."""
    places = _past_failures({0}, steps)
    for key in found:
        places = _past_failures({at + 1 for at in places if at < len(steps) and steps[at][0] == key}, steps)
    return bool(places)


def _past_failures(places: set[int], steps: list[tuple[str, bool]]) -> set[int]:
    reached = set(places)
    for at in places:
        while at < len(steps) and steps[at][1]:
            at += 1
            reached.add(at)
    return reached


def _check_writers(promises: Promises, recovered: Sequence[Item]) -> list[Violation]:
    """Judge a log of several writers."""
    if violations := ExactlyOnce().check(promises, recovered):
        return violations
    attempts = operations(promises.initial, promises.events)
    found = [item_key(item) for item in recovered]
    longest, endings = _longest(found, attempts, Budget(len(attempts)))
    if longest < len(found):
        explanation = (
            f"no order of the attempts begins like this: {found[longest]} came back at place {longest + 1}, though something "
            "that had ended before it began is missing before it"
        )
        return [Violation(Verdict.REORDERED if set(found) >= _sound(attempts) else Verdict.HOLE, explanation)]
    lost = [_lost_among_equals(taken, attempts) for taken in endings]
    if not all(lost):
        return []
    what = f"acknowledged, but gone: {lost[0]}; what came back is an equal item of another attempt"
    return [Violation(Verdict.LOSES, what)]


def _lost_among_equals(taken: frozenset[int], attempts: list[Operation]) -> str:
    """Return an acknowledged item that is not among these attempts, which have equals, and its writer; empty if there is none.

    If a writer attempted one item several times, an acknowledgement may be of any of these.
    """
    keys = Counter(item_key(each.item) for each in attempts)
    names = [(each.writer, item_key(each.item)) for each in attempts]
    owed = Counter(name for name, each in zip(names, attempts, strict=True) if each.acknowledged and keys[name[1]] > 1)
    gone = owed - Counter(names[at] for at in taken)
    return next((f"{key} (by {writer})" if writer else key for writer, key in gone), "")


def _sound(attempts: list[Operation]) -> set[str]:
    return {item_key(each.item) for each in attempts if not each.failed}


def _longest(found: list[str], attempts: list[Operation], budget: Budget) -> tuple[int, set[frozenset[int]]]:
    """Return how many of the items that came back some order of the attempts begins with, and what it may have taken by then.

    An attempt may come next if it had not ended before one that is there already began, and if no attempt that is not there yet
    had ended before it began. Items of one attempt leave no choice, so only attempts with equal items tell states apart.
    """
    by_key: dict[str, list[int]] = {}
    for at, each in enumerate(attempts):
        by_key.setdefault(item_key(each.item), []).append(at)
    alike = frozenset(at for group in by_key.values() if len(group) > 1 for at in group)
    due = _due(found, attempts, by_key)
    reached = {(frozenset[int](), -math.inf)}  # Those taken that have equals, and when the last of all taken began.
    for number, key in enumerate(found):
        following = set()
        for taken, begun in reached:
            budget.spend(1 + len(alike))
            others = min((attempts[at].end for at in alike - taken if not attempts[at].failed), default=math.inf)
            for at in by_key.get(key, ()):
                each = attempts[at]
                if at not in taken and each.end >= begun and each.start <= min(due[number], others):
                    following.add((taken | ({at} & alike), max(begun, each.start)))
        if not following:
            return number, set()
        reached = following
    return len(found), {taken for taken, _ in reached}


def _due(found: list[str], attempts: list[Operation], by_key: dict[str, list[int]]) -> list[float]:
    """Return, for each place, when the first attempt without equals that comes there or later, or is missing, ended."""
    alone = {key: attempts[group[0]] for key, group in by_key.items() if len(group) == 1}
    there = set(found)
    due = min((each.end for key, each in alone.items() if key not in there and not each.failed), default=math.inf)
    ends = []
    for key in reversed(found):
        if key in alone and not alone[key].failed:
            due = min(due, alone[key].end)
        ends.append(due)
    return ends[::-1]
