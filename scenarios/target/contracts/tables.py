"""`tables`: several tables, each with a contract of its own. Items are ``[table, item]``, attempted and recovered alike."""

from __future__ import annotations

import json
import math
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from crashmatrix.scenarios.errors import UsageError
from crashmatrix.scenarios.target.contracts.base import Contract, Violation
from crashmatrix.scenarios.target.contracts.history import operations
from crashmatrix.scenarios.target.contracts.latest import Latest
from crashmatrix.scenarios.target.journal import Item, Promises, item_key

__all__ = ["Tables"]


@dataclass(frozen=True)
class Tables(Contract):
    """Each table keeps its own contract; nothing is promised between tables."""

    tables: Mapping[str, Contract] = field(default_factory=dict)

    def check(self, promises: Promises, recovered: Sequence[Item]) -> list[Violation]:
        """Judge the guarantee itself."""
        for item in [*promises.attempted, *recovered]:
            self._table(item)
        violations = []
        ends = iter(operations((), promises.events))
        given_up = [next(ends).end if event.kind == "attempt" else math.inf for event in promises.events]
        for name, contract in self.tables.items():
            own = _promises_of(name, promises, given_up)
            found = contract.check(own, [item[1] for item in recovered if item[0] == name])
            violations += [replace(one, explanation=f"table {name}: {one.explanation}") for one in found]
        return violations

    def lasts(self, first: Sequence[Item], again: Sequence[Item]) -> bool:
        """Whether a second recovery kept what each table had returned."""
        return all(
            contract.lasts(*([item[1] for item in items if item[0] == name] for items in (first, again)))
            for name, contract in self.tables.items()
        )

    def stored_again(self, promises: Promises) -> list[str]:
        """Return the items of tables that say nothing by them. A table that is a map may be stored again, beside others."""
        try:
            for item in promises.attempted:
                self._table(item)
        except UsageError:  # The check says so, too.
            return []
        return [
            item_key([name, json.loads(key)])
            for name, contract in self.tables.items()
            if not isinstance(contract, Latest)
            for key in contract.stored_again(_promises_of(name, promises, [math.inf] * len(promises.events)))
        ]

    def _table(self, item: Item) -> None:
        if not isinstance(item, list | tuple) or len(item) != 2 or not isinstance(item[0], str):
            raise UsageError(f"contract 'tables' needs items [table, item], not {item_key(item)[:60]}")
        if item[0] not in self.tables:
            raise UsageError(f"no contract for table {item[0]!r}; there are {', '.join(self.tables)}: add one")


def _promises_of(name: str, promises: Promises, ends: Sequence[float]) -> Promises:
    """Return one table's part. A writer that went on with another table has given up its attempt here."""
    lines = [line for line, event in enumerate(promises.events) if event.item[0] == name]
    own = (replace(promises.events[line], item=promises.events[line].item[1]) for line in lines)
    until = [bisect_left(lines, ends[line]) - 0.5 if ends[line] < math.inf else math.inf for line in lines]
    return Promises(
        tuple(item[1] for item in promises.initial if item[0] == name),
        tuple(replace(event, until=each) for event, each in zip(own, until, strict=True)),
    )
