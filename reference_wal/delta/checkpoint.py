"""Delta checkpoints: what makes opening a table independent of how many commits it ever had.

Write order:
    1. the checkpoint and ``_last_checkpoint``, by deltalake, which syncs neither
    2. sync the checkpoint; sync ``_last_checkpoint``; sync ``_delta_log``
    3. drop the page cache's copy and read it back: the table opened from it is the table we have
    ── now commits before it are superfluous ──
    4. delete the jsons before the checkpoint *before* it, and the checkpoints before that one; sync ``_delta_log``

A power cut before 2 is through may tear the checkpoint or its pointer. No json since the last verified checkpoint has been
deleted by then, so the torn one is removed and the table read from the one before (or from its first commit). 4 comes after
3, so it never deletes what only an unverified checkpoint would replace (seen with delta-rs: a checkpoint and its
clean-up handed to the page cache together leave an unreadable table). It keeps one checkpoint more than it needs: then not
even a later damage to the newest one costs the table. It may stop anywhere: readers start at a checkpoint.
"""

from __future__ import annotations

import json
import logging
from itertools import takewhile
from pathlib import Path

import pyarrow as pa
from deltalake import DeltaTable

from crashmatrix.reference_wal.delta.compression import read_parquet
from crashmatrix.reference_wal.durable_io import names_in, settle, step, sync_directory, sync_path
from crashmatrix.reference_wal.errors import TableCorrupted

__all__ = ["clean_up", "commits", "newest_version", "torn", "write"]

logger = logging.getLogger(__name__)

WRITE_CHECKPOINT = step("checkpoint.file.write", "only commits", "the checkpoint in the page cache")
SYNC_CHECKPOINT = step("checkpoint.file.sync", "the checkpoint in the page cache", "the checkpoint is durable")
VERIFY_CHECKPOINT = step("checkpoint.file.verify", "durable, not yet trusted", "read back and trusted")
UNLINK_OLD = step("checkpoint.clean_up.unlink", "commits that two checkpoints hold", "one fewer, not yet durably")
SYNC_CLEANED = step("checkpoint.clean_up.sync", "unlinked in the cache only", "gone permanently")

_SUFFIX = ".checkpoint.parquet"


def write(path: Path, table: DeltaTable) -> DeltaTable:
    """Checkpoint the table at ``path``, loaded at its newest version; durable and verified on return.

    Returns:
        The table, loaded from the checkpoint.

    Raises:
        TableCorrupted: it does not read back as the table.
        OSError.
    """
    log = path / "_delta_log"
    with WRITE_CHECKPOINT:
        table.create_checkpoint()
    file = _checkpoint_path(log, table.version())
    with SYNC_CHECKPOINT:
        sync_path(file)
        sync_path(log / "_last_checkpoint")
        sync_directory(log)
    with VERIFY_CHECKPOINT:  # The disk's content, not the page cache's: the commits it replaces are deleted next.
        settle(file)
        settle(log / "_last_checkpoint")
        if torn(log) or _content(found := DeltaTable(str(path))) != _content(table):
            raise TableCorrupted(log, "the checkpoint just written cannot be read back")
    return found


def _content(table: DeltaTable) -> tuple[int, list[str], dict[str, str]]:
    return table.version(), sorted(table.file_uris()), table.metadata().configuration


def _checkpoint_path(log: Path, version: int) -> Path:
    return log / f"{version:020d}{_SUFFIX}"


def commits(log: Path) -> list[Path]:
    """Return the commits in a ``_delta_log``, oldest first."""
    return _versions(log, ".json")


def _checkpoints(log: Path) -> list[Path]:
    return _versions(log, _SUFFIX)


def _versions(log: Path, suffix: str) -> list[Path]:
    return [log / name for name in names_in(log) if name[0].isdecimal() and name.endswith(suffix)]


def newest_version(log: Path) -> int:
    """Return the version of the newest checkpoint, 0 if there is none."""
    found = _checkpoints(log)
    return int(found[-1].name.removesuffix(_SUFFIX)) if found else 0


def clean_up(log: Path) -> None:
    """Delete what the two newest checkpoints make superfluous. Raises OSError."""
    *_, keep = ["", *(file.name for file in _checkpoints(log)[:-1])]
    old = [*commits(log), *_checkpoints(log)]
    superfluous = sorted(file for file in old if file.name[:20] < keep[:20])
    for file in superfluous:
        with UNLINK_OLD:
            file.unlink()
    if superfluous:
        with SYNC_CLEANED:  # Only frees space: a commit that comes back lies before two checkpoints.
            sync_directory(log)


def torn(log: Path) -> list[Path]:
    """Return what a power cut tore: checkpoints, and the pointer to one of them.

    Raises:
        TableCorrupted: without them the table could not be read; no crash leaves that.
    """
    found = _torn(log)
    whole = [file for file in _checkpoints(log) if file not in found]
    start = int(whole[-1].name[:20]) if whole else -1
    jsons = {int(file.stem) for file in commits(log)}
    if found and not jsons >= set(range(start + 1, max(jsons, default=start) + 1)):
        raise TableCorrupted(found[-1], "the checkpoint is damaged, and the commits before it are gone")
    return found


def _torn(log: Path) -> list[Path]:
    pointer, named, misleads = log / "_last_checkpoint", None, False
    if pointer.exists():
        try:
            last = json.loads(pointer.read_bytes())
            named = _checkpoint_path(log, last["version"])
            misleads = named.stat().st_size != last["sizeInBytes"]
        except (ValueError, KeyError, TypeError, OSError):
            misleads = True
    # The newest down to one that is whole: a reader opens no older one, and needs no pointer to find it.
    of_no_use = takewhile(
        lambda file: (misleads and file == named) or not _is_parquet(file), reversed(_checkpoints(log))
    )
    damaged = sorted(of_no_use)
    return [*([pointer] if misleads or named in damaged else []), *damaged]


def _is_parquet(file: Path) -> bool:
    try:
        read_parquet(file)  # All of it: a power cut may have kept its ends and not its middle.
    except (OSError, pa.ArrowException):
        return False
    return True
