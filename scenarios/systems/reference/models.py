"""The reference engine's tables by models: real temperatures under error bounds, one table for each kind of bound; and rows that
sensors do not send (`rows.uneven`).

A batch is the temperatures of two stations over some hours. Items are ``[TABLE, NUMBER]``. After a crash, a batch comes back
once: every time exactly, every value within its table's bound. Whether a value was compressed before the crash or replayed
and compressed after it, the bound is the same, and equality would be a false alarm.
"""

from __future__ import annotations

import hashlib
import math
import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import pyarrow as pa
import pyarrow.dataset  # pyarrow.parquet would import it in every child anew
import pyarrow.parquet as pq

from crashmatrix.reference_wal import EngineOptions, StorageEngine
from crashmatrix.reference_wal.models.bound import LOSSLESS, Bound, absolute, relative
from crashmatrix.scenarios.errors import PromiseBroken
from crashmatrix.scenarios.systems.reference.folder import undated
from crashmatrix.scenarios.systems.reference.notes import noting
from crashmatrix.scenarios.systems.reference.oracle.apart.first_run import in_first_run
from crashmatrix.scenarios.systems.reference.oracle.apart.remote_tables import move_to_a_store
from crashmatrix.scenarios.systems.reference.oracle.apart.tampered_tables import judge_tampered_tables
from crashmatrix.scenarios.systems.reference.oracle.apart.unchecked_files import read_unchecked
from crashmatrix.scenarios.systems.reference.oracle.damage import refuse_damage
from crashmatrix.scenarios.systems.reference.outcomes import LogContract
from crashmatrix.scenarios.systems.reference.rows.exact import plain
from crashmatrix.scenarios.systems.reference.rows.uneven import (
    UNEVEN_BOUNDS,
    UNEVEN_SCHEMA,
    UNEVEN_TAGS,
    uneven_batch,
)
from crashmatrix.scenarios.target.journal import Item, Journal
from crashmatrix.scenarios.target.system import SystemUnderTest

__all__ = ["TABLES", "UNEVEN", "Kept", "ModelsEngine", "batch_of", "batches_within"]

DATA = Path(__file__).parents[2] / "data" / "hourly_temperatures.parquet"
SCHEMA = pa.schema(
    [
        pa.field("timestamp", pa.timestamp("us"), nullable=False),
        pa.field("station", pa.string(), nullable=False),
        pa.field("temperature", pa.float64(), nullable=False),
    ]
)


@dataclass(frozen=True)
class Kept:
    """How a table is made, the bound of each column that has one, and its batches."""

    schema: pa.Schema
    tags: list[str]
    bounds: Mapping[str, Bound]
    batch_of: Callable[[int], pa.RecordBatch]


_TIME = "timestamp"
_HOURS, _EACH, _LATER = 24, 6, 2
_OPTIONS = EngineOptions(
    segment_bytes_max=4 * 1024, generation_bytes_max=5 * 1024, memory_bytes_max=3 * 1024, checkpoint_commits=2
)
_FLUSHED_AFTER = (2, 4)
"""Rounds after which everything is committed."""


class ModelsEngine(SystemUnderTest):
    """The reference engine, whose tables are compressed by models."""

    failpoints_suffice = True
    contract = LogContract()
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
            for table, kept in TABLES.items():
                engine.create_table(table, kept.schema, timestamp=_TIME, tags=kept.tags, bounds=kept.bounds)
        return []

    def _open(self, root: Path) -> StorageEngine:
        return StorageEngine.open(root, options=_OPTIONS)

    def workload(self, root: Path, journal: Journal) -> None:
        """Store the batches of each table in turn; on the way, restart without a flush."""
        rounds = list(range(_EACH - _LATER))
        for session in (rounds[:3], rounds[3:]):
            with self._open(root) as engine:
                self._store(engine, journal, session)
        with noting(journal):
            damaged = partial(refuse_damage, root, self._read, self.seed)
            in_first_run(self.workspace, damaged, move_to_a_store, read_unchecked, judge_tampered_tables)

    def resume(self, root: Path, journal: Journal) -> None:
        """Store the rest."""
        with self._open(root) as engine:
            self._store(engine, journal, range(_EACH - _LATER, _EACH))

    def _store(self, engine: StorageEngine, journal: Journal, rounds: Sequence[int]) -> None:
        for number in rounds:
            for table, kept in TABLES.items():
                with journal.attempt([table, number]):
                    engine.ingest(table, kept.batch_of(number))
            if number + 1 in _FLUSHED_AFTER:
                engine.flush()

    def recover(self, root: Path) -> Sequence[Item]:
        """Open the engine; return the batches of each table, which are within its bounds."""
        with self._open(root) as engine:
            return [
                [table, number]
                for table, kept in TABLES.items()
                for number in batches_within(engine.read(table), kept, table)
            ]

    def _read(self, root: Path, opened: Callable[[], None]) -> list[list[pa.Buffer]]:
        """Return the rows of each table, to the bit."""
        with self._open(root) as engine:
            opened()
            return [[part.serialize() for part in engine.read(table).combine_chunks().to_batches()] for table in TABLES]

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


