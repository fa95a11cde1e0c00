"""The table's committed rows: a Delta table whose every change is durable when the call returns.

deltalake writes through the page cache and syncs nothing, so each change is wrapped. Commit, write order:
    1. the Parquet file under its final name (nobody reads it before the commit names it); sync it
    2. sync the table's folder
    3. one Delta transaction: the file, ``batchIds`` for people, and a ``txn`` action for recovery
       (application = the log's identity and table, version = the generation's last batch id)
    4. sync the commit's json; sync ``_delta_log``
    ── only now may the log forget the batches ──

A power cut before 4 is through can leave the commit absent, whole, or torn: without its last lines, or empty. Each of our
commits ends in its ``txn`` line, so a torn one is told apart, and `heal` removes it: its rows are still in the log.
(https://github.com/delta-io/delta/blob/master/PROTOCOL.md, transaction identifiers.)

Create: the whole table is made under ``.creating-{table}``, synced, then renamed. Checkpoint: written by deltalake, then
synced, then read back; no json is ever deleted here, so a torn checkpoint can simply be removed.
"""

from __future__ import annotations

import json
import logging
import os
import time
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from deltalake import CommitProperties, DeltaTable, PostCommitHookProperties, Transaction
from deltalake import Schema as DeltaSchema
from deltalake.exceptions import DeltaError
from deltalake.transaction import AddAction

from reference_wal.buffers import Generation
from reference_wal.durable_io import remove_tree, settle, step, sync_directory, sync_path, write_all
from reference_wal.errors import TableCorrupted

__all__ = ["DeltaStore", "TornTail", "check_schema", "heal", "marker_at", "remove_unborn", "settle_newest", "torn_tail"]

logger = logging.getLogger(__name__)

MAKE_TABLE = step("delta.create.write", "no trace of the table", "the table under its temporary name, not durable")
SYNC_TABLE = step("delta.create.sync", "temporary, in the cache only", "the table is durable under its temporary name")
NAME_TABLE = step("delta.create.rename", "temporary name", "final name, not yet durably")
SYNC_NAMED = step("delta.create.sync_folder", "named in the cache only", "the table is there for good")
WRITE_PARQUET = step("commit.parquet.write", "rows only in the log", "an orphan file in the page cache")
SYNC_PARQUET = step("commit.parquet.sync", "the file in the page cache", "its contents are durable")
SYNC_FOLDER = step("commit.parquet.sync_folder", "its name in the cache only", "a durable file no commit names yet")
TRANSACT = step("commit.delta.transact", "no commit names the file", "the commit is visible, not durable")
SYNC_JSON = step("commit.delta.sync", "the commit in the page cache", "the commit's contents are durable")
SYNC_LOG = step("commit.delta.sync_folder", "the commit's name in the cache only", "the commit is durable")
WRITE_CHECKPOINT = step("checkpoint.file.write", "only commits", "the checkpoint in the page cache")
SYNC_CHECKPOINT = step("checkpoint.file.sync", "the checkpoint in the page cache", "the checkpoint is durable")
VERIFY_CHECKPOINT = step("checkpoint.file.verify", "durable, not yet trusted", "read back and trusted")
UNLINK_ORPHAN = step("orphan.file.unlink", "a file that no commit names", "gone, not yet durably")
SYNC_ORPHANS = step("orphan.file.sync", "unlinked in the cache only", "the space is free for good")
SETTLE_NEWEST = step(
    "recovery.newest_commit.sync",
    "the newest commit perhaps in the page cache only",
    "it is durable as it will be read",
)
SYNC_FOUND = step("recovery.tables.sync", "a table's name perhaps in the cache only", "every table found is durable")
UNLINK_TORN = step("recovery.torn_commit.unlink", "a torn file in _delta_log", "gone, not yet durably")
SYNC_HEALED = step("recovery.torn_commit.sync", "unlinked in the cache only", "the table is as before the torn commit")

_CONFIGURATION = "reference_wal.columns"
_NO_HOOKS = PostCommitHookProperties(create_checkpoint=False, cleanup_expired_logs=False)


@dataclass(frozen=True)
class TornTail:
    """What a power cut left half-written in ``_delta_log``: at most the newest commit, and a checkpoint."""

    commit: Path | None
    version_before: int
    checkpoint: list[Path]


def settle_newest(path: Path) -> None:
    """Have the newest commit on disk as it will be read: a killed process may not have synced it. Raises OSError."""
    with SETTLE_NEWEST:  # The log is about to forget its batches.
        for commit in _commits(path)[-1:]:
            settle(commit)
            sync_directory(commit.parent)


def _commits(path: Path) -> list[Path]:
    return sorted((path / "_delta_log").glob("[0-9]*.json"))


