"""Delta checkpoints: what makes opening a table independent of how many commits it ever had.

Write order:
    1. the checkpoint and ``_last_checkpoint``, by deltalake, which syncs neither; and their checksums, the *proof*
    2. sync the checkpoint, ``_last_checkpoint`` and the proof; sync ``_delta_log``
    3. drop the page cache's copy and read it back: the table opened from it is the table we have
    ── now commits before it are superfluous ──
    4. delete the jsons before the checkpoint *before* it, and the checkpoints before that one; sync ``_delta_log``

The proof is ``_checkpoint.{version}.xxh3``, two numbers of 16 hexadecimal digits, each an XXH3-64 salted with the version.
A checkpoint counts only with its proof, since neither Delta nor Parquet has a checksum that covers all of it. Tables
without any proof were written before there were proofs; their checkpoints count if every page can be read.

A power cut before 2 is through may tear the checkpoint, its pointer or its proof. No json since the last verified checkpoint
has been deleted by then, so the torn one is removed and the table read from the one before (or from its first commit).
4 comes after 3, so it never deletes what only an unverified checkpoint would replace (seen with delta-rs: a checkpoint and its
clean-up handed to the page cache together leave an unreadable table). It keeps one checkpoint more than it needs: then not
even a later damage to the newest one costs the table. It may stop anywhere: readers start at a checkpoint.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from itertools import takewhile
from pathlib import Path

import pyarrow as pa
from deltalake import DeltaTable

from crashmatrix.reference_wal.delta.compression import NOT_PARQUET, read_parquet
from crashmatrix.reference_wal.durable_io import names_in, settle, step, sync_directory, sync_path
from crashmatrix.reference_wal.errors import TableCorrupted
from crashmatrix.reference_wal.log.segments.seal import checksum

__all__ = ["clean_up", "commits", "newest_version", "torn", "write"]

WRITE_CHECKPOINT = step("checkpoint.file.write", "only commits", "the checkpoint in the page cache")
SYNC_CHECKPOINT = step("checkpoint.file.sync", "the checkpoint in the page cache", "the checkpoint is durable")
VERIFY_CHECKPOINT = step("checkpoint.file.verify", "durable, not yet trusted", "read back and trusted")
UNLINK_OLD = step("checkpoint.clean_up.unlink", "commits that two checkpoints hold", "one fewer, not yet durably")
SYNC_CLEANED = step("checkpoint.clean_up.sync", "unlinked in the cache only", "gone permanently")

_SUFFIX = ".checkpoint.parquet"
_POINTER, _PROOF_BEGINS, _PROOF_ENDS = "_last_checkpoint", "_checkpoint.", ".xxh3"


def write(path: Path, table: DeltaTable) -> DeltaTable:
    """Checkpoint the table at ``path``, loaded at its newest version; durable and verified on return.

    Returns:
        The table, loaded from the checkpoint.

    Raises:
        TableCorrupted: it does not read back as the table.
        OSError.
    """
    log = path / "_delta_log"
    file = log / f"{table.version():020d}{_SUFFIX}"
    with WRITE_CHECKPOINT:
        table.create_checkpoint()
        _proof_of(file).write_bytes(_checksums(file))
    with SYNC_CHECKPOINT:
        for written in (file, log / _POINTER, _proof_of(file)):
            sync_path(written)
        sync_directory(log)
    with VERIFY_CHECKPOINT:  # The disk's content, not the page cache's: the commits it replaces are deleted next.
        for written in (file, log / _POINTER, _proof_of(file)):
            settle(written)
        if torn(log) or _content(found := DeltaTable(str(path))) != _content(table):
            raise TableCorrupted(log, "the checkpoint just written cannot be read back")
    return found


def _content(table: DeltaTable) -> tuple[int, list[str], dict[str, str]]:
    return table.version(), sorted(table.file_uris()), table.metadata().configuration


def _proof_of(file: Path) -> Path:
    return file.with_name(f"{_PROOF_BEGINS}{file.name[:20]}{_PROOF_ENDS}")


def _checksums(file: Path) -> bytes:
    """Return the proof of a checkpoint, and of the pointer to it. Raises OSError."""
    return b"%b %b" % (_checksum(file, file), _checksum(file, file.with_name(_POINTER)))


def _checksum(file: Path, part: Path) -> bytes:
    return b"%016x" % checksum(part.read_bytes(), _version(file))


def commits(log: Path) -> list[Path]:
    """Return the commits in a ``_delta_log``, oldest first."""
    return _named(log, "", ".json")


def _checkpoints(log: Path) -> list[Path]:
    return _named(log, "", _SUFFIX)


def _proofs(log: Path) -> list[Path]:
    return _named(log, _PROOF_BEGINS, _PROOF_ENDS)


def _named(log: Path, begins: str, ends: str) -> list[Path]:
    """Return the files named by a version between these, and no others: a log may hold compacted ones, or a stranger's."""
    pattern = re.compile(re.escape(begins) + "[0-9]{20}" + re.escape(ends))
    return [log / name for name in names_in(log) if pattern.fullmatch(name)]


