"""The table that overlapping calls share: its batches, and how they are found again."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from deltalake import DeltaTable

from crashmatrix.reference_wal import StorageEngine
from crashmatrix.scenarios.errors import PromiseBroken

__all__ = ["LARGE", "SCHEMA", "SMALL", "TABLE", "batch_of", "batches_in", "files_in", "moved_in", "numbers_in"]

TABLE = "shared"
SMALL, LARGE = 2, 400
"""Rows of a batch; a large one makes the buffers spill."""

SCHEMA = pa.schema(
    [("number", pa.int64()), ("at", pa.timestamp("us")), ("name", pa.dictionary(pa.int8(), pa.string()))]
)


def batch_of(number: int, rows: int) -> pa.RecordBatch:
    """Return batch ``number``."""
    columns = [pa.array([number] * rows), pa.array(range(rows), SCHEMA.field("at").type)]
    names = pa.array([f"n{number}"] * rows, SCHEMA.field("name").type)
    return pa.RecordBatch.from_arrays([*columns, names], schema=SCHEMA)


def numbers_in(rows: pa.Table) -> list[int]:
    """Return the batches in these rows, one as often as it is there. Raises PromiseBroken: not whole, or not as it was."""
    found = list[int]()
    for number in sorted(set(rows["number"].to_pylist())):
        mine = rows.filter(pc.equal(rows["number"], number))
        size = SMALL if mine.num_rows % LARGE else LARGE
        if mine.num_rows % size or set(mine["name"].to_pylist()) != {f"n{number}"}:
            raise PromiseBroken("corrupt", f"{mine.num_rows} rows of batch {number}, {set(mine['name'].to_pylist())}")
        found += [number] * (mine.num_rows // size)
    return found


def files_in(root: Path) -> dict[str, tuple[int, int]]:
    """Return the length of each file, and when it was changed last."""
    found = {path: path.stat() for path in root.rglob("*")}
    return {str(path.relative_to(root)): (stat.st_size, stat.st_mtime_ns) for path, stat in found.items()}


def batches_in(engine: StorageEngine) -> list[int] | None:
    """Return the batches of the table; None if there is none."""
    return numbers_in(engine.read(TABLE)) if TABLE in engine.tables else None


def moved_in(archive: Path, known: dict[str, list[int]]) -> list[int]:
    """Return the batches in the receiving table. Files that are ``known`` are not read again: a name is a content's."""
    if not (archive / "_delta_log").exists():
        return []
    names = pa.table(DeltaTable(archive).get_add_actions())["path"].to_pylist()
    for name in names:
        if name not in known:
            known[name] = numbers_in(pq.read_table(archive / name, partitioning=None))
    return [number for name in names for number in known[name]]
