"""The commits and checkpoints of a table after a crash: what is removed, or why the table is refused.

    | found                                             | left by                            | done                      |
    |---------------------------------------------------|------------------------------------|---------------------------|
    | every commit that is needed fits its checksum     | any crash                          | believed, its name synced |
    | one that does not fit                             | damage: synced before it is named  | TableCorrupted            |
    | no commit                                         | damage: likewise                   | TableCorrupted            |
    | newest checkpoint without proof, readable without | a cut within a checkpoint          | removed                   |
    | the same, not readable without                    | damage: clean-up comes after proof | TableCorrupted            |
    | a pointer that is not the one to the newest       | likewise                           | removed                   |
    | checkpoint                                        |                                    |                           |
    | ``*.json#*``                                      | a commit that never was            | removed                   |

Commits that a checkpoint with proof holds are not needed, and not looked at. Everything is decided before anything is removed.
With a log and without one, the rows are the same: no commit is ever taken back.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

from crashmatrix.faults import mark
from crashmatrix.reference_wal.delta import checkpoint
from crashmatrix.reference_wal.delta.sealed_commit import check_commit
from crashmatrix.reference_wal.durable_io import names_in, settle, step, sync_directory
from crashmatrix.reference_wal.errors import TableCorrupted

__all__ = ["Leftovers", "check", "heal", "remove", "settle_newest"]

logger = logging.getLogger(__name__)

SETTLE_NEWEST = step(
    "recovery.newest_commit.sync",
    "the newest commit's name perhaps in the page cache only",
    "the newest commit is durable",
)
UNLINK_TORN = step("recovery.torn_commit.unlink", "a torn file in _delta_log", "gone, not yet durably")
SYNC_HEALED = step("recovery.torn_commit.sync", "unlinked in the cache only", "the table is as before the torn file")

TORN_CHECKPOINT = mark("rows.delta.checkpoint", "a checkpoint or its pointer torn, removed")
ABANDONED = mark("rows.delta.abandoned", "a commit that never was, removed")


@dataclass(frozen=True)
class Leftovers:
    """The files that a crash left in ``_delta_log`` and that nothing needs: torn checkpoints, commits that never were."""

    checkpoints: list[Path]
    abandoned: list[Path]


def heal(path: Path) -> None:
    """Check the commits and checkpoints of the table at ``path``, and remove what a crash left half-made.

    Raises:
        TableCorrupted: no crash leaves this folder; it names the file. Nothing was changed.
        OSError.
    """
    settle_newest(path)
    remove(path, check(path))


def settle_newest(path: Path) -> None:
    """Have the newest commit durable as it will be read: a killed process may not have synced its name. Raises OSError."""
    with SETTLE_NEWEST:  # The log is about to forget its batches.
        for commit in checkpoint.commits(path / "_delta_log")[-1:]:
            settle(commit)
            sync_directory(commit.parent)


def check(path: Path) -> Leftovers:
    """Verify every file of ``_delta_log`` that the table is read from; changes nothing. Raises TableCorrupted, OSError."""
    log = path / "_delta_log"
    commits = checkpoint.commits(log)
    if not commits:
        raise TableCorrupted(log, "holds no commit")
    torn = checkpoint.torn(log)
    held = checkpoint.newest_version(log, without=torn)
    for commit in commits:
        if int(commit.stem) > held:
            check_commit(commit)
    return Leftovers(torn, [log / name for name in names_in(log) if ".json#" in name])


def remove(path: Path, leftovers: Leftovers) -> None:
    """Remove what `check` found. Raises OSError."""
    found = [*leftovers.checkpoints, *leftovers.abandoned]
    for files, entered in ((leftovers.checkpoints, TORN_CHECKPOINT), (leftovers.abandoned, ABANDONED)):
        if files:
            entered.enter()
    for file in found:
        with UNLINK_TORN:
            file.unlink()
        logger.info("%s: torn or abandoned, removed", file)
    if found:
        with SYNC_HEALED:  # Or a torn checkpoint could come back.
            sync_directory(path / "_delta_log")
