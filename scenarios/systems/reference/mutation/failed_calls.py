"""Planted bugs that show when a call fails: rows of the table in `mutants`."""

from __future__ import annotations

import os

from crashmatrix.reference_wal.access.health import Health
from crashmatrix.reference_wal.buffers import RowBuffer
from crashmatrix.reference_wal.delta.commit import DeltaStore
from crashmatrix.reference_wal.delta.transfer import Transfer
from crashmatrix.reference_wal.flusher import Flusher
from crashmatrix.reference_wal.log.segmented_log import SegmentedLog
from crashmatrix.reference_wal.log.segments import active_segment
from crashmatrix.reference_wal.log.segments.active_segment import ActiveSegment
from crashmatrix.reference_wal.log.write_ahead_log import WriteAheadLog
from crashmatrix.reference_wal.table import Table
from crashmatrix.scenarios.systems.reference.mutation.mutant import Mutant
from crashmatrix.scenarios.systems.reference.mutation.planting import errors
from crashmatrix.scenarios.systems.reference.mutation.planting.steps import change, together

__all__ = ["FAILED_CALLS"]

_WRITERS = {"pairs": ("flush+flush",)}
"""Little more than the part of the threads' workload in which a background thread commits: all pairs take ten times as long."""

FAILED_CALLS = (
    Mutant(
        "sync-retried",
        "a sync of records that failed is made again, and the second one believed",
        change(os, "fdatasync", errors.once_more),
        dies="call",
        target="reference-log",
    ),
    Mutant(
        "short-write-ignored",
        "a write that was done in part is taken for a whole one",
        change(active_segment, "write_at", errors.whatever_was_written),
        dies="call",
        target="reference-log",
    ),
    Mutant(
        "append-error-swallowed",
        "records that could not be written are acknowledged all the same",
        change(ActiveSegment, "write", errors.swallowed),
        dies="call",
        target="reference-log",
    ),
    Mutant(
        "removed-on-error",
        "after an error the segment is removed, the only copy of what was acknowledged",
        change(ActiveSegment, "write", errors.removed),
        dies="call",
        target="reference-log",
    ),
    Mutant(
        "commit-error-swallowed",
        "batches are marked persisted although their commit failed",
        change(DeltaStore, "commit", errors.commit_swallowed),
        dies="call",
    ),
    Mutant(
        "append-behind-torn",
        "after a failed write the log appends behind whatever it left",
        change(ActiveSegment, "write", errors.behind_torn),
        dies="call",
        target="reference-log",
    ),
    Mutant(
        "failed-rotation-appended-again",
        "a rotation that fails after a durable append counts as an append that failed, which is made again",
        change(SegmentedLog, "append", errors.again_after_rotation),
        dies="call",
        target="reference-log",
    ),
    Mutant(
        "folder-sync-error-passed",
        "the log goes on although the sync of its folder failed",
        change(active_segment, "sync_directory", errors.passed),
        dies="call",
        filesystems=("posix",),
        target="reference-log",
        on_disk=True,
    ),
    Mutant(
        "full-disk-taken-for-torn",
        "a full disk is taken for a torn tail, and the last record is cut off",
        change(ActiveSegment, "write", errors.cut_off),
        dies="call",
        target="reference-log",
    ),
    Mutant(
        "failed-spill-drops-rows",
        "rows that could not be spilled are dropped from memory all the same",
        change(RowBuffer, "spill", errors.spill_dropped),
        dies="call",
    ),
    Mutant(
        "creation-once-only",
        "a log that could not be made cannot be made again, since a part of it is in the way",
        change(WriteAheadLog, "create_table_log", errors.made_once_only),
        dies="call",
        target="reference-log",
    ),
    Mutant(
        "failed-removal-forgotten",
        "a log whose removal failed half-way is taken for removed",
        change(WriteAheadLog, "remove_table_log", errors.removal_forgotten),
        dies="call",
        target="reference-log",
    ),
    Mutant(
        "truncated-after-error",
        "a table whose append has failed is truncated up to the batch before, which perhaps comes back",
        change(Table, "truncate", errors.truncated_all_the_same),
        dies="call",
    ),
    Mutant(
        "background-error-swallowed",
        "the background thread goes on after a commit that failed",
        together(
            change(Health, "note", errors.not_in_background),
            change(Flusher, "_run", errors.goes_on),
        ),
        dies="call",
        target="reference:threads",
        options=_WRITERS,
    ),
    Mutant(
        "writer-dies-unnoticed",
        "the background thread ends with a commit that failed, and batches are acknowledged all the same",
        change(Health, "note", errors.not_in_background),
        dies="call",
        target="reference:threads",
        options=_WRITERS,
    ),
    Mutant(
        "transfer-error-forgotten",
        "a transfer that fails between receiving and removing is taken for over",
        change(Transfer, "_finish", errors.transfer_forgotten),
        dies="call",
    ),
)
