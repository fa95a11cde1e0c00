"""What a table log's folder means after a crash: the labelled decision table, and the steps that act on it.

Between two syncs a crash keeps any subset of the names and, of the one record being appended, any subset of the bytes.
By the order of writes in `segmented_log` that leaves these cases, and no others:

    | row | found                                        | left by                        | done                         |
    |-----|----------------------------------------------|--------------------------------|------------------------------|
    | @A  | ``*.tmp``                                    | a segment that was never born  | removed                      |
    | @B  | closed segment, whole                        | closing                        | kept                         |
    | @C  | closed segment, anything else                | damage: closed after its syncs | LogCorrupted                 |
    | @D  | active segment, records, clean end           | any crash while appending      | closed                       |
    | @E  | active segment, records, then a torn record  | a crash within an append       | cut to its records, closed   |
    | @F  | active segment, whole record after the tear  | damage: appends sync in turn   | LogCorrupted                 |
    | @G  | active segment without a whole record        | a crash at the first append    | cut to its header, goes on   |
    | @H  | active segment, header damaged               | damage: born whole             | LogCorrupted                 |
    | @I  | two active segments                          | damage: close precedes birth   | LogCorrupted                 |
    | @J  | closed segments, no active one               | a crash while rotating         | next one is born             |
    | @K  | ids missing between segments, all persisted  | a crash while retiring         | accepted                     |
    | @L  | ids missing that were not persisted          | damage: a segment vanished     | LogCorrupted                 |
    | @M  | two segments claim the same id               | damage                         | LogCorrupted                 |
    | @N  | segment of another log, table or schema      | damage: a file moved here      | LogCorrupted                 |
    | @O  | nothing but ``*.tmp``                        | a crash while creating the log | the folder is no log         |
    | @P  | any other file                               | somebody else                  | left alone, logged           |
    | @Q  | other files, but no segment                  | damage: every segment vanished | LogCorrupted                 |

@K and @L need to know what was persisted, which the log alone does not: `SegmentedLog.reconcile` decides them.
A whole last record that was never acknowledged is kept (@D): the caller had not been told, so either is right.

What cannot be told apart: damage to the very last record, done after its sync, looks like a torn append (@E, @G) unless
a later whole record betrays it (@F).
"""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path

import pyarrow as pa

from reference_wal.durable_io import settle, step, sync_directory
from reference_wal.errors import LogCorrupted
from reference_wal.segment import Scan, SegmentHeader, SegmentName, map_file, scan

__all__ = ["Found", "Plan", "Row", "apply", "decide", "inspect"]

logger = logging.getLogger(__name__)

SETTLE_ACTIVE = step(
    "recovery.active.sync", "its last record perhaps in the page cache only", "what is read is on disk"
)
REMOVE_UNBORN = step("recovery.unborn.unlink", "a segment never born lies about", "its name is gone, not yet durably")
CUT_TAIL = step(
    "recovery.tail.truncate", "the torn record is still there", "the torn record is cut off in the page cache"
)
SYNC_CUT = step("recovery.tail.sync", "cut in the page cache only", "cut for good")
CLOSE_LEFTOVER = step("recovery.leftover.rename", "the leftover is still named active", "closed, not yet durably")
SYNC_FOLDER = step("recovery.folder.sync", "recovered names in the cache only", "the folder's names are durable")


class Row(Enum):
    """The rows of the table above that concern one file."""

    UNBORN = "@A"
    CLOSED_WHOLE = "@B"
    CLOSED_DAMAGED = "@C"
    ACTIVE_WHOLE = "@D"
    ACTIVE_TORN = "@E"
    ACTIVE_DAMAGED = "@F"
    ACTIVE_EMPTY = "@G"
    HEADERLESS = "@H"
    FOREIGN = "@P"


@dataclass(frozen=True)
class Found:
    """One file of the folder: its path, what its name says, and what is in it (segments only)."""

    path: Path
    name: SegmentName | None
    scan: Scan | None

    @property
    def row(self) -> Row:
        """Classify the file by itself."""
        if self.path.suffix == ".tmp":
            return Row.UNBORN
        if self.name is None or self.scan is None:
            return Row.FOREIGN
        if self.scan.header is None:
            return Row.CLOSED_DAMAGED if self.name.end is not None else Row.HEADERLESS
        if self.name.end is not None:
            whole = self.scan.damage is None and self.name.start + self.scan.records - 1 == self.name.end
            return Row.CLOSED_WHOLE if whole else Row.CLOSED_DAMAGED
        if self.scan.damage and self.scan.damage.sealed_after is not None:
            return Row.ACTIVE_DAMAGED
        if not self.scan.records:
            return Row.ACTIVE_EMPTY
        return Row.ACTIVE_TORN if self.scan.damage else Row.ACTIVE_WHOLE


