"""The other side of a transfer: a Delta table that takes rows and a number in one commit.

The number is a ``txn`` version under an application of the sender's own, so the receiving table itself says what it has:
every row of the sender's batches up to it. (https://github.com/delta-io/delta/blob/master/PROTOCOL.md)

On a local path nothing is durable unless we make it so; write order:
    0. a table that is not there is made, empty, and durable          (`folder`)
    1. copy each file, from bytes that fit the checksum in its name; sync each, and read it back from the disk, since the
       sender's own copy is removed next; sync the folder
    2. one transaction that adds them all and sets the number
    3. sync its json; sync ``_delta_log``
    ── received ──
An object store's put is durable when it returns; deltalake writes the files and the commit.

The commit is tried at the one version the sender noted beforehand and at no other, so a torn json there after a power cut
is known to be this one. It follows the version whose columns were looked at, so nobody can have changed them in between.

A copy is named by its sender and by the file that it is a copy of, so no two senders share a name. No file is written that the
receiving table names already.
"""

from __future__ import annotations

import errno
import logging
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pyarrow as pa
from deltalake import DeltaTable, write_deltalake
from deltalake.exceptions import DeltaError, TableNotFoundError

from crashmatrix.reference_wal.delta import checkpoint, folder as table_folder
from crashmatrix.reference_wal.delta.commit import add_action, commit_properties, marker_of, schema_of
from crashmatrix.reference_wal.delta.folder import NO_HOOKS, commit_path
from crashmatrix.reference_wal.delta.parquet_file import read_bytes, read_rows, rows_in, types_in
from crashmatrix.reference_wal.delta.place import checked_place
from crashmatrix.reference_wal.delta.sealed_commit import is_whole
from crashmatrix.reference_wal.durable_io import make_folder, settle, step, sync_directory, sync_path, write_all
from crashmatrix.reference_wal.errors import InvalidInput, ParquetDamaged, TransferFailed

__all__ = ["LocalReceiver", "Receiver", "receiver_at", "refuse_unfit"]

logger = logging.getLogger(__name__)

COPY_FILE = step("transfer.copy.write", "rows here only", "a copy in the page cache that no commit names")
SYNC_COPY = step("transfer.copy.sync", "a copy in the page cache", "durable, and read back")
SYNC_COPIES = step("transfer.copy.sync_folder", "its name in the cache only", "durable copies no commit names yet")
RECEIVE = step("transfer.receive.transact", "no commit names the copies", "received, not yet durably")
SYNC_JSON = step("transfer.receive.sync", "the receiving commit in the page cache", "its contents are durable")
SYNC_LOG = step("transfer.receive.sync_folder", "its name in the cache only", "received durably, still here too")
HEAL_RECEIVER = step("recovery.transfer.heal", "a torn commit of ours in the receiving table", "gone permanently")

_REFUSALS = {
    errno.EACCES, errno.EBUSY, errno.EEXIST, errno.ELOOP, errno.ENAMETOOLONG, errno.ENOTDIR, errno.ENOTEMPTY, errno.EPERM,
    errno.EROFS, errno.EXDEV,
}  # fmt: skip
"""Errors that say that a folder cannot be made at this place. Nothing was sent by then, and no write is in doubt."""


def receiver_at(uri: str, storage_options: Mapping[str, str] | None, *, base: Path) -> Receiver:
    """Return the receiver at a local path (plain, from ``base``, or ``file://``) or at another URI that deltalake knows.

    Raises: InvalidInput for a local path that deltalake takes for another, and for a file of another machine.
    """
    parts = urlsplit(uri)
    if parts.scheme == "file" and parts.netloc not in ("", "localhost"):
        raise InvalidInput(f"{uri} names a file of the machine {parts.netloc!r}; write file:///, with three slashes")
    if parts.scheme in ("", "file"):
        return LocalReceiver(checked_place(base / (unquote(parts.path) if parts.scheme else uri)))
    return Receiver(uri, dict(storage_options or {}))


def refuse_unfit(uri: str, files: Iterable[Path], schema: pa.Schema) -> None:
    """Raise InvalidInput if a value is outside of its column's type in Delta, which has no unsigned integers for example.

    A file that is added as it is would make the receiving table unreadable. Decodes rows only where types differ.
    Raises ParquetDamaged, OSError.
    """
    for file in files:
        found = types_in(file, read_bytes(file), schema.names)
        others = [(field, kind) for field, kind in zip(schema, found, strict=True) if not kind.equals(field.type)]
        if not others:
            continue
        rows = read_rows(file)
        for field, kind in others:
            try:
                rows[field.name].cast(field.type)
            except pa.ArrowException as error:
                raise InvalidInput(
                    f"column {field.name!r} has values that {uri} cannot hold: it is {field.type} there, and "
                    f"{kind} here ({error})"
                ) from error


