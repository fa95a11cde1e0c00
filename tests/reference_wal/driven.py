"""The reference engine, and its log, as `CrashStateMachine` drives them: each operation and each question has a name."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.dataset  # pyarrow.parquet would import it in every child anew
import pyarrow.parquet as pq
from deltalake import DeltaTable

from crashmatrix.reference_wal import EngineOptions, StorageEngine, WriteAheadLog
from crashmatrix.scenarios.systems.delta_files import delta_files
from crashmatrix.scenarios.systems.reference.mutation.mutants import mutant
from crashmatrix.scenarios.target.journal import Item

__all__ = ["DrivenEngine", "DrivenLog"]

SCHEMA = pa.schema([("timestamp", pa.int64()), ("station", pa.string()), ("batch", pa.int64())])
STATIONS = ("north", "south", "east")
OPTIONS = EngineOptions(
    segment_bytes_max=3_000, generation_bytes_max=500, memory_bytes_max=250, checkpoint_commits=3
)  # Commits, checkpoints and spills within a few batches.


def rows_of(number: int) -> pa.RecordBatch:
    """Return batch ``number``: a row for each station, so that it is spread over several buffers."""
    times = range(number * len(STATIONS), (number + 1) * len(STATIONS))
    columns = [pa.array(times), pa.array(STATIONS), pa.array([number] * len(STATIONS))]
    return pa.RecordBatch.from_arrays(columns, schema=SCHEMA)


def batches_in(rows: pa.Table | pa.RecordBatch) -> list[str | int]:
    """Return the numbers of the batches, one as often as it is there whole; what is not whole is named by a text."""
    found = Counter(rows["batch"].to_pylist())
    whole: list[str | int] = []
    for number, count in sorted(found.items()):
        times, rest = divmod(count, len(STATIONS))
        whole += [number] * times
        whole += [f"{rest} rows of {number}"] * bool(rest)
    return whole


def archived(folder: Path) -> list[str | int]:
    """Return what a receiving table holds, as `batches_in`; nothing if it is not made yet."""
    if not DeltaTable.is_deltatable(str(folder)):
        return []
    files = delta_files(folder)
    return batches_in(pa.concat_tables([SCHEMA.empty_table(), *(pq.read_table(file, schema=SCHEMA) for file in files)]))


class DrivenEngine:
    """The engine, with a planted bug if one is named, and a budget for compressed rows that wait."""

    def __init__(self, root: Path, *, bug: str = "", compressed_bytes_max: int = 0) -> None:
        if bug:
            mutant(bug).plant()
        self._root, self._options = root, replace(OPTIONS, compressed_bytes_max=compressed_bytes_max)
        self._open()

    def _open(self) -> None:
        self._engine = StorageEngine.open(self._root, options=self._options)

    def create(self, table: str) -> None:
        self._engine.create_table(table, SCHEMA, timestamp="timestamp", tags=["station"])

    def ingest(self, table: str, number: int) -> int:
        return self._engine.ingest(table, rows_of(number))

    def flush(self) -> None:
        self._engine.flush()

    def truncate(self, table: str) -> None:
        self._engine.truncate(table)

    def drop(self, table: str) -> None:
        self._engine.drop_table(table)

    def transfer(self, table: str) -> None:
        self._engine.flush()
        self._engine.transfer(table, self._root / "archive" / table)

    def reopen(self) -> None:
        self._engine.close()
        self._open()

    def items(self) -> list[Item]:
        here = [[table, batches_in(self._engine.read(table))] for table in self._engine.tables]
        return here + [[f"archive/{folder.name}", archived(folder)] for folder in (self._root / "archive").glob("*")]


class DrivenLog:
    """The log by itself."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._open()

    def _open(self) -> None:
        self._log = WriteAheadLog(self._root, segment_bytes_max=2_000, preallocate_bytes=0)

    def create(self, table: str) -> None:
        self._log.create_table_log(table, SCHEMA)

    def append(self, table: str, number: int) -> int:
        return self._log.append(table, rows_of(number))

    def mark(self, table: str, ids: list[int]) -> None:
        self._log.mark_persisted(table, ids)

    def rotate(self, table: str) -> None:
        self._log.log(table).rotate()

    def threshold(self, table: str, segment_bytes_max: int) -> None:
        self._log.log(table).segment_bytes_max = segment_bytes_max

    def truncate(self, table: str) -> None:
        self._log.truncate(table)

    def remove(self, table: str) -> None:
        self._log.remove_table_log(table)

    def reopen(self) -> None:
        self._log.close()
        self._open()

    def items(self) -> list[Item]:
        return [
            [table, [[number, *batches_in(batch)] for number, batch in self._log.unpersisted(table)]]
            for table in self._log.tables
        ]
