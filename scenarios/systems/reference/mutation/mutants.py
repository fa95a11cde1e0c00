"""Planted bugs: the reference engine, broken on purpose, one table row each. ``crashmatrix run reference+NAME`` runs one.

A harness that misses one of these cannot be trusted; `crashmatrix mutants` runs all of them. Each bug is planted in the
processes that run the engine, by replacing the step that it breaks.
"""

from __future__ import annotations

import os
from collections.abc import Iterable

from crashmatrix.reference_wal import spill
from crashmatrix.reference_wal.atomic_file import AtomicFile
from crashmatrix.reference_wal.buffers import RowBuffer
from crashmatrix.reference_wal.delta import (
    checkpoint,
    commit as delta_commit,
    receiver,
    recovery as delta_recovery,
)
from crashmatrix.reference_wal.delta.commit import DeltaStore, TableProperties
from crashmatrix.reference_wal.delta.receiver import LocalReceiver as Receiving
from crashmatrix.reference_wal.log import persisted, recovery, retention
from crashmatrix.reference_wal.log.append_queue import AppendQueue
from crashmatrix.reference_wal.log.segmented_log import SegmentedLog
from crashmatrix.reference_wal.log.segments.active_segment import ActiveSegment
from crashmatrix.reference_wal.log.segments.seal import SealForm
from crashmatrix.reference_wal.log.unrecovered import UnrecoveredLog
from crashmatrix.reference_wal.models import segments
from crashmatrix.reference_wal.spill import SpillFolder
from crashmatrix.reference_wal.table import Table
from crashmatrix.scenarios.errors import UsageError
from crashmatrix.scenarios.systems.reference.mutation.compressed import COMPRESSED
from crashmatrix.scenarios.systems.reference.mutation.failed_calls import FAILED_CALLS
from crashmatrix.scenarios.systems.reference.mutation.missing_syncs import MISSING_SYNCS
from crashmatrix.scenarios.systems.reference.mutation.mutant import Mutant
from crashmatrix.scenarios.systems.reference.mutation.overlapping import OVERLAPPING
from crashmatrix.scenarios.systems.reference.mutation.planting import log, steps, syncs, tables
from crashmatrix.scenarios.systems.reference.mutation.planting.steps import change, together
from crashmatrix.scenarios.systems.reference.mutation.switches import SWITCHES

__all__ = ["MUTANTS", "mutant"]

NO_LOG = "reference:no-log"

_TRUSTING = together(
    change(UnrecoveredLog, "reconcile", steps.trusting), change(UnrecoveredLog, "refuse_gaps", steps.nothing)
)


def mutant(name: str) -> Mutant:
    """Return the planted bug of that name. Raises UsageError."""
    if name not in MUTANTS:
        raise UsageError(f"no planted bug {name!r}; `crashmatrix mutants --list` names them")
    return MUTANTS[name]


def _rows(found: Iterable[Mutant]) -> dict[str, Mutant]:
    return {row.name: row for row in found}


