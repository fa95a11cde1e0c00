"""How bugs are planted: each function here turns one step of the reference engine into a wrong one. `mutants` is the table."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa

from crashmatrix.reference_wal import durable_io
from crashmatrix.reference_wal.buffers import Generation, RowBuffer
from crashmatrix.reference_wal.delta.commit import DeltaStore
from crashmatrix.reference_wal.delta.compressed_buffer import Compressed
from crashmatrix.reference_wal.delta.compression import compress
from crashmatrix.reference_wal.delta.dictionaries import decoded
from crashmatrix.reference_wal.log import recovery
from crashmatrix.reference_wal.log.segment_writer import SegmentWriter
from crashmatrix.reference_wal.log.segmented_log import SegmentedLog
from crashmatrix.reference_wal.log.segments.active_segment import ActiveSegment
from crashmatrix.reference_wal.log.unrecovered import UnrecoveredLog
from crashmatrix.reference_wal.options import EngineOptions

__all__ = [
    "after",
    "any_order",
    "backwards",
    "change",
    "commit",
    "forget_replayed",
    "held_back",
    "ids_from_zero",
    "in_parts",
    "left_torn",
    "leftover_dropped",
    "log_first",
    "next_before_closed",
    "nothing",
    "one_too_high",
    "persisted_first",
    "settle",
    "together",
    "trusting",
    "without_marker_then_marker",
    "write_held",
]


def change(owner: Any, name: str, make: Callable[[Any], Any]) -> Callable[[], None]:
    """Return a function that replaces ``owner.name`` by ``make(what it was)``."""

    def plant() -> None:
        setattr(owner, name, make(getattr(owner, name)))

    return plant


def together(*plants: Callable[[], None]) -> Callable[[], None]:
    """Return a function that plants all of these."""

    def plant() -> None:
        for part in plants:
            part()

    return plant


def held_back(_: Any) -> Any:
    """Keep each record in memory until the next one comes."""

    def write(self: ActiveSegment, parts: Sequence[Any], **_: Any) -> float:
        write_held(self)
        self._held = parts, self.end_bytes  # type: ignore[attr-defined]
        self.end_bytes += sum(map(len, parts))
        return 0.0

    return write


def write_held(segment: ActiveSegment) -> None:
    """Write the record held back."""
    if segment.is_open and hasattr(segment, "_held"):
        durable_io.write_at(segment._fd, *segment._held)
        del segment._held


def after(step: Callable[[Any], None]) -> Callable[[Any], Any]:
    """Return a maker of methods that do ``step(self)`` first, then what was there."""

    def make(original: Any) -> Any:
        def method(self: Any, *args: Any, **kwargs: Any) -> Any:
            step(self)
            return original(self, *args, **kwargs)

        return method

    return make


def persisted_first(__: Any) -> Any:
    """Mark batches persisted before Delta has them."""

    def flush(self: Any, _: EngineOptions) -> None:
        if generation := self.buffers.seal():
            self.log.mark_persisted(generation.batch_ids)
            commit(self, generation)
            settle(self, generation)

    return flush


def in_parts(__: Any) -> Any:
    """Commit each series by itself, each with the marker."""

    def flush(self: Any, _: EngineOptions) -> None:
        if generation := self.buffers.seal():
            for number, part in enumerate(_series(generation.rows(), self.store.properties.tags)):
                commit(self, replace(generation, lo=generation.lo + number, batches=part, spills=[]))
            self.log.mark_persisted(generation.batch_ids)
            settle(self, generation)

    return flush


def _series(rows: pa.Table, tags: list[str]) -> list[list[pa.RecordBatch]]:
    """Return the rows of each series; one batch without rows if there are none."""
    found: dict[tuple[object, ...], list[int]] = {}
    for place, key in enumerate(zip(*(rows[tag].to_pylist() for tag in tags), strict=True)):
        found.setdefault(key, []).append(place)
    if not rows.num_rows or not tags:
        return [rows.to_batches() or [pa.record_batch([[] for _ in rows.schema], schema=rows.schema)]]
    return [decoded(rows).take(places).to_batches() for places in found.values()]


def commit(table: Any, generation: Generation) -> None:
    """Compress and commit one generation."""
    properties = table.store.properties
    parquet, rows = compress(generation, timestamp=properties.timestamp, tags=properties.tags)
    table.store.commit([Compressed.of(generation, parquet, rows)], application=table.application)


def settle(table: Any, generation: Generation) -> None:
    """Do what comes after a commit."""
    table._files = table.store.names()
    table.spills.remove(generation.spills)


def without_marker_then_marker(original: Any) -> Any:
    """Commit the rows first, the marker after them."""

    def commit(self: DeltaStore, parts: Sequence[Compressed], *, application: str) -> None:
        original(self, parts, application="nobody")
        self._transact("WRITE", [], [], application, parts[-1].hi)

    return commit


def one_too_high(original: Any) -> Any:
    """Commit a marker one too high."""

    def transact(self: DeltaStore, operation: str, actions: Any, ids: Any, application: str, number: int) -> None:
        original(self, operation, actions, ids, application, number + 1)

    return transact


def trusting(_: Any) -> Any:
    """Take what is persisted without checking that the rest is there."""

    def reconcile(self: UnrecoveredLog, persisted_through: int = -1) -> SegmentedLog:
        log = self._recover()
        log.mark_persisted(range(min(persisted_through + 1, log.next_id)))
        return log

    return reconcile


def ids_from_zero(original: Any) -> Any:
    """Begin ids at 0 again where no closed segment is left."""

    def writer(self: UnrecoveredLog) -> SegmentWriter:
        leftover = self._plan.resumable
        if leftover is None or self._plan.closed:
            return original(self)  # type: ignore[no-any-return]
        leftover.path.unlink()
        return SegmentWriter.create(self._log, self._sizes, 0)

    return writer


def backwards(original: Any) -> Any:
    """Replay from the end."""

    def unpersisted(self: SegmentedLog) -> Iterator[tuple[int, pa.RecordBatch]]:
        yield from reversed(list(original(self)))

    return unpersisted


def any_order(original: Any) -> Any:
    """Buffer batches in whatever order they come."""

    def insert(self: RowBuffer, batch_id: int, batch: pa.RecordBatch) -> None:
        begun, lo, next_id = self._lo is not None, self._lo, self.next_id
        self.next_id = batch_id
        original(self, batch_id, batch)
        if begun:
            self._lo, self.next_id = min(lo or 0, batch_id), max(next_id, batch_id + 1)

    return insert


def forget_replayed(original: Any) -> Any:
    """Mark what was just replayed into memory as persisted."""

    def recover(self: Any, marker: int) -> None:
        original(self, marker)
        self.log.mark_persisted(range(self.log.oldest_id, self.log.next_id))

    return recover


def log_first(_: Any) -> Any:
    """Truncate the log before Delta."""

    def truncate(self: Any) -> None:
        hi = self.log.next_id - 1
        spills = self.buffers.clear()
        self.log.truncate()
        self.store.clear(hi, application=self.application)
        self._files = self.store.names()
        self.spills.remove(spills)
        self.store.remove_orphans()

    return truncate


def left_torn(original: Any) -> Any:
    """Close a leftover segment, torn record and all."""

    def settle(folder: Path, plan: recovery.Plan, leftover: recovery.FoundFile) -> None:
        assert leftover.scan is not None
        uncut = replace(leftover.scan, damage=None, size_bytes=leftover.scan.good_bytes)
        original(folder, plan, replace(leftover, scan=uncut))

    return settle


def leftover_dropped(original: Any) -> Any:
    """Delete the leftover active segment."""

    def apply(folder: Path, plan: recovery.Plan) -> None:
        if plan.leftover is not None and plan.closed:
            plan.leftover.path.unlink()
            plan.leftover = None
        original(folder, plan)

    return apply


def next_before_closed(_: Any) -> Any:
    """Start the next segment before closing the full one."""

    def rotate(self: SegmentedLog) -> None:
        writer = self._usable()
        before, last_id = writer.active, writer.next_id - 1
        writer.start()
        self._retention.closed.append(before.finish(last_id))

    return rotate


def nothing(_: Any) -> Any:
    """Do nothing."""

    def method(*_: Any, **__: Any) -> None:
        return None

    return method
