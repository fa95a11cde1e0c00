"""The contract of calls that overlap: each took effect at one moment between its attempt and its end, in any order.

Events, as journal items, all about one table:

    ["ingest", N], ["truncate", K], ["drop", K], ["create", K], ["transfer", K], ["switch", K]    calls; K tells them apart
    ["read", K], then ["saw", K, [N, ...]]                  a read, and the batches that it returned
    ["settled", [N, ...] or null, [N, ...]]                 no call is under way: the table, and what was moved

Recovery returns one item, as the last one. All histories are followed that the events allow: states, each with the calls that
have taken effect in it. A transfer moves what is committed, which nobody outside knows, so it may move any batches.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import combinations

from crashmatrix.reports import Verdict
from crashmatrix.scenarios.systems.reference.notes import claims_of, noted
from crashmatrix.scenarios.target.contract import Contract, Violation
from crashmatrix.scenarios.target.contracts.base import BEFORE_ANY_CRASH
from crashmatrix.scenarios.target.journal import Item, Promises, item_key

__all__ = ["OverlapContract"]

Batches = frozenset[int]


@dataclass(frozen=True)
class _State:
    """The table (None: there is none), what was moved, and which calls under way have taken effect."""

    table: Batches | None
    moved: Batches
    done: frozenset[str] = frozenset()

    def after(self, item: Item) -> Iterator[_State]:
        """Yield the states that a call may lead to."""
        done = self.done | {item_key(item)}
        match item[0], self.table:
            case "create", None:
                yield _State(frozenset(), self.moved, done)
            case _, None:
                yield _State(None, self.moved, done)  # Refused: there is no such table.
            case "ingest", table:
                yield _State(table | {item[1]}, self.moved, done)
            case "drop", _:
                yield _State(None, self.moved, done)
            case "truncate", _:
                yield _State(frozenset(), self.moved, done)
            case "transfer", table:
                for size in range(len(table) + 1):
                    for some in combinations(sorted(table), size):
                        yield _State(table - {*some}, self.moved | {*some}, done)
            case _:
                yield _State(self.table, self.moved, done)

    def fits(self, table: Sequence[int] | None, moved: Sequence[int]) -> bool:
        """Whether these batches, each once, are what is there."""
        same = self.table is None if table is None else self.table is not None and sorted(self.table) == sorted(table)
        return same and sorted(self.moved) == sorted(moved)


@dataclass
class _Histories:
    """All states that the events until now allow."""

    states: set[_State]
    calls: dict[str, Item] = field(default_factory=dict)
    reads: dict[int, set[Batches | None]] = field(default_factory=dict)

    def attempt(self, item: Item) -> str:
        """Note that a call begins, or what a read saw; returns what is wrong with that."""
        match item[0]:
            case "read":
                self.reads[item[1]] = set()
            case "saw":
                seen = self.reads.pop(item[1])
                if len({*item[2]}) < len(item[2]) or frozenset(item[2]) not in seen:
                    return f"a read returned the batches {item[2]}, which were there at no moment while it ran"
            case "settled":
                self.states = {_State(one.table, one.moved) for one in self.states if one.fits(item[1], item[2])}
                self.calls.clear()
                self.reads.clear()
                if not self.states:
                    return f"no order of the calls leads to what was read after them: {item[1]}, moved {item[2]}"
            case _:
                self.calls[item_key(item)] = item
        self._spread()
        return ""

    def ack(self, item: Item) -> None:
        """Note that a call has returned: it has taken effect."""
        key = item_key(item)
        if self.calls.pop(key, None) is not None:
            self.states = {_State(one.table, one.moved, one.done - {key}) for one in self.states if key in one.done}
            self._spread()

    def _spread(self) -> None:
        """Let calls under way take effect, in every order."""
        left = list(self.states)
        while left:
            state = left.pop()
            new = {
                s for key, item in self.calls.items() if key not in state.done for s in state.after(item)
            } - self.states
            self.states |= new
            left += new
        for seen in self.reads.values():
            seen.update(state.table for state in self.states)


class OverlapContract(Contract):
    """The recovered items, and everything seen before, fit one order of the calls."""

    def check(self, promises: Promises, recovered: Sequence[Item]) -> list[Violation]:
        """Judge the guarantee itself."""
        if claims := claims_of(promises):
            return claims
        histories = _Histories({_State(None, frozenset())})
        for item in promises.initial:
            if wrong := histories.attempt(item):
                return [Violation(Verdict.CORRUPT, wrong)]
        for event in promises.events:
            if noted(event.item):
                continue
            if event.kind == "ack":
                histories.ack(event.item)
            elif event.kind == "attempt" and (wrong := histories.attempt(event.item)):
                return [Violation(Verdict.CORRUPT, f"{BEFORE_ANY_CRASH}{wrong}", living=True)]
        (_, table, moved), *_ = recovered
        if any(state.fits(table, moved) for state in histories.states):
            return []
        return [Violation(_verdict(table, moved, histories.states), f"recovered were {table}, moved {moved}")]


def _verdict(table: Sequence[int] | None, moved: Sequence[int], states: set[_State]) -> Verdict:
    found = [*(table or ()), *moved]
    owed = frozenset.intersection(*((one.table or frozenset()) | one.moved for one in states))
    if len(found) > len({*found}):
        return Verdict.DUPLICATE
    return Verdict.LOSES if owed - {*found} or table is None else Verdict.PHANTOM
