"""Logs as a crash left them: looked at, not yet recovered.

An `UnrecoveredLog` says whose log it is and which batches it holds. It takes no batch and gives none back: for that it must be
reconciled with what is persisted elsewhere, and only `UnrecoveredLog.reconcile` makes a `SegmentedLog` of it.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path

from crashmatrix.reference_wal.durable_io import make_folder, remove_tree, step, sync_directory
from crashmatrix.reference_wal.log import recovery
from crashmatrix.reference_wal.log.folders import delete_hidden, delete_leftover, hide, is_leftover
from crashmatrix.reference_wal.log.retention import Retention
from crashmatrix.reference_wal.log.segment_writer import PREALLOCATE_BYTES, LogIdentity, SegmentSizes, SegmentWriter
from crashmatrix.reference_wal.log.segmented_log import SegmentedLog
from crashmatrix.reference_wal.log.segments.segment import Opening

__all__ = ["UnrecoveredLog", "UnrecoveredLogs"]

logger = logging.getLogger(__name__)

SYNC_FOUND = step("recovery.logs.sync", "a log's folder perhaps in the cache only", "every log found is durable")
REMOVE_UNFINISHED_LOG = step("recovery.unfinished_log.delete", "a folder that never became a log", "the folder is gone")


class UnrecoveredLog:
    """The log of one table, as found. Made by `look`.

    Attributes:
        table, identity: whose log it is.
        next_id: the id of the next batch.
    """

    def __init__(self, folder: Path, plan: recovery.Plan, opening: Opening, sizes: SegmentSizes) -> None:
        self.folder, self.table, self.identity = folder, opening.header.table, opening.header.identity
        self.next_id = plan.next_id
        self._plan, self._sizes = plan, sizes
        self._log = LogIdentity(folder, opening.schema, self.identity, self.table)
        self._retention = Retention(folder, plan.closed_names, plan.persisted)

    @classmethod
    def look(
        cls, folder: Path, *, segment_bytes_max: int, preallocate_bytes: int = PREALLOCATE_BYTES
    ) -> UnrecoveredLog | None:
        """Look at the log in ``folder``; None if the folder never became one (row @O). `recovery` has the argument.

        Nothing is changed.

        Raises:
            LogCorrupted: the folder holds what no crash leaves.
        """
        plan = recovery.look(folder)
        if plan.opening is None:
            return None
        sizes = SegmentSizes(segment_bytes_max=segment_bytes_max, preallocate_bytes=preallocate_bytes)
        return cls(folder, plan, plan.opening, sizes)

    def refuse_gaps(self, persisted_through: int) -> None:
        """Check that every batch that is not persisted elsewhere is in the log. Changes nothing. Raises as `reconcile`."""
        self._retention.refuse_gaps(self.next_id, persisted_through)

    def reconcile(self, persisted_through: int = -1) -> SegmentedLog:
        """Recover the folder, and return the log, ready. Call it once; after an error, look at the folder again.

        Args:
            persisted_through: the ids up to this one are persisted elsewhere (-1: none).

        Raises:
            LogCorrupted: ids above it are missing (row @L), or it lies beyond every id the log ever gave out. Nothing was
                changed.
            OSError: the disk refused a step. Looking and reconciling again takes the recovery up where it stopped.
        """
        self.refuse_gaps(persisted_through)
        log = self._recover()
        try:
            log.mark_persisted(range(persisted_through + 1))
        except BaseException:
            log.close()
            raise
        return log

    def _recover(self) -> SegmentedLog:
        """Carry out what `recovery` decided, and have an active segment."""
        recovery.apply(self.folder, self._plan)
        return SegmentedLog(self._writer(), self._retention)

    def _writer(self) -> SegmentWriter:
        resumable = self._plan.resumable
        if resumable is None:
            return SegmentWriter.create(self._log, self._sizes, self.next_id)
        return SegmentWriter.resume(resumable.path, resumable.opening, self._sizes)


class UnrecoveredLogs:
    """The logs of all tables under one folder, as found.

    Args:
        root: folder of the logs; created if missing. The log of every table is looked at here. Nothing is removed: what is
            left of creations and removals cut short goes with `remove_leftovers`.

    Raises:
        LogCorrupted: see `recovery`.
    """

    def __init__(self, root: Path, *, segment_bytes_max: int, preallocate_bytes: int = PREALLOCATE_BYTES) -> None:
        self.root = root
        self._segment_bytes_max, self._preallocate_bytes = segment_bytes_max, preallocate_bytes
        self._logs: dict[str, UnrecoveredLog] = {}
        self._leftovers: list[Path] = []
        make_folder(root)
        with SYNC_FOUND:  # Before a removed log's files go: a power cut could bring its name back, with a part of them.
            sync_directory(root)
        for folder in sorted(root.iterdir()):
            self._look(folder)

    def _look(self, folder: Path) -> None:
        if is_leftover(folder):
            self._leftovers.append(folder)
            return
        if not folder.is_dir():
            logger.warning("%s is not one of the log's folders; left alone", folder)
            return
        log = UnrecoveredLog.look(
            folder, segment_bytes_max=self._segment_bytes_max, preallocate_bytes=self._preallocate_bytes
        )
        if log is not None:
            self._logs[folder.name] = log
        else:
            self._leftovers.append(folder)

    def remove_leftovers(self) -> None:
        """Remove what is left of creations and removals cut short. Raises OSError."""
        for folder in self._leftovers:
            if is_leftover(folder):
                delete_leftover(folder)
            else:
                logger.info("%s: its creation was cut short and never acknowledged; removed", folder)
                with REMOVE_UNFINISHED_LOG:
                    remove_tree(folder)
        self._leftovers.clear()

    @property
    def next_ids(self) -> dict[str, int]:
        """For each table that has a log, the id of its next batch."""
        return {table: log.next_id for table, log in self._logs.items()}

    def found(self, table: str) -> UnrecoveredLog | None:
        """Return the log of a table; None if it has none."""
        return self._logs.get(table)

    def remove_table_log(self, table: str) -> None:
        """Remove the log of the table permanently; durable on return. Raises OSError."""
        del self._logs[table]
        hide(self.root, table)
        delete_hidden(self.root, table)

    def reconcile(self, persisted_through: Mapping[str, int]) -> dict[str, SegmentedLog]:
        """Recover every log, and return each under the name of its table; remove what is left of others before.

        Args:
            persisted_through: for each table, the last id persisted elsewhere; none for a table that is not named.

        Raises:
            LogCorrupted: as `UnrecoveredLog.reconcile`. Nothing was changed in any log.
            OSError: likewise.
        """
        known = {table: persisted_through.get(table, -1) for table in self._logs}
        for table, log in self._logs.items():
            log.refuse_gaps(known[table])
        self.remove_leftovers()
        recovered: dict[str, SegmentedLog] = {}
        try:
            for table, log in self._logs.items():
                recovered[table] = log.reconcile(known[table])
        except BaseException:
            for done in recovered.values():
                done.close()
            raise
        return recovered
