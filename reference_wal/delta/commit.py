"""The table's committed rows: a Delta table whose every change is durable when the call returns.

Commit, write order:
    1. each generation's Parquet file under its final name (no reader opens it before the commit names it); sync it
    2. sync the table's folder
    3. the commit's json under a temporary name; sync it: the files, ``batchIds`` for people, and a ``txn`` action for recovery
       (application = the log's identity and table, version = the last batch id in them)
    4. rename it to ``{version}.json``; sync ``_delta_log``
    ── only now may the log forget the batches ──

deltalake reads the table; the commits are written here. It would write a commit in place, and sync nothing: a power cut could
tear the commit, and later damage to the newest commit would look the same. A json that is named is whole, and has a checksum
(`sealed_commit`), so every change to it shows. (https://github.com/delta-io/delta/blob/master/PROTOCOL.md, transaction
identifiers.) The table's folder belongs to one engine, so nobody else takes the version meanwhile. Files are named by their
batches and a checksum of their bytes (`parquet_file`).
"""

from __future__ import annotations

import json
import os
import time
from base64 import b64decode, b64encode
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
from deltalake import CommitProperties, DeltaTable, Transaction
from deltalake.exceptions import DeltaError
from deltalake.transaction import AddAction

from crashmatrix.reference_wal.atomic_file import AtomicFile
from crashmatrix.reference_wal.delta import checkpoint, folder as table_folder
from crashmatrix.reference_wal.delta.compressed_buffer import Compressed, batches_in
from crashmatrix.reference_wal.delta.folder import commit_path
from crashmatrix.reference_wal.delta.parquet_file import file_name, read_files
from crashmatrix.reference_wal.delta.sealed_commit import sealed
from crashmatrix.reference_wal.durable_io import names_in, step, sync_directory, write_all
from crashmatrix.reference_wal.errors import TableCorrupted
from crashmatrix.reference_wal.models.bound import Bound
from crashmatrix.reference_wal.models.segments import Shape

__all__ = [
    "DeltaStore",
    "TableProperties",
    "add_action",
    "check_files",
    "commit_properties",
    "files_of",
    "marker_of",
    "schema_of",
]

WRITE_PARQUET = step("commit.parquet.write", "rows only in the log", "an orphan file in the page cache")
SYNC_PARQUET = step("commit.parquet.sync", "the file in the page cache", "its contents are durable")
SYNC_FOLDER = step("commit.parquet.sync_folder", "its name in the cache only", "a durable file no commit names yet")
WRITE_JSON = step(
    "commit.delta.write", "no commit names the file", "a commit under a temporary name, in the page cache"
)
SYNC_JSON = step("commit.delta.sync", "the commit in the page cache, temporary", "its contents are durable, temporary")
TRANSACT = step("commit.delta.transact", "a durable commit under a temporary name", "visible, not durable")
SYNC_LOG = step("commit.delta.sync_folder", "the commit's name in the cache only", "the commit is durable")
UNLINK_ORPHAN = step("orphan.file.unlink", "a file that no commit names", "gone, not yet durably")
SYNC_ORPHANS = step("orphan.file.sync", "unlinked in the cache only", "the space is free")

_CONFIGURATION = "crashmatrix.reference_wal.table"

_NO_TOMBSTONES = {"delta.deletedFileRetentionDuration": "interval 0 seconds"}
"""Checkpoints need not remember which files are gone: only the engine deletes them, at once."""


@dataclass(frozen=True, kw_only=True)
class TableProperties:
    """The properties that a table is created with, kept in its Delta metadata.

    Attributes:
        timestamp, tags: as given to `StorageEngine.create_table`.
        identity: distinguishes this table, and its log, from every other table of this name.
        logged: whether it has a log (`DeltaStore.set_logged`).
        arrow: the schema of its batches, which Delta's own types lose parts of; as Arrow serialises it, in base 64.
        bounds: of a table by models, the error bound of each column that has one: kind and size. None: it keeps rows.
    """

    timestamp: str
    tags: list[str]
    identity: str
    logged: bool
    arrow: str
    bounds: dict[str, list[Any]] | None = None

    @classmethod
    def of(cls, table: DeltaTable) -> TableProperties:
        """Read them from a loaded table. Raises KeyError, ValueError or TypeError for one that this engine did not make."""
        return cls(**json.loads(table.metadata().configuration[_CONFIGURATION]))

    @classmethod
    def made(
        cls, schema: pa.Schema, *, timestamp: str, tags: list[str], identity: str, logged: bool,
        bounds: Mapping[str, Bound] | None,
    ) -> TableProperties:  # fmt: skip
        """Return those of a new table whose batches have this schema."""
        arrow = b64encode(schema.serialize()).decode()
        kept = None if bounds is None else {name: [bound.kind, bound.size] for name, bound in bounds.items()}
        return cls(timestamp=timestamp, tags=tags, identity=identity, logged=logged, arrow=arrow, bounds=kept)

    @property
    def stored_schema(self) -> pa.Schema:
        """The schema of what is committed."""
        return self.arrow_schema if self.shape is None else self.shape.segments

    @property
    def arrow_schema(self) -> pa.Schema:
        """The schema of the table's batches."""
        return pa.ipc.read_schema(pa.BufferReader(b64decode(self.arrow)))

    @property
    def shape(self) -> Shape | None:
        """The shape of a table by models, None for one that keeps rows."""
        if self.bounds is None:
            return None
        bounds = {name: Bound(kind, size) for name, (kind, size) in self.bounds.items()}
        return Shape(self.arrow_schema, self.timestamp, self.tags, bounds)