class Receiver:
    """A Delta table behind a URI whose store makes a put durable and a commit atomic.

    Methods raise TransferFailed where the other side refuses; nothing has then changed on this side.
    """

    def __init__(self, uri: str, storage_options: dict[str, str] | None = None) -> None:
        self.uri, self._storage_options = uri, storage_options

    def _table(self, version: int | None = None) -> DeltaTable | None:
        try:
            return DeltaTable(self.uri, version=version, storage_options=self._storage_options)
        except TableNotFoundError:
            return None
        except (DeltaError, OSError) as error:
            raise TransferFailed(self.uri, error) from error

    def version(self) -> int:
        """Return the table's newest version, -1 if the table does not exist."""
        table = self._table()
        return -1 if table is None else table.version()

    def received(self, application: str) -> int:
        """Return the sender's last batch that the table has, -1 for none."""
        table = self._table()
        return -1 if table is None else marker_of(table, application)

    def check(self, schema: pa.Schema) -> int:
        """Return the newest version, to which rows of this schema can be added; -1 if the table is yet to be made.

        Raises InvalidInput if they cannot.
        """
        table = self._table()
        if table is None:
            return -1
        self._refuse_others(table, schema)
        return table.version()

    def _refuse_others(self, table: DeltaTable, schema: pa.Schema) -> None:
        theirs, partitions = schema_of(table), table.metadata().partition_columns
        if not theirs.equals(schema) or partitions:
            raise InvalidInput(
                f"{self.uri} has columns {theirs.names} partitioned by {partitions}; rows can be transferred to an "
                f"unpartitioned table with {schema.names} of the same types, or to a new one"
            )

    def create(self, schema: pa.Schema) -> None:
        """Make the table, empty; durable on return."""
        try:
            DeltaTable.create(
                self.uri,
                schema.remove_metadata(),
                storage_options=self._storage_options,
                post_commithook_properties=NO_HOOKS,
            )
        except (DeltaError, OSError) as error:
            raise TransferFailed(self.uri, error) from error

    def _before(self, version: int, schema: pa.Schema) -> DeltaTable:
        """Return the table as it is before this version. Raises TransferFailed, and InvalidInput unless rows can be added."""
        table = self._table(version - 1)
        if table is None:
            raise TransferFailed(self.uri, "the table is gone")
        self._refuse_others(table, schema)
        return table

    def receive(
        self, files: Mapping[Path, int], application: str, number: int, version: int, schema: pa.Schema
    ) -> None:
        """Add the rows of these files (path to size) and the number, at once, as version ``version``; durable on return.

        Raises InvalidInput before anything is copied, if rows of ``schema`` cannot be added to the version before.
        """
        table = self._before(version, schema)
        with RECEIVE:
            reader = pa.RecordBatchReader.from_batches(schema_of(table), _batches(files, schema_of(table)))
            try:
                write_deltalake(
                    table,
                    reader,
                    mode="append",
                    commit_properties=commit_properties(application, number),
                    post_commithook_properties=NO_HOOKS,
                )
            except (DeltaError, OSError) as error:
                raise TransferFailed(self.uri, error) from error

    def settle(self, version: int) -> None:
        """Make ``version`` durable, although its writer may have been killed; remove a torn one. The default does nothing."""


