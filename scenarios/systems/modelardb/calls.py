"""Calls on one table, some of which run at the same time, and what recovery may then find.

Items: ``["put", N]`` a batch; ``["table"]`` the table is there; ``["sent", N]`` a batch arrived in the other table;
``["truncate", K]``, ``["drop", K]``, ``["create", K]``, ``["transfer", K]``, ``["switch", K]`` the other calls; ``["seen", N]`` a
reader found a batch. Recovery returns those of the first three kinds.

A call takes effect at once, at some instant between its attempt and its acknowledgement; one that was never acknowledged, perhaps
never. (M. Herlihy, J. Wing, "Linearizability", 1990.)
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from crashmatrix.reports import Verdict
from crashmatrix.scenarios.target.contract import Contract, Violation
from crashmatrix.scenarios.target.journal import Item, Promises, item_key

__all__ = ["Calls"]


@dataclass(frozen=True)
class _State:
    exists: bool = False
    here: frozenset[int] = frozenset()
    there: frozenset[int] = frozenset()

    @property
    def items(self) -> list[Item]:
        """The items that recovery returns in this state."""
        return [*[["table"]] * self.exists, *(["put", n] for n in self.here), *(["sent", n] for n in self.there)]

    def after(self, item: Item) -> _State | None:
        """Return the state after a call; None if the call cannot have succeeded in this one."""
        match item:
            case ["put", number]:
                return replace(self, here=self.here | {number}) if self.exists else None
            case ["sent", number]:
                return replace(self, there=self.there | {number})
            case ["table"] | ["create", _]:
                return replace(self, exists=True)
            case ["truncate", _]:
                return replace(self, here=frozenset())
            case ["drop", _]:
                return replace(self, exists=False, here=frozenset())
            case ["transfer", _]:
                return replace(self, here=frozenset(), there=self.there | self.here)
            case ["seen", number]:
                return self if number in self.here else None
        return self


Possible = set[tuple[_State, frozenset[str]]]
"""Each state that may be, with the calls under way that have not taken effect in it."""


class Calls(Contract):
    """Recovered is what some order of the calls leaves that respects which of them were over before others began."""

    def check(self, promises: Promises, recovered: Sequence[Item]) -> list[Violation]:
        """Judge the guarantee itself."""
        calls = {item_key(event.item): event.item for event in promises.events}
        start = _State()
        for item in promises.initial:
            start = start.after(item) or start
        possible: Possible = {(start, frozenset())}
        for event in promises.events:
            key = item_key(event.item)
            if event.kind == "attempt":
                possible = {(state, waiting | {key}) for state, waiting in possible}
            elif event.kind == "ack":
                possible = {(state, waiting) for state, waiting in _closure(possible, calls) if key not in waiting}
        states = {state for state, _ in _closure(possible, calls)}
        found = Counter(map(item_key, recovered))
        if any(Counter(map(item_key, state.items)) == found for state in states):
            return []
        return [_nearest(states, found)]


def _closure(possible: Possible, calls: dict[str, Item]) -> Possible:
    """Let any of the calls under way take effect, in any order."""
    reached, new = set(possible), list(possible)
    while new:
        state, waiting = new.pop()
        for key in waiting:
            then = state.after(calls[key])
            one = (then, waiting - {key}) if then is not None else None
            if one is not None and one not in reached:
                reached.add(one)
                new.append(one)
    return reached


def _nearest(states: Iterable[_State], found: Counter[str]) -> Violation:
    """Say how what was found differs from the state that it is most like."""
    due = min(
        (Counter(map(item_key, state.items)) for state in states), key=lambda due: _distance(due, found), default=found
    )
    if gone := due - found:
        return Violation(Verdict.LOSES, f"acknowledged, but gone: {', '.join(sorted(gone))}")
    return Violation(Verdict.DUPLICATE, f"there, though removed or stored once: {', '.join(sorted(found - due))}")


def _distance(due: Counter[str], found: Counter[str]) -> int:
    return (due - found).total() + (found - due).total()