class DeltaStore:
    """The Delta side of a table. Its folder belongs to one engine, and only `files` and `names` to more than one thread."""

    def __init__(self, path: Path) -> None:
        """Open the table at ``path``; its commits are the caller's to check first (`recovery`).

        Raises:
            TableCorrupted: deltalake cannot read it, or a file it names is missing or has another size.
        """
        self.path = path
        try:
            self._table = DeltaTable(str(path))
            self.properties = TableProperties.of(self._table)
        except (DeltaError, KeyError, ValueError, TypeError) as error:
            raise TableCorrupted(path, f"not readable as a table of this engine ({error})") from error
        self.commits_since_checkpoint = self._table.version() - max(checkpoint.newest_version(path / "_delta_log"), 0)
        self._files = files_of(self._table)  # Replaced, never changed: other threads look at it.
        check_files(path, self._files)

    @staticmethod
    def make_unfinished(path: Path, schema: pa.Schema, properties: TableProperties) -> None:
        """Make an empty table that `folder.give_name` names; durable on return. Raises OSError."""
        table_folder.make_unfinished(path, schema, {_CONFIGURATION: json.dumps(asdict(properties)), **_NO_TOMBSTONES})

    @property
    def schema(self) -> pa.Schema:
        """The schema as Delta keeps it, in Arrow's terms."""
        return schema_of(self._table)

    def marker(self, application: str) -> int:
        """Return the last batch id this application committed, -1 for none."""
        return marker_of(self._table, application)

    def commit(self, parts: Sequence[Compressed], *, application: str) -> None:
        """Add these parts and move the marker to the last batch in them, at once; durable on return. Raises OSError."""
        files = {file_name(part.lo, part.hi, part.parquet): part for part in parts}
        for name, part in files.items():
            self._write_parquet(self.path / name, part.parquet)
        with SYNC_FOLDER:  # A commit must never name a file whose name could still vanish.
            sync_directory(self.path)
        added: list[dict[str, object]] = [{"add": _added(name, part)} for name, part in files.items()]
        self._transact("WRITE", added, list(batches_in(parts)), application, parts[-1].hi)
        self._files = self._files | {name: part.parquet.size for name, part in files.items()}

    def set_logged(self, logged: bool, *, application: str, number: int) -> None:
        """Let the table say that it has a log, or that it has none; durable on return. Raises OSError.

        Args:
            number: the marker, which stays as it is.
        """
        properties = replace(self.properties, logged=logged)
        self._transact("SET TBLPROPERTIES", [self._described(properties)], [], application, number)
        self.properties = properties

    def _described(self, properties: TableProperties) -> dict[str, object]:
        """Return the action that describes the table as it does already, but for its own properties."""
        found = self._table.metadata()
        configuration = {**found.configuration, _CONFIGURATION: json.dumps(asdict(properties))}
        return {
            "metaData": {
                "id": str(found.id), "format": {"provider": "parquet", "options": {}}, "partitionColumns": [],
                "schemaString": self._table.schema().to_json(), "configuration": configuration,
                "createdTime": found.created_time,
            }
        }  # fmt: skip

    def clear(self, hi: int, *, application: str) -> None:
        """Remove every row and move the marker to batch ``hi``, at once; durable on return. Raises OSError."""
        self._transact("TRUNCATE", [self._removed(name) for name in self._files], [], application, hi)
        self._files = {}

    def remove(self, files: Collection[Path], *, application: str, number: int) -> None:
        """Remove these files and set the marker of ``application``, at once; durable on return. Raises OSError."""
        self._transact("TRANSFER", [self._removed(file.name) for file in files], [], application, number)
        removed = {file.name for file in files}
        self._files = {name: size for name, size in self._files.items() if name not in removed}

    def _removed(self, name: str) -> dict[str, object]:
        return {"remove": {"path": name, "deletionTimestamp": _now(), "dataChange": True, "size": self._files[name]}}

    def _write_parquet(self, file: Path, parquet: pa.Buffer) -> None:
        fd = os.open(file, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o644)
        try:
            with WRITE_PARQUET:
                write_all(fd, memoryview(parquet))
            with SYNC_PARQUET:  # Nor one whose bytes could still vanish.
                os.fsync(fd)
        finally:
            os.close(fd)

    def _transact(
        self, operation: str, actions: list[dict[str, object]], batch_ids: list[int], application: str, number: int
    ) -> None:
        version = self._table.version() + 1
        info = {"timestamp": _now(), "operation": operation, "batchIds": json.dumps(batch_ids)}
        json_path = commit_path(self.path, version)
        data = sealed(info, [*actions, {"txn": {"appId": application, "version": number}}], version)
        steps = AtomicFile(WRITE_JSON, SYNC_JSON, TRANSACT, SYNC_LOG)
        steps.put(json_path, data, temporary=f"{json_path.name}#unfinished")
        self._committed()  # From here the log may forget the batches.

    def _committed(self) -> None:
        self._table.update_incremental()
        self.commits_since_checkpoint += 1

    def checkpoint(self) -> None:
        """Write a checkpoint, then delete what it and the one before it make superfluous. Raises OSError, TableCorrupted."""
        # Loaded anew: what deltalake adds to a table commit by commit makes the next commit slower, each by 0.1 ms.
        self._table = checkpoint.write(self.path, self._table)
        self.commits_since_checkpoint = 0
        checkpoint.clean_up(self.path / "_delta_log")

    def files(self) -> dict[Path, int]:
        """Return the Parquet files the table consists of, oldest rows first, each with its size in bytes."""
        return {self.path / name: size for name, size in self._files.items()}

    def names(self) -> list[str]:
        """Return their names."""
        return list(self._files)

    def read(self, schema: pa.Schema) -> pa.Table:
        """Return every committed row, in no particular order. Raises ParquetDamaged, OSError."""
        return read_files(self.files(), schema)

    def remove_orphans(self) -> None:
        """Delete Parquet files that no commit names: left by a crash before a commit, or by a removal."""
        orphans = [name for name in names_in(self.path) if name.endswith(".parquet") and name not in self._files]
        for orphan in orphans:
            with UNLINK_ORPHAN:
                (self.path / orphan).unlink()
        if orphans:
            with SYNC_ORPHANS:  # Batches could otherwise be committed under the name of a file that comes back.
                sync_directory(self.path)


