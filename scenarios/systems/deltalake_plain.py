"""delta-rs as most programs use it: append with ``write_deltalake``, and treat its return as the promise."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.dataset  # else pyarrow.parquet imports it in every child anew
import pyarrow.parquet as pq
from deltalake import DeltaTable, write_deltalake

from crashmatrix.scenarios.errors import PromiseBroken
from crashmatrix.scenarios.systems.delta_files import delta_files
from crashmatrix.scenarios.systems.values import ITEMS, LATER, check_value, digest_of, value_of
from crashmatrix.scenarios.target.journal import Item, Journal
from crashmatrix.scenarios.target.system import SystemUnderTest

__all__ = ["PlainDeltaLake"]

_ROWS = 4
_CHECKPOINT_COMMITS = 8
_SCHEMA = pa.schema([pa.field("number", pa.int64()), pa.field("row", pa.int64()), pa.field("value", pa.binary())])


class PlainDeltaLake(SystemUnderTest):
    """A Delta table on a local path, one append an item.

    Delta's protocol (https://github.com/delta-io/delta/blob/master/PROTOCOL.md) requires of the store that a
    commit file appears whole and once, and leaves durability to the store. delta-rs writes local files by rename and hard
    link, and syncs none of them (https://github.com/apache/arrow-rs-object-store, ``LocalFileSystem``). So the table is
    ``safe`` under kill, and ``loses`` or ``cannot-open`` under power: commits vanish, or commits, checkpoints and data files
    come back empty.
    """

    contract = "prefix"

    def prepare(self, root: Path) -> None:
        """Make the table; it checkpoints often, so that one run holds several."""
        interval = {"delta.checkpointInterval": str(_CHECKPOINT_COMMITS)}
        DeltaTable.create(str(root / "table"), schema=_SCHEMA, configuration=interval)

    def workload(self, root: Path, journal: Journal) -> None:
        """Append each item's rows; a program would treat the return as the promise."""
        self._append(range(ITEMS), root, journal)

    def resume(self, root: Path, journal: Journal) -> None:
        """Append more items."""
        self._append(LATER, root, journal)

    def _append(self, numbers: Iterable[int], root: Path, journal: Journal) -> None:
        for number in numbers:
            with journal.attempt(number):
                write_deltalake(str(root / "table"), self._rows(number), mode="append")

    def recover(self, root: Path) -> Sequence[Item]:
        """Open the table and read every file it names; each item has all its rows, or is not there."""
        files = delta_files(root / "table")
        # Not to_pyarrow_table(), whose threads abort the interpreter at its exit now and then.
        rows = pa.concat_tables([_SCHEMA.empty_table(), *(pq.read_table(file, schema=_SCHEMA) for file in files)])
        parts: dict[int, list[tuple[int, bytes]]] = {}
        for row in rows.to_pylist():
            parts.setdefault(row["number"], []).append((row["row"], row["value"]))
        for number, found in parts.items():
            self._check(number, sorted(found))
        return sorted(parts)

    def _check(self, number: int, found: list[tuple[int, bytes]]) -> None:
        if [row for row, _ in found] != list(range(_ROWS)):
            raise PromiseBroken("corrupt", f"item {number} has rows {[row for row, _ in found]}, not 0 to {_ROWS - 1}")
        check_value(self.seed, number, b"".join(value for _, value in found))

    def _rows(self, number: int) -> pa.Table:
        value = value_of(self.seed, number)
        size = -(-len(value) // _ROWS)
        parts = [value[row * size : (row + 1) * size] for row in range(_ROWS)]
        return pa.table({"number": [number] * _ROWS, "row": range(_ROWS), "value": parts}, schema=_SCHEMA)

    def fingerprint(self, root: Path) -> str:
        """Digest the commits' names and the items: data files are named at random, and commits are dated."""
        names = sorted(path.name for path in (root / "table" / "_delta_log").iterdir())
        return digest_of(names, self.recover(root))
