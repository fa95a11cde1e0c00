"""An engine's folder after a crash: what it means, table by table, and what is done about it.

Tables lie in ``tables/``, logs in ``wal/``. With the order of writes in `delta.folder`, a crash leaves these cases and no
others. Any other case was made by somebody, and is refused. @d, @f and @g show in the names and the logs, and are refused before
anything there is changed or removed. For @h, @i and @l the Delta tables are read: by then creations and drops are finished and
these tables healed, and no log of a table that is there is changed yet:

    | row | Delta folder    | log           | left by                                   | done                              |
    |-----|-----------------|---------------|-------------------------------------------|-----------------------------------|
    | @a  | ``{table}``,    | there         | any crash but those below                 | healed, replayed                  |
    |     | with a log      |               |                                           |                                   |
    | @b  | ``.creating-``  | none          | a creation, before its log was durable    | folder removed                    |
    | @c  | ``.creating-``  | without a     | a creation, before its rename             | log removed, then the folder      |
    |     |                 | batch         |                                           |                                   |
    | @d  | ``.creating-``  | with batches  | damage: batches come after the rename     | TableCorrupted                    |
    | @e  | ``.dropped-``   | there or not  | a drop, before its clean-up was through   | clean-up finished                 |
    | @f  | ``{table}`` and | any           | damage: a drop is finished before a table | TableCorrupted                    |
    |     | one of these    |               | of its name is made, and a name is unique |                                   |
    | @g  | none            | there         | damage: the log goes before ``.dropped-`` | TableCorrupted                    |
    |     |                 |               | does, and comes after ``.creating-``      |                                   |
    | @h  | ``{table}``,    | none          | damage: with its unpersisted batches      | LogCorrupted                      |
    |     | with a log      |               |                                           |                                   |
    | @i  | ``{table}``     | another's     | damage: a folder was moved here           | LogCorrupted                      |
    | @j  | ``{table}``,    | none          | any crash but the next                    | healed, its spill files replayed  |
    |     | without a log   |               |                                           |                                   |
    | @k  | the same        | no batch      | a switch: on, before the commit that says | log removed, then as @j           |
    |     |                 | above the     | so; or off, after the commit that says so |                                   |
    |     |                 | marker        |                                           |                                   |
    | @l  | the same        | a batch above | damage: a switch first commits every      | TableCorrupted                    |
    |     |                 | the marker    | batch                                     |                                   |

"With a log" and "without a log" are what the table says of itself (`TableProperties.logged`), so a table that is truncated,
dropped or made anew amid switches takes its answer with it: nothing outside of its folder has to agree.

@b and @c owe nothing: the creation was never acknowledged. @c removes the log first, since a log by itself is @g. The
folder's name is durable before the log exists; so @c differs from @g, even for a table that was never used.

An error leaves the same cases as a crash (`health`). An error during opening leaves the folder half-way through these steps,
and the next opening continues them.
"""

from __future__ import annotations

import fcntl
import logging
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from crashmatrix.faults import mark
from crashmatrix.reference_wal.delta import folder as table_folder, recovery as delta_recovery
from crashmatrix.reference_wal.delta.commit import DeltaStore
from crashmatrix.reference_wal.delta.folder import CREATING, DROPPED
from crashmatrix.reference_wal.delta.place import checked_place
from crashmatrix.reference_wal.durable_io import step, sync_directory
from crashmatrix.reference_wal.errors import EngineLocked, LogCorrupted, TableCorrupted
from crashmatrix.reference_wal.log.table_logs import Log, NoLog, TableLogs
from crashmatrix.reference_wal.log.unrecovered import UnrecoveredLogs
from crashmatrix.reference_wal.options import EngineOptions
from crashmatrix.reference_wal.spill import SpillFolder

__all__ = ["FoundTable", "HealedTable", "Layout", "OpenedTable", "open_tables"]

logger = logging.getLogger(__name__)

SYNC_FOUND = step("recovery.tables.sync", "a table's name perhaps in the cache only", "every table found is durable")