MUTANTS = _rows(
    [
        Mutant(
            "ack-before-write",
            "append returns the id while the record is still in the process's memory",
            together(
                change(ActiveSegment, "write", steps.held_back),
                change(ActiveSegment, "finish", steps.after(steps.write_held)),
                change(ActiveSegment, "close", steps.after(steps.write_held)),
            ),
        ),
        Mutant(
            "persisted-before-commit",
            "the log forgets a generation before Delta has it",
            change(Table, "flush", steps.persisted_first),
        ),
        Mutant(
            "commit-in-parts",
            "each series is committed by itself, the first one already with the generation's marker",
            change(Table, "flush", steps.in_parts),
        ),
        Mutant(
            "marker-in-second-commit",
            "rows and marker are two Delta commits",
            change(DeltaStore, "commit", steps.without_marker_then_marker),
        ),
        Mutant(
            "marker-one-too-high",
            "the marker names the batch after the generation's last",
            together(
                change(DeltaStore, "_transact", steps.one_too_high),
                _TRUSTING,
                change(RowBuffer, "insert", steps.any_order),
            ),
        ),
        Mutant(
            "skip-marker",
            "recovery replays everything in the log, committed or not",
            together(
                change(DeltaStore, "marker", lambda _: lambda *__: -1),
                _TRUSTING,
                change(RowBuffer, "insert", steps.any_order),
            ),
        ),
        Mutant(
            "ids-from-zero",
            "ids begin again at 0 once every segment has been retired",
            together(
                change(UnrecoveredLog, "_writer", steps.ids_from_zero),
                _TRUSTING,
            ),
        ),
        Mutant(
            "replay-backwards",
            "recovery replays the log from its end",
            together(
                change(SegmentedLog, "unpersisted", steps.backwards),
                change(RowBuffer, "insert", steps.any_order),
            ),
        ),
        Mutant(
            "replayed-is-forgotten",
            "recovery removes segments once it has replayed them into memory",
            change(Table, "recover", steps.forget_replayed),
        ),
        Mutant(
            "truncate-log-first",
            "truncation empties the log before it commits to Delta",
            change(Table, "truncate", steps.log_first),
        ),
        Mutant(
            "torn-tail-closed",
            "recovery closes the leftover segment with the torn record still in it",
            change(recovery, "_settle", steps.left_torn),
        ),
        Mutant(
            "leftover-dropped",
            "recovery deletes the leftover active segment instead of closing it",
            change(recovery, "apply", steps.leftover_dropped),
        ),
        Mutant(
            "next-before-closed",
            "rotation starts the next segment before it closes the full one",
            change(SegmentedLog, "rotate", steps.next_before_closed),
        ),
        Mutant(
            "drop-log-first",
            "dropping a table removes its log before the table is gone",
            change(Table, "drop", tables.drop_log_first),
        ),
        Mutant(
            "drop-in-place",
            "dropping a table deletes its folder instead of renaming it away first",
            change(Table, "drop", tables.drop_in_place),
        ),
        Mutant(
            "transfer-removes-first",
            "a transfer removes the rows before the receiving table has them",
            change(Receiving, "receive", tables.removed_before),
        ),
        Mutant(
            "transfer-unnumbered",
            "the receiving commit does not say which rows it has",
            change(receiver, "commit_properties", tables.unnumbered),
        ),
        Mutant(
            "transfer-any-table-of-the-name",
            "the receiving table does not tell the sender from an earlier table of its name",
            change(Table, "__init__", tables.nameless_sender),
        ),
        Mutant(
            "spill-trusted-when-torn",
            "a spill file found at start is replayed without its checksum being looked at",
            change(spill, "_checksum", tables.always_fits),
            dies="machine",
            target=NO_LOG,
        ),
        Mutant(
            "spill-replayed-though-committed",
            "spill files found at start are replayed, committed or not",
            together(
                change(SpillFolder, "replayable", tables.all_found),
                change(RowBuffer, "adopt", tables.anywhere),
            ),
            target=NO_LOG,
        ),
        Mutant(
            "truncate-below-spills",
            "without a log, truncation moves the marker past what is committed only, not past what is spilled",
            change(DeltaStore, "clear", tables.marker_stays),
            target=NO_LOG,
        ),
        Mutant(
            "flush-returns-early",
            "without a log, flush returns when the generation is sealed; the next one commits it",
            change(Table, "flush", tables.one_behind),
            target=NO_LOG,
        ),
        Mutant(
            "clean-up-before-verify",
            "commits are deleted as soon as a checkpoint is written",
            change(checkpoint, "write", tables.cleaned_up_first),
            dies="machine",
        ),
        Mutant(
            "one-checkpoint-left",
            "the clean-up after a checkpoint leaves none but the newest, and no commit before it",
            change(checkpoint, "clean_up", tables.one_checkpoint),
        ),
        Mutant(
            "metadata-forgotten",
            "a table does not keep the metadata of its schema",
            change(TableProperties, "made", tables.bare_schema),
        ),
        Mutant(
            "models-unrounded",
            "values of a model are compared with those stored before they are rounded to the column's type",
            change(segments, "_rounding", lambda _: lambda __: float),
            target="reference:models",
        ),
        Mutant(
            "orphans-kept",
            "files of a commit that never came stay, and the next commit runs into them",
            change(DeltaStore, "remove_orphans", steps.nothing),
        ),
        Mutant(
            "zeros-left",
            "a segment is closed with the zeros after its records still in it",
            change(ActiveSegment, "finish", log.uncut),
            target="reference-log",
        ),
        Mutant(
            "segment-named-at-once",
            "a new segment has its name before it has its header and its zeros",
            change(ActiveSegment, "create", lambda original: staticmethod(log.named_at_once(original))),
            target="reference-log",
        ),
        Mutant(
            "set-in-place",
            "the set of persisted batches is written over the old one",
            change(retention, "write_persisted", log.set_in_place),
            target="reference-log",
        ),
        Mutant(
            "unfinished-set-kept",
            "recovery leaves an unfinished set where there is one, and the next set, in a second life, runs into it",
            together(
                change(recovery, "apply", log.temporary_kept),
                change(AtomicFile, "put", log.made_anew_only),
            ),
            target="reference-log",
        ),
        Mutant(
            "retire-before-set",
            "segments are unlinked before the set that says why is written",
            change(retention.Retention, "mark", log.retired_first),
            target="reference-log",
        ),
        Mutant(
            "ids-before-sync",
            "those who wait for a group's sync have their ids before it",
            together(
                change(SegmentedLog, "_write_group", log.ids_before_sync),
                change(AppendQueue, "settle", log.nobody_waits_for_the_turn),
            ),
            dies="machine",
            target="reference-log:threads",
        ),
        Mutant(
            "everybody-leads",
            "several threads lead groups at the same time",
            change(AppendQueue, "__init__", log.everybody_leads),
            dies="machine",
            target="reference-log:threads",
        ),
        Mutant(
            "durable-by-hearsay",
            "a record's seal says that those before it in its group were durable",
            change(SealForm, "write", log.durable_by_hearsay),
            dies="machine",
            target="reference-log:threads",
        ),
        Mutant(
            "no-sync-set",
            "the set of persisted batches is named before it is synced",
            change(persisted, "PERSIST", syncs.unsynced_file),
            dies="machine",
            target="reference-log",
        ),
        *MISSING_SYNCS,
        *FAILED_CALLS,
        *SWITCHES,
        *COMPRESSED,
        *OVERLAPPING,
        Mutant(
            "retire-before-durable",
            "segments are unlinked after the commit that replaces them was written, before it is synced",
            together(
                change(delta_commit, "SYNC_JSON", syncs.Postponed),
                change(delta_commit, "SYNC_LOG", syncs.Postponed),
                change(SegmentedLog, "mark_persisted", syncs.sync_postponed),
            ),
            dies="machine",
        ),
        Mutant(
            "log-unsettled",
            "recovery closes and builds upon a segment whose last record may be in the page cache only",
            change(recovery, "settle", steps.nothing),
            dies="machine",
        ),
        Mutant(
            "commit-unsettled",
            "recovery forgets batches whose commit may be named in the page cache only",
            change(delta_recovery, "settle_newest", steps.nothing),
            dies="machine",
            filesystems=("posix",),
        ),
        Mutant(
            "no-sync-anywhere",
            "nothing is synced at all",
            together(change(os, "fsync", steps.nothing), change(os, "fdatasync", steps.nothing)),
            dies="machine",
        ),
    ]
)
"""The table."""