class LocalReceiver(Receiver):
    """A Delta table in a folder of this machine. Other writers may add to it; a commit that meets theirs fails."""

    def __init__(self, path: Path) -> None:
        super().__init__(str(path))
        self.path = path

    def check(self, schema: pa.Schema) -> int:
        """Return the newest version, -1 for none, as for any receiver; a new table needs an empty folder, or none."""
        version = super().check(schema)
        if version < 0 and os.path.lexists(self.path):
            if self.path.is_symlink() or self.path.is_mount():
                raise InvalidInput(
                    f"{self.path} is a link or a mount point, which no new table can replace; name a folder in it"
                )
            if not _is_empty_folder(self.path):
                raise InvalidInput(f"{self.path} exists and is not a Delta table; name another folder")
        return version

    def create(self, schema: pa.Schema) -> None:
        """Make the table, empty; durable on return."""
        try:
            make_folder(self.path.parent)
            table_folder.make_unfinished(self.path, schema, {})
            table_folder.give_name(self.path)
        except (DeltaError, OSError) as error:
            if isinstance(error, OSError) and error.errno not in _REFUSALS:
                raise
            if (self.path.parent / f"{table_folder.CREATING}{self.path.name}").exists():
                table_folder.remove_unfinished(self.path)
            raise TransferFailed(self.uri, error) from error

    def receive(
        self, files: Mapping[Path, int], application: str, number: int, version: int, schema: pa.Schema
    ) -> None:
        """Copy the files, name them and the number in one commit; durable on return. Raises as for any receiver."""
        table = self._before(version, schema)
        copies = {file: self.path / _copy_name(application, file) for file in sorted(files)}
        self._refuse_named(table, copies.values())
        actions = []
        for file, copy in copies.items():
            parquet = read_bytes(file)
            self._copy(parquet, copy)
            actions.append(add_action(copy.name, files[file], rows_in(file, parquet)))
        with SYNC_COPIES:
            sync_directory(self.path)
            # The table's own name, if its maker was killed. We make no table in a folder that we may not open.
            with suppress(PermissionError):
                sync_directory(self.path.parent)
        with RECEIVE:
            try:
                table.create_write_transaction(
                    actions,  # type: ignore[arg-type]  # a list of one kind of action
                    mode="append",
                    schema=table.schema(),
                    commit_properties=commit_properties(application, number),
                    post_commithook_properties=NO_HOOKS,
                )
            except DeltaError as error:  # Somebody else's commit has taken the version.
                raise TransferFailed(self.uri, error) from error
        self._sync(version)

    def _refuse_named(self, table: DeltaTable, copies: Iterable[Path]) -> None:
        """Raise InvalidInput if the table has one of these files: it would be torn while it is written anew."""
        named = set(pa.table(table.get_add_actions())["path"].to_pylist())
        if taken := [copy for copy in copies if copy.name in named]:
            raise InvalidInput(f"{taken[0]} is in the receiving table already, whose number says otherwise")

    def _copy(self, parquet: pa.Buffer, copy: Path) -> None:
        fd = os.open(copy, os.O_CREAT | os.O_TRUNC | os.O_WRONLY | os.O_CLOEXEC, 0o644)
        try:
            with COPY_FILE:  # A copy that an earlier attempt left there is written anew: no commit names it.
                write_all(fd, memoryview(parquet))
        finally:
            os.close(fd)
        with SYNC_COPY:  # Before a commit names it: nothing else would ever sync it.
            settle(copy)
            self._read_back(parquet, copy)

    def _read_back(self, parquet: pa.Buffer, copy: Path) -> None:
        try:
            same = read_bytes(copy).equals(parquet)
        except ParquetDamaged as error:
            raise TransferFailed(self.uri, error) from error
        if not same:
            raise TransferFailed(self.uri, f"{copy} does not read back as it was written")

    def _sync(self, version: int) -> None:
        with SYNC_JSON:
            sync_path(commit_path(self.path, version))
        with SYNC_LOG:  # Received durably: from here the rows may be removed on this side.
            sync_directory(self.path / "_delta_log")

    def settle(self, version: int) -> None:
        """Make ``version`` durable, although its writer may have been killed; remove a torn one."""
        commit = commit_path(self.path, version)
        newest = max(checkpoint.commits(self.path / "_delta_log"), default=None)
        if commit != newest:  # Not there, or built upon by others, who have read it.
            return
        settle(commit)
        sync_directory(commit.parent)
        if not is_whole(commit):
            logger.info("%s: torn by a power cut while it was sent; removed", commit)
            with HEAL_RECEIVER:
                commit.unlink()
                sync_directory(commit.parent)


def _batches(files: Iterable[Path], schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    for file in sorted(files):
        yield from read_rows(file).cast(schema).to_batches()


def _copy_name(application: str, file: Path) -> str:
    """Return the name of the copy of a file: whose it is, readable and then exactly, and the file's own name."""
    readable = re.sub("[^A-Za-z0-9-]+", "-", application)[:80]
    return f"{readable}-{sha256(application.encode()).hexdigest()[:32]}-{file.name}"


def _is_empty_folder(path: Path) -> bool:
    return path.is_dir() and not any(path.iterdir())