def _now() -> int:
    """Return the time in milliseconds, as Delta notes it."""
    return time.time_ns() // 1_000_000


def _added(name: str, part: Compressed) -> dict[str, object]:
    return {
        "path": name, "partitionValues": {}, "size": part.parquet.size, "modificationTime": _now(), "dataChange": True,
        "stats": json.dumps({"numRecords": part.rows}),
    }  # fmt: skip


def commit_properties(application: str, number: int, batch_ids: Collection[int] = ()) -> CommitProperties:
    """Return what makes a commit set the application's number, at the version it is tried at or not at all.

    ``batchIds`` is the sign of a commit that ends in its ``txn``, see `sealed_commit.is_whole`.
    """
    return CommitProperties(
        custom_metadata={"batchIds": json.dumps(list(batch_ids))},
        app_transactions=[Transaction(application, number)],  # no last_updated: then it never expires
        max_commit_retries=0,
    )


def schema_of(table: DeltaTable) -> pa.Schema:
    """Return the table's schema in Arrow's terms."""
    return pa.schema(table.schema().to_arrow())


def add_action(name: str, size_bytes: int, rows: int) -> AddAction:
    """Return the action that adds a Parquet file to an unpartitioned table."""
    return AddAction(
        path=name,
        size=size_bytes,
        partition_values={},
        modification_time=_now(),
        data_change=True,
        stats=json.dumps({"numRecords": rows}),
    )


def marker_of(table: DeltaTable, application: str) -> int:
    """Return the application's ``txn`` version in the table as loaded, -1 for none."""
    version = table.transaction_version(application)
    return -1 if version is None else int(version)


def files_of(table: DeltaTable) -> dict[str, int]:
    """Return the names, in order, of the Parquet files that the table as loaded consists of, and their sizes in bytes."""
    actions = pa.table(table.get_add_actions(flatten=True))
    names, sizes = actions["path"].to_pylist(), actions["size_bytes"].to_pylist()
    return dict(sorted(zip(names, sizes, strict=True)))


def check_files(path: Path, files: dict[str, int]) -> None:
    """Raise TableCorrupted unless every file is there, in the folder ``path``, with its size."""
    for name, size in files.items():
        try:
            actual = os.stat(f"{path}/{name}").st_size  # noqa: PTH116  # A Path each would take most of an opening's time.
        except FileNotFoundError:
            raise TableCorrupted(path / name, "is gone") from None
        if actual != size:
            raise TableCorrupted(path / name, f"has {actual} bytes, its commit says {size}")
