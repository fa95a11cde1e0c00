"""Spill files: buffered rows moved out of memory, ``{lo}-{hi}-{crc}.arrow`` under ``spill/{table}``, an Arrow stream each.

A stream, because batches bring dictionaries of their own, and an Arrow file holds one dictionary a column. Files were written
before, and can still be read.

The name says which batches a file holds (all rows of ``lo`` to ``hi``) and the CRC-32 of its bytes, begun with the table's
identity: a torn file, or a file of an earlier table of that name, does not fit its own name. So a spill file needs neither a
rename nor a sync.

No promise rests on a spill file. With a log it only stands in for memory: the log holds its rows, and
files found at start are deleted unread. Without one, nothing is promised before a commit either; but files found at start
are the only copy of their rows, so they are kept and replayed, by these rules:

    | found at start, no log                                 | done                                                    |
    |--------------------------------------------------------|---------------------------------------------------------|
    | ``hi`` at or below the marker                          | deleted: its rows are in Delta, or were truncated       |
    | does not fit its name                                  | deleted: torn by a power cut                            |
    | begins right above the marker, or the file before it   | replayed                                                |
    | begins further on                                      | deleted: batches before it are gone, in a torn file or  |
    |                                                        | with rows in memory, compressed ones as well; what      |
    |                                                        | comes back is always a prefix of what was ingested      |

A generation is sealed with all its spill files or none, so the marker never lies inside one. The deletions are made durable
before ids go on: a file that came back later could hold ids that were meanwhile given to other batches.
"""

from __future__ import annotations

import logging
import re
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from crashmatrix.faults import mark
from crashmatrix.reference_wal.durable_io import remove_tree, step, sync_directory
from crashmatrix.reference_wal.errors import SpillCorrupted

__all__ = ["Spill", "SpillFolder"]

logger = logging.getLogger(__name__)

WRITE_SPILL = step("spill.file.write", "rows in memory", "a copy in the page cache, dropped from memory next")
UNLINK_SPILL = step("spill.file.unlink", "committed, the spill file still there", "the spill file is gone")
UNLINK_FOUND = step("recovery.spill.unlink", "a spill file of no use", "gone, not yet durably")
SYNC_UNLINKED = step("recovery.spill.sync", "unlinked in the cache only", "they cannot come back")
DELETE_FOLDER = step("drop.spill.delete", "a dropped table's spill files", "they are gone permanently")

BELOW = mark("rows.spill.below", "a spill file of batches that Delta holds, deleted")
TORN = mark("rows.spill.torn", "a spill file that does not fit its name, deleted")
NEXT = mark("rows.spill.next", "a spill file that goes on from the marker, replayed")
BEYOND = mark("rows.spill.beyond", "a spill file behind a gap, deleted")

_FILE = b"ARROW1"
"""Begins an Arrow file, and no stream."""

_NAME = re.compile(r"(\d{20})-(\d{20})-([0-9a-f]{8})\.arrow")


@dataclass(frozen=True)
class Spill:
    """A spill file: all rows of the batches ``lo`` to ``hi``."""

    path: Path
    lo: int
    hi: int
    checksum: int
    bytes: int

    def is_whole(self, identity: str) -> bool:
        """Whether this table wrote exactly these bytes."""
        return _checksum(self.path.read_bytes(), identity) == self.checksum

    def read(self, identity: str) -> pa.Table:
        """Read the rows back. Raises SpillCorrupted if they are not those that were written, OSError."""
        data = self.path.read_bytes()
        if _checksum(data, identity) != self.checksum:
            raise SpillCorrupted(self.path)
        opened = pa.ipc.open_file(data) if data.startswith(_FILE) else pa.ipc.open_stream(data)
        return opened.read_all()


def _checksum(data: bytes | pa.Buffer, identity: str) -> int:
    return zlib.crc32(data, zlib.crc32(identity.encode()))


class SpillFolder:
    """The spill files of one table; not thread-safe."""

    def __init__(self, folder: Path, identity: str) -> None:
        self.folder, self.identity = folder, identity

    def write(self, lo: int, hi: int, rows: pa.Table) -> Spill:
        """Move all rows of the batches ``lo`` to ``hi`` to a file. Raises OSError."""
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, rows.schema) as writer:
            writer.write_table(rows)
        data = sink.getvalue()
        checksum = _checksum(data, self.identity)
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / f"{lo:020d}-{hi:020d}-{checksum:08x}.arrow"
        with WRITE_SPILL:  # No sync: see above, nothing depends on it.
            path.write_bytes(data)
        return Spill(path, lo, hi, checksum, data.size)

    def remove(self, spills: Iterable[Spill]) -> None:
        """Delete files whose rows are committed. A file that a power cut brings back lies below the marker."""
        for spill in spills:
            with UNLINK_SPILL:
                spill.path.unlink()

    def discard(self) -> None:
        """Delete every file found at start: the log holds their rows."""
        self._delete(self._found())

    def replayable(self, marker: int) -> list[Spill]:
        """Return the files that go on from the marker without a gap, in order; delete the others. For no log."""
        found, keep = self._found(), list[Spill]()
        for spill in found:
            due = keep[-1].hi + 1 if keep else marker + 1
            if spill.lo != due:
                (BELOW if spill.hi <= marker else BEYOND).enter()
            elif spill.is_whole(self.identity):
                NEXT.enter()
                keep.append(spill)
            else:
                TORN.enter()
        self._delete([spill for spill in found if spill not in keep])
        return keep

    def _found(self) -> list[Spill]:
        spills = []
        for path in sorted(self.folder.iterdir()) if self.folder.exists() else ():
            if match := _NAME.fullmatch(path.name):
                spills.append(Spill(path, int(match[1]), int(match[2]), int(match[3], 16), path.stat().st_size))
            else:
                logger.warning("%s is not one of the engine's files; left alone", path)
        return spills

    def _delete(self, spills: list[Spill]) -> None:
        for spill in spills:
            logger.info("%s: of no use any more, removed", spill.path)
            with UNLINK_FOUND:
                spill.path.unlink()
        if self.folder.exists():  # Also if nothing was found: an opening that was cut short may have unlinked it.
            with SYNC_UNLINKED:
                sync_directory(self.folder)

    def delete_all(self) -> None:
        """Delete the folder of a dropped table; durable on return."""
        if self.folder.exists():
            with DELETE_FOLDER:
                remove_tree(self.folder)
