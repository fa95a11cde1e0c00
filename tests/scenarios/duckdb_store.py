"""DuckDB, with a checkpoint after each item: it overwrites a block of 256 KiB in place, under one checksum."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import duckdb

from crashmatrix import Journal, SystemUnderTest

ITEMS = 8


class Checkpoints(SystemUnderTest):
    """Rows of a table that is large enough for blocks of its own."""

    contract = "exactly-once"

    def prepare(self, root: Path) -> None:
        with duckdb.connect(str(root / "rows.duckdb")) as database:
            database.execute("create table rows (number integer)")
            database.execute("create table filler as select range as number, range * 3 as more from range(20000)")
            database.execute("checkpoint")

    def workload(self, root: Path, journal: Journal) -> None:
        with duckdb.connect(str(root / "rows.duckdb")) as database:
            for number in range(ITEMS):
                with journal.attempt(number):
                    database.execute("insert into rows values (?)", [number])
                database.execute("checkpoint")

    def recover(self, root: Path) -> Sequence[Any]:
        with duckdb.connect(str(root / "rows.duckdb")) as database:
            return [number for (number,) in database.execute("select number from rows order by number").fetchall()]
