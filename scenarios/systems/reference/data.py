"""The data of the reference workload, cut into batches with the seed: real rows, or the user's own, and hostile ones.

Each row has its number in the extra column `ROW`, so that every recovered row can be identified and compared with the stored
one, whatever the data.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate, pairwise
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq

from crashmatrix.reference_wal.options import TAG_TYPES
from crashmatrix.scenarios.errors import PromiseBroken, UsageError
from crashmatrix.scenarios.systems.reference.rows.exact import first_difference, plain, undictionaried
from crashmatrix.scenarios.systems.reference.rows.hostile import (
    HOSTILE_TAGS,
    HOSTILE_TIMESTAMP,
    SIZES,
    SIZES_NESTED,
    hostile_rows,
    nested_rows,
)

__all__ = [
    "BATCHES",
    "LATE",
    "MAIN",
    "ROW",
    "ROWS_MAX",
    "ROWS_MIN",
    "SCRATCH",
    "Batch",
    "DataSet",
    "Source",
    "numbered",
    "read_source",
]

ROW = "crashmatrix_row"
MAIN, SCRATCH, LATE = "readings", "scratch", "late"
"""The tables: one ingested into all along; one moved, truncated, dropped and made anew, whose rows are hostile; one without tags,
and at first without a row, whose dictionaries are nested."""

ROWS_MAX = 20_000
"""Rows of the source that are used, at most: enough for many segments and generations, few enough to read at each check."""

BATCHES = 19
"""Batches that the source is cut into."""

ROWS_MIN = 2 * BATCHES


@dataclass(frozen=True)
class Batch:
    """The ``index``-th batch of a table: rows ``start`` to ``start + rows`` of its source."""

    table: str
    index: int
    start: int
    rows: int

    @property
    def item(self) -> list[object]:
        """The batch as a journal item; empty if it has no rows, since nothing of it can come back."""
        return ["ingest", self.table, self.index] if self.rows else []


def read_source(path: Path, timestamp: str, tags: list[str], *, every: int = 1) -> tuple[pa.Table, str]:
    """Read a Parquet or CSV file; returns at most `ROWS_MAX` rows with the column `ROW`, and a remark if there were more.

    Args:
        every: take one row in so many only.

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
    if table.num_rows < ROWS_MIN:
        raise UsageError(
            f"{path} has {table.num_rows} rows, the workload needs {ROWS_MIN}; name a larger file with --data"
        )
    remark = (
        f"the first {ROWS_MAX:,} of {table.num_rows:,} rows of {path} are used" if table.num_rows > ROWS_MAX else ""
    )
    some = table.take(list(range(0, min(table.num_rows, ROWS_MAX), every))) if every > 1 else table.slice(0, ROWS_MAX)
    table = _in_microseconds(some.replace_schema_metadata(None))
    return numbered(table.combine_chunks()), remark


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


def numbered(rows: pa.Table, *, first: bool = False) -> pa.Table:
    """Add the column of numbers, as the first or the last one, in the same chunks: each keeps its own dictionaries."""
    field, number, parts = pa.field(ROW, pa.int64()), 0, list[pa.RecordBatch]()
    place = 0 if first else rows.num_columns
    for batch in rows.to_batches():
        numbers = pa.array(range(number, number := number + batch.num_rows), pa.int64())
        parts.append(batch.add_column(place, field, numbers))
    return pa.Table.from_batches(parts, rows.schema.insert(place, field))


