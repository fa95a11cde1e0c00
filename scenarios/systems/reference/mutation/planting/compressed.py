"""How bugs are planted in what becomes of compressed rows. `compressed` is the table, `steps` has more."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from crashmatrix.reference_wal.buffers import Generation
from crashmatrix.reference_wal.delta import commit as delta_commit
from crashmatrix.reference_wal.delta.commit import DeltaStore
from crashmatrix.reference_wal.delta.compressed_buffer import Compressed, CompressedBuffer
from crashmatrix.reference_wal.flusher import Pace
from crashmatrix.reference_wal.options import EngineOptions
from crashmatrix.reference_wal.table import Table
from crashmatrix.scenarios.systems.reference.mutation.planting.syncs import Unsynced

__all__ = [
    "dropped_on_error",
    "last_synced",
    "left_compressed",
    "marker_of_first",
    "newest_first",
    "retired",
    "unmarked",
]


def retired(original: Any) -> Any:
    """Mark batches persisted when they enter the buffer."""

    def keep(self: Table, generation: Generation | None, *, waits: bool) -> None:
        original(self, generation, waits=waits)
        if generation is not None:
            self.log.mark_persisted(generation.batch_ids)

    return keep


def unmarked(original: Any) -> Any:
    """Commit rows of a table that has less than a generation under another name than the table's."""

    def finish(self: Pace, owner: Table) -> None:
        full = owner.bytes >= self._options.generation_bytes_max
        original(self, owner)
        if not full:
            application, owner.application = owner.application, "nobody"
            log, owner.log = owner.log, _Forgetful()  # type: ignore[assignment]
            try:
                owner.save(self._options)
            finally:
                owner.application, owner.log = application, log

    return finish


class _Forgetful:
    def mark_persisted(self, _: Any) -> None:
        pass


def newest_first(original: Any) -> Any:
    """Commit the newest part by itself, then those before it."""

    def save(self: Table, options: EngineOptions) -> None:
        older, self._compressed.parts = self._compressed.parts[:-1], self._compressed.parts[-1:]
        original(self, options)
        self._compressed.parts = older
        application, self.application = self.application, "nobody"  # Or the marker would go back.
        try:
            original(self, options)
        finally:
            self.application = application

    return save


def marker_of_first(original: Any) -> Any:
    """Set the marker to the end of the first part."""

    def commit(self: DeltaStore, parts: Sequence[Compressed], *, application: str) -> None:
        transact: Any = self._transact

        def instead(*args: Any) -> None:
            transact(*args[:-1], parts[0].hi)

        self._transact = instead  # type: ignore[assignment, method-assign]
        try:
            original(self, parts, application=application)
        finally:
            del self._transact

    return commit


def left_compressed(original: Any) -> Any:
    """Commit what is in the buffers only."""

    def switch_log(self: Table, on: bool, options: EngineOptions) -> None:
        kept, self._compressed = self._compressed, CompressedBuffer()
        original(self, on, options)
        self._compressed = kept

    return switch_log


def dropped_on_error(original: Any) -> Any:
    """Forget the parts whose commit failed, and go on."""

    def save(self: Table, options: EngineOptions) -> None:
        try:
            original(self, options)
        except OSError:
            self._compressed.clear()

    return save


def last_synced(original: Any) -> Any:
    """Sync the last file only."""

    def commit(self: DeltaStore, parts: Sequence[Compressed], *, application: str) -> None:
        write, kept, left = self._write_parquet, delta_commit.SYNC_PARQUET, list(parts)

        def write_parquet(file: Path, parquet: pa.Buffer) -> None:
            left.pop()
            delta_commit.SYNC_PARQUET = Unsynced(kept) if left else kept  # type: ignore[assignment]
            write(file, parquet)

        self._write_parquet = write_parquet  # type: ignore[method-assign]
        try:
            original(self, parts, application=application)
        finally:
            del self._write_parquet
            delta_commit.SYNC_PARQUET = kept

    return commit
