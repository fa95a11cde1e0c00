"""How bugs are planted in switches of logs and in options set at run time. `switches` is the table, `steps` has more."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, cast

from crashmatrix.reference_wal import durable_io, settings
from crashmatrix.reference_wal.atomic_file import AtomicFile, checked
from crashmatrix.reference_wal.delta import commit as delta_commit
from crashmatrix.reference_wal.delta.commit import DeltaStore
from crashmatrix.reference_wal.log.table_logs import TableLogs
from crashmatrix.reference_wal.opening import HealedTable
from crashmatrix.reference_wal.options import EngineOptions
from crashmatrix.reference_wal.settings import Settings
from crashmatrix.reference_wal.table import AFTER_START, BEFORE_START, BEFORE_STOP, Table
from crashmatrix.scenarios.systems.reference.mutation.planting.syncs import Unsynced

__all__ = [
    "forgotten",
    "from_zero",
    "in_place",
    "none_forgotten",
    "nothing_to_do",
    "said_before_made",
    "said_unsynced",
    "stopped_before_committed",
    "stopped_before_said",
    "uncommitted",
    "unknown_log_kept",
    "unsynced_name",
]


def stopped_before_committed(original: Any) -> Any:
    """Remove the log, then commit the batches that wait; they were in it."""

    def switch_log(self: Table, on: bool, options: EngineOptions) -> None:
        if on or not self.logged:
            original(self, on, options)
            return
        with self._access.changing(self._access.ingesting):
            BEFORE_STOP.hit()
            self.log = self._logs.stop(self.name)
            self._commit(self._seal(), options)
            self.store.set_logged(False, application=self.application, number=self.log.next_id - 1)

    return switch_log


def uncommitted(original: Any) -> Any:
    """Leave the batches that wait where they are."""

    def switch_log(self: Table, on: bool, options: EngineOptions) -> None:
        seal, self._seal = self._seal, lambda: None  # type: ignore[method-assign]
        try:
            original(self, on, options)
        finally:
            self._seal = seal  # type: ignore[method-assign]

    return switch_log


def nothing_to_do(original: Any) -> Any:
    """Return at once if the table has its log, or has none, as it should."""

    def switch_log(self: Table, on: bool, options: EngineOptions) -> None:
        if on != self.logged:
            original(self, on, options)

    return switch_log


def none_forgotten(original: Any) -> Any:
    """Set an option back to what it was given as, if it is set to none."""

    def change(self: Settings, changes: Mapping[str, Any]) -> None:
        self.values = MappingProxyType({name: value for name, value in self.values.items() if name not in changes})
        original(self, {name: value for name, value in changes.items() if value is not None})

    return change


def stopped_before_said(_: Any) -> Any:
    """Remove the log of a table that says it has one."""

    def switch_off(self: Table) -> None:
        BEFORE_STOP.hit()
        self.log = self._logs.stop(self.name)
        self.store.set_logged(False, application=self.application, number=self.log.next_id - 1)

    return switch_off


def said_before_made(_: Any) -> Any:
    """Let the table say that it has a log before there is one."""

    def switch_on(self: Table) -> None:
        next_id = self.log.next_id
        self.store.set_logged(True, application=self.application, number=next_id - 1)
        BEFORE_START.hit()
        self.log = self._logs.start(self.name, self.log.schema, identity=self.log.identity, next_id=next_id)
        AFTER_START.hit()

    return switch_on


def from_zero(original: Any) -> Any:
    """Begin the ids of a log at 0, whatever the table has given out before."""

    def start(self: TableLogs, *args: Any, next_id: int = 0, **kwargs: Any) -> Any:
        del next_id
        return original(self, *args, **kwargs)

    return start


def unknown_log_kept(original: Any) -> Any:
    """Leave alone a log that the table does not know of."""

    def row(self: HealedTable, *log: Any) -> str:
        found: str = original(self, *log)
        return "@j" if found == "@k" else found

    return row


def said_unsynced(original: Any) -> Any:
    """Leave out the syncs of the commit that says whether a table has a log."""

    def set_logged(self: DeltaStore, *args: Any, **kwargs: Any) -> None:
        kept = delta_commit.SYNC_JSON, delta_commit.SYNC_LOG
        delta_commit.SYNC_JSON, delta_commit.SYNC_LOG = map(Unsynced, kept)  # type: ignore[assignment]
        try:
            original(self, *args, **kwargs)
        finally:
            delta_commit.SYNC_JSON, delta_commit.SYNC_LOG = kept

    return set_logged


class _InPlace(AtomicFile):
    def put(self, path: Path, data: bytes, *, temporary: str) -> None:
        del temporary
        with path.open("wb", buffering=0) as file:
            with self.write:
                file.write(data)
            with self.sync:
                os.fsync(file.fileno())


def in_place(file: AtomicFile) -> AtomicFile:
    """Write a file over the old one."""
    return _InPlace(file.write, file.sync, file.rename, file.sync_folder)


def unsynced_name(file: AtomicFile) -> AtomicFile:
    """Leave the file's name to the kernel."""
    return replace(file, sync_folder=cast("durable_io.Step", Unsynced(file.sync_folder)))


def forgotten(_: Any) -> Any:
    """Write what is set now, without what was set before."""

    def change(self: Settings, changes: Mapping[str, Any]) -> None:
        content = checked(json.dumps(dict(changes), sort_keys=True).encode(), "options")
        settings.FILE.put(self._root / "options.json", content, temporary="options.json.tmp")
        self.values = {**self.values, **changes}  # type: ignore[assignment]

    return change
