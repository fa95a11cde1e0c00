"""The log of one table under `system`: the published algorithm, with a switch for each of its flaws.

append     write the record in five writes, fdatasync, then give out the id: the promise
rotate     after so many batches: end the stream, rename the segment while it is open, create the next; no folder is ever synced
persist    the ids are remembered; closed segments with no other ids are removed
truncate   remove every segment, create the next one
open       a leftover active segment is closed, or removed if empty; the ids in the whole history of commits are
           persisted; a new active segment begins at the next id; all other batches are buffered again
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa

from crashmatrix.faults import declare
from crashmatrix.scenarios.systems.modelardb.stream import END, HEADER, CutShort, NoSchema, Torn, message, pieces, read

__all__ = ["FLAWS", "SEGMENT_BATCHES", "Log", "sync"]

CREATED = declare("modelardb.segment.created", "the next segment is an empty file, without its header")
BEGUN = declare("modelardb.segment.begun", "the next segment has its header and no batch")
BETWEEN_WRITES = declare("modelardb.append.between_writes", "part of the record is written")
BEFORE_SYNC = declare("modelardb.append.before_sync", "the record is written, not yet durable")
AFTER_SYNC = declare("modelardb.append.after_sync", "the record is durable, its id not yet given out")
RENAMED = declare("modelardb.rotate.renamed", "the segment is closed, the next one not yet created")
LEFTOVER_GONE = declare("modelardb.open.leftover_gone", "an empty leftover segment is removed, no other created yet")
PERSISTED = declare("modelardb.persist.done", "segments without other ids are removed")
TRUNCATED = declare("modelardb.truncate.segments_gone", "no segment is there, the next not yet created")

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
    "truncated-id": "between removing the segments of a truncated table and creating the next, nothing tells the next id",
    "drop-order": "a table's log is removed before the table",
    "truncate-race": "a truncation removes the record of a batch that was acknowledged while it ran",
    "switched-off": "a table that is dropped while the log is off keeps its segments",
    "transfer-twice": "rows are removed here after they arrived there, in no relation",
    "transfer-race": "a transfer removes what was committed while it ran",
}
"""The flaws that can be switched on, and their meaning."""

_HISTORY_FORGOTTEN = frozenset(("lost-leftover", "truncated-id"))
"""With one of these, the history of commits does not say the next id: so it is in the source."""

SEGMENT_BATCHES = 4


class Log:
    """The log of one table. ``persisted`` is in memory only, as is the next id."""

    def __init__(self, folder: Path, flaws: Collection[str], history: set[int]) -> None:
        self._folder, self._flaws = folder, flaws
        self.sync_data: Callable[[int], None] = os.fdatasync
        self.persisted: set[int] = set()
        self.usable = True
        """Whether it need not be opened again: an error leaves a state that only an opening can find out."""
        folder.mkdir(parents=True, exist_ok=True)
        self._sync_folder(folder.parent)
        leftover = self._close_leftover()
        self._closed = sorted(_ids(path) for path in folder.iterdir())
        closed = self._closed[-1][1] + 1 if self._closed else 0
        self._begin(self._next_id_after(closed, leftover, history))
        self.mark_persisted(history)

    def _next_id_after(self, closed: int, leftover: int, history: set[int]) -> int:
        if "forgotten-id" in self._flaws:
            return closed
        if not _HISTORY_FORGOTTEN & set(self._flaws):
            leftover = max(leftover, max(history, default=-1) + 1)
        return (closed or leftover) if "older-segment" in self._flaws else max(closed, leftover)

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
        self._start = self.next_id = start
        self._path = self._folder / f"{start}-.arrows"
        self._file = os.open(self._path, os.O_CREAT | os.O_TRUNC | os.O_WRONLY | os.O_CLOEXEC)
        CREATED.hit()
        for piece in pieces(message(None)):
            _write(self._file, piece)
        self._sync_folder()
        BEGUN.hit()

    def append(self, batch: pa.RecordBatch) -> int:
        """Return the batch's id once it is durable. Raises OSError; then see ``usable``."""
        with self._unusable_after_errors("torn-append"):
            for piece in pieces(message(batch)):
                _write(self._file, piece)
                BETWEEN_WRITES.hit()
        with self._unusable_after_errors("shifted-id"):
            BEFORE_SYNC.hit()
            self.sync_data(self._file)  # Durable: the record. Before, only the page cache had it.
            AFTER_SYNC.hit()
        number, self.next_id = self.next_id, self.next_id + 1
        if self.next_id - self._start == SEGMENT_BATCHES:
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
        _write(self._file, END)
        self._path.rename(self._folder / f"{self._start}-{self.next_id - 1}.arrows")
        self.close()
        self._sync_folder()
        self._closed.append((self._start, self.next_id - 1))
        RENAMED.hit()
        self._begin(self.next_id)

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

    def truncate(self) -> None:
        """Forget every batch."""
        self.close()
        old = [path for path in self._folder.iterdir() if "truncated-id" in self._flaws or path != self._path]
        for path in sorted(old):
            path.unlink()
        self._closed.clear()
        TRUNCATED.hit()
        if self._path not in old and self.next_id > self._start:
            self._path.unlink()
        self._begin(self.next_id)

    def close(self) -> None:
        """Let go of the active segment."""
        file, self._file = self._file, -1  # First: an error of close(2) leaves the number free.
        if file >= 0:
            os.close(file)

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
            for batch in read(content, checked="no-checksum" not in self._flaws):
                batches.append(batch)  # noqa: PERF402  # Those before an error count.
        except (NoSchema, CutShort, Torn):
            if ("torn-tail" if content.startswith(HEADER) else "header") in self._flaws:
                raise
        return batches

    def _sync_folder(self, folder: Path | None = None) -> None:
        if "no-folder-sync" not in self._flaws:
            sync(folder or self._folder)


def _write(file: int, data: bytes) -> None:
    while data:
        data = data[os.write(file, data) :]


def _ids(path: Path) -> tuple[int, int]:
    start, _, end = path.stem.partition("-")
    return int(start), int(end)


def sync(path: Path) -> None:
    """Make the file's contents, or the folder's names, durable. Raises OSError."""
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
