"""The log and the engine under `system`: the published algorithm, with a switch for each of its flaws.

append     write the record in several writes, fdatasync, then give out the id: the promise
rotate     after so many batches: end the stream, rename the segment, create the next; no folder is ever synced
buffer     rows wait in a buffer for each series; a full one becomes a commit, which names its batches' ids (``batchIds``)
persist    the ids are remembered; closed segments with no other ids are removed
open       a leftover active segment is closed, or removed if empty; the ids in the whole history of commits are
           persisted; a new active segment begins at the next id; all other batches are buffered again
"""

from __future__ import annotations

import io
import json
import os
import threading
import zlib
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset  # else pyarrow.parquet imports it in every child anew
import pyarrow.parquet as pq
from deltalake import CommitProperties, DeltaTable, write_deltalake
from deltalake.exceptions import DeltaError
from deltalake.transaction import AddAction

from crashmatrix.faults import declare
from crashmatrix.scenarios.systems.delta_files import delta_files

__all__ = ["FLAWS", "SCHEMA", "SEGMENT_BATCHES", "Engine", "Log"]

CREATED = declare("modelardb.segment.created", "the next segment is an empty file, without its header")
BEGUN = declare("modelardb.segment.begun", "the next segment has its header and no batch")
BETWEEN_WRITES = declare("modelardb.append.between_writes", "half of the record is written")
BEFORE_SYNC = declare("modelardb.append.before_sync", "the record is written, not yet durable")
AFTER_SYNC = declare("modelardb.append.after_sync", "the record is durable, its id not yet given out")
RENAMED = declare("modelardb.rotate.renamed", "the segment is closed, the next one not yet created")
LEFTOVER_GONE = declare("modelardb.open.leftover_gone", "an empty leftover segment is removed, no other created yet")
COMMITTED = declare("modelardb.commit.done", "the commit is made, its ids not yet persisted")
PERSISTED = declare("modelardb.persist.done", "segments without other ids are removed")

FLAWS = {
    "forgotten-id": "an empty leftover segment is removed, and the next id, known by its name only, starts again at 0",
    "older-segment": "the next id follows the last closed segment, even where the leftover segment began later",
    "lost-leftover": "between removing an empty leftover segment and creating the next, nothing tells the next id",
    "split-batch": "a batch counts as persisted once one buffer with some of its points is committed",
    "header": "a leftover segment that lacks its header cannot be opened",
    "torn-tail": "a leftover segment that ends in part of a record cannot be opened",
    "no-checksum": "a record whose bytes reached the disk in part is taken for whole",
    "unsynced-commit": "segments are removed though the commit that replaces them is not durable",
    "torn-append": "a failed write leaves part of a record behind, and the log appends behind it",
    "failed-rotation": "a rotation that fails after a durable append is an error of the append, and the batch is not buffered",
    "dead-writer": "a failed commit ends the thread that commits, batches are still acknowledged, and a flush waits for it",
    "shifted-id": "a failed sync leaves its record behind, and the next record gets the same id",
    "no-folder-sync": "that segments were created, renamed and removed is not made durable",
}
"""The flaws that can be switched on, and their meaning."""

SCHEMA = pa.schema([("number", pa.int64()), ("series", pa.string()), ("row", pa.int64()), ("value", pa.binary())])
SEGMENT_BATCHES = 4
_HEADER, _END = SCHEMA.serialize().to_pybytes(), b"\xff\xff\xff\xff\0\0\0\0"
_BUFFER_ROWS = 14