def batches_within(rows: pa.Table, kept: Kept, where: str) -> list[int]:
    """Return the batches that these rows are, each as often as it is there. Raises PromiseBroken."""
    if not rows.schema.equals(kept.schema):
        raise PromiseBroken("corrupt", f"{where}: rows came back with another schema: {rows.schema}")
    keys = [*kept.tags, _TIME]
    found: dict[tuple[object, ...], list[dict[str, Any]]] = {}
    for row in _bits(rows):
        found.setdefault(tuple(row[key] for key in keys), []).append(row)
    numbers = []
    for number in range(_EACH):
        stored = _bits(pa.Table.from_batches([kept.batch_of(number)]))
        those = [found.pop(tuple(row[key] for key in keys), []) for row in stored]
        times = {len(some) for some in those}
        if len(times) > 1:
            raise PromiseBroken("loses" if 0 in times else "duplicate", f"{where}: batch {number} is there in part")
        for row, some in zip(stored, those, strict=True):
            for one in some:
                _compare(row, one, kept, where)
        numbers += [number] * times.pop()
    if found:
        raise PromiseBroken("phantom", f"{where}: rows that nobody stored: {sorted(map(str, found))[:3]}")
    return numbers


def _bits(rows: pa.Table) -> list[dict[str, Any]]:
    """Return rows whose floats are the integers of their bits, and whose times are integers, which no calendar limits."""
    rows = plain(rows)
    time = rows.schema.get_field_index(_TIME)
    rows = rows.set_column(time, _TIME, rows[_TIME].cast(pa.int64()))
    found: list[dict[str, Any]] = rows.to_pylist()
    return found


def _compare(stored: dict[str, Any], found: dict[str, Any], kept: Kept, where: str) -> None:
    for name in stored.keys() - {*kept.tags, _TIME}:
        bound = kept.bounds.get(name, LOSSLESS)
        if stored[name] == found[name]:
            continue
        before, after = (_float(row[name], kept.schema.field(name).type) for row in (stored, found))
        if not _is_within(before, after, bound):
            raise PromiseBroken("corrupt", f"{where}: {after} came back for {before}, beyond {bound}")


def _float(bits: int, kind: pa.DataType) -> float:
    form = "<i", "<f"
    if pa.types.is_float64(kind):
        form = "<q", "<d"
    return float(struct.unpack(form[1], struct.pack(form[0], bits))[0])


def _is_within(stored: float, found: float, bound: Bound) -> bool:
    """Whether another value than the stored one may come back: computed exactly, and not by the engine, which may be wrong."""
    if bound.kind == "lossless" or not (math.isfinite(stored) and math.isfinite(found)):
        return False
    allowed = Fraction(bound.size)
    if bound.kind == "relative":
        allowed *= abs(Fraction(stored)) / 100
    return 0 < allowed >= abs(Fraction(found) - Fraction(stored))


def _temperatures(**bounds: Bound) -> Kept:
    return Kept(SCHEMA, ["station"], bounds, batch_of)


UNEVEN = "uneven"
TABLES = {
    "exact": _temperatures(),
    "near": _temperatures(temperature=absolute(1.5)),
    "close": _temperatures(temperature=relative(2.0)),
    UNEVEN: Kept(UNEVEN_SCHEMA, UNEVEN_TAGS, UNEVEN_BOUNDS, uneven_batch),
}
"""The tables."""
