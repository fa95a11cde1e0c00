"""Moving committed rows to another Delta table, exactly once across crashes at any point.

A transfer's number is the marker of this table when it began: the last batch committed. It names the rows, since files carry
their batches in their names and batches are committed in order: *every committed row of the batches up to it*. Write order:

    0. looked at: columns, values, what was received before; a receiving table that is not there is made, empty and durable
    1. the intent: where to, which number, at which version of the receiving table        (`_transfer.json`, an AtomicFile)
    2. receive: rows and number in one commit there, durable there                        (`receiver`)
    3. remove: one commit here that removes every file of batches up to the number        (`DeltaStore.remove`)
    4. the intent unlinked; the files unlinked
    ── promise: `transfer` returns ──

A refusal up to 0, or in 2 before anything is copied, leaves no intent. A table is made before the intent, so one that an intent
names and that is not there has gone away, and may have the rows.

The number in the receiving table decides, and nothing else: at or above a file's last batch, the file has been received. So a
crash before 2 leaves the rows here, a crash after it leaves them there as well, and then 3 and 4 are done again. Step 0 makes
sure that the number was lower before. Otherwise this folder is a copy of one that has sent the same batches, or others
with the same numbers. The intent says where to look; without it, rows received by one table could after a crash be sent to a
second.

On opening, and before the next transfer, an intent is settled:

    | the receiving table                              | done                                                          |
    |--------------------------------------------------|---------------------------------------------------------------|
    | local, has the number                            | 3 and 4                                                       |
    | local, has it not (a torn commit of ours is      | the intent is dropped: nothing was received, or nothing that  |
    | removed first)                                   | a power cut did not take back; the rows are here              |
    | local, gone                                      | kept: the next transfer, to the same place, finds out once    |
    |                                                  | the table is back, and fails until then                       |
    | an object store                                  | kept likewise, since its keys are not kept here               |

While an intent is kept, its rows are read here; only a transfer to the same place is accepted.

The note has a checksum. A note that does not fit it is refused (TableCorrupted): it is named once it is whole. Notes of versions
without checksums are read as they are. So are those of version -1, made by versions that noted a table before they made it.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import pyarrow as pa

from crashmatrix.reference_wal.atomic_file import atomic_file, checked, content_of
from crashmatrix.reference_wal.delta.commit import DeltaStore
from crashmatrix.reference_wal.delta.parquet_file import last_batch
from crashmatrix.reference_wal.delta.receiver import LocalReceiver, Receiver, receiver_at, refuse_unfit
from crashmatrix.reference_wal.durable_io import step, sync_directory
from crashmatrix.reference_wal.errors import InvalidInput, TableCorrupted, TransferFailed

__all__ = ["Intent", "Transfer"]

logger = logging.getLogger(__name__)

INTENT = atomic_file("transfer.intent", "the note of a transfer under way")
FORGET_INTENT = step("transfer.intent.unlink", "received, removed here, noted as under way", "the note is gone")
SYNC_FORGOTTEN = step("transfer.intent.sync_unlinked", "unlinked in the cache only", "the transfer is over")

_INTENT_NAME, _TEMPORARY = "_transfer.json", "_transfer.json.tmp"
_KIND = "transfer"

_OWN = ("tables", "wal", "spill", "options.json", "options.json.tmp", ".lock")
"""Names in the engine's folder that no receiving table may have, nor lie below."""


@dataclass(frozen=True)
class Intent:
    """A transfer under way: ``version`` is the receiving table's before it, -1 if it was yet to be made."""

    uri: str
    number: int
    version: int

    @property
    def received_as(self) -> int:
        """The one version of the receiving table that may be this transfer: one just made is at version 0."""
        return max(self.version, 0) + 1


