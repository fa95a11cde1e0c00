"""Planted bugs in what becomes of compressed rows that wait for their commit: rows of the table in `mutants`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from crashmatrix.reference_wal.delta.commit import DeltaStore
from crashmatrix.reference_wal.flusher import Pace
from crashmatrix.reference_wal.table import Table
from crashmatrix.scenarios.systems.reference.mutation.mutant import Mutant
from crashmatrix.scenarios.systems.reference.mutation.planting import compressed
from crashmatrix.scenarios.systems.reference.mutation.planting.steps import change

__all__ = ["COMPRESSED"]


def _row(
    name: str, broken: str, plant: Callable[[], None], dies: Literal["process", "machine", "call"] = "process"
) -> Mutant:
    return Mutant(name, broken, plant, dies=dies, target="reference:compressed")


COMPRESSED = [
    _row(
        "retired-when-compressed",
        "the log forgets batches once they are compressed, before they are committed",
        change(Table, "_keep", compressed.retired),
    ),
    _row(
        "idle-without-marker",
        "rows of an idle table are committed without the ids of their batches",
        change(Pace, "_finish", compressed.unmarked),
    ),
    _row(
        "newest-compressed-first",
        "short of memory, a table commits its newest compressed rows, and in a second commit those before them",
        change(Table, "save", compressed.newest_first),
    ),
    _row(
        "marker-of-first-part",
        "a commit of several generations sets the marker to the first one's last batch",
        change(DeltaStore, "commit", compressed.marker_of_first),
    ),
    _row(
        "switch-leaves-compressed",
        "switching a log off or on leaves compressed rows uncommitted, whose batches are in no log then",
        change(Table, "switch_log", compressed.left_compressed),
    ),
    _row(
        "compressed-dropped-on-error",
        "a commit that fails takes the compressed rows with it, and the engine goes on",
        change(Table, "_save", compressed.dropped_on_error),
        "call",
    ),
    _row(
        "last-part-synced-only",
        "a commit of several generations syncs the last file alone",
        change(DeltaStore, "commit", compressed.last_synced),
        "machine",
    ),
]
"""The rows."""