def _version(file: Path) -> int:
    return int(file.name.removeprefix(_PROOF_BEGINS)[:20])


def newest_version(log: Path, *, without: Collection[Path] = ()) -> int:
    """Return the version of the newest checkpoint that is not one of these, -1 if there is none."""
    return max((_version(file) for file in _checkpoints(log) if file not in without), default=-1)


def clean_up(log: Path) -> None:
    """Delete what the two newest checkpoints make superfluous. Raises OSError."""
    keep = max((_version(file) for file in _checkpoints(log)[:-1]), default=-1)
    old = [*commits(log), *_checkpoints(log), *_proofs(log)]
    superfluous = sorted((file for file in old if _version(file) < keep), key=_version)
    for file in superfluous:
        with UNLINK_OLD:
            file.unlink()
    if superfluous:
        with SYNC_CLEANED:  # Only frees space: a commit that comes back lies before two checkpoints.
            sync_directory(log)


def torn(log: Path) -> list[Path]:
    """Return what a power cut tore: the newest checkpoints down to one with a proof, and a pointer that is not that one's.

    Raises:
        TableCorrupted: without them the table could not be read; no crash leaves that.
        OSError.
    """
    files = _checkpoints(log)
    found = _newest_that_fail(files, _is_proven)
    if not _readable_without(log, found) and not _proofs(log):
        found = _newest_that_fail(files, _is_parquet)  # Older than proofs.
    if not _readable_without(log, found):
        raise TableCorrupted(found[-1], "the checkpoint is damaged, and the commits before it are gone")
    kept = [file for file in files if file not in found]
    pointer = log / _POINTER
    misleads = pointer.exists() and not (kept and _is_pointer_to(kept[-1]))
    return [*([pointer] if misleads else []), *found]


def _newest_that_fail(files: list[Path], passes: Callable[[Path], bool]) -> list[Path]:
    """Return the newest down to one that passes: a reader opens no older one, and needs no pointer to find it."""
    return sorted(takewhile(lambda file: not passes(file), reversed(files)))


def _readable_without(log: Path, found: Collection[Path]) -> bool:
    if not found:
        return True
    start = newest_version(log, without=found)
    jsons = {_version(file) for file in commits(log)}
    return jsons >= set(range(start + 1, max(jsons, default=start) + 1))


def _is_proven(file: Path) -> bool:
    """Whether the checkpoint's proof is there, and it fits."""
    return _proof(file)[0] == _checksum(file, file)


def _is_pointer_to(file: Path) -> bool:
    """Whether ``_last_checkpoint`` is the one that was written with this checkpoint."""
    return _proof(file)[1] == _checksum(file, file.with_name(_POINTER))


def _proof(file: Path) -> tuple[bytes, bytes]:
    try:
        found = _proof_of(file).read_bytes()
    except FileNotFoundError:
        return b"", b""
    return found[:16], found[17:]


def _is_parquet(file: Path) -> bool:
    data = file.read_bytes()  # An error of the disk is not an answer; Arrow's own is.
    try:
        read_parquet(pa.BufferReader(data))  # All of it: a power cut may have kept its ends and not its middle.
    except NOT_PARQUET:
        return False
    return True
