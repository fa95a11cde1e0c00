"""Planted bugs that show when a call fails: rows of the table in `mutants`."""

from __future__ import annotations

import os

from crashmatrix.reference_wal.delta.commit import DeltaStore
from crashmatrix.reference_wal.log.segments import active_segment
from crashmatrix.reference_wal.log.segments.active_segment import ActiveSegment
from crashmatrix.scenarios.systems.reference.mutation import planting_errors
from crashmatrix.scenarios.systems.reference.mutation.mutant import Mutant
from crashmatrix.scenarios.systems.reference.mutation.planting import change

__all__ = ["FAILED_CALLS"]

FAILED_CALLS = (
    Mutant(
        "sync-retried",
        "a sync of records that failed is made again, and the second one believed",
        change(os, "fdatasync", planting_errors.once_more),
        dies="call",
        target="reference-log",
    ),
    Mutant(
        "short-write-ignored",
        "a write that was done in part is taken for a whole one",
        change(active_segment, "write_at", planting_errors.whatever_was_written),
        dies="call",
        target="reference-log",
    ),
    Mutant(
        "append-error-swallowed",
        "records that could not be written are acknowledged all the same",
        change(ActiveSegment, "write", planting_errors.swallowed),
        dies="call",
        target="reference-log",
    ),
    Mutant(
        "removed-on-error",
        "after an error the segment is removed, the only copy of what was acknowledged",
        change(ActiveSegment, "write", planting_errors.removed),
        dies="call",
        target="reference-log",
    ),
    Mutant(
        "commit-error-swallowed",
        "batches are marked persisted although their commit failed",
        change(DeltaStore, "commit", planting_errors.commit_swallowed),
        dies="call",
    ),
)
