"""`prefix`: a log. Recovered is a prefix of the attempted sequence and covers every acknowledged item.

The order of attempts that overlap is open, whether they are of several writers or of one without a name for each of its threads:
recovered must be the beginning of some order of the attempts. An item is due before another only if its attempt had ended before
the other's began.

Items may be equal. Then each acknowledged attempt must be among those that came back, not only one that is equal to it. An
attempt that failed may have taken effect, and does not stand for its acknowledged repetition. But if a writer repeats an attempt
at once, and the first one has no end, the acknowledgement may be of either: a system may handle a repeated request once. With
``retries``, equal items are tries of one request (`history.requests`), and come back once.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise

from crashmatrix.reports import Verdict
from crashmatrix.scenarios.target.contracts.base import OfItems, Violation
from crashmatrix.scenarios.target.contracts.history import Budget, Operation, operations, requests
from crashmatrix.scenarios.target.contracts.items import ExactlyOnce, lost_items
from crashmatrix.scenarios.target.journal import Item, Promises, item_key

__all__ = ["Prefix"]


class Prefix(OfItems):
    """Recovered is a prefix of the attempted sequence and covers every acknowledged item. Failed attempts may be left out."""

    def lasts(self, first: Sequence[Item], again: Sequence[Item]) -> bool:
        """Whether a second recovery returned the same items in the same order."""
        return [*map(item_key, first)] == [*map(item_key, again)]

    def check(self, promises: Promises, recovered: Sequence[Item]) -> list[Violation]:
        """Judge the guarantee itself."""
        attempts = operations(promises.initial, promises.events)
        if self.retries:
            attempts = requests(attempts)
        writers = {event.writer for event in promises.events}
        if len(writers) > 1 or not all(one.precedes(other) for one, other in pairwise(attempts)):
            return self._check_writers(promises, attempts, recovered)
        found = [item_key(item) for item in recovered]
        length = _longest_beginning(found, attempts)
        if length is None:
            return self._explain(promises, [item_key(each.item) for each in attempts], found)
        acknowledged = [item_key(each.item) for each in attempts if each.acknowledged]
        if owed := Counter(acknowledged) - Counter(found):
            return [lost_items(acknowledged, owed, Counter(found))]
        return _lost_among_equals(frozenset(range(length)), attempts)

    def _explain(self, promises: Promises, attempted: list[str], found: list[str]) -> list[Violation]:
        violations = ExactlyOnce(self.retries).check(promises, [json.loads(key) for key in found])
        place = next(i for i, key in enumerate(found) if attempted[i : i + 1] != [key])
        due = attempted[place] if place < len(attempted) else "nothing more"
        same_items = Counter(found) == Counter(attempted[: len(found)])
        explanation = (
            f"no prefix of what was attempted: {found[place]} came back at place {place + 1}, where {due} is due"
        )
        return violations or [Violation(Verdict.REORDERED if same_items else Verdict.HOLE, explanation)]

    def _check_writers(
        self, promises: Promises, attempts: list[Operation], recovered: Sequence[Item]
    ) -> list[Violation]:
        """Judge a log whose attempts may overlap."""
        if violations := ExactlyOnce(self.retries).check(promises, recovered):
            return violations
        found = [item_key(item) for item in recovered]
        longest, endings = _longest(found, attempts, Budget(len(attempts)))
        if longest < len(found):
            explanation = (
                f"no order of the attempts begins like this: {found[longest]} came back at place {longest + 1}, though something "
                "that had ended before it began is missing before it"
            )
            return [Violation(Verdict.REORDERED if set(found) >= _sound(attempts) else Verdict.HOLE, explanation)]
        lost = [_lost_among_equals(taken, attempts) for taken in endings]
        return lost[0] if all(lost) else []


def _longest_beginning(found: list[str], attempts: list[Operation]) -> int | None:
    """Return how many of these attempts the items may be, at most, if some of those that failed are left out; None if none."""
    steps = [(item_key(each.item), each.failed) for each in attempts]
    places = _past_failures({0}, steps)
    for key in found:
        places = _past_failures({at + 1 for at in places if at < len(steps) and steps[at][0] == key}, steps)
    return max(places, default=None)


def _past_failures(places: set[int], steps: list[tuple[str, bool]]) -> set[int]:
    reached = set(places)
    for at in places:
        while at < len(steps) and steps[at][1]:
            at += 1
            reached.add(at)
    return reached


def _lost_among_equals(taken: frozenset[int], attempts: list[Operation]) -> list[Violation]:
    """Return a violation if an acknowledged attempt that has equals is not among those taken.

    An acknowledgement may be of any attempt of its run.
    """
    keys = [item_key(each.item) for each in attempts]
    counts, runs = Counter(keys), _runs(keys, attempts)
    there = {runs[at] for at in taken}
    for at, each in enumerate(attempts):
        if each.acknowledged and counts[keys[at]] > 1 and runs[at] not in there:
            what = f"acknowledged, but gone: {each.text}; what came back is an equal item of another attempt"
            return [Violation(Verdict.LOSES, what)]
    return []


def _runs(keys: list[str], attempts: list[Operation]) -> list[int]:
    """Return the number of each attempt's run: a writer's equal attempts in a row, of which only the last one has an end."""
    last: dict[str, int] = {}
    runs: list[int] = []
    for at, each in enumerate(attempts):
        before = last.get(each.writer, -1)
        goes_on = before >= 0 and keys[before] == keys[at] and not attempts[before].has_end
        runs.append(runs[before] if goes_on else at)
        last[each.writer] = at
    return runs


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