class Log:
    """The log of one table. ``persisted`` is in memory only, as is the next id."""

    def __init__(self, folder: Path, flaws: Collection[str], history: set[int]) -> None:
        self._folder, self._flaws = folder, flaws
        self.sync_data: Callable[[int], None] = os.fdatasync
        self.persisted: set[int] = set()
        self.usable = True
        """Whether it need not be opened again: an error leaves a state that only an opening can find out."""
        folder.mkdir(parents=True, exist_ok=True)
        leftover = self._close_leftover()
        self._closed = sorted(_ids(path) for path in folder.iterdir())
        closed = self._closed[-1][1] + 1 if self._closed else 0
        self._begin(self._next_id_after(closed, leftover, history))
        self.mark_persisted(history)

    def _next_id_after(self, closed: int, leftover: int, history: set[int]) -> int:
        if "forgotten-id" in self._flaws:
            return closed
        if "older-segment" in self._flaws:
            return closed or leftover
        known = max(closed, leftover)
        return known if "lost-leftover" in self._flaws else max(known, max(history, default=-1) + 1)

    def _close_leftover(self) -> int:
        """Close the active segment of an earlier life; returns the id after its last, 0 if it does not exist."""
        path = next(self._folder.glob("*-.arrows"), None)
        if path is None:
            return 0
        start = int(path.stem[:-1])
        end = start + len(self._read(path))
        if end > start:
            path.rename(self._folder / f"{start}-{end - 1}.arrows")
        else:
            path.unlink()
            LEFTOVER_GONE.hit()
        self._sync_folder()
        return end

    def _begin(self, start: int) -> None:
        self._start = self._next_id = start
        self._path = self._folder / f"{start}-.arrows"
        self._file = os.open(self._path, os.O_CREAT | os.O_TRUNC | os.O_WRONLY | os.O_CLOEXEC)
        CREATED.hit()
        _write(self._file, _HEADER)
        self._sync_folder()
        BEGUN.hit()

    def append(self, batch: pa.RecordBatch) -> int:
        """Return the batch's id once it is durable. Raises OSError; then see ``usable``."""
        record = _encode(batch)
        with self._unusable_after_errors("torn-append"):
            _write(self._file, record[: len(record) // 2])
            BETWEEN_WRITES.hit()
            _write(self._file, record[len(record) // 2 :])
        with self._unusable_after_errors("shifted-id"):
            BEFORE_SYNC.hit()
            self.sync_data(self._file)  # Durable: the record. Before, only the page cache had it.
            AFTER_SYNC.hit()
        number, self._next_id = self._next_id, self._next_id + 1
        if self._next_id - self._start == SEGMENT_BATCHES:
            self._rotate_after_append()
        return number

    @contextmanager
    def _unusable_after_errors(self, flaw: str) -> Iterator[None]:
        try:
            yield
        except OSError:
            self.usable = self.usable and flaw in self._flaws
            raise

    def _rotate_after_append(self) -> None:
        """The batch is durable, so that an error concerns the next one only."""
        try:
            self._rotate()
        except OSError:
            if "failed-rotation" in self._flaws:
                raise
            self.usable = False

    def _rotate(self) -> None:
        _write(self._file, _END)
        os.close(self._file)
        self._path.rename(self._folder / f"{self._start}-{self._next_id - 1}.arrows")
        self._sync_folder()
        self._closed.append((self._start, self._next_id - 1))
        RENAMED.hit()
        self._begin(self._next_id)

    def mark_persisted(self, ids: Iterable[int]) -> None:
        """Remember that Delta has these batches; remove the closed segments that hold no others."""
        self.persisted.update(ids)
        for start, end in self._closed.copy():
            if self.persisted.issuperset(range(start, end + 1)):
                (self._folder / f"{start}-{end}.arrows").unlink()
                self._closed.remove((start, end))
                self.persisted.difference_update(range(start, end + 1))
        self._sync_folder()
        PERSISTED.hit()

    def unpersisted(self) -> list[tuple[int, pa.RecordBatch]]:
        """Return the batches to buffer again, each with the id that its place in its segment means."""
        found: list[tuple[int, pa.RecordBatch]] = []
        for start, end in self._closed:
            batches = self._read(self._folder / f"{start}-{end}.arrows")
            found += zip(range(start, end + 1), batches, strict=False)
        return [(number, batch) for number, batch in found if number not in self.persisted]

    def _read(self, path: Path) -> list[pa.RecordBatch]:
        """Read a segment. The file may end after any record; one that ends within a record is refused."""
        batches: list[pa.RecordBatch] = []
        content = path.read_bytes()
        try:
            reader = pa.ipc.open_stream(content)
            while True:
                batch, metadata = reader.read_next_batch_with_custom_metadata()
                if "no-checksum" not in self._flaws and metadata[b"crc"] != _checksum(batch):
                    return batches
                batches.append(batch)
        except StopIteration:
            return batches
        except (pa.ArrowInvalid, OSError):
            if ("torn-tail" if content.startswith(_HEADER) else "header") in self._flaws:
                raise
            return batches

    def _sync_folder(self) -> None:
        if "no-folder-sync" not in self._flaws:
            _sync(self._folder)


class Engine:
    """A table: its log, a buffer for each series, and Delta."""

    def __init__(self, root: Path, flaws: Collection[str]) -> None:
        self._table, self._flaws = root / "table", flaws
        if "unsynced-commit" not in flaws:
            _heal(self._table / "_delta_log")
        commits = DeltaTable(str(self._table)).history()
        history = {number for commit in commits for number in json.loads(commit.get("batchIds", "[]"))}
        self.log = Log(root / "log", flaws, history)
        self._buffers: dict[str, list[tuple[int, pa.RecordBatch]]] = {}
        self._writer_dead = False
        for number, batch in self.log.unpersisted():
            self._buffer(number, batch)

    def ingest(self, batch: pa.RecordBatch) -> None:
        """Return once the batch is durable. Raises OSError: it is not, as far as the log knows; see ``usable``."""
        self._buffer(self.log.append(batch), batch)
        for key, parts in list(self._buffers.items()):
            if sum(part.num_rows for _, part in parts) >= _BUFFER_ROWS:
                self._commit_in_background(key)

    @property
    def usable(self) -> bool:
        """Whether it need not be opened again."""
        return self.log.usable

    def _commit_in_background(self, key: str) -> None:
        """Commit a full buffer. The log has its batches, so that no client hears of an error."""
        if self._writer_dead:
            return
        try:
            self._commit(key)
        except (OSError, DeltaError):
            self._writer_dead = "dead-writer" in self._flaws
            self.log.usable = self._writer_dead

    def flush(self) -> None:
        """Commit every buffer. Raises OSError, deltalake.exceptions.DeltaError."""
        if self._writer_dead:
            threading.Event().wait()  # For an answer that never comes.
        for key in list(self._buffers):
            self._commit(key)

    def rows(self) -> pa.Table:
        """Return what is committed and what is buffered."""
        files = delta_files(self._table)
        # Not to_pyarrow_table(), whose threads abort the interpreter at its exit now and then.
        committed = [pq.read_table(file, schema=SCHEMA) for file in files]
        buffered = [part for parts in self._buffers.values() for _, part in parts]
        return pa.concat_tables([*committed, pa.Table.from_batches(buffered, SCHEMA)])

    def _buffer(self, number: int, batch: pa.RecordBatch) -> None:
        names = dict.fromkeys(batch["series"].to_pylist())
        if "split-batch" in self._flaws:
            for name in names:
                part = batch.filter(pc.equal(batch["series"], name))
                self._buffers.setdefault(name, []).append((number, part))
        else:
            self._buffers.setdefault(next(iter(names)), []).append((number, batch))

    def _commit(self, key: str) -> None:
        parts = self._buffers.pop(key)
        ids = sorted({number for number, _ in parts})
        rows = pa.Table.from_batches([part for _, part in parts])
        properties = CommitProperties(custom_metadata={"batchIds": json.dumps(ids)})
        if "unsynced-commit" in self._flaws:
            write_deltalake(str(self._table), rows, mode="append", commit_properties=properties)
        else:
            self._commit_durably(rows, properties)
        COMMITTED.hit()
        self.log.mark_persisted(ids)

    def _commit_durably(self, rows: pa.Table, properties: CommitProperties) -> None:
        table = DeltaTable(str(self._table))
        file = self._table / f"{table.version() + 1}.parquet"
        pq.write_table(rows, file)
        _sync(file)
        _sync(self._table)  # Durable: the rows, before a commit names their file.
        add = AddAction(file.name, file.stat().st_size, {}, 0, True, "{}")
        table.create_write_transaction([add], "append", table.schema(), commit_properties=properties)
        log = self._table / "_delta_log"
        _sync(max(log.glob("*.json")))
        _sync(log)  # Durable: the commit, before the log forgets its batches.


def _write(file: int, data: bytes) -> None:
    while data:
        data = data[os.write(file, data) :]


def _ids(path: Path) -> tuple[int, int]:
    start, _, end = path.stem.partition("-")
    return int(start), int(end)


def _encode(batch: pa.RecordBatch) -> bytes:
    """Return the batch as a message of a stream that has begun."""
    stream = io.BytesIO()
    with pa.ipc.new_stream(stream, SCHEMA) as writer:
        writer.write_batch(batch, custom_metadata={"crc": _checksum(batch)})
    return stream.getvalue()[len(_HEADER) : -len(_END)]


def _checksum(batch: pa.RecordBatch) -> bytes:
    return b"%d" % zlib.crc32(batch.serialize())


def _heal(delta_log: Path) -> None:
    """Remove a last commit that did not reach the disk whole: the log still has its batches."""
    newest = max(delta_log.glob("*.json"))
    try:
        actions = [json.loads(line) for line in newest.read_bytes().splitlines()]
    except ValueError:
        actions = []
    if int(newest.stem) > 0 and not any("add" in action for action in actions):
        newest.unlink()
        _sync(delta_log)


def _sync(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
