"""How bugs are planted in operations on whole tables: drops, transfers, spills, flushes, checkpoints. See `steps`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
from deltalake import DeltaTable

from crashmatrix.reference_wal import durable_io
from crashmatrix.reference_wal.buffers import RowBuffer
from crashmatrix.reference_wal.delta import checkpoint, folder as table_folder
from crashmatrix.reference_wal.delta.commit import DeltaStore
from crashmatrix.reference_wal.delta.receiver import LocalReceiver
from crashmatrix.reference_wal.options import EngineOptions
from crashmatrix.reference_wal.spill import Spill, SpillFolder
from crashmatrix.reference_wal.table import Table

__all__ = [
    "all_found",
    "always_fits",
    "anywhere",
    "bare_schema",
    "cleaned_up_first",
    "drop_in_place",
    "drop_log_first",
    "marker_stays",
    "nameless_sender",
    "one_behind",
    "one_checkpoint",
    "removed_before",
    "unnumbered",
]


def drop_log_first(_: Any) -> Any:
    """Remove the log, then drop the table."""

    def drop(self: Table) -> None:
        self._logs.remove(self.name)
        table_folder.hide(self.store.path)
        table_folder.finish_drop(self.store.path, self.spills.delete_all)

    return drop


def drop_in_place(_: Any) -> Any:
    """Delete the table's files one by one, then its log."""

    def drop(self: Table) -> None:
        for file in self.store.files():
            with table_folder.HIDE_TABLE:
                file.unlink()
        with table_folder.SYNC_HIDDEN:
            durable_io.remove_tree(self.store.path)
        self.spills.delete_all()
        self._logs.remove(self.name)

    return drop


def removed_before(original: Any) -> Any:
    """Remove the files here, then have them received (from copies, since they must be somewhere)."""

    def receive(
        self: LocalReceiver, files: Mapping[Path, int], application: str, number: int, version: int, schema: pa.Schema
    ) -> None:
        store = DeltaStore(next(iter(files)).parent)
        store.remove(list(files), application=application, number=number)
        original(self, files, application, number, version, schema)

    return receive


def unnumbered(original: Any) -> Any:
    """Name another sender, so that ours finds nothing of itself."""
    return lambda _, number: original("nobody", number)


def nameless_sender(original: Any) -> Any:
    """Give the table's transfers the table's name for a sender, without its identity."""

    def init(self: Table, *args: Any) -> None:
        original(self, *args)
        self._transfer._application = f"{self.name}/transfer"

    return init


def always_fits(_: Any) -> Any:
    """Give every file the same checksum."""
    return lambda *_: 0


def all_found(_: Any) -> Any:
    """Replay every whole file there is."""

    def replayable(self: SpillFolder, _: int) -> list[Spill]:
        return [file for file in self._found() if file.is_whole(self.identity)]

    return replayable


def anywhere(original: Any) -> Any:
    """Take a spill file whatever batches it holds."""

    def adopt(self: RowBuffer, spill: Spill) -> None:
        due = self.next_id
        self.next_id = spill.lo
        original(self, spill)
        self.next_id = self._memory_lo = max(due, self.next_id)

    return adopt


def marker_stays(original: Any) -> Any:
    """Leave the marker where it is."""

    def clear(self: DeltaStore, _: int, *, application: str) -> None:
        original(self, self.marker(application), application=application)

    return clear


def one_behind(original: Any) -> Any:
    """Flush at every second call only."""

    def flush(self: Table, options: EngineOptions) -> None:
        self._calls = getattr(self, "_calls", 0) + 1  # type: ignore[attr-defined]
        if self._calls % 2 == 0:  # type: ignore[attr-defined]
            original(self, options)

    return flush


def cleaned_up_first(_: Any) -> Any:
    """Write a checkpoint and delete every commit before it; sync nothing."""

    def write(path: Path, table: DeltaTable) -> DeltaTable:
        table.create_checkpoint()
        for commit in (path / "_delta_log").glob("[0-9]*.json"):
            if int(commit.stem) < table.version():
                commit.unlink()
        return table

    return write


def one_checkpoint(_: Any) -> Any:
    """Delete everything before the newest checkpoint."""

    def clean_up(log: Path) -> None:
        newest = checkpoint.newest_version(log)
        for file in sorted(log.glob("[0-9]*")):
            if int(file.name[:20]) < newest:
                file.unlink()

    return clean_up


def bare_schema(original: Any) -> Any:
    """Describe a table by its schema without metadata."""
    return staticmethod(lambda schema, **named: original(schema.remove_metadata(), **named))
