"""The reference engine's tables by models: real temperatures under error bounds, one table for each kind of bound.

A batch is the temperatures of two stations over some hours. Items are ``[TABLE, NUMBER]``. After a crash, a batch comes back
once: every time exactly, every value within its table's bound. Whether a value was compressed before the crash or replayed
and compressed after it, the bound is the same, and equality would be a false alarm.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import pyarrow as pa
import pyarrow.dataset  # pyarrow.parquet would import it in every child anew
import pyarrow.parquet as pq

from crashmatrix.reference_wal import EngineOptions, StorageEngine
from crashmatrix.reference_wal.models.bound import LOSSLESS, Bound, absolute, relative
from crashmatrix.scenarios.errors import PromiseBroken
from crashmatrix.scenarios.systems.reference.folder import undated
from crashmatrix.scenarios.target.journal import Item, Journal
from crashmatrix.scenarios.target.system import SystemUnderTest

__all__ = ["TABLES", "ModelsEngine", "batch_of", "batches_within"]

DATA = Path(__file__).parents[2] / "data" / "hourly_temperatures.parquet"
SCHEMA = pa.schema(
    [
        pa.field("timestamp", pa.timestamp("us"), nullable=False),
        pa.field("station", pa.string(), nullable=False),
        pa.field("temperature", pa.float64(), nullable=False),
    ]
)
TABLES = {"exact": LOSSLESS, "near": absolute(1.5), "close": relative(2.0)}
"""The tables, and the bound of each one's temperatures."""

_HOURS, _EACH, _LATER = 24, 6, 2
_OPTIONS = EngineOptions(
    segment_bytes_max=4 * 1024, generation_bytes_max=5 * 1024, memory_bytes_max=3 * 1024, checkpoint_commits=2
)
_FLUSHED_AFTER = (2, 4)
"""Rounds after which everything is committed."""


class ModelsEngine(SystemUnderTest):
    """The reference engine, whose tables are compressed by models."""

    contract = "exactly-once"
    boundaries: ClassVar[Sequence[str]] = ("compress.",)
    unreached: ClassVar[Sequence[str]] = (
        *(
            "wal.persist.",
            "wal.remove_table.",
            "drop.",
            "transfer.",
            "engine.truncate.",
            "engine.drop.",
            "engine.transfer.",
        ),
        *(
            "recovery.",
            "rows.",
            "orphan.",
            "delta.create.",
            "wal.create_table.",
            "spill.",
            "wal.retire.",
            "checkpoint.",
        ),
        *("options.", "engine.options.", "engine.switch.", "engine.finish.", "engine.save.", "engine.idle."),
        *(f"wal.rotate.{side}_{step}" for side in ("before", "after") for step in ("truncate", "sync_cut")),
    )  # The other targets of the engine pass them.
    stable_recovery = True

    def prepare(self, root: Path) -> Sequence[Item]:
        """Make the tables."""
        with self._open(root) as engine:
            for table, bound in TABLES.items():
                bounds = {"temperature": bound} if bound.size else {}
                engine.create_table(table, SCHEMA, timestamp="timestamp", tags=["station"], bounds=bounds)
        return []

    def _open(self, root: Path) -> StorageEngine:
        return StorageEngine.open(root, options=_OPTIONS)

    def workload(self, root: Path, journal: Journal) -> None:
        """Store the batches of each table in turn; on the way, restart without a flush."""
        rounds = list(range(_EACH - _LATER))
        for session in (rounds[:3], rounds[3:]):
            with self._open(root) as engine:
                self._store(engine, journal, session)

    def resume(self, root: Path, journal: Journal) -> None:
        """Store the rest."""
        with self._open(root) as engine:
            self._store(engine, journal, range(_EACH - _LATER, _EACH))

    def _store(self, engine: StorageEngine, journal: Journal, rounds: Sequence[int]) -> None:
        for number in rounds:
            for table in TABLES:
                with journal.attempt([table, number]):
                    engine.ingest(table, batch_of(number))
            if number + 1 in _FLUSHED_AFTER:
                engine.flush()

    def recover(self, root: Path) -> Sequence[Item]:
        """Open the engine; return the batches of each table, which are within its bound."""
        with self._open(root) as engine:
            return [
                [table, number]
                for table, bound in TABLES.items()
                for number in batches_within(engine.read(table), bound, table)
            ]

    def fingerprint(self, root: Path) -> str:
        """Digest the folder without what is dated or drawn at random."""
        digest = hashlib.blake2b(digest_size=12)
        for path in sorted(root.rglob("*")):
            content = undated(path) if path.is_file() and "_delta_log" in path.parts else b""
            digest.update(f"{path.name.partition('-')[0]} {len(content)}\n".encode())
        return digest.hexdigest()


def batch_of(number: int) -> pa.RecordBatch:
    """Return the rows of batch ``number``, of both stations."""
    rows = pq.read_table(DATA).select(SCHEMA.names)
    half = rows.num_rows // 2
    parts = [rows.slice(start + number * _HOURS, _HOURS) for start in (0, half + 7)]
    return pa.concat_tables(parts).cast(SCHEMA).combine_chunks().to_batches()[0]


def batches_within(rows: pa.Table, bound: Bound, where: str) -> list[int]:
    """Return the batches that these rows are, each as often as it is there. Raises PromiseBroken."""
    found: dict[tuple[object, object], list[float]] = {}
    for row in rows.to_pylist():
        found.setdefault((row["station"], row["timestamp"]), []).append(row["temperature"])
    numbers = []
    for number in range(_EACH):
        stored = batch_of(number).to_pylist()
        values = [found.pop((row["station"], row["timestamp"]), []) for row in stored]
        times = {len(some) for some in values}
        if len(times) > 1:
            raise PromiseBroken("loses" if 0 in times else "duplicate", f"{where}: batch {number} is there in part")
        for row, some in zip(stored, values, strict=True):
            if not all(bound.holds(row["temperature"], value) for value in some):
                raise PromiseBroken("corrupt", f"{where}: {some} came back for {row['temperature']}, beyond {bound}")
        numbers += [number] * times.pop()
    if found:
        raise PromiseBroken("phantom", f"{where}: rows that nobody stored: {sorted(map(str, found))[:3]}")
    return numbers