ENTERED = {
    "@a": mark("rows.opening.@a", "a table and its log, healed and replayed"),
    "@b": mark("rows.opening.@b", "a table half-made, without a log, removed"),
    "@c": mark("rows.opening.@c", "a table half-made, with a log, removed"),
    "@e": mark("rows.opening.@e", "a table half-dropped, its clean-up finished"),
    "@j": mark("rows.opening.@j", "a table without a log, healed, its spill files replayed"),
    "@k": mark("rows.opening.@k", "a log that was being switched on or off, removed"),
}
"""The rows that a crash leads to; the others are damage."""


@dataclass(frozen=True)
class Layout:
    """The paths of an engine's folder, and the lock that keeps it to one process.

    root/.lock                  held while open
    root/options.json           options set while the engine ran     (`settings`)
    root/wal/{table}/           the log of a table that has one      (`log.write_ahead_log`)
    root/tables/{table}/        the table's Delta table              (`delta.commit`)
    root/spill/{table}/         rows that wait, when memory is short (`spill`)
    """

    root: Path

    @classmethod
    def at(cls, root: Path) -> Layout:
        """Return the layout of a folder, which stays the same if the process changes its own. Raises InvalidInput."""
        return cls(checked_place(root))

    @property
    def tables(self) -> Path:
        """The Delta tables' folder."""
        return self.root / "tables"

    @property
    def wal(self) -> Path:
        """The logs' folder."""
        return self.root / "wal"

    def table(self, name: str) -> Path:
        """The folder of a Delta table."""
        return self.tables / name

    def spills(self, name: str, identity: str = "") -> SpillFolder:
        """The spill files of a table."""
        return SpillFolder(self.root / "spill" / name, identity)

    def lock(self) -> int:
        """Keep the folder, which is there, to this process; returns what to close in the end. Raises EngineLocked, OSError."""
        lock = os.open(self.root / ".lock", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BaseException as error:
            os.close(lock)
            if isinstance(error, BlockingIOError):
                raise EngineLocked(self.root) from None
            raise
        return lock


@dataclass(frozen=True)
class FoundTable:
    """The traces of one table: the names of its Delta folder, and the next id of its log (None: no log)."""

    name: str
    there: bool
    creating: bool
    dropped: bool
    next_id: int | None

    @property
    def row(self) -> str:
        """Classify it by the table above, as if the table said of itself that it has the log that is there, or none.

        `HealedTable.row` decides the other rows, once the table is read.
        """
        names = self.there + self.creating + self.dropped
        if names > 1:
            return "@f"
        if not names:
            return "@g"
        if self.dropped:
            return "@e"
        if self.creating:
            return "@b" if self.next_id is None else "@d" if self.next_id else "@c"
        return "@a" if self.next_id is not None else "@j"


@dataclass(frozen=True)
class OpenedTable:
    """A table that is there, healed, not yet replayed. ``marker`` is the last batch that Delta holds (-1: none)."""

    log: Log
    store: DeltaStore
    spills: SpillFolder
    marker: int


@dataclass(frozen=True)
class HealedTable:
    """A table whose Delta side is whole, and what that says: whose it is, and the last batch that it holds (-1: none)."""

    name: str
    identity: str
    store: DeltaStore
    marker: int

    def row(self, log_identity: str | None, next_id: int) -> str:
        """Classify it with the log that is there (None: there is none), by the table above."""
        logged = self.store.properties.logged
        if log_identity is None:
            return "@h" if logged else "@j"
        if log_identity != self.identity:
            return "@i"
        if logged:
            return "@a"
        return "@l" if next_id > self.marker + 1 else "@k"


def open_tables(layout: Layout, options: EngineOptions, *, wal: bool) -> tuple[TableLogs, list[OpenedTable]]:
    """Apply the table: finish creations and drops, heal what is there, recover the logs. Repeating it after a crash is harmless.

    Args:
        wal: whether new tables are to have a log: then there is a folder for them.

    Raises:
        TableCorrupted, LogCorrupted: the folder holds what no crash leaves.
    """
    sizes = {"segment_bytes_max": options.segment_bytes_max, "preallocate_bytes": options.preallocate_bytes}
    found = UnrecoveredLogs(layout.wal, **sizes) if wal or layout.wal.exists() else None
    healed = _heal_tables(layout, found)
    rows = {table.name: _row(layout, table, found) for table in healed}
    for name, row in rows.items():
        ENTERED[row].enter()
        if row == "@k" and found is not None:
            logger.info("table %s: a switch of its log was cut short; the log owes nothing, removed", name)
            found.remove_table_log(name)
    recovered = found.reconcile({table.name: table.marker for table in healed}) if found is not None else None
    stand_ins = {table.name: _stand_in(table) for table in healed if not table.store.properties.logged}
    logs = TableLogs(layout.wal, **sizes, logs=recovered, stand_ins=stand_ins)
    return logs, [_opened(layout, table, logs.log(table.name)) for table in healed]


def _row(layout: Layout, table: HealedTable, logs: UnrecoveredLogs | None) -> str:
    """Return the row of a table that is there. Raises LogCorrupted, TableCorrupted."""
    log = logs.found(table.name) if logs is not None else None
    row = table.row(log.identity if log else None, log.next_id if log else 0)
    match row:
        case "@h":
            raise LogCorrupted(layout.wal / table.name, "the table's log is gone, with its unpersisted batches")
        case "@i":
            raise LogCorrupted(layout.wal / table.name, "is the log of another table of this name")
        case "@l":
            raise TableCorrupted(table.store.path, "says it has no log, while there is one with batches of it")
    return row


def _stand_in(table: HealedTable) -> NoLog:
    return NoLog(table.name, table.store.properties.arrow_schema, table.identity, next_id=table.marker + 1)


def _opened(layout: Layout, table: HealedTable, log: Log) -> OpenedTable:
    return OpenedTable(log, table.store, layout.spills(table.name, table.identity), table.marker)


def _heal_tables(layout: Layout, logs: UnrecoveredLogs | None) -> list[HealedTable]:
    found = _look(layout, logs.next_ids if logs is not None else {})
    for item in found:
        _refuse(layout, item)
    with SYNC_FOUND:  # Names given by a process killed before its sync: logs are about to go, or to forget batches.
        sync_directory(layout.tables)
    if logs is not None:
        logs.remove_leftovers()
    for item in found:
        _tidy(layout, logs, item)
    return [_heal(layout.table(item.name)) for item in found if item.there]


def _look(layout: Layout, next_ids: Mapping[str, int]) -> list[FoundTable]:
    entries = {path.name for path in layout.tables.iterdir()}
    names = {entry.removeprefix(CREATING).removeprefix(DROPPED) for entry in entries} | set(next_ids)
    return [
        FoundTable(name, name in entries, CREATING + name in entries, DROPPED + name in entries, next_ids.get(name))
        for name in sorted(names)
    ]


def _refuse(layout: Layout, item: FoundTable) -> None:
    path = layout.table(item.name)
    log = f"its log has given out ids up to {item.next_id - 1}" if item.next_id else "its log is there"
    match item.row:
        case "@d":
            raise TableCorrupted(path, f"was never created, while {log}")
        case "@f":
            raise TableCorrupted(path, "is there, and beside it what is left of its creation or removal")
        case "@g":
            raise TableCorrupted(path, f"is gone, while {log}")


def _tidy(layout: Layout, logs: UnrecoveredLogs | None, item: FoundTable) -> None:
    path, clean_up = layout.table(item.name), list[Callable[[], None]]()
    if item.row in ENTERED and not item.there:
        ENTERED[item.row].enter()
    if logs is not None and item.next_id is not None:
        clean_up = [partial(logs.remove_table_log, item.name)]
    if item.row == "@e":
        logger.info("table %s: its removal was cut short; finished", item.name)
        table_folder.finish_drop(path, layout.spills(item.name).delete_all, *clean_up)
    elif item.row in ("@b", "@c"):
        logger.info("table %s: its creation was cut short and never acknowledged; removed", item.name)
        for remove in clean_up:
            remove()
        table_folder.remove_unfinished(path)


def _heal(path: Path) -> HealedTable:
    delta_recovery.heal(path)
    store = DeltaStore(path)
    identity = store.properties.identity
    return HealedTable(path.name, identity, store, store.marker(f"{identity}/{path.name}"))
