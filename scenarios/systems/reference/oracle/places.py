"""The places of batches after a recovery: in Delta, in the log, in receiving tables, each looked at past the engine."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from pathlib import Path

import duckdb
import pyarrow as pa

from crashmatrix.reference_wal import StorageEngine
from crashmatrix.reference_wal.log.persisted import PERSISTED
from crashmatrix.scenarios.errors import PromiseBroken
from crashmatrix.scenarios.systems.reference.data import ROW, Batch, DataSet, Source
from crashmatrix.scenarios.systems.reference.living import same_batch
from crashmatrix.scenarios.systems.reference.operations import ARCHIVE
from crashmatrix.scenarios.systems.reference.outcomes import outcomes
from crashmatrix.scenarios.systems.reference.rows.files import DeltaFile, check_commit, files_in, read_file
from crashmatrix.scenarios.target.journal import Promises, item_key

__all__ = ["archived", "check_places", "committed", "logged_batch"]

_DUCKDB = duckdb.connect(config={"threads": 1, "async_threads": 0})
"""Connected once, before the checkers are forked, each of which would spend 20 ms on it; without threads, it survives a fork."""

_WHOLE, _BY_DUCKDB = 3, 6
"""One in so many files is read whole past the engine, and one in so many folders by DuckDB."""


def logged_batch(source: Source, table: str, batch_id: int, batch: pa.RecordBatch) -> list[Batch]:
    """Return the batch that a logged one is; nothing if it has no rows."""
    found = source.batches_in(pa.Table.from_batches([batch]), f"{table}, batch {batch_id} of the log")
    if len(found) != bool(batch.num_rows) or not all(same_batch(source, one, batch) for one in found):
        raise PromiseBroken("corrupt", f"{table}: batch {batch_id} of the log is none that was appended")
    return found


def committed(engine: StorageEngine, source: Source, table: str) -> list[Batch]:
    """Return the batches in a table's Parquet files, as deltalake and Arrow find them.

    Every file's counts and numbers of rows are read. All of it is in one file of `_WHOLE`, and by DuckDB in one folder of
    `_BY_DUCKDB`, drawn by their names: `recover` has compared every value that the engine returned.
    """
    files = files_in(engine.root / "tables" / table, table)
    if sorted(file.path for file in files) != engine.files(table):
        raise PromiseBroken("corrupt", f"{table}: the engine names other files than its Delta log")
    numbers = [read_file(file, (), table, only=[ROW])[ROW] for file in files]
    found = source.whole_batches(pa.chunked_array([part for one in numbers for part in one.chunks], pa.int64()), table)
    _batches_in([file for file in files if _drawn(file.path.name, _WHOLE)], source, table)
    if files and _drawn("".join(file.path.name for file in files), _BY_DUCKDB):
        rows = _DUCKDB.read_parquet([str(file.path) for file in files]).order(ROW).to_arrow_table()
        if source.batches_in(rows, f"{table}, read by DuckDB", other_reader=True) != found:
            raise PromiseBroken("corrupt", f"{table}: DuckDB reads other batches than Arrow")
    return found


def _drawn(name: str, one_in: int) -> bool:
    return zlib.crc32(name.encode()) % one_in == 0


def _batches_in(files: Sequence[DeltaFile], source: Source, where: str) -> list[Batch]:
    rows = [read_file(file, [*source.tags, source.timestamp], where) for file in files]
    return source.batches_in(pa.concat_tables(rows), where, other_reader=True) if rows else []


def check_places(engine: StorageEngine, source: Source, table: str, promises: Promises, *, logged: bool) -> None:
    """Raise PromiseBroken unless the log, if there is one, holds exactly the acknowledged batches that Delta does not, byte-equal
    and in order.
    """
    in_delta = committed(engine, source, table)
    if not logged:
        return
    if (engine.root / "wal" / table / PERSISTED).exists():
        raise PromiseBroken(
            "corrupt", f"{table}: its log notes persisted batches, which Delta does for an engine's log"
        )
    in_the_log = engine.unpersisted(table)
    in_log = [one for batch_id, batch in in_the_log for one in logged_batch(source, table, batch_id, batch)]
    found = [batch.item for batch in (*in_delta, *in_log)]
    possible = [outcome.get(table, []) for outcome in outcomes(promises)]
    if found not in possible:
        keys = ", ".join(item_key(batch.item) for batch in in_log)
        verdict = "reordered" if sorted(found) in map(sorted, possible) else "duplicate"
        raise PromiseBroken(
            verdict, f"{table}: Delta holds {len(in_delta)} batches and the log, to be replayed, {keys or 'none'}"
        )
    ids = [batch_id for batch_id, _ in in_the_log]
    if ids != sorted(set(ids)):
        raise PromiseBroken("reordered", f"{table}: the log's ids are out of order: {ids}")


def archived(root: Path, data: DataSet) -> list[Batch]:
    """Return the batches in the receiving tables, by the files that deltalake names."""
    found = list[Batch]()
    for log in sorted((root / ARCHIVE).rglob("_delta_log")):
        path = log.relative_to(root / ARCHIVE).parent
        if not any(part.startswith(".") for part in path.parts):
            where = f"{ARCHIVE}/{path}"
            for commit in log.glob("[0-9]*.json"):
                check_commit(commit, where)
            found += _batches_in(files_in(log.parent, where), data.source(path.parts[0]), where)
    return found
