"""An engine that sends rows to receiving tables in a folder of its own, and a look at where the rows are, past the engine.

Each row is a number of its own. It has to be in one place, once: here, or in the receiving table. A transfer that is over leaves
no note, and no file that is not a committed one.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from crashmatrix import faults
from crashmatrix.reference_wal import EngineOptions, ReferenceWalError, StorageEngine
from crashmatrix.scenarios.errors import PromiseBroken
from crashmatrix.scenarios.systems.reference.notes import failing_disk

__all__ = [
    "RECEIVED",
    "SCHEMA",
    "TABLE",
    "Sender",
    "commits_of",
    "compare",
    "fail_at",
    "meanwhile",
    "numbers",
    "refused",
    "rows_of",
]

SCHEMA = pa.schema([pa.field("at", pa.int64(), nullable=False), pa.field("value", pa.int64())])
TABLE = "t"
RECEIVED = "transfer.receive.after_transact"

Place = str | Path


class Sender:
    """An engine that sends rows; each row is a number of its own, committed at once."""

    def __init__(self, root: Path) -> None:
        self.root, self._next = root, 1
        self.note = root / "tables" / TABLE / "_transfer.json"
        self.engine = self._opened()
        self.engine.create_table(TABLE, SCHEMA, timestamp="at")

    def _opened(self) -> StorageEngine:
        options = EngineOptions(identity="sender", checkpoint_commits=99)
        return StorageEngine.open(self.root, False, options=options)

    def reopen(self) -> None:
        """Open the engine again."""
        self.engine.close()
        self.engine = self._opened()

    def commit(self, count: int = 1) -> list[int]:
        """Commit so many rows that are not anywhere; returns them."""
        rows = [*range(self._next, self._next + count)]
        self._next += count
        self.engine.ingest(TABLE, pa.record_batch([rows, rows], schema=SCHEMA))
        self.engine.flush()
        return rows

    def send(self, place: Place, options: Mapping[str, str] | None = None) -> int:
        """Transfer what is committed; returns how many rows."""
        return self.engine.transfer(TABLE, place, options)

    def has(self, rows: list[int], said: str, *, noted: bool = False) -> None:
        """Raise PromiseBroken unless these rows are here, and the note of a transfer is, or is not."""
        compare(numbers(self.engine.read(TABLE)), rows, f"after {said}, the sender")
        if self.note.exists() != noted:
            raise PromiseBroken(
                "corrupt", f"after {said}, the note of a transfer is {'gone' if noted else 'left behind'}"
            )
        left = [path.name for path in self.note.parent.iterdir() if path.name.endswith(".tmp")]
        files = {path.name for path in self.note.parent.glob("*.parquet")}
        if left or files != {path.name for path in self.engine.files(TABLE)}:
            raise PromiseBroken("corrupt", f"after {said}, the sender's folder has {sorted([*left, *files])}")


def numbers(rows: pa.Table) -> list[int]:
    """Return the rows, each by its number. Raises PromiseBroken if one's columns differ."""
    if wrong := [row for row in rows.to_pylist() if row["at"] != row["value"]]:
        raise PromiseBroken("corrupt", f"a transfer came upon the row {wrong[0]}")
    return sorted(rows["at"].to_pylist())


def compare(found: list[int], due: list[int], where: str) -> None:
    """Raise PromiseBroken unless these are the rows that are due."""
    if sorted(found) != sorted(due):
        verdict = "loses" if set(due) - set(found) else "duplicate"
        raise PromiseBroken(verdict, f"{where} has the rows {sorted(found)}, not {sorted(due)}")


def commits_of(files: Mapping[str, bytes]) -> list[dict[str, Any]]:
    """Return the actions of a Delta table, in order; a table that has no checkpoint."""
    logs = sorted(name for name in files if name.startswith("_delta_log/") and name.endswith(".json"))
    return [json.loads(line) for name in logs for line in files[name].splitlines()]


def rows_of(files: Mapping[str, bytes]) -> list[int]:
    """Read a Delta table from its files, each that it names once."""
    rows = list[int]()
    for action in commits_of(files):
        if "add" in action:
            rows += numbers(pq.read_table(pa.BufferReader(files[action["add"]["path"]])))
        elif "remove" in action:
            raise PromiseBroken("loses", f"a transfer has removed {action['remove']['path']} from the receiving table")
    return rows


def refused(kind: type[ReferenceWalError], words: str, call: Callable[[], object], said: str) -> None:
    """Raise PromiseBroken unless the call raises an error of this kind, with these words; or the error, if a disk fails."""
    try:
        call()
    except ReferenceWalError as error:
        if type(error) is not kind or words not in str(error):
            if failing_disk(error):
                raise
            text = f"{said} was refused by {type(error).__name__}, not {kind.__name__} with {words!r}: {error}"
            raise PromiseBroken("corrupt", text) from error
        return
    raise PromiseBroken("corrupt", f"{said} was not refused by {kind.__name__}")


@contextmanager
def meanwhile(point: str, others: Callable[[], object]) -> Iterator[None]:
    """Let others do something, once, where a transfer passes a failpoint."""
    doings = [others]
    with faults.scenario(""):
        faults.configure_callback(point, lambda: doings.pop()() if doings else None)
        yield
    if doings:
        raise PromiseBroken("corrupt", f"a transfer did not come to {point}")


def fail_at(point: str, send: Callable[[], object]) -> None:
    """Let a call of a transfer fail. Raises PromiseBroken if the transfer does not."""
    with faults.scenario(f"{point}=raise(EIO)", allow_unhit=True):
        try:
            send()
        except OSError:
            return
    raise PromiseBroken("corrupt", f"a transfer went on after a call that failed at {point}")
