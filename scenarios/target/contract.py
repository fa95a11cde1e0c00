"""Contracts: what recovery owes, given what was promised. Pure functions from promises and recovered items to violations.

Checks come in two layers, as in etcd's robustness tests: first the journal must make sense (an acknowledgement without an
attempt of its own says that the workload is wrong, not the system), then the guarantee is judged.

An item may be attempted more than once, as a retry does. An attempt that failed with an exception counts as in flight until
the end, whether the journal says that it failed or not: the item may be there, or not.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass

from crashmatrix.reports import Verdict
from crashmatrix.scenarios.errors import UsageError, claimed, text_of
from crashmatrix.scenarios.target.journal import Item, Promises, item_key

__all__ = [
    "Contract",
    "ExactlyOnce",
    "Latest",
    "Prefix",
    "Violation",
    "contract_named",
    "is_built_in",
    "is_ours",
    "judge_safely",
]

_SHOWN_MAX = 5
_OURS = f"{__name__.partition('.')[0]}."


@dataclass(frozen=True)
class Violation:
    """One broken promise. ``living``: the workload itself saw it, before any crash, and noted it in the journal."""

    verdict: Verdict
    explanation: str
    living: bool = False


class Contract(ABC):
    """The promise of a system. Subclass it to promise something else."""

    def judge(self, promises: Promises, recovered: Sequence[Item]) -> list[Violation]:
        """Return every violation; none means the promise was kept.

        Raises:
            UsageError: the journal or the recovered items make no sense; the verdict is then ``unknown``.
        """
        self.validate(promises)
        return self.check(promises, recovered)

    def validate(self, promises: Promises) -> None:
        """Refuse a journal that no correct workload writes: an attempt that ends twice, or one that never began."""
        open_attempts: Counter[str] = Counter()
        for event in promises.events:
            key = item_key(event.item)
            open_attempts[key] += 1 if event.kind == "attempt" else -1
            if open_attempts[key] < 0:
                done = "failed with" if event.kind == "fail" else "acknowledged"
                raise UsageError(f"the workload {done} {key} without attempting it, or twice; fix the workload")

    @abstractmethod
    def check(self, promises: Promises, recovered: Sequence[Item]) -> list[Violation]:
        """Judge the guarantee itself."""


class ExactlyOnce(Contract):
    """Acknowledged ⊆ recovered ⊆ attempted, none more often than it was attempted."""

    def check(self, promises: Promises, recovered: Sequence[Item]) -> list[Violation]:
        """Judge the guarantee itself."""
        owed = Counter(map(item_key, promises.acknowledged))
        allowed = Counter(map(item_key, promises.attempted))
        found = Counter(map(item_key, recovered))
        violations = []
        if lost := owed - found:
            violations.append(_loss(promises, lost, found))
        if phantom := [key for key in found if key not in allowed]:
            violations.append(Violation(Verdict.PHANTOM, f"came back but was never attempted: {_some(phantom)}"))
        if twice := [key for key in (found - allowed) if key in allowed]:
            violations.append(Violation(Verdict.DUPLICATE, f"came back more often than it was stored: {_some(twice)}"))
        return violations


class Prefix(Contract):
    """Recovered is a prefix of the attempted sequence and covers every acknowledged item. Failed attempts may be left out."""

    def check(self, promises: Promises, recovered: Sequence[Item]) -> list[Violation]:
        """Judge the guarantee itself."""
        attempted = [item_key(item) for item in promises.attempted]
        found = [item_key(item) for item in recovered]
        if not _is_prefix(found, _steps(promises)):
            return self._explain(promises, attempted, found)
        owed = Counter(map(item_key, promises.acknowledged)) - Counter(found)
        return [_loss(promises, owed, Counter(found))] if owed else []

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


class Latest(Contract):
    """Items are [key, value]: each key has its last acknowledged value, or one attempted after that.

    One writer at a time for each key: of two that overlap, the journal does not say which the system put last.
    """

    def check(self, promises: Promises, recovered: Sequence[Item]) -> list[Violation]:
        """Judge the guarantee itself."""
        found, violations = _as_map(recovered)
        history: dict[str, list[str]] = {}
        last: dict[str, int] = {}
        for kind, item in _timeline(promises):
            key, value = (item_key(part) for part in _pair(item))
            if kind == "attempt":
                history.setdefault(key, []).append(value)
            elif kind == "ack":
                last[key] = len(history[key]) - 1 - history[key][::-1].index(value)
        for key, values in history.items():
            violations += _judge_key(key, values, last.get(key), found.pop(key, None))
        violations += [Violation(Verdict.PHANTOM, f"key {key} came back but was never attempted") for key in found]
        return violations


def _judge_key(key: str, values: list[str], acknowledged: int | None, found: str | None) -> list[Violation]:
    allowed = values[acknowledged or 0 :]
    if found in allowed or (found is None and acknowledged is None):
        return []
    owed = values[acknowledged or 0]
    if found is None:
        return [Violation(Verdict.LOSES, f"key {key} is gone; {owed} was acknowledged")]
    if found in values:
        return [Violation(Verdict.LOSES, f"key {key} came back as {found}, though {owed} was acknowledged after it")]
    return [Violation(Verdict.CORRUPT, f"key {key} came back as {found}, which was never stored under it")]


_BUILT_IN: dict[str, Contract] = {"exactly-once": ExactlyOnce(), "prefix": Prefix(), "latest": Latest()}


def judge_safely(contract: Contract, promises: Promises, recovered: Sequence[Item]) -> Violation | None:
    """Return the worst violation, None if the promise was kept; a check that cannot be made is ``unknown``, never safe."""
    try:
        # A contract of a user may change what it is given.
        violations = contract.judge(promises, recovered if is_ours(contract) else deepcopy(list(recovered)))
        claims = _claims(violations)
    except UsageError as error:
        return Violation(Verdict.UNKNOWN, text_of(error))
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # An exit is a way to fail, too.
        return Violation(Verdict.UNKNOWN, f"the contract's check raised {type(error).__name__}: {text_of(error)}")
    order = list(Verdict)
    return max(claims, key=lambda violation: order.index(violation.verdict), default=None)


def _claims(violations: object) -> list[Violation]:
    """Return what a check returned as plain violations, none of them safe. Raises UsageError if they are something else."""
    if not isinstance(violations, list | tuple | Iterator):
        raise UsageError(f"the contract's check must return a list of Violation, not a {type(violations).__name__}")
    found = list(violations)
    for violation in found:
        if not isinstance(violation, Violation):
            raise UsageError(
                f"the contract's check must return a list of Violation, and one is a {type(violation).__name__}"
            )
    return [
        Violation(*claimed(violation.verdict, violation.explanation), living=violation.living is True)
        for violation in found
    ]


def contract_named(contract: str | Contract) -> Contract:
    """Return the contract a system names. Raises UsageError for an unknown name."""
    if isinstance(contract, Contract):
        return contract
    if not isinstance(contract, str) or contract not in _BUILT_IN:
        raise UsageError(f"no contract {contract!r}; use one of {', '.join(_BUILT_IN)}, or a crashmatrix.Contract")
    return _BUILT_IN[contract]


def is_built_in(contract: Contract) -> bool:
    """Whether it is one that has a name: for it, each item is stored once."""
    return any(contract is known for known in _BUILT_IN.values())


def is_ours(contract: Contract) -> bool:
    """Whether its check is part of crashmatrix, and needs no process of its own: it ends, and changes nothing it is given."""
    return type(contract).__module__.startswith(_OURS)


def _loss(promises: Promises, lost: Counter[str], found: Counter[str]) -> Violation:
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
    what = f"acknowledged, but gone: {_some(list(lost))} (of {len(order)} acknowledged)"
    if survivor is None:
        return Violation(Verdict.LOSES, what)
    return Violation(Verdict.HOLE, f"{what}, though {survivor}, acknowledged later, came back")


def _timeline(promises: Promises) -> Iterator[tuple[str, Item]]:
    for item in promises.initial:
        yield from (("attempt", item), ("ack", item))
    for event in promises.events:
        yield event.kind, event.item


def _pair(item: Item) -> tuple[Item, Item]:
    if not isinstance(item, list | tuple) or len(item) != 2:
        raise UsageError(f"contract 'latest' needs items [key, value], not {item_key(item)[:60]}")
    return item[0], item[1]


def _as_map(items: Sequence[Item]) -> tuple[dict[str, str], list[Violation]]:
    """Return the value of each key, and a violation for each key that has several."""
    pairs = [(item_key(key), item_key(value)) for key, value in map(_pair, items)]
    counts = Counter(key for key, _ in pairs)
    twice = [key for key, count in counts.items() if count > 1]
    violation = Violation(Verdict.DUPLICATE, f"key came back more than once: {_some(twice)}")
    return dict(pairs), [violation] if twice else []


def _some(keys: list[str]) -> str:
    more = f" and {len(keys) - _SHOWN_MAX} more" if len(keys) > _SHOWN_MAX else ""
    return ", ".join(keys[:_SHOWN_MAX]) + more
