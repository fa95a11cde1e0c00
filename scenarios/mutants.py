"""Planted bugs: the reference engine, broken on purpose, one table row each. ``crashmatrix run reference+NAME`` runs one.

A harness that misses one of these is not to be trusted; `crashmatrix mutants` runs them all. Each bug is planted in the
processes that run the engine, by replacing the step that it breaks.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow as pa

from reference_wal import delta_commit, durable_io, engine, recovery, segmented_log
from reference_wal.buffers import Generation, SeriesBuffers
from reference_wal.compression import compress
from reference_wal.delta_commit import DeltaStore
from reference_wal.segment import SegmentName
from reference_wal.segmented_log import SegmentedLog
from scenarios.errors import UsageError

__all__ = ["MUTANTS", "Mutant", "mutant"]

Table: Any = engine._Table


@dataclass(frozen=True)
class Mutant:
    """One planted bug. ``experiments`` are those that may find it."""

    name: str
    broken: str
    plant: Callable[[], None]
    experiments: tuple[str, ...] = ("kill",)


def mutant(name: str) -> Mutant:
    """Return the planted bug of that name. Raises UsageError."""
    if name not in MUTANTS:
        raise UsageError(f"no planted bug {name!r}; `crashmatrix mutants --list` names them")
    return MUTANTS[name]


def _change(owner: Any, name: str, make: Callable[[Any], Any]) -> Callable[[], None]:
    """Return a function that replaces ``owner.name`` by ``make(what it was)``."""

    def plant() -> None:
        setattr(owner, name, make(getattr(owner, name)))

    return plant


def _all(*plants: Callable[[], None]) -> Callable[[], None]:
    def plant() -> None:
        for part in plants:
            part()

    return plant


def _held_back(_: Any) -> Any:
    def write_record(self: SegmentedLog, batch: pa.RecordBatch) -> None:
        _write_held(self)
        record = self._encoder.encode(self.next_id, batch, self._active_bytes)
        self._held = record  # type: ignore[attr-defined]
        self._active_bytes += len(record)

    return write_record


def _write_held(log: SegmentedLog) -> None:
    if log._fd < 0:
        return
    durable_io.write_all(log._fd, getattr(log, "_held", b""))
    log._held = b""  # type: ignore[attr-defined]


def _after(step: Callable[[Any], None]) -> Callable[[Any], Any]:
    """Do ``step(self)`` first, then what was there."""

    def make(original: Any) -> Any:
        def method(self: Any, *args: Any, **kwargs: Any) -> Any:
            step(self)
            return original(self, *args, **kwargs)

        return method

    return make


def _persisted_first(__: Any) -> Any:
    def flush(self: Any, _: engine.EngineOptions) -> None:
        if generation := self.buffers.seal():
            self.log.mark_persisted(generation.batch_ids)
            _commit(self, generation)

    return flush


def _in_parts(__: Any) -> Any:
    def flush(self: Any, _: engine.EngineOptions) -> None:
        if generation := self.buffers.seal():
            for number, (key, rows) in enumerate(generation.series.items()):
                _commit(self, Generation(generation.lo + number, generation.hi, {key: rows}))
            self.log.mark_persisted(generation.batch_ids)

    return flush


def _commit(table: Any, generation: Generation) -> None:
    parquet, rows = compress(generation, timestamp=table.store.timestamp, tags=table.store.tags)
    table.store.commit(generation, parquet, rows, application=table.application)


def _without_marker_then_marker(original: Any) -> Any:
    def commit(self: DeltaStore, generation: Generation, parquet: pa.Buffer, rows: int, *, application: str) -> None:
        original(self, generation, parquet, rows, application="nobody")
        self._transact([], "append", [], application, generation.hi)

    return commit


def _one_too_high(original: Any) -> Any:
    def transact(self: DeltaStore, actions: Any, mode: str, batch_ids: Any, application: str, hi: int) -> None:
        original(self, actions, mode, batch_ids, application, hi + 1)

    return transact


def _trusting(_: Any) -> Any:
    """Take what is persisted without checking that the rest is there."""

    def reconcile(self: SegmentedLog, persisted_through: int) -> None:
        self.mark_persisted(range(self.oldest_id, min(persisted_through + 1, self.next_id)))

    return reconcile


def _ids_from_zero(_: Any) -> Any:
    def resume(self: SegmentedLog, leftover: recovery.Found) -> None:
        leftover.path.unlink()
        self.next_id = 0 if not self._closed else self.next_id
        self._start_segment()

    return resume


def _backwards(original: Any) -> Any:
    def unpersisted(self: SegmentedLog) -> Iterator[tuple[int, pa.RecordBatch]]:
        yield from reversed(list(original(self)))

    return unpersisted


def _any_order(original: Any) -> Any:
    def insert(self: SeriesBuffers, batch_id: int, batch: pa.RecordBatch) -> None:
        lo, hi = self._lo, self._hi
        self._hi = batch_id - 1
        original(self, batch_id, batch)
        self._lo, self._hi = (batch_id, batch_id) if lo is None else (min(lo, batch_id), max(hi, batch_id))

    return insert


def _forget_replayed(original: Any) -> Any:
    def recover(self: Any) -> None:
        original(self)
        self.log.mark_persisted(range(self.log.oldest_id, self.log.next_id))

    return recover


def _log_first(_: Any) -> Any:
    def truncate(self: Any) -> None:
        hi = self.log.next_id - 1
        self.buffers.clear()
        self.log.truncate()
        self.store.clear(hi, application=self.application)
        self.store.remove_orphans()

    return truncate


def _left_torn(original: Any) -> Any:
    def settle(folder: Path, plan: recovery.Plan, leftover: recovery.Found) -> None:
        assert leftover.scan is not None
        original(folder, plan, replace(leftover, scan=replace(leftover.scan, damage=None)))

    return settle


def _leftover_dropped(original: Any) -> Any:
    def apply(folder: Path, plan: recovery.Plan) -> None:
        if plan.leftover is not None and plan.closed:
            plan.leftover.path.unlink()
            plan.leftover = None
        original(folder, plan)

    return apply


def _born_before_closed(_: Any) -> Any:
    def rotate(self: SegmentedLog) -> None:
        before = self._active
        self._start_segment()
        closed = SegmentName(before.start, self.next_id - 1)
        (self.folder / str(before)).rename(self.folder / str(closed))
        self._closed.append(closed)

    return rotate


def _nothing(_: Any) -> Any:
    def method(*_: Any, **__: Any) -> None:
        return None

    return method


class _Unsynced:
    """A step in which nothing is synced."""

    def __init__(self, step: durable_io.Step) -> None:
        self._step = step

    def __enter__(self) -> None:
        self._kept = os.fsync, os.fdatasync
        os.fsync = os.fdatasync = lambda _: None  # type: ignore[assignment]
        self._step.__enter__()

    def __exit__(self, *error: Any) -> None:
        os.fsync, os.fdatasync = self._kept
        self._step.__exit__(*error)


def _unsynced(name: str, broken: str, module: Any, step: str) -> Mutant:
    return Mutant(name, broken, _change(module, step, _Unsynced), ("power",))


def _rows(found: Iterable[Mutant]) -> dict[str, Mutant]:
    return {row.name: row for row in found}


MUTANTS = _rows(
    [
        Mutant(
            "ack-before-write",
            "append returns the id while the record is still in the process's memory",
            _all(
                _change(SegmentedLog, "_write_record", _held_back),
                _change(SegmentedLog, "rotate", _after(_write_held)),
                _change(SegmentedLog, "close", _after(_write_held)),
            ),
        ),
        Mutant(
            "persisted-before-commit",
            "the log forgets a generation before Delta has it",
            _change(Table, "flush", _persisted_first),
        ),
        Mutant(
            "commit-in-parts",
            "each series is committed by itself, the first one already with the generation's marker",
            _change(Table, "flush", _in_parts),
        ),
        Mutant(
            "marker-in-second-commit",
            "rows and marker are two Delta commits",
            _change(DeltaStore, "commit", _without_marker_then_marker),
        ),
        Mutant(
            "marker-one-too-high",
            "the marker names the batch after the generation's last",
            _all(_change(DeltaStore, "_transact", _one_too_high), _change(SegmentedLog, "reconcile", _trusting)),
        ),
        Mutant(
            "skip-marker",
            "recovery replays everything in the log, committed or not",
            _all(
                _change(DeltaStore, "marker", lambda _: lambda *__: -1),
                _change(SegmentedLog, "reconcile", _trusting),
                _change(SeriesBuffers, "insert", _any_order),
            ),
        ),
        Mutant(
            "ids-from-zero",
            "ids begin again at 0 once every segment has been retired",
            _all(
                _change(SegmentedLog, "_resume_segment", _ids_from_zero), _change(SegmentedLog, "reconcile", _trusting)
            ),
        ),
        Mutant(
            "replay-backwards",
            "recovery replays the log from its end",
            _all(_change(SegmentedLog, "unpersisted", _backwards), _change(SeriesBuffers, "insert", _any_order)),
        ),
        Mutant(
            "replayed-is-forgotten",
            "recovery removes segments once it has replayed them into memory",
            _change(Table, "recover", _forget_replayed),
        ),
        Mutant(
            "truncate-log-first",
            "truncation empties the log before it commits to Delta",
            _change(Table, "truncate", _log_first),
        ),
        Mutant(
            "torn-tail-closed",
            "recovery closes the leftover segment with the torn record still in it",
            _change(recovery, "_settle", _left_torn),
        ),
        Mutant(
            "leftover-dropped",
            "recovery deletes the leftover active segment instead of closing it",
            _change(recovery, "apply", _leftover_dropped),
        ),
        Mutant(
            "born-before-closed",
            "rotation starts the next segment before it closes the full one",
            _change(SegmentedLog, "rotate", _born_before_closed),
        ),
        Mutant(
            "orphans-kept",
            "files of a commit that never came stay, and the next commit runs into them",
            _change(DeltaStore, "remove_orphans", _nothing),
        ),
        _unsynced("no-sync-record", "append returns before its record is synced", segmented_log, "SYNC_RECORD"),
        _unsynced("no-sync-header", "a new segment is named before it is synced", segmented_log, "SYNC_HEADER"),
        _unsynced("no-sync-segment-name", "a new segment's name is not synced", segmented_log, "SYNC_NAMED"),
        _unsynced("no-sync-closed-name", "a closed segment's new name is not synced", segmented_log, "SYNC_CLOSED"),
        _unsynced(
            "no-sync-parquet", "a Parquet file is committed without having been synced", delta_commit, "SYNC_PARQUET"
        ),
        _unsynced("no-sync-parquet-name", "a Parquet file's name is not synced", delta_commit, "SYNC_FOLDER"),
        _unsynced("no-sync-commit", "the commit's json is not synced", delta_commit, "SYNC_JSON"),
        _unsynced("no-sync-commit-name", "the commit's name is not synced", delta_commit, "SYNC_LOG"),
        _unsynced("no-sync-table", "a new table is named before it is synced", delta_commit, "SYNC_TABLE"),
        _unsynced("no-sync-table-name", "a new table's name is not synced", delta_commit, "SYNC_NAMED"),
        Mutant(
            "no-sync-anywhere",
            "nothing is synced at all",
            _all(_change(os, "fsync", _nothing), _change(os, "fdatasync", _nothing)),
            ("power",),
        ),
    ]
)
"""The table."""