class Transfer:
    """The transfers of one table; its owner keeps commits out meanwhile. ``application`` is the table's own."""

    def __init__(self, store: DeltaStore, application: str) -> None:
        self._store, self._marker, self._application = store, application, f"{application}/transfer"
        self._path = store.path / _INTENT_NAME
        self._root = store.path.parent.parent

    def pending(self) -> Intent | None:
        """Return the transfer that was cut short, if any. Raises TableCorrupted, OSError."""
        if not self._path.exists():
            return None
        data = self._path.read_bytes()
        content = content_of(data, _KIND)
        if content is None and b"\n" in data:
            raise TableCorrupted(self._path, "the note of a transfer cut short does not fit its checksum")
        try:
            return Intent(**json.loads(data if content is None else content))
        except (ValueError, TypeError, RecursionError) as error:  # Lists in lists in lists.
            raise TableCorrupted(self._path, f"is not the note of a transfer cut short ({error})") from error

    def receiver(self, uri: str, storage_options: Mapping[str, str] | None, schema: pa.Schema) -> Receiver:
        """Return the receiver, ready for rows of ``schema``; changes nothing.

        Raises:
            InvalidInput: it lies in the engine's own folders, has other columns, or another transfer is pending.
            TransferFailed: it cannot be reached.
        """
        receiver = receiver_at(uri, storage_options, base=Path.cwd())
        if isinstance(receiver, LocalReceiver):
            self._refuse_own(receiver.path.resolve())
        if self.refuse_other(receiver) is None:
            receiver.check(schema)  # Otherwise once that is settled: the table may hold a torn commit of ours.
        return receiver

    def _refuse_own(self, path: Path) -> None:
        own = next((name for name in _OWN if path.is_relative_to((self._root / name).resolve())), None)
        if own is not None or path == self._root.resolve():
            raise InvalidInput(
                f"{path} is one of this engine's own files and folders ({own or 'all'}); transfer to another place"
            )

    def refuse_other(self, receiver: Receiver) -> Intent | None:
        """Return the transfer that was cut short, if any. Raises InvalidInput if it was to another place."""
        pending = self.pending()
        if pending is not None and pending.uri != self._noted(receiver):
            raise InvalidInput(f"a transfer to {pending.uri} was cut short; transfer there first, which finishes it")
        return pending

    def send(self, receiver: Receiver, schema: pa.Schema) -> None:
        """Move every committed row.

        Raises: TransferFailed (the next transfer finds out what became of it), ParquetDamaged, OSError.
        """
        try:
            self._send(receiver, schema)
        except (
            InvalidInput
        ) as error:  # Rows that an earlier transfer had sent may be removed by now: something was changed.
            raise TransferFailed(receiver.uri, error) from error

    def _send(self, receiver: Receiver, schema: pa.Schema) -> None:
        pending = self.pending()
        if pending is not None:
            self._settle(receiver, pending)
        files = self._store.files()
        if not files:
            return
        version = self._made_ready(receiver, schema, files)
        intent = Intent(self._noted(receiver), self._store.marker(self._marker), version)
        INTENT.put(self._path, checked(json.dumps(asdict(intent)).encode(), _KIND), temporary=_TEMPORARY)
        try:
            receiver.receive(files, self._application, intent.number, intent.received_as, schema)
        except InvalidInput:  # Nothing was copied.
            self._forget()
            raise
        self._finish(intent)

    def _made_ready(self, receiver: Receiver, schema: pa.Schema, files: Collection[Path]) -> int:
        """Step 0: return the version of the receiving table that takes these files. Raises InvalidInput, TransferFailed."""
        version = receiver.check(schema)
        received = receiver.received(self._application)  # Below the first batch of each file, unless one was received.
        if received >= min(int(file.name[:20]) for file in files):
            raise InvalidInput(
                f"it has received this table's batches up to {received}, and some of those are here: this folder looks like "
                f"a copy of one that has sent them, or sent others with their numbers; transfer to another place"
            )
        refuse_unfit(receiver.uri, files, schema)
        if version < 0:
            receiver.create(schema)
            version = receiver.check(schema)
        return version

    def _noted(self, receiver: Receiver) -> str:
        """Return the place's name: relative to the engine's folder if it lies there, so that both can be moved together."""
        local = isinstance(receiver, LocalReceiver) and receiver.path.is_relative_to(self._root.absolute())
        return os.path.relpath(receiver.uri, self._root.absolute()) if local else receiver.uri

    def _noted_receiver(self, uri: str) -> Receiver:
        """Return the receiver that `_noted` named so. Raises InvalidInput."""
        local = "://" not in uri  # In the name of a folder, a colon alone says nothing.
        return receiver_at(str(self._root / uri) if local else uri, None, base=self._root)

    def _settle(self, receiver: Receiver, pending: Intent) -> None:
        receiver.settle(pending.received_as)
        if pending.version >= 0 and receiver.version() < 0:
            problem = f"the table is gone, and may have the rows: put it back, or remove {self._path} if nobody has it"
            raise TransferFailed(receiver.uri, problem)
        if receiver.received(self._application) >= pending.number:
            self._finish(pending)
        else:
            self._forget()

    def _finish(self, intent: Intent) -> None:
        """Steps 3 and 4: the rows are received durably."""
        files = [file for file in self._store.files() if last_batch(file) <= intent.number]
        if files:
            self._store.remove(files, application=self._application, number=intent.number)
        self._forget()

    def _forget(self) -> None:
        with FORGET_INTENT:
            self._path.unlink()
        with SYNC_FORGOTTEN:  # Before another transfer is noted, or rows are committed that a number from before names.
            sync_directory(self._path.parent)

    def recover(self) -> None:
        """Settle what a crash cut short, as far as it can be done from here. Raises TableCorrupted, OSError."""
        temporary = self._path.with_name(_TEMPORARY)
        if temporary.exists():
            with FORGET_INTENT:  # An intent that was never noted, so nothing was sent.
                temporary.unlink()
        pending = self.pending()
        if pending is None:
            return
        try:
            receiver = self._noted_receiver(pending.uri)
            if not isinstance(receiver, LocalReceiver) or not receiver.path.exists():
                logger.warning("a transfer to %s was cut short; transfer there again to finish it", pending.uri)
                return
            self._settle(receiver, pending)
        except (InvalidInput, TransferFailed) as error:
            logger.warning("a transfer was cut short, transfer again to finish it: %s", error)