def torn_tail(path: Path) -> TornTail:
    """Look for files that a power cut tore; changes nothing.

    Raises:
        TableCorrupted: the first commit is torn, or there is none; no crash leaves that, see Create.
    """
    commits = _commits(path)
    if not commits:
        raise TableCorrupted(path / "_delta_log", "holds no commit")
    newest = int(commits[-1].stem)
    whole = _is_whole(commits[-1])
    if newest == 0 and not whole:
        raise TableCorrupted(commits[-1], "the table's first commit is damaged")
    return TornTail(None if whole else commits[-1], newest - 1, _torn_checkpoint(path / "_delta_log"))


def heal(path: Path, torn: TornTail) -> None:
    """Remove what `torn_tail` found. The caller has made sure that the log still holds the torn commit's rows."""
    log = path / "_delta_log"
    leftovers = [file for file in log.iterdir() if ".json#" in file.name]  # deltalake's own, linked or abandoned
    damaged = [*torn.checkpoint, *([torn.commit] if torn.commit else []), *leftovers]
    for file in damaged:
        logger.info("%s: torn or abandoned, removed", file)
        with UNLINK_TORN:
            file.unlink()
    if damaged:
        with SYNC_HEALED:  # Or the torn file could come back under the commit that takes its number.
            sync_directory(log)


def _is_whole(commit: Path) -> bool:
    try:
        actions = [json.loads(line) for line in commit.read_bytes().splitlines()]
        first = actions[0].get("commitInfo", {})
    except (ValueError, IndexError, AttributeError):
        return False
    return "batchIds" not in first or "txn" in actions[-1]


def _torn_checkpoint(log: Path) -> list[Path]:
    pointer = log / "_last_checkpoint"
    checkpoints = sorted(log.glob("[0-9]*.checkpoint.parquet"))
    if not pointer.exists():
        return [file for file in checkpoints if not _is_parquet(file)]
    named: list[Path] = []
    try:
        last = json.loads(pointer.read_bytes())
        named = [log / f"{last['version']:020d}.checkpoint.parquet"]
        if named[0].stat().st_size == last["sizeInBytes"] and _is_parquet(named[0]):
            # One that the pointer does not name yet is found by its name all the same.
            return [file for file in checkpoints if file > named[0] and not _is_parquet(file)]
    except (ValueError, KeyError, TypeError, OSError, pa.ArrowException):
        pass
    return [pointer, *(file for file in checkpoints if file in named or not _is_parquet(file))]


def _is_parquet(file: Path) -> bool:
    try:
        pq.read_table(file, partitioning=None)  # All of it: a power cut may have kept its ends and not its middle.
    except (OSError, pa.ArrowException):
        return False
    return True


def check_schema(schema: pa.Schema) -> None:
    """Raise an Exception, of deltalake's choice, unless a Delta table can have this schema."""
    DeltaSchema.from_arrow(schema)


