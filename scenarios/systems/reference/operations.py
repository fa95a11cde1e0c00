"""The operations of the reference workload, in order: two sessions, and a second life; and those after a call that failed.

A caller need not stop at an error. It calls on, and each call is refused, or promised as any other (`go_on`).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass

from crashmatrix.reference_wal import ReferenceWalError
from crashmatrix.scenarios.errors import PromiseBroken
from crashmatrix.scenarios.systems.reference.data import LATE, MAIN, SCRATCH, Batch, DataSet
from crashmatrix.scenarios.systems.reference.notes import claimed_as_broken, failing
from crashmatrix.scenarios.target.journal import Attempt, Journal

__all__ = ["ARCHIVE", "PLACES", "PREPARED", "Operation", "follow_ups", "go_on", "operations", "operations_later"]

ARCHIVE = "archive"
"""The folder, below the engine's, to which rows are moved: the receiving tables of each table are below its name there."""

PLACES = ("new/folders", "new/folders", "new/folders", "new/folders", "yet/others")
"""Where each transfer moves rows to, below the table's name: to a new folder in new folders, or to where it moved some before, or
an earlier table of its name did."""

PREPARED = {MAIN: 5, SCRATCH: 2}
"""Batches stored before the first crash point; the last ones wait to be committed when the prepared session is closed."""

_LATER = {MAIN: 3, SCRATCH: 4, LATE: 2}
"""Batches kept back for the second life."""


@dataclass(frozen=True)
class Operation:
    """A step of the workload.

    Attributes:
        table: empty for ``flush``, which is about all of them, ``reopen``: the session ends, without a flush, and ``misuse``:
            calls that must be refused.
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
        if self.kind in ("flush", "segment-size", "reopen", "misuse"):
            return []
        return [self.kind, self.table, *([self.number] if self.kind == "transfer" else [])]

    @property
    def place(self) -> str:
        """The receiving table of a transfer, below the engine's folder."""
        return f"{ARCHIVE}/{self.table}/{PLACES[self.number]}"


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
    s r s r l flush transfer:s:0 misuse
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


def follow_ups(failed: Operation, steps: Sequence[Operation]) -> list[Operation]:
    """Return calls to make after one that failed: a flush, the next batch of its table, and of another one.

    After a call that was to make or drop its table, only of another one. A transfer is made once more: at once, or when there are
    more rows, which an earlier attempt cannot have moved. A table whose append failed is to be truncated in the end.
    """
    due = {step.table: step for step in reversed(steps) if step.kind == "ingest" and step.item}
    tables = {LATE, failed.table if failed.kind in ("ingest", "truncate", "transfer") else LATE}
    stored, flush = [due[table] for table in sorted(tables & due.keys())], Operation("flush")
    match failed.kind:
        case "transfer" if failed.number % 2:
            return [*stored, flush, failed]
        case "transfer":
            return [failed, flush, *stored]
        case "ingest":
            return [flush, *stored, Operation("truncate", failed.table)]
    return [flush, *stored]


def go_on(
    steps: Sequence[Operation],
    do: Callable[[Operation], object],
    journal: Journal,
    unflushed: Sequence[Attempt],
    *,
    logged: bool,
    refusing: str = "",
) -> None:
    """Make these calls. Raises PromiseBroken if one fails in a way that the error before does not explain, or should be refused.

    Args:
        unflushed: attempts that a flush acknowledges.
        logged: whether a batch is promised once its call returns; anything else is.
        refusing: the table whose log has failed, if any: it must take no batch, and no truncation.
    """
    unflushed = list(unflushed)
    for step in steps:
        attempt = journal.attempt(step.item) if step.item else None
        try:
            with claimed_as_broken(f"{step.kind} after a call that failed"), failing(attempt):
                do(step)
        except (ReferenceWalError, OSError):
            continue
        if refusing and step.kind in ("ingest", "truncate") and step.table == refusing:
            raise PromiseBroken("corrupt", f"{refusing} takes another {step.kind} after an append has failed")
        if attempt and (logged or step.kind != "ingest"):
            attempt.acknowledge()
        elif attempt:
            unflushed.append(attempt)
        if step.kind == "flush":
            while unflushed:
                unflushed.pop(0).acknowledge()
