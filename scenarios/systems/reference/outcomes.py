"""The contract of the reference workload: which tables, with which batches, recovery may find.

Items are operations: ``["create", TABLE]``, ``["ingest", TABLE, NUMBER]``, ``["truncate", TABLE]``, ``["drop", TABLE]``,
``["transfer", TABLE, NUMBER]``. Recovery returns the tables and batches that are there, and ``["received", TABLE, NUMBER]``
for a batch that was moved; in a second life these are what it owes from the start.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial, reduce

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


def outcomes(promises: Promises, apply: Callable[[Outcome, Item], Outcome] | None = None) -> list[Outcome]:
    """Return what recovery may find: everything acknowledged, and of what is in flight on each table the first so many.

    An acknowledgement settles every earlier attempt on its table: without a log, a truncation takes batches
    with it that no flush had acknowledged. One that has failed is settled as well: it took effect or it did not.

    Args:
        apply: returns the state after an operation; None for the operations above.
    """
    step = partial(_step, apply or _apply)
    found = [reduce(apply or _apply, promises.initial, Outcome())]
    in_flight: dict[str, list[Item]] = {}
    failed: dict[str, list[Item]] = {}
    for event in promises.events:
        if noted(event.item):
            continue
        table = event.item[1]
        waiting = in_flight.setdefault(table, [])
        if event.kind == "attempt":
            waiting.append(event.item)
        elif event.kind == "fail":  # It is in flight until something later is acknowledged.
            failed.setdefault(table, []).append(event.item)
        else:
            settled = waiting[: waiting.index(event.item)]
            del waiting[: len(settled) + 1]
            for item in settled:
                if item in failed.get(table, ()):
                    found += step(found, item)
            found = step(found, event.item)
    for items in in_flight.values():
        found = [one for some in range(len(items) + 1) for one in reduce(step, items[:some], found)]
    return found


def _step(apply: Callable[[Outcome, Item], Outcome], states: list[Outcome], item: Item) -> list[Outcome]:
    """Return the states after an operation. Where its table is not there, it cannot have taken effect."""
    kind, table = item[0], item[1]
    return [apply(state, item) for state in states if kind not in _ON_A_TABLE or table in state]


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
        if not possible:
            raise UsageError("the journal acknowledges an operation on a table that nobody had made")
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
        stored = Promises(
            tuple(item for item in promises.initial if item[0] not in _TABLES),
            tuple(event for event in promises.events if event.item[0] not in _TABLES),
        )
        tables = Promises(
            tuple(item for item in promises.initial if item[0] in _TABLES),
            tuple(event for event in promises.events if event.item[0] in _TABLES),
        )
        there = {item[1] for item in recovered if item[0] in _TABLES}
        if not any(there == outcome.keys() for outcome in outcomes(tables, _apply_to_tables)):
            verdict = Verdict.PHANTOM if there else Verdict.LOSES
            return [Violation(verdict, f"the tables {sorted(there)} are there, of those that are made and removed")]
        return super().check(stored, [item for item in recovered if item[0] not in _TABLES])


_TABLES = ("make", "remove")


def _apply_to_tables(state: Outcome, item: Item) -> Outcome:
    others = {name: items for name, items in state.items() if name != item[1]}
    return {**others, item[1]: []} if item[0] == "make" else others