class Source:
    """Rows, and the batches of one or more tables that they are cut into, in the order of the rows."""

    def __init__(
        self, rows: pa.Table, plain_rows: pa.Table, batches: Sequence[Batch], timestamp: str, tags: Sequence[str]
    ) -> None:
        self.rows, self._plain, self.timestamp, self.tags = rows, plain_rows, timestamp, list(tags)
        self._batches = [batch for batch in batches if batch.rows]

    @property
    def schema(self) -> pa.Schema:
        """The schema of every batch."""
        return self.rows.schema

    @cached_property
    def _other_schema(self) -> pa.Schema:
        return pa.schema([field.with_type(undictionaried(field.type)) for field in self.schema])

    @cached_property
    def _batch_of_row(self) -> pa.Array:
        ends = pa.array(accumulate(batch.rows for batch in self._batches), pa.int32())
        return pc.run_end_decode(pa.RunEndEncodedArray.from_arrays(ends, pa.array(range(len(ends)), pa.int32())))

    def record_batch(self, batch: Batch) -> pa.RecordBatch:
        """Return the rows of a batch."""
        if batch.rows:
            (rows,) = self.rows.slice(batch.start, batch.rows).to_batches()
            return rows
        return pa.RecordBatch.from_arrays([pa.array([], field.type) for field in self.schema], schema=self.schema)

    def batches_in(self, found: pa.Table, where: str, *, other_reader: bool = False) -> list[Batch]:
        """Return the batches that ``found`` consists of, in order, one as often as it is there; no batch without rows.

        Args:
            other_reader: the rows come from a reader that does not know the table's schema.

        Raises:
            PromiseBroken: a value differs from the stored one in a bit, or was never stored; a batch is there in part; the
                schema is another one.
        """
        if ROW not in found.column_names:
            raise PromiseBroken("corrupt", f"{where}: rows came back without the column {ROW}")
        numbers = self._checked(found[ROW], where)
        found = self._with_schema(found, where, other_reader=other_reader)
        if difference := first_difference(self._plain.take(numbers), plain(found)):
            name, place = difference
            row, came = numbers[place].as_py(), found[name][place].as_py()
            there = self.rows[name][row].as_py()
            raise PromiseBroken(
                "corrupt", f"{where}: row {row} came back with {name} {_shown(came)}, not {_shown(there)}"
            )
        return self._whole(numbers, where)

    def whole_batches(self, numbers: pa.ChunkedArray, where: str) -> list[Batch]:
        """As `batches_in`, for the numbers of rows alone."""
        return self._whole(self._checked(numbers, where), where)

    def _checked(self, column: pa.ChunkedArray, where: str) -> pa.Array:
        numbers = column.combine_chunks()
        first, last = pc.min_max(numbers).as_py().values()
        if numbers.null_count or (len(numbers) and not 0 <= first <= last < self.rows.num_rows):
            raise PromiseBroken("corrupt", f"{where}: rows came back that were never stored")
        return numbers

    def _with_schema(self, found: pa.Table, where: str, *, other_reader: bool) -> pa.Table:
        if not other_reader:
            if not found.schema.equals(self.schema, check_metadata=True):
                raise PromiseBroken("corrupt", f"{where}: rows came back with another schema: {found.schema}")
            return found
        try:
            return found.select(self.schema.names).cast(self._other_schema)
        except (KeyError, pa.ArrowException) as error:
            raise PromiseBroken("corrupt", f"{where}: rows came back with other columns ({error})") from error

    def _whole(self, numbers: pa.Array, where: str) -> list[Batch]:
        counts = pc.value_counts(self._batch_of_row.take(numbers))
        present = {count["values"].as_py(): count["counts"].as_py() for count in counts}
        found = list[Batch]()
        for number in sorted(present):
            batch = self._batches[number]
            times, rest = divmod(present[number], batch.rows)
            if rest:
                some = f"{present[number]} rows of batch {batch.item}, which has {batch.rows}"
                raise PromiseBroken("corrupt", f"{where}: {some}")
            found += [batch] * times
        return found


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


class DataSet:
    """The rows of one run: ``source`` has those of each table, ``batches`` the batches of each, in order."""

    def __init__(self, folder: Path, seed: int, timestamp: str, tags: Sequence[str]) -> None:
        """Map what `store` put into the folder."""
        own = _mapped(folder / MAIN)
        keys: dict[str, tuple[str, Sequence[str]]] = {
            MAIN: (timestamp, tags),
            SCRATCH: (HOSTILE_TIMESTAMP, HOSTILE_TAGS),
            LATE: (HOSTILE_TIMESTAMP, ()),
        }
        self.batches = {
            MAIN: _dealt(own.num_rows, seed),
            SCRATCH: _in_turn(SCRATCH, SIZES),
            LATE: _in_turn(LATE, SIZES_NESTED),
        }
        self._sources = {
            table: Source(_mapped(folder / table), _mapped(folder / f"{table}-plain"), batches, *keys[table])
            for table, batches in self.batches.items()
        }

    @staticmethod
    def store(rows: pa.Table, folder: Path, seed: int) -> None:
        """Put the rows of a run into a folder: those given, and hostile ones, each bit by bit as well."""
        scratch, late = pa.Table.from_batches(hostile_rows(seed)), pa.Table.from_batches(nested_rows(seed))
        # Dictionaries come last in one table and first in another.
        tables = {MAIN: rows, SCRATCH: numbered(scratch, first=True), LATE: numbered(late)}
        for table, content in tables.items():
            for name, part in ((table, content), (f"{table}-plain", plain(content))):
                with pa.OSFile(str(folder / name), "wb") as sink, pa.ipc.new_stream(sink, part.schema) as writer:
                    writer.write_table(part)

    def source(self, table: str) -> Source:
        """Return the source of a table's rows."""
        return self._sources[table]

    def record_batch(self, batch: Batch) -> pa.RecordBatch:
        """Return the rows of a batch."""
        return self._sources[batch.table].record_batch(batch)


def _mapped(path: Path) -> pa.Table:
    with pa.memory_map(str(path)) as source:
        return pa.ipc.open_stream(source).read_all()


def _dealt(rows: int, seed: int) -> list[Batch]:
    """Cut the rows of the source into batches of varying size."""
    edges = [0, *sorted(random.Random(f"{seed} batches").sample(range(1, rows), BATCHES - 1)), rows]
    return [Batch(MAIN, index, start, end - start) for index, (start, end) in enumerate(pairwise(edges))]


def _in_turn(table: str, sizes: Sequence[int]) -> list[Batch]:
    starts = [0, *accumulate(sizes)]
    return [Batch(table, index, start, size) for index, (start, size) in enumerate(zip(starts, sizes, strict=False))]
