"""The operations of the reference workload, in order: two sessions, and a second life."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass

from crashmatrix.scenarios.systems.reference.data import LATE, MAIN, SCRATCH, Batch, DataSet

__all__ = ["ARCHIVE", "PLACES", "PREPARED", "Operation", "operations", "operations_later"]

ARCHIVE = "archive"
"""The folder, below the engine's, to which rows are moved: the receiving tables of each table are below its name there."""

PLACES = ("new/folders", "new/folders", "others", "new/folders", "yet/others")
"""Where each transfer moves rows to, below the table's name: to a new folder in new folders, or to where it moved some before."""

PREPARED = {MAIN: 5, SCRATCH: 2}
"""Batches stored before the first crash point; the last ones wait to be committed when the prepared session is closed."""

_LATER = {MAIN: 3, SCRATCH: 4, LATE: 2}
"""Batches kept back for the second life."""


@dataclass(frozen=True)
class Operation:
    """A step of the workload.

    Attributes:
        table: empty for ``flush``, which is about all of them, and ``reopen``: the session ends, without a flush.
        batch: for ``ingest`` only.
        number: tells transfers apart, or is the size of a segment in bytes.
    """

    kind: str
    table: str = ""
    batch: Batch | None = None
    number: int = 0

    @property
    def item(self) -> list[object]:
        """The operation as a journal item; empty if it promises nothing."""
        if self.batch is not None:
            return self.batch.item
        if self.kind in ("flush", "segment-size", "reopen"):
            return []
        return [self.kind, self.table, *([self.number] if self.kind == "transfer" else [])]


class _Batches:
    """The batches of each table, taken one after the other."""

    def __init__(self, data: DataSet, taken: dict[str, int]) -> None:
        self._left = {table: iter(batches[taken.get(table, 0) :]) for table, batches in data.batches.items()}

    def steps(self, script: str) -> Iterator[Operation]:
        """Read a script: a table's first letter for its next batch, or ``kind``, ``kind:table`` or ``kind:table:number``."""
        for word in script.split():
            kind, table, number = (*word.split(":"), "", "")[:3]
            if kind in _TABLES:
                yield Operation("ingest", _TABLES[kind], next(self._left[_TABLES[kind]]))
            else:
                yield Operation(kind, _TABLES.get(table, ""), number=int(number or 0))


_TABLES = {"r": MAIN, "s": SCRATCH, "l": LATE}

_BEFORE = "create:r create:s create:l r r r r s flush s r"

_DURING = """
    s r s r l flush transfer:s:0
    r s s flush s r truncate:s
    s s flush transfer:s:1 s r l segment-size:s:1 s
    reopen
    r s s truncate:s r l s flush r drop:s create:s s r s flush transfer:s:2 l r s r l
"""
"""A transfer moves what is committed, so a flush before it says what that is. Truncations find rows in Delta and rows that
wait; one meets a segment with zeros in it. After each, there is more of everything."""

_LATER_SCRIPT = "r s flush transfer:s:3 s s truncate:s l truncate:l {again} s flush transfer:s:4 l r r"


def operations(data: DataSet) -> tuple[list[Operation], list[Operation]]:
    """Return what is done before the first crash point, and what the workload does, in order."""
    batches = _Batches(data, {})
    return [*batches.steps(_BEFORE)], [*batches.steps(_DURING)]


def operations_later(data: DataSet, there: Collection[str]) -> list[Operation]:
    """Return what a second life does, where these tables are there. The rows stored last are left to the log."""
    made = [Operation("create", table) for table in (MAIN, SCRATCH, LATE) if table not in there]
    taken = {table: len(batches) - _LATER[table] for table, batches in data.batches.items()}
    return [*made, *_Batches(data, taken).steps(_LATER_SCRIPT.format(again="drop:s create:s"))]
