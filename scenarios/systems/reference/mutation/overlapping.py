"""Planted bugs that show when calls overlap, or when one fails while another waits for it: rows of the table in `mutants`."""

from __future__ import annotations

from collections.abc import Callable

from crashmatrix.reference_wal.access.health import Health
from crashmatrix.reference_wal.access.table_access import TableAccess
from crashmatrix.reference_wal.table import Table
from crashmatrix.scenarios.systems.reference.mutation.mutant import Mutant
from crashmatrix.scenarios.systems.reference.mutation.planting import threads
from crashmatrix.scenarios.systems.reference.mutation.planting.steps import change, together

__all__ = ["OVERLAPPING"]


def _row(name: str, broken: str, plant: Callable[[], None]) -> Mutant:
    return Mutant(name, broken, plant, target="reference:threads")


OVERLAPPING = [
    _row(
        "files-gone-under-readers",
        "files are removed while others read them",
        change(TableAccess, "__init__", threads.readers_ignored),
    ),
    _row(
        "checked-before-waiting",
        "a commit that waited for one that failed goes on, and its marker covers the other's batches",
        together(
            change(TableAccess, "changing", threads.checked_before_waiting),
            change(Table, "_seal", threads.sealed_all_the_same),
        ),
    ),
    _row(
        "poisoned-late",
        "a call that waited for one that failed goes on before the engine is poisoned",
        change(TableAccess, "changing", threads.poisoned_late),
    ),
    _row(
        "goes-on-after-close",
        "a call that waited for its turn changes the folder after the engine was closed",
        change(Health, "refuse_changes", threads.closed_all_the_same),
    ),
    _row(
        "switched-amid-appends",
        "a log is switched off while batches are appended to it",
        change(Table, "switch_log", threads.switched_amid_appends),
    ),
]
"""The rows."""