@dataclass
class Plan:
    """What to do with the folder. ``header`` and ``schema`` are None for a folder that never became a log (@O)."""

    header: SegmentHeader | None = None
    schema: pa.Schema | None = None
    unborn: list[Path] = field(default_factory=list)
    closed: list[SegmentName] = field(default_factory=list)
    leftover: Found | None = None
    """The active segment, to be closed (@D, @E) or to go on with (@G)."""

    @property
    def next_id(self) -> int:
        """The first id that no segment here names or holds."""
        if self.leftover is not None and self.leftover.name is not None and self.leftover.scan is not None:
            return self.leftover.name.start + self.leftover.scan.records
        return max((name.end + 1 for name in self.closed if name.end is not None), default=0)


def inspect(folder: Path) -> list[Found]:
    """Look at every file of a log folder, in the order of ids; changes nothing, but syncs the active segment."""
    found = []
    for path in sorted(folder.iterdir()):
        name = SegmentName.parse(path.name)
        if name is not None and name.end is None:
            with SETTLE_ACTIVE:  # Its last record may be a killed process's, and is about to be closed and built upon.
                settle(path)
        found.append(Found(path, name, scan(map_file(path)) if name else None))
    return sorted(found, key=lambda item: (item.name.start, item.name.end is None) if item.name else (-1, False))


def decide(found: Sequence[Found]) -> Plan:
    """Apply the decision table; pure.

    Raises:
        LogCorrupted: for rows @C, @F, @H, @I, @M, @N and @Q.
    """
    plan = Plan()
    foreign = [item.path for item in found if item.row is Row.FOREIGN]
    for item in found:
        row = item.row
        if row is Row.UNBORN:
            plan.unborn.append(item.path)
        elif row is Row.FOREIGN:
            logger.warning("%s is none of the log's files; left alone", item.path)
        elif row in (Row.CLOSED_DAMAGED, Row.ACTIVE_DAMAGED, Row.HEADERLESS):
            raise _corrupted(item)
        else:
            _accept(plan, item)
    if plan.header is None and foreign:
        raise LogCorrupted(foreign[0].parent, f"holds no segment, but {foreign[0].name}")  # @Q
    return plan


def _corrupted(item: Found) -> LogCorrupted:
    assert item.name is not None and item.scan is not None
    damage = item.scan.damage
    if damage is None:
        problem = f"holds {item.scan.records} records, its name says {item.name.start} to {item.name.end}"
        return LogCorrupted(item.path, problem)
    later = "" if damage.sealed_after is None else f", and record {damage.sealed_after} after it is whole"
    return LogCorrupted(item.path, damage.problem + later, offset=damage.offset, record=damage.record)


def _accept(plan: Plan, item: Found) -> None:
    assert item.name is not None and item.scan is not None and item.scan.header is not None
    header = item.scan.header
    if plan.leftover is not None:
        raise LogCorrupted(item.path, f"stands beside the active segment {plan.leftover.path.name}")  # @I, @M
    if plan.header is not None and item.name.start < plan.next_id:
        raise LogCorrupted(item.path, f"claims ids from {item.name.start}, but an earlier segment holds them")  # @M
    if plan.header is not None and plan.schema is not None:
        same_log = (header.identity, header.table) == (plan.header.identity, plan.header.table)
        if not same_log or not plan.schema.equals(item.scan.schema, check_metadata=True):
            raise LogCorrupted(item.path, "belongs to another log or schema than the segments before it")  # @N
    if header.table != item.path.parent.name:
        raise LogCorrupted(item.path, f"belongs to the log of table {header.table!r}")  # @N
    if header.start != item.name.start:
        raise LogCorrupted(item.path, f"its header says it starts at {header.start}")  # @N
    plan.header, plan.schema = header, item.scan.schema
    if item.name.end is None:
        plan.leftover = item
    else:
        plan.closed.append(item.name)


def apply(folder: Path, plan: Plan) -> None:
    """Carry out the plan up to the point where a new segment may be born. Repeating it after a crash is harmless.

    Write order: 1. unlink the unborn; 2. cut and sync a torn tail, so that no later reader meets it in a closed segment;
    3. close the leftover; 4. sync the folder.
    """
    for path in plan.unborn:
        with REMOVE_UNBORN:
            path.unlink()
    if plan.leftover is not None:
        _settle(folder, plan, plan.leftover)
    with SYNC_FOLDER:  # Before this a power cut may undo any of the above, and the next recovery redoes it.
        sync_directory(folder)


def _settle(folder: Path, plan: Plan, leftover: Found) -> None:
    assert leftover.name is not None and leftover.scan is not None
    if leftover.scan.damage is not None:
        logger.info("%s: torn record cut off at byte %d", leftover.path, leftover.scan.good_bytes)
        _cut(leftover.path, leftover.scan.good_bytes)
    if leftover.scan.records:
        closed = SegmentName(leftover.name.start, leftover.name.start + leftover.scan.records - 1)
        with CLOSE_LEFTOVER:
            leftover.path.rename(folder / str(closed))
        plan.closed.append(closed)
        plan.leftover = None


def _cut(path: Path, size_bytes: int) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        with CUT_TAIL:
            os.ftruncate(fd, size_bytes)
        with SYNC_CUT:  # Durable before the name says that the segment is whole.
            os.fsync(fd)
    finally:
        os.close(fd)