class DeltaStore:
    """One table's Delta side. Its folder belongs to one engine at a time; not thread-safe."""

    def __init__(self, path: Path) -> None:
        """Open the table at ``path``; torn commits are the caller's to heal first.

        Raises:
            TableCorrupted: deltalake cannot read it, or a file it names is missing or has another size.
        """
        self.path = path
        try:
            self._table = DeltaTable(str(path))
            columns = json.loads(self._table.metadata().configuration[_CONFIGURATION])
        except (DeltaError, KeyError, ValueError) as error:
            raise TableCorrupted(path, f"not readable as a table of this engine ({error})") from error
        self.timestamp: str = columns["timestamp"]
        self.tags: list[str] = columns["tags"]
        self.commits_since_checkpoint = self._count_since_checkpoint()
        self._check_files()

    @classmethod
    def create(cls, path: Path, schema: pa.Schema, *, timestamp: str, tags: list[str]) -> DeltaStore:
        """Make an empty table; durable on return. Raises OSError."""
        columns = json.dumps({"timestamp": timestamp, "tags": tags})
        temporary = path.parent / f".creating-{path.name}"
        with MAKE_TABLE:
            DeltaTable.create(
                str(temporary),
                schema.remove_metadata(),
                configuration={_CONFIGURATION: columns},
                raise_if_key_not_exists=False,
                post_commithook_properties=_NO_HOOKS,
            )
        with SYNC_TABLE:  # Contents and inner names before the name that makes them a table.
            sync_path(_commit_path(temporary, 0))
            sync_directory(temporary / "_delta_log")
            sync_directory(temporary)
        with NAME_TABLE:
            temporary.rename(path)
        with SYNC_NAMED:
            sync_directory(path.parent)
        return cls(path)

    def marker(self, application: str) -> int:
        """Return the last batch id this application committed, -1 for none."""
        return _marker(self._table, application)

    def commit(self, generation: Generation, parquet: pa.Buffer, rows: int, *, application: str) -> None:
        """Add the generation's rows and move the marker to its last batch, at once; durable on return. Raises OSError."""
        file = self.path / f"{generation.lo:020d}-{generation.hi:020d}.parquet"
        self._write_parquet(file, parquet)
        add = AddAction(
            path=file.name,
            size=parquet.size,
            partition_values={},
            modification_time=time.time_ns() // 1_000_000,
            data_change=True,
            stats=json.dumps({"numRecords": rows}),
        )
        self._transact([add], "append", generation.batch_ids, application, generation.hi)

    def clear(self, hi: int, *, application: str) -> None:
        """Remove every row and move the marker to batch ``hi``, at once; durable on return. Raises OSError."""
        self._transact([], "overwrite", [], application, hi)

    def _write_parquet(self, file: Path, parquet: pa.Buffer) -> None:
        fd = os.open(file, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o644)
        try:
            with WRITE_PARQUET:
                write_all(fd, memoryview(parquet))
            with SYNC_PARQUET:  # A commit must never name a file whose bytes could still vanish.
                os.fsync(fd)
        finally:
            os.close(fd)
        with SYNC_FOLDER:  # Nor one whose name could.
            sync_directory(self.path)

    def _transact(self, actions: list[AddAction], mode: str, batch_ids: list[int], application: str, hi: int) -> None:
        properties = CommitProperties(
            custom_metadata={"batchIds": json.dumps(batch_ids)},
            app_transactions=[Transaction(application, hi)],  # no last_updated: then it never expires
            max_commit_retries=0,
        )
        with TRANSACT:
            self._table.create_write_transaction(
                actions,  # type: ignore[arg-type]  # a list of one kind of action
                mode=mode,
                schema=self._table.schema(),
                commit_properties=properties,
                post_commithook_properties=_NO_HOOKS,
            )
        self._table.update_incremental()
        with SYNC_JSON:
            sync_path(_commit_path(self.path, self._table.version()))
        with SYNC_LOG:  # The commit is durable: from here the log may forget the batches.
            sync_directory(self.path / "_delta_log")
        self.commits_since_checkpoint += 1

    def checkpoint(self) -> None:
        """Write a Delta checkpoint, so that opening need not read every commit; durable and verified on return."""
        log = self.path / "_delta_log"
        with WRITE_CHECKPOINT:
            self._table.create_checkpoint()
        with SYNC_CHECKPOINT:
            sync_path(log / f"{self._table.version():020d}.checkpoint.parquet")
            sync_path(log / "_last_checkpoint")
            sync_directory(log)
        with VERIFY_CHECKPOINT:
            if _torn_checkpoint(log) or DeltaTable(str(self.path)).version() != self._table.version():
                raise TableCorrupted(log, "the checkpoint just written cannot be read back")
        self.commits_since_checkpoint = 0

    def files(self) -> dict[Path, int]:
        """Return the Parquet files the table consists of, each with its size in bytes."""
        actions = pa.table(self._table.get_add_actions(flatten=True))
        paths, sizes = actions["path"].to_pylist(), actions["size_bytes"].to_pylist()
        return {self.path / name: size for name, size in zip(paths, sizes, strict=True)}

    def read(self, schema: pa.Schema) -> pa.Table:
        """Return every committed row, in no particular order."""
        tables = [pq.read_table(file, schema=schema, partitioning=None) for file in sorted(self.files())]
        return pa.concat_tables(tables) if tables else schema.empty_table()

    def remove_orphans(self) -> None:
        """Delete Parquet files that no commit names: left by a crash before a commit, or by `clear`."""
        orphans = sorted(set(self.path.glob("*.parquet")) - set(self.files()))
        for orphan in orphans:
            with UNLINK_ORPHAN:
                orphan.unlink()
        if orphans:
            with SYNC_ORPHANS:  # Batches could otherwise be committed under the name of a file that comes back.
                sync_directory(self.path)

    def _check_files(self) -> None:
        for file, size in self.files().items():
            actual = file.stat().st_size if file.exists() else None
            if actual != size:
                raise TableCorrupted(
                    file, f"has {actual} bytes, its commit says {size}" if actual is not None else "is gone"
                )

    def _count_since_checkpoint(self) -> int:
        pointer = self.path / "_delta_log" / "_last_checkpoint"
        last = json.loads(pointer.read_bytes())["version"] if pointer.exists() else 0
        return self._table.version() - int(last)


def remove_unborn(folder: Path) -> None:
    """Delete tables whose creation was cut short: never acknowledged, so nothing is owed. The others become durable."""
    for unborn in folder.glob(".creating-*"):
        with UNLINK_TORN:
            remove_tree(unborn)
    with SYNC_FOUND:
        sync_directory(folder)


def marker_at(path: Path, version: int, application: str) -> int:
    """Return the marker as of an earlier Delta version of the table at ``path``. Raises TableCorrupted."""
    try:
        return _marker(DeltaTable(str(path), version=version), application)
    except DeltaError as error:
        raise TableCorrupted(path, f"not readable at version {version} ({error})") from error


def _marker(table: DeltaTable, application: str) -> int:
    version = table.transaction_version(application)
    return -1 if version is None else int(version)


def _commit_path(table: Path, version: int) -> Path:
    return table / "_delta_log" / f"{version:020d}.json"
