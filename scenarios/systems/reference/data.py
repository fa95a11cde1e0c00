"""The data of the reference workload: real rows, cut into batches, and the operations on them, drawn with the seed.

Each row has its number in the extra column `ROW`, so that every recovered row can be identified and compared with the stored
one, whatever the data.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from itertools import accumulate, pairwise
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq

from crashmatrix.reference_wal.options import TAG_TYPES
from crashmatrix.scenarios.errors import PromiseBroken, UsageError

__all__ = [
    "ARCHIVE",
    "LATE",
    "MAIN",
    "PREPARED",
    "ROW",
    "SCRATCH",
    "Batch",
    "DataSet",
    "Operation",
    "operations",
    "read_source",
]

ROW = "crashmatrix_row"
MAIN, SCRATCH, LATE = "readings", "scratch", "late"
"""The tables: one ingested into all along; one moved, truncated, dropped and made anew; one created half-way."""

ARCHIVE = "archive"
"""The folder, below the engine's, to which rows are moved: each table's receiving table has its name there."""

ROWS_MAX = 20_000
"""Rows of the source that are used, at most: enough for many segments and generations, few enough to read at each check."""

BATCHES = 36
SPARE = 2
"""Batches kept back, to go on with after a recovery."""

TRUNCATE_AFTER = BATCHES // 2 - 2
"""The batch of median size has this number: small enough to wait still when its table is truncated, and large enough to wait in a
spill file where there is no log."""

PREPARED = {MAIN: 4}
"""Batches stored before the first crash point."""


@dataclass(frozen=True)
class Batch:
    """The ``index``-th batch of a table: rows ``start`` to ``start + rows`` of the data."""

    table: str
    index: int
    start: int
    rows: int

    @property
    def item(self) -> list[object]:
        """The batch as a journal item."""
        return ["ingest", self.table, self.index]


@dataclass(frozen=True)
class Operation:
    """A step of the workload; ``batch`` for ingest only, no table for flush; ``number`` tells transfers apart, or is the size
    of a segment in bytes."""

    kind: str
    table: str = ""
    batch: Batch | None = None
    number: int = 0

    @property
    def item(self) -> list[object]:
        """The operation as a journal item; empty if it promises nothing."""
        if self.batch is not None:
            return self.batch.item
        if self.kind in ("flush", "segment-size"):
            return []
        return [self.kind, self.table, *([self.number] if self.kind == "transfer" else [])]


def read_source(path: Path, timestamp: str, tags: list[str]) -> tuple[pa.Table, str]:
    """Read a Parquet or CSV file; returns at most `ROWS_MAX` rows with the column `ROW`, and a remark if there were more.

    Raises:
        UsageError: unreadable, a column missing or of the wrong type, too few rows.
    """
    try:
        table = pyarrow.csv.read_csv(path) if path.suffix.lower() == ".csv" else pq.read_table(path, partitioning=None)
    except FileNotFoundError:
        raise UsageError(f"no data file {path}; name a Parquet or CSV file with --data") from None
    except (OSError, pa.ArrowException) as error:
        first_line = str(error).splitlines()[0]
        raise UsageError(
            f"cannot read {path} as {path.suffix or 'Parquet'}: {first_line}; --data takes Parquet or CSV"
        ) from None
    _check_columns(path, table.schema, timestamp, tags)
    if table.num_rows < 2 * BATCHES:
        raise UsageError(
            f"{path} has {table.num_rows} rows, the workload needs {2 * BATCHES}; name a larger file with --data"
        )
    remark = (
        f"the first {ROWS_MAX:,} of {table.num_rows:,} rows of {path} are used" if table.num_rows > ROWS_MAX else ""
    )
    table = _in_microseconds(table.slice(0, ROWS_MAX).replace_schema_metadata(None))
    return table.append_column(ROW, pa.array(range(table.num_rows), pa.int64())).combine_chunks(), remark


def _in_microseconds(table: pa.Table) -> pa.Table:
    """Delta stores timestamps in microseconds only."""
    fields = [
        field.with_type(pa.timestamp("us", field.type.tz)) if pa.types.is_timestamp(field.type) else field
        for field in table.schema
    ]
    return table.cast(pa.schema(fields), safe=False)


def _check_columns(path: Path, schema: pa.Schema, timestamp: str, tags: list[str]) -> None:
    for option, column in [("--timestamp", timestamp), *(("--tags", tag) for tag in tags)]:
        if column not in schema.names:
            raise UsageError(f"{path} has no column {column!r} ({option}); it has {', '.join(schema.names)}")
    for tag in tags:
        kind = schema.field(tag).type
        if not any(test(kind) for test in TAG_TYPES):
            raise UsageError(
                f"column {tag!r} of type {kind} cannot be a tag; name strings, integers or booleans with --tags"
            )
    if ROW in schema.names:
        raise UsageError(f"{path} has a column {ROW!r}, which crashmatrix needs for itself; rename it")


class DataSet:
    """The rows of one run, cut into batches."""

    def __init__(self, rows: pa.Table, seed: int) -> None:
        self.rows = rows
        self.batches, self.spare = _cut(rows.num_rows, seed)
        ends = pa.array(accumulate(batch.rows for batch in self._all), pa.int32())
        numbers = pa.array(range(len(ends)), pa.int32())
        self._batch_of_row = pc.run_end_decode(pa.RunEndEncodedArray.from_arrays(ends, numbers))

    @property
    def _all(self) -> list[Batch]:
        return [*self.batches, *self.spare]

    def record_batch(self, batch: Batch) -> pa.RecordBatch:
        """Return the rows of a batch."""
        return self.rows.slice(batch.start, batch.rows).combine_chunks().to_batches()[0]

    def batches_in(self, found: pa.Table, where: str) -> list[Batch]:
        """Return the batches that ``found`` consists of, in order, one as often as it is there.

        Raises:
            PromiseBroken: a row differs from what was stored, or was never stored; a batch is there in part.
        """
        numbers = found[ROW]
        first, last = pc.min_max(numbers).as_py().values()
        if numbers.null_count or (len(numbers) and not 0 <= first <= last < self.rows.num_rows):
            raise PromiseBroken("corrupt", f"{where}: rows came back that were never stored")
        stored = self.rows.take(numbers)
        if not stored.equals(found):
            raise PromiseBroken("corrupt", f"{where}: {_first_difference(stored, found)}")
        counts = pc.value_counts(self._batch_of_row.take(numbers.combine_chunks()))
        present = {count["values"].as_py(): count["counts"].as_py() for count in counts}
        found_batches = []
        for number in sorted(present):
            batch = self._all[number]
            times, rest = divmod(present[number], batch.rows)
            if rest:
                raise PromiseBroken(
                    "corrupt", f"{where}: {present[number]} rows of batch {batch.item}, which has {batch.rows}"
                )
            found_batches += [batch] * times
        return found_batches


def _first_difference(stored: pa.Table, found: pa.Table) -> str:
    for name in stored.column_names:
        if not stored[name].equals(found[name]):
            pairs = zip(stored[ROW].to_pylist(), stored[name].to_pylist(), found[name].to_pylist(), strict=True)
            return next(f"row {row} came back with {name} {b!r}, not {a!r}" for row, a, b in pairs if a != b and a == a)
    return "rows came back with other columns"


def _cut(rows: int, seed: int) -> tuple[list[Batch], list[Batch]]:
    """Cut the rows into batches of varying size and deal them out to the tables; the last `SPARE` are kept back."""
    draw = random.Random(f"{seed} batches")
    cuts = sorted(draw.sample(range(1, rows), BATCHES + SPARE - 1))
    sizes = [end - start for start, end in pairwise([0, *cuts, rows])]
    median = sizes.index(sorted(sizes)[len(sizes) // 2])
    sizes[median], sizes[TRUNCATE_AFTER] = sizes[TRUNCATE_AFTER], sizes[median]
    edges = [0, *accumulate(sizes)]
    counts = dict.fromkeys((MAIN, SCRATCH, LATE), 0)
    dealt = []
    for number, (start, end) in enumerate(pairwise(edges)):
        table = _table_for(number)
        dealt.append(Batch(table, counts[table], start, end - start))
        counts[table] += 1
    return dealt[:BATCHES], dealt[BATCHES:]


def _table_for(number: int) -> str:
    if number >= BATCHES:
        return MAIN
    if number % 6 == 4:
        return SCRATCH
    return LATE if number > BATCHES // 2 and number % 6 == 1 else MAIN


def operations(data: DataSet) -> tuple[list[Operation], list[Operation]]:
    """Return what is done before the first crash point, and what the workload does, in order."""
    before = [Operation("create", MAIN), Operation("create", SCRATCH)]
    during: list[Operation] = []
    for number, batch in enumerate(data.batches):
        early = batch.index < PREPARED.get(batch.table, 0)
        (before if early else during).append(Operation("ingest", batch.table, batch))
        during += _EVENTS.get(number, [])
    return before, during


_EVENTS = {
    BATCHES // 4: [Operation("flush"), Operation("transfer", SCRATCH, number=0)],
    TRUNCATE_AFTER - 3: [Operation("flush"), Operation("segment-size", SCRATCH, number=1)],
    TRUNCATE_AFTER: [Operation("truncate", SCRATCH)],  # one batch in Delta, and one that waits
    BATCHES // 2: [Operation("create", LATE), Operation("flush")],
    2 * BATCHES // 3: [Operation("drop", SCRATCH), Operation("create", SCRATCH)],
    BATCHES - 6: [Operation("flush"), Operation("transfer", SCRATCH, number=1)],
}
"""The operations after each batch. A transfer moves what is committed, so a flush before it says what that is."""
