"""The folder of a table's log after a crash: the labelled decision table, and the steps that act on it.

Between two syncs, a crash keeps any subset of the names, and any subset of the sectors of the group of records that is being
appended; the other sectors read as zeros, or the file ends before them. With the order of writes in `segmented_log`,
`segments.active_segment` and `persisted`, a crash leaves these cases and no others:

    | row | found                                        | left by                        | done                         |
    |-----|----------------------------------------------|--------------------------------|------------------------------|
    | @A  | ``*.tmp``                                    | a segment or set not finished  | removed                      |
    | @B  | closed segment, whole                        | closing                        | kept                         |
    | @C  | closed segment, anything else                | damage: cut and synced first   | LogCorrupted                 |
    | @D  | active segment, records, then zeros or end   | any crash while appending      | cut to its records, closed   |
    | @E  | likewise, then what may be a torn write      | a crash within an append       | cut to its records, closed   |
    | @F  | likewise, then what no torn write leaves     | damage: see `segments.tear`    | LogCorrupted                 |
    | @G  | active segment without a whole record        | a crash at the first append    | cut if torn, goes on         |
    | @H  | active segment, header damaged               | damage: created whole          | LogCorrupted                 |
    | @I  | two active segments                          | damage: close comes first      | LogCorrupted                 |
    | @J  | closed segments, no active one               | a crash while rotating         | next one is created          |
    | @K  | ids missing between segments, all persisted  | a crash while retiring         | accepted                     |
    | @L  | ids missing that were not persisted          | damage: a segment vanished     | LogCorrupted                 |
    | @M  | two segments claim the same id               | damage                         | LogCorrupted                 |
    | @N  | segment of another log, table or schema      | damage: a file moved here      | LogCorrupted                 |
    | @O  | nothing but ``*.tmp``                        | a crash while creating the log | the folder is not a log      |
    | @P  | any other file                               | somebody else                  | left alone, logged           |
    | @Q  | other files, but no segment                  | damage: every segment vanished | LogCorrupted                 |
    | @R  | ``persisted``, whole                         | `mark_persisted`               | believed, synced before use  |
    | @S  | ``persisted``, anything else                 | damage: replaced as a whole    | LogCorrupted                 |
    | @T  | ``end``, whole, the log not shorter          | closing the log                | believed                     |
    | @U  | ``end``, whole, the log shorter              | damage: records were durable   | LogCorrupted                 |
    | @V  | ``end``, anything else                       | a crash: it is not synced      | ignored                      |

@C: also zeros at the end, though Arrow would not mind: a segment gets its closed name after its length is durable.
@D: a kill leaves the zeros, a power cut between cutting and renaming does not. A whole last record that was never acknowledged
is kept: it was not acknowledged, so either is right.
@E, @G: which damage to the last group passes for a torn write, and why no other does, is in the table of `segments.tear`.
@H: an empty file is one as well: zeros and header are not written under the segment's name.
@K and @L need to know what was persisted: from ``persisted``, and from the caller of `UnrecoveredLog.reconcile`.
@R: its name may be in the page cache only. The folder is synced before anything is retired on its word.

The folder is changed only after all rows are decided, @L and @U included.

An error leaves the same cases as a crash: after it, the log changes nothing in its folder until it is opened again
(`segmented_log`). Otherwise an error between closing and creating (@J), followed by a mark, would unlink the closed segments,
and with them identity and next id: @O for a log that had acknowledged batches.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path

from crashmatrix.faults import mark
from crashmatrix.reference_wal.durable_io import settle, step, sync_directory
from crashmatrix.reference_wal.errors import LogCorrupted
from crashmatrix.reference_wal.log.end import END, read_end
from crashmatrix.reference_wal.log.persisted import PERSISTED, IdSet, read_persisted
from crashmatrix.reference_wal.log.segments.segment import Opening, Scan, SegmentName, open_segment, scan

__all__ = ["FoundFile", "Plan", "Resumable", "Row", "apply", "decide", "inspect", "look"]

logger = logging.getLogger(__name__)

SETTLE_ACTIVE = step(
    "recovery.active.sync", "its last record perhaps in the page cache only", "what is read is on disk"
)
REMOVE_UNFINISHED = step(
    "recovery.unfinished.unlink", "an unfinished segment, never named", "its name is gone, not yet durably"
)
CUT_TAIL = step("recovery.tail.truncate", "zeros or a torn record after the last", "they are cut off in the page cache")
SYNC_CUT = step("recovery.tail.sync", "cut in the page cache only", "cut permanently")
CLOSE_LEFTOVER = step("recovery.leftover.rename", "the leftover is still named active", "closed, not yet durably")
SYNC_FOLDER = step("recovery.folder.sync", "recovered names in the cache only", "the folder's names are durable")


class Row(Enum):
    """The rows of the table above that concern one file."""

    UNFINISHED = "@A"
    CLOSED_WHOLE = "@B"
    CLOSED_DAMAGED = "@C"
    ACTIVE_WHOLE = "@D"
    ACTIVE_TORN = "@E"
    ACTIVE_DAMAGED = "@F"
    ACTIVE_EMPTY = "@G"
    HEADERLESS = "@H"
    FOREIGN = "@P"
    PERSISTED = "@R"
    END = "@T"


ENTERED = {
    Row.UNFINISHED: mark("rows.log.@A", "a segment or set not finished, removed"),
    Row.CLOSED_WHOLE: mark("rows.log.@B", "a closed segment, kept"),
    Row.ACTIVE_WHOLE: mark("rows.log.@D", "an active segment, cut to its records and closed"),
    Row.ACTIVE_TORN: mark("rows.log.@E", "likewise, with a torn write behind its records"),
    Row.ACTIVE_EMPTY: mark("rows.log.@G", "an active segment without a whole record, goes on"),
    Row.FOREIGN: mark("rows.log.@P", "somebody else's file, left alone"),
    Row.PERSISTED: mark("rows.log.@R", "a set of persisted batches, believed"),
    Row.END: mark("rows.log.@T", "the end of a log closed in good order, believed if it is whole"),
}
NO_ACTIVE = mark("rows.log.@J", "closed segments and no active one: the next is created")
NOT_A_LOG = mark("rows.log.@O", "a folder that never became a log")
"""The rows that a crash leads to; the others are damage. `retention` has @K."""


@dataclass(frozen=True)
class FoundFile:
    """A file of the folder: its path, the meaning of its name, and its contents (segments only)."""

    path: Path
    name: SegmentName | None
    scan: Scan | None

    @property
    def row(self) -> Row:
        """Classify the file by itself."""
        if self.path.suffix == ".tmp":
            return Row.UNFINISHED
        if self.path.name == PERSISTED:
            return Row.PERSISTED
        if self.path.name == END:
            return Row.END
        if self.name is None or self.scan is None:
            return Row.FOREIGN
        scan = self.scan
        if scan.opening is None:
            return Row.CLOSED_DAMAGED if self.name.end is not None else Row.HEADERLESS
        if self.name.end is not None:
            whole = scan.damage is None and scan.good_bytes == scan.size_bytes
            all_there = self.name.start + scan.records - 1 == self.name.end
            return Row.CLOSED_WHOLE if whole and all_there else Row.CLOSED_DAMAGED
        if scan.damage and scan.damage.proof is not None:
            return Row.ACTIVE_DAMAGED
        if not scan.records:
            return Row.ACTIVE_EMPTY
        return Row.ACTIVE_TORN if scan.damage else Row.ACTIVE_WHOLE


@dataclass(frozen=True)
class Resumable:
    """A leftover active segment without a record, to go on with (@G)."""

    path: Path
    opening: Opening


@dataclass
class Plan:
    """The decision about a folder. ``opening`` is None for a folder that never became a log (@O)."""

    opening: Opening | None = None
    """The opening of the newest segment, which says whose log this is."""
    unfinished: list[Path] = field(default_factory=list)
    closed: list[SegmentName] = field(default_factory=list)
    leftover: FoundFile | None = None
    """The active segment, to be closed (@D, @E) or to go on with (@G)."""
    persisted: IdSet = field(default_factory=IdSet)

    @property
    def closing(self) -> SegmentName | None:
        """The name under which the leftover is closed; None if there is none, or nothing in it."""
        found = self.leftover
        if found is None or found.name is None or found.scan is None or not found.scan.records:
            return None
        return SegmentName(found.name.start, found.name.start + found.scan.records - 1)

    @property
    def resumable(self) -> Resumable | None:
        """The leftover, if it has no record, so that the log goes on with it."""
        found = self.leftover
        if self.closing or found is None or found.scan is None or found.scan.opening is None:
            return None
        return Resumable(found.path, found.scan.opening)

    @property
    def closed_names(self) -> list[SegmentName]:
        """The closed segments once the plan is carried out, in order."""
        return [*self.closed, *([self.closing] if self.closing else [])]

    @property
    def next_id(self) -> int:
        """The first id that no segment here names or holds."""
        if self.resumable is not None:
            return self.resumable.opening.header.start
        return max((name.end + 1 for name in self.closed_names if name.end is not None), default=0)


def look(folder: Path) -> Plan:
    """Decide what the folder means; changes nothing, but syncs the active segment. Raises LogCorrupted, OSError."""
    found = inspect(folder)
    plan = decide(found)
    for item in found:
        ENTERED[item.row].enter()
    if plan.opening is None:
        NOT_A_LOG.enter()
    elif plan.leftover is None:
        NO_ACTIVE.enter()
    if plan.opening is not None:
        plan.persisted = read_persisted(folder, plan.opening.header.identity)
        end, due = read_end(folder, plan.opening.header.identity), plan.next_id
        if due < end:
            file = plan.leftover.path if plan.leftover else folder / str(plan.closed[-1])
            raise LogCorrupted(file, f"ends before batch {due}, but {end - 1} was durable when the log was closed")
    return plan


def inspect(folder: Path) -> list[FoundFile]:
    """Look at every file of a log folder, in the order of ids; changes nothing, but syncs the active segment."""
    found = []
    for path in sorted(folder.iterdir()):
        name = SegmentName.parse(path.name)
        if name is not None and name.end is None:
            with SETTLE_ACTIVE:  # Its last record may be a killed process's, and is about to be closed and built upon.
                settle(path)
        found.append(FoundFile(path, name, _scan(path) if name else None))
    return sorted(found, key=lambda item: (item.name.start, item.name.end is None) if item.name else (-1, False))


def _scan(path: Path) -> Scan:
    with open_segment(path) as file:
        return scan(file)


def decide(found: Sequence[FoundFile]) -> Plan:
    """Apply the decision table; pure.

    Raises:
        LogCorrupted: for rows @C, @F, @H, @I, @M, @N and @Q.
    """
    plan = Plan()
    strange: list[Path] = []
    for item in found:
        row = item.row
        if row is Row.UNFINISHED:
            plan.unfinished.append(item.path)
        elif row in (Row.PERSISTED, Row.END):
            strange.append(item.path)
        elif row is Row.FOREIGN:
            strange.append(item.path)
            logger.warning("%s is not one of the log's files; left alone", item.path)
        elif row in (Row.CLOSED_DAMAGED, Row.ACTIVE_DAMAGED, Row.HEADERLESS):
            raise _corrupted(item)
        else:
            _accept(plan, item)
    if plan.opening is None and strange:
        raise LogCorrupted(strange[0].parent, f"holds no segment, but {strange[0].name}")  # @Q
    return plan


def _corrupted(item: FoundFile) -> LogCorrupted:
    assert item.name is not None and item.scan is not None
    scan, damage = item.scan, item.scan.damage
    if damage is not None:
        proof = "" if damage.proof is None else f", and {damage.proof}"
        return LogCorrupted(item.path, damage.problem + proof, offset=damage.offset, record=damage.record)
    if scan.good_bytes < scan.size_bytes:
        return LogCorrupted(item.path, "is named closed, but zeros follow its last record", offset=scan.good_bytes)
    return LogCorrupted(item.path, f"holds {scan.records} records, its name says {item.name.start} to {item.name.end}")


def _accept(plan: Plan, item: FoundFile) -> None:
    assert item.name is not None and item.scan is not None and item.scan.opening is not None
    opening, before = item.scan.opening, plan.opening
    if plan.leftover is not None:
        raise LogCorrupted(item.path, f"stands beside the active segment {plan.leftover.path.name}")  # @I, @M
    if before is not None and item.name.start < plan.next_id:
        raise LogCorrupted(item.path, f"claims ids from {item.name.start}, but an earlier segment holds them")  # @M
    if before is not None:
        same_log = _whose(opening) == _whose(before)
        if not same_log or not before.schema.equals(opening.schema, check_metadata=True):
            raise LogCorrupted(item.path, "belongs to another log or schema than the segments before it")  # @N
    if opening.header.table != item.path.parent.name:
        raise LogCorrupted(item.path, f"belongs to the log of table {opening.header.table!r}")  # @N
    if opening.header.start != item.name.start:
        raise LogCorrupted(item.path, f"its header says it starts at {opening.header.start}")  # @N
    plan.opening = opening
    if item.name.end is None:
        plan.leftover = item
    else:
        plan.closed.append(item.name)


def _whose(opening: Opening) -> tuple[str, str]:
    return opening.header.identity, opening.header.table


def apply(folder: Path, plan: Plan) -> None:
    """Carry out the plan up to the point where a new segment may be created. Repeating it after a crash is harmless.

    Write order: 1. unlink the unfinished files; 2. cut and sync what follows the last record, so that a closed segment ends
    with its last record; 3. close the leftover; 4. sync the folder.
    """
    for path in plan.unfinished:
        with REMOVE_UNFINISHED:
            path.unlink()
    if plan.leftover is not None:
        _settle(folder, plan, plan.leftover)
    with SYNC_FOLDER:  # Before this a power cut may undo any of the above, and the next recovery redoes it.
        sync_directory(folder)


def _settle(folder: Path, plan: Plan, leftover: FoundFile) -> None:
    assert leftover.scan is not None
    scan = leftover.scan
    if scan.damage is not None:
        logger.warning(
            "%s: what a crash left of record %d, never acknowledged, is cut off at byte %d (%s)",
            leftover.path, scan.damage.record, scan.good_bytes, scan.damage.problem,
        )  # fmt: skip
    if scan.damage is not None or (plan.closing and scan.good_bytes < scan.size_bytes):
        _cut(leftover.path, scan.good_bytes)
    if plan.closing:
        logger.info("%s: left active with %d records, closed as %s", leftover.path, scan.records, plan.closing)
        with CLOSE_LEFTOVER:
            leftover.path.rename(folder / str(plan.closing))


def _cut(path: Path, size_bytes: int) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        with CUT_TAIL:
            os.ftruncate(fd, size_bytes)
        with SYNC_CUT:  # Durable before the name says that the segment is whole.
            os.fsync(fd)
    finally:
        os.close(fd)
