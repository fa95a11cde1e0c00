"""Planted bugs that each leave out one sync of the engine; `mutants` has the table of all."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from crashmatrix.reference_wal.delta import commit as delta_commit, folder as table_folder, receiver
from crashmatrix.reference_wal.log.segments import active_segment
from crashmatrix.scenarios.systems.reference.mutation.mutant import Mutant
from crashmatrix.scenarios.systems.reference.mutation.planting.steps import change
from crashmatrix.scenarios.systems.reference.mutation.planting.syncs import Unsynced

__all__ = ["MISSING_SYNCS"]


def _unsynced(name: str, broken: str, module: Any, step: str) -> Mutant:
    return Mutant(name, broken, change(module, step, Unsynced), dies="machine")


def _unnamed(name: str, broken: str, module: Any, step: str, *, target: str = "reference") -> Mutant:
    """A missing sync of a directory: ext4 makes up for it at the next fsync of a file, POSIX demands it."""
    return replace(_unsynced(name, broken, module, step), filesystems=("posix",), target=target)


MISSING_SYNCS = [
    _unsynced("no-sync-record", "append returns before its record is synced", active_segment, "SYNC_RECORD"),
    _unsynced("no-sync-header", "a new segment is named before it is synced", active_segment, "SYNC_HEADER"),
    _unnamed("no-sync-segment-name", "a new segment's name is not synced", active_segment, "SYNC_NAMED"),
    _unnamed(
        *("no-sync-closed-name", "a closed segment's new name is not synced", active_segment, "SYNC_CLOSED"),
        target="reference-log",
    ),
    _unsynced(
        "no-sync-parquet", "a Parquet file is committed without having been synced", delta_commit, "SYNC_PARQUET"
    ),
    _unnamed("no-sync-parquet-name", "a Parquet file's name is not synced", delta_commit, "SYNC_FOLDER"),
    _unsynced("no-sync-commit", "the commit's json is not synced", delta_commit, "SYNC_JSON"),
    _unnamed("no-sync-commit-name", "the commit's name is not synced", delta_commit, "SYNC_LOG"),
    _unnamed("no-sync-table", "a new table is named before it is synced", table_folder, "SYNC_TABLE"),
    _unnamed("no-sync-table-name", "a new table's name is not synced", table_folder, "SYNC_NAMED"),
    _unsynced("no-sync-transferred", "rows are received without having been synced", receiver, "SYNC_COPY"),
    _unsynced("no-sync-received", "the receiving commit is not synced", receiver, "SYNC_JSON"),
    _unnamed("no-sync-transferred-name", "the names of received files are not synced", receiver, "SYNC_COPIES"),
    _unnamed("no-sync-received-name", "the receiving commit's name is not synced", receiver, "SYNC_LOG"),
    _unnamed("no-sync-dropped-name", "a table's hiding is not synced", table_folder, "SYNC_HIDDEN"),
]
"""The rows."""
