"""The newest commit and checkpoint of a table after a power cut: how they are healed, or why they are refused.

    | found                                             | left by                            | done                      |
    |---------------------------------------------------|------------------------------------|---------------------------|
    | newest commit lacks its end; the log holds every  | a cut within a commit              | removed                   |
    | batch above the marker before it, and the files   |                                    |                           |
    | of the version before it are there                |                                    |                           |
    | newest commit lacks its end, otherwise            | damage: the log forgets and files  | TableCorrupted            |
    |                                                   | go only after a commit is durable  |                           |
    | first commit damaged, or none there               | damage: synced before it is named  | TableCorrupted            |
    | newest checkpoint or its pointer torn, readable   | a cut within a checkpoint          | removed                   |
    | without them                                      |                                    |                           |
    | the same, not readable without them               | damage: clean-up comes after       | TableCorrupted            |
    |                                                   | verification                       |                           |
    | ``*.json#*``                                      | a commit that never was            | removed                   |

Everything is decided before anything is removed. Without a log, later damage to the newest commit looks like a
torn commit; with it, only while the log still holds the commit's batches, and then nothing is lost.
"""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from deltalake import DeltaTable
from deltalake.exceptions import DeltaError

from crashmatrix.faults import mark
from crashmatrix.reference_wal.delta import checkpoint
from crashmatrix.reference_wal.delta.commit import TableProperties, check_files, files_of, marker_of
from crashmatrix.reference_wal.durable_io import settle, step, sync_directory
from crashmatrix.reference_wal.errors import TableCorrupted

__all__ = ["Covers", "TornTail", "heal", "is_whole", "properties_of", "remove_torn", "settle_newest", "torn_tail"]

logger = logging.getLogger(__name__)

SETTLE_NEWEST = step(
    "recovery.newest_commit.sync",
    "the newest commit perhaps in the page cache only",
    "it is durable as it will be read",
)
UNLINK_TORN = step("recovery.torn_commit.unlink", "a torn file in _delta_log", "gone, not yet durably")
SYNC_HEALED = step("recovery.torn_commit.sync", "unlinked in the cache only", "the table is as before the torn commit")

TORN_COMMIT = mark("rows.delta.commit", "the newest commit torn, removed")
TORN_CHECKPOINT = mark("rows.delta.checkpoint", "a checkpoint or its pointer torn, removed")
ABANDONED = mark("rows.delta.abandoned", "a commit that never was, removed")


class Covers(Protocol):
    """A log, as far as healing goes."""

    def covers(self, batch_id: int, /) -> bool:
        """Whether every acknowledged batch from this one on is in the log."""


@dataclass(frozen=True)
class TornTail:
    """The files that a power cut left half-written in ``_delta_log``: at most the newest commit, and a checkpoint."""

    commit: Path | None
    version_before: int
    checkpoint: list[Path]


def heal(path: Path, log: Covers | None, application: str) -> None:
    """Remove a commit or checkpoint that a power cut tore.

    Args:
        log: of the table; None for a table without a log, where nothing is acknowledged before it is committed.

    Raises:
        TableCorrupted: no power cut leaves this folder. Nothing was changed.
    """
    settle_newest(path)
    torn = torn_tail(path)
    if torn.commit is not None:
        _refuse_if_needed(path, torn.commit, torn.version_before, log, application)
    remove_torn(path, torn)


def properties_of(path: Path) -> TableProperties | None:
    """Return what the table says of itself, even if its newest commit is torn; None if it is not readable. Changes nothing."""
    found = checkpoint.commits(path / "_delta_log")
    newest = int(found[-1].stem) if found else 0
    for version in (None, max(newest - 1, 0)):
        try:
            return TableProperties.of(DeltaTable(str(path), version=version))
        except (DeltaError, KeyError, ValueError, TypeError):
            continue
    return None


def settle_newest(path: Path) -> None:
    """Have the newest commit on disk as it will be read: a killed process may not have synced it. Raises OSError."""
    with SETTLE_NEWEST:  # The log is about to forget its batches.
        for commit in checkpoint.commits(path / "_delta_log")[-1:]:
            settle(commit)
            sync_directory(commit.parent)


def torn_tail(path: Path) -> TornTail:
    """Look for files that a power cut tore; changes nothing.

    Raises:
        TableCorrupted: the first commit is torn, or there is none, or a torn checkpoint is all there is.
    """
    commits = checkpoint.commits(path / "_delta_log")
    if not commits:
        raise TableCorrupted(path / "_delta_log", "holds no commit")
    newest = int(commits[-1].stem)
    whole = is_whole(commits[-1])
    if newest == 0 and not whole:
        raise TableCorrupted(commits[-1], "the table's first commit is damaged")
    return TornTail(None if whole else commits[-1], newest - 1, checkpoint.torn(path / "_delta_log"))


def is_whole(commit: Path) -> bool:
    """Whether the commit has all its lines, as far as the file shows: ours end in their ``txn``."""
    try:
        actions = [json.loads(line) for line in commit.read_bytes().splitlines()]
        first = actions[0].get("commitInfo", {})
    except (ValueError, IndexError, AttributeError):
        return False
    return "batchIds" not in first or "txn" in actions[-1]


def _refuse_if_needed(path: Path, commit: Path, version_before: int, log: Covers | None, application: str) -> None:
    """Refuse unless the table is whole without its newest commit: all rows in the log, all files of before in place."""
    try:
        before = DeltaTable(str(path), version=version_before)
        marker, files = marker_of(before, application), files_of(before)
    except DeltaError as error:
        raise TableCorrupted(path, f"not readable at version {version_before} ({error})") from error
    if log is not None and not log.covers(marker + 1):
        raise TableCorrupted(commit, "the newest commit is damaged")
    try:
        check_files(path, files)
    except TableCorrupted as error:  # A truncation or a transfer deletes files only after its commit.
        raise TableCorrupted(commit, f"the newest commit is damaged ({error.path.name} is gone since)") from error


def remove_torn(path: Path, torn: TornTail) -> None:
    """Remove what `torn_tail` found, and deltalake's leftovers. The caller has made sure that nothing is lost by it."""
    log = path / "_delta_log"
    leftovers = [
        file for file in log.iterdir() if ".json#" in file.name
    ]  # deltalake's own, linked or abandoned, and ours
    damaged = [*torn.checkpoint, *([torn.commit] if torn.commit else []), *leftovers]
    for found, entered in ((torn.commit, TORN_COMMIT), (torn.checkpoint, TORN_CHECKPOINT), (leftovers, ABANDONED)):
        if found:
            entered.enter()
    for file in damaged:
        logger.info("%s: torn or abandoned, removed", file)
        with UNLINK_TORN:
            file.unlink()
    if damaged:
        with SYNC_HEALED:  # Or the torn file could come back under the commit that takes its number.
            sync_directory(log)
