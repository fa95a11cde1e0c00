"""The contract of the reference workload: which tables, with which batches, recovery may find.

Items are operations: ``["create", TABLE]``, ``["ingest", TABLE, NUMBER]``, ``["truncate", TABLE]``, ``["drop", TABLE]``,
``["transfer", TABLE, NUMBER]``. Recovery returns the tables and batches that are there, and ``["received", TABLE, NUMBER]``
for a batch that was moved; in a second life these are what it owes from the start.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import reduce

from crashmatrix.reports import Verdict
from crashmatrix.scenarios.errors import UsageError
from crashmatrix.scenarios.systems.reference.notes import claims_of, noted
from crashmatrix.scenarios.systems.reference.operations import ARCHIVE
from crashmatrix.scenarios.target.contract import Contract, ExactlyOnce, Violation
from crashmatrix.scenarios.target.journal import Item, Promises

__all__ = ["LogContract", "Outcome", "TableContract", "outcomes"]

Outcome = dict[str, list[Item]]
"""A possible state: each table that exists, with the items of its batches, and what was moved out under ``archive/``."""


_ON_A_TABLE = ("ingest", "truncate", "transfer", "switch")
"""Operations on a table, which must be there. A drop of one that is not there changes nothing."""


@dataclass
class _Waiting:
    """An operation that was attempted and not acknowledged so far."""

    item: Item
    failed: bool = False


def outcomes(promises: Promises, apply: Callable[[Outcome, Item], Outcome] | None = None) -> list[Outcome]:
    """Return what recovery may find: everything acknowledged, and of what is in flight on each table the first so many.

    An acknowledgement settles every earlier attempt on its table: without a log, a truncation takes batches
    with it that no flush had acknowledged. One that has failed took effect or it did not, whatever came after it. A failure of
    one that was settled changes nothing: after a kill it is noted for each attempt that has no end of its own.

    Args:
        apply: returns the state after an operation; None for the operations above.

    Raises:
        UsageError: the journal cannot be right.
    """
    apply = apply or _apply
    found = [reduce(apply, promises.initial, Outcome())]
    in_flight: dict[str, list[_Waiting]] = {}
    settled: list[Item] = []
    for event in promises.events:
        if noted(event.item):
            continue
        waiting = in_flight.setdefault(event.item[1], [])
        if event.kind == "attempt":
            waiting.append(_Waiting(event.item))
            continue
        place = _newest(waiting, event.item)
        if place is None:
            if event.kind == "fail" and event.item in settled:
                continue
            raise UsageError(f"the journal says that {event.item} ended, which was not attempted")
        if event.kind == "fail":
            waiting[place].failed = True
            continue
        for one in waiting[:place]:
            if one.failed:
                found = _distinct([*found, *_step(apply, found, one.item)])
        found = _step(apply, found, event.item)
        settled += [one.item for one in waiting[:place] if not one.failed]
        del waiting[: place + 1]
    for waiting in in_flight.values():
        found = _after(apply, found, waiting)
    if not found:
        raise UsageError("the journal acknowledges an operation on a table that nobody had made")
    return found


def _newest(waiting: list[_Waiting], item: Item) -> int | None:
    """The place of the newest attempt of an item that has not ended. A caller tries again once an attempt has failed."""
    places = reversed(range(len(waiting)))
    return next((place for place in places if waiting[place].item == item and not waiting[place].failed), None)


def _step(apply: Callable[[Outcome, Item], Outcome], states: list[Outcome], item: Item) -> list[Outcome]:
    """Return the states after an operation that took effect; those in which its table is not there are left out."""
    return [apply(state, item) for state in states if _can_have_effect(item, state)]


def _can_have_effect(item: Item, state: Outcome) -> bool:
    return item[0] not in _ON_A_TABLE or item[1] in state


def _after(apply: Callable[[Outcome, Item], Outcome], states: list[Outcome], waiting: list[_Waiting]) -> list[Outcome]:
    """Return the states in which the first so many took effect; of those that failed, any."""
    found = list[Outcome]()
    for one in waiting:
        found += states
        took_effect = _step(apply, states, one.item)
        # On a table that is not there it had no effect, and what comes after it may have one all the same.
        without = [state for state in states if one.failed or not _can_have_effect(one.item, state)]
        states = _distinct([*without, *took_effect])
    return _distinct([*found, *states])


def _distinct(states: list[Outcome]) -> list[Outcome]:
    return [state for place, state in enumerate(states) if state not in states[:place]]


def _apply(state: Outcome, item: Item) -> Outcome:
    kind, table = item[0], item[1]
    if kind == "ingest":
        return {**state, table: [*state[table], item]}
    if kind == "drop":
        return {name: items for name, items in state.items() if name != table}
    if kind == "received":  # Only there from the start of a second life.
        place = f"{ARCHIVE}/{table}"
        return {**state, place: [*state.get(place, []), item]}
    if kind == "transfer":
        moved = [["received", *moved[1:]] for moved in state[table]]
        place = f"{ARCHIVE}/{table}"
        return {**state, table: [], place: [*state.get(place, []), *moved]}
    return {**state, table: []}  # created or truncated


def _items(outcome: Outcome) -> list[Item]:
    return [item for name in sorted(outcome) for item in (*_created(name), *outcome[name])]


def _created(name: str) -> list[Item]:
    return [] if name.startswith(ARCHIVE) else [["create", name]]


class TableContract(Contract):
    """Exactly the acknowledged operations took effect, in order, and perhaps the one in flight, wholly."""

    def check(self, promises: Promises, recovered: Sequence[Item]) -> list[Violation]:
        """Judge the guarantee itself, and what the workload saw of the living engine."""
        if claims := claims_of(promises):
            return claims
        possible = [Promises(tuple(self.items(outcome))) for outcome in outcomes(promises, self.apply)]
        return min((ExactlyOnce().check(one, recovered) for one in possible), key=len)

    def apply(self, state: Outcome, item: Item) -> Outcome:
        """Return the state after an operation."""
        return _apply(state, item)

    def items(self, outcome: Outcome) -> list[Item]:
        """Return what recovery returns of a state."""
        return _items(outcome)


class LogContract(ExactlyOnce):
    """Exactly once, and nothing wrong seen in the living log. A table that was made and removed is there, or not, as the last
    acknowledged call left it, or as one in flight would.
    """

    def check(self, promises: Promises, recovered: Sequence[Item]) -> list[Violation]:
        """Judge the guarantee itself, and what the workload saw."""
        if claims := claims_of(promises):
            return claims
        there = {item[1] for item in recovered if _is_of_tables(item)}
        if not any(there == outcome.keys() for outcome in outcomes(_part(promises, of_tables=True))):
            verdict = Verdict.PHANTOM if there else Verdict.LOSES
            return [Violation(verdict, f"the tables {sorted(there)} are there, of those that are made and removed")]
        stored = [item for item in recovered if not _is_of_tables(item)]
        return super().check(_part(promises, of_tables=False), stored)


def _is_of_tables(item: Item) -> bool:
    return item[0] in ("create", "drop")


def _part(promises: Promises, *, of_tables: bool) -> Promises:
    return Promises(
        tuple(item for item in promises.initial if _is_of_tables(item) == of_tables),
        tuple(event for event in promises.events if _is_of_tables(event.item) == of_tables),
    )
