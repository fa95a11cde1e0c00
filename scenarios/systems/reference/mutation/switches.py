"""Planted bugs in switches of logs and in options set at run time: rows of the table in `mutants`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

from crashmatrix.reference_wal import settings
from crashmatrix.reference_wal.delta.commit import DeltaStore
from crashmatrix.reference_wal.log.table_logs import TableLogs
from crashmatrix.reference_wal.opening import HealedTable
from crashmatrix.reference_wal.settings import Settings
from crashmatrix.reference_wal.table import Table
from crashmatrix.scenarios.systems.reference.mutation.mutant import Mutant
from crashmatrix.scenarios.systems.reference.mutation.planting import switches, syncs
from crashmatrix.scenarios.systems.reference.mutation.planting.steps import change

__all__ = ["SWITCHES"]


def _row(
    name: str, broken: str, plant: Callable[[], None], dies: Literal["process", "machine"] = "process", **places: Any
) -> Mutant:
    return Mutant(name, broken, plant, dies=dies, target="reference:switched", **places)


SWITCHES = [
    _row(
        "log-stopped-before-committed",
        "switching a log off removes it before the batches that wait are committed",
        change(Table, "switch_log", switches.stopped_before_committed),
    ),
    _row(
        "switched-uncommitted",
        "switching a log off leaves the batches that wait, which were in it alone",
        change(Table, "switch_log", switches.uncommitted),
    ),
    _row(
        "log-stopped-before-said",
        "switching a log off removes it before the table says that it has none",
        change(Table, "_switch_off", switches.stopped_before_said),
    ),
    _row(
        "log-said-before-made",
        "switching a log on lets the table say so before there is a log",
        change(Table, "_switch_on", switches.said_before_made),
    ),
    _row(
        "log-started-from-zero",
        "a log that is switched on begins with the id 0",
        change(TableLogs, "start", switches.from_zero),
    ),
    _row(
        "unknown-log-kept",
        "recovery leaves a log that the table does not know of",
        change(HealedTable, "row", switches.unknown_log_kept),
    ),
    _row(
        "switch-unsynced",
        "a log is removed before the commit that says so is synced",
        change(DeltaStore, "set_logged", switches.said_unsynced),
        "machine",
    ),
    _row(
        "options-in-place",
        "the file of options is written over the old one",
        change(settings, "FILE", switches.in_place),
    ),
    _row(
        "options-forgotten",
        "an option that is set takes those that were set before out of the file",
        change(Settings, "change", switches.forgotten),
    ),
    _row(
        "switched-off-again-uncommitted",
        "a switch that finds the log off already commits nothing, and says that what waits is durable",
        change(Table, "switch_log", switches.nothing_to_do),
    ),
    _row(
        "option-none-forgotten",
        "an option that is set to none is not kept, so the one given on opening counts again",
        change(Settings, "change", switches.none_forgotten),
    ),
    _row(
        "no-sync-options",
        "the file of options is named before it is synced",
        change(settings, "FILE", syncs.unsynced_file),
        "machine",
    ),
    _row(
        "no-sync-options-name",
        "the name of the file of options is not synced",
        change(settings, "FILE", switches.unsynced_name),
        "machine",
        filesystems=("posix",),
    ),
]
"""The rows."""
