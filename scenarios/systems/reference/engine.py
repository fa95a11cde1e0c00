"""The reference engine as a system under test, checked far beyond its contract.

The workload opens the engine on the remains of an earlier crash (a torn record, a torn commit, a torn checkpoint,
orphans, half-made and half-dropped tables), then ingests real data into two tables, and hostile data into a third, which it
truncates, moves to other Delta tables, drops and makes anew. It flushes now and then; memory is so short that buffers spill; one
session ends without a flush. After every operation the living engine is queried (`living`).

Items: ``["create", TABLE]``, ``["ingest", TABLE, NUMBER]``, ``["truncate", TABLE]``, ``["drop", TABLE]``,
``["transfer", TABLE, NUMBER]``; recovered besides: ``["received", TABLE, NUMBER]`` for a batch that was moved.

Without a log (``reference:no-log``) a batch is acknowledged only once a flush or `close` has returned. ``reference:new`` begins
in a folder that is not there.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import ClassVar

from crashmatrix.reference_wal import AppendFailed, EngineOptions, ReferenceWalError, StorageEngine
from crashmatrix.scenarios.errors import PromiseBroken
from crashmatrix.scenarios.systems.reference.data import MAIN, DataSet, read_source
from crashmatrix.scenarios.systems.reference.folder import digest_of, leave_debris, leave_half
from crashmatrix.scenarios.systems.reference.living import Living, stored
from crashmatrix.scenarios.systems.reference.notes import claimed_as_broken, failing, failing_disk, noting
from crashmatrix.scenarios.systems.reference.operations import (
    ARCHIVE,
    Operation,
    follow_ups,
    go_on,
    operations,
    operations_later,
)
from crashmatrix.scenarios.systems.reference.oracle.apart.every_type import keep_every_type
from crashmatrix.scenarios.systems.reference.oracle.apart.first_run import in_first_run
from crashmatrix.scenarios.systems.reference.oracle.apart.outer_tables import move_to_other_tables
from crashmatrix.scenarios.systems.reference.oracle.apart.tampered_tables import judge_tampered_tables
from crashmatrix.scenarios.systems.reference.oracle.older import judge_damaged
from crashmatrix.scenarios.systems.reference.oracle.places import archived, check_places
from crashmatrix.scenarios.systems.reference.oracle.refusals import let_go, refuse
from crashmatrix.scenarios.systems.reference.oracle.spills import check_spills
from crashmatrix.scenarios.systems.reference.outcomes import TableContract
from crashmatrix.scenarios.target.journal import Attempt, Item, Journal, Promises
from crashmatrix.scenarios.target.system import SystemUnderTest

__all__ = ["NewEngine", "ReferenceEngine", "UnloggedEngine"]

DATA = Path(__file__).parents[2] / "data" / "hourly_temperatures.parquet"
EVERY = 3
"""One row in so many of our own data is used: small batches are as good, and are read faster."""

OPTIONS = EngineOptions(
    segment_bytes_max=16 * 1024, generation_bytes_max=30 * 1024, memory_bytes_max=20 * 1024, checkpoint_commits=3
)
UNLOGGED_MEMORY_BYTES_MAX = 4 * 1024
"""Without a log nearly everything is spilled, since only that survives."""

NEVER_SET = (
    *("options.", "engine.options.", "recovery.options.", "rows.options.", "engine.switch.", "rows.opening.@k"),
    *("engine.finish.", "engine.save.", "engine.idle."),
)
"""Failpoints of settings that change while the engine runs, and of compressed rows that wait: ``reference:switched`` and
``reference:compressed`` pass them."""

DAMAGED = 21
"""So many times a file of the folder is damaged, in a copy."""

UNFLUSHED_MAX = 3
"""Without a log: how many batches are ingested before a flush, so that they can be acknowledged."""


class ReferenceEngine(SystemUnderTest):
    """The reference log and engine on real hourly temperatures, or on your own rows.

    Args:
        data: a Parquet or CSV file.
        timestamp, tags: its time column and the columns that name a series.
        wal: whether the engine has a log.
    """

    failpoints_suffice = True
    contract = TableContract()
    boundaries: ClassVar[Sequence[str]] = ("wal.rotate.",)
    unreached: ClassVar[Sequence[str]] = (
        *("wal.persist.", "rows.log.@R"),  # Delta's marker says it for the engine; see reference-log.
        *("rows.spill.", "rows.opening.@j"),  # Only without a log.
        *NEVER_SET,
    )
    stable_recovery = True

    def __init__(
        self, data: str = str(DATA), timestamp: str = "timestamp", tags: Sequence[str] = ("station",), wal: bool = True
    ) -> None:
        self._source, self._timestamp, self._tags, self._wal = Path(data), timestamp, list(tags), wal
        self._options = OPTIONS if wal else replace(OPTIONS, memory_bytes_max=UNLOGGED_MEMORY_BYTES_MAX)

    def setup(self) -> Sequence[str]:
        """Read the data once; every other process maps the result."""
        every = EVERY if self._source == DATA else 1
        rows, remark = read_source(self._source, self._timestamp, self._tags, every=every)
        DataSet.store(rows, self.workspace, self.seed)
        return [remark] if remark else []

    def _data(self) -> DataSet:
        return DataSet(self.workspace, self.seed, self._timestamp, self._tags)

    def _folder(self, root: Path) -> Path:
        return root

    def _open(self, root: Path, identity: str = "reference", memory_bytes_max: int | None = None) -> StorageEngine:
        memory = self._options.memory_bytes_max if memory_bytes_max is None else memory_bytes_max
        options = replace(self._options, identity=identity, memory_bytes_max=memory)
        return StorageEngine.open(self._folder(root), self._wal, options=options)

    def prepare(self, root: Path) -> Sequence[Item]:
        """An engine's earlier life, then what a power cut could have done to the files it was writing."""
        data = self._data()
        before, _ = self._operations(data)
        with (
            self._open(root, memory_bytes_max=None if self._wal else 1) as engine,
            tempfile.TemporaryDirectory() as aside,
        ):
            for name in ("half-made", "half-dropped"):
                engine.create_table(name, data.source(MAIN).schema, timestamp=self._timestamp)
            for operation in before:
                self._do(engine, data, operation)
            # Killed here: without a log, what waits is in spill files.
            shutil.copytree(root, aside, dirs_exist_ok=True)
            engine.close()
            for path in root.iterdir():  # The root itself may be a mount.
                shutil.rmtree(path) if path.is_dir() else path.unlink()
            shutil.copytree(aside, root, dirs_exist_ok=True)
        leave_half(root, "half-made", "half-dropped")
        leave_debris(root)
        return [operation.item for operation in before if operation.item]

    def _operations(self, data: DataSet) -> tuple[list[Operation], list[Operation]]:
        """Without a log, a batch without rows leaves no trace of its id in a crash, so none is prepared."""
        before, during = operations(data)
        return [one for one in before if self._wal or one.batch is None or one.batch.rows], during

    def workload(self, root: Path, journal: Journal) -> None:
        """Recover from that, then store the rest of the rows, in two sessions."""
        data = self._data()
        before, during = self._operations(data)
        living = Living(data, logged=self._wal)
        living.assume(before)
        split = next(place for place, operation in enumerate(during) if operation.kind == "reopen")
        with noting(journal):
            # A table made anew is another table than the first.
            unflushed = self._session(root, "reference-later", during[:split], journal, data, living)
            for attempt in unflushed:  # Closing commits what no log holds.
                attempt.acknowledge()
            living.closed()
            last = [*during[split + 1 :], Operation("flush")]
            self._session(root, "reference-last", last, journal, data, living)
            others = (
                (move_to_other_tables, judge_tampered_tables) if before and self._wal else ()
            )  # Once for all targets.
            damaged = partial(
                judge_damaged, root, partial(self._found, data), self.seed, times=DAMAGED, but_for=ARCHIVE
            )
            in_first_run(self.workspace, damaged, partial(keep_every_type, logged=self._wal), *others)

    def _session(
        self, root: Path, identity: str, steps: Sequence[Operation], journal: Journal, data: DataSet, living: Living
    ) -> list[Attempt]:
        """Open, do one operation after the other, close; returns those that only closing has made durable."""
        with self._open(root, identity) as engine:
            living.opened(engine)
            unflushed = self._perform(steps, engine, data, journal, living)
        let_go(self._folder(root), but_for=ARCHIVE)
        return unflushed

    def resume(self, root: Path, journal: Journal) -> None:
        """Do every operation once more; with a log, the next opening has to replay the rows stored last."""
        data = self._data()
        living = Living(data, logged=self._wal)
        with noting(journal), self._open(root, "reference-resumed") as engine:
            living.adopt(engine, stored(data, engine.tables, journal.recovered))
            later = operations_later(data, engine.tables)
            if unflushed := self._perform(later, engine, data, journal, living):
                self._flush(engine, living, unflushed)

    def _perform(
        self, steps: Sequence[Operation], engine: StorageEngine, data: DataSet, journal: Journal, living: Living
    ) -> list[Attempt]:
        """Do one operation after the other; returns those that a flush has still to acknowledge."""
        unflushed = list[Attempt]()
        for number, operation in enumerate(steps):
            try:
                unflushed = self._step(operation, engine, data, journal, living, unflushed)
            except (ReferenceWalError, OSError) as error:
                if failing_disk(error):
                    go_on(
                        follow_ups(operation, steps[number + 1 :]), lambda one: self._do(engine, data, one), journal,
                        unflushed, logged=self._wal, refusing=operation.table * isinstance(error, AppendFailed),
                    )  # fmt: skip
                raise
        return unflushed

    def _step(
        self, operation: Operation, engine: StorageEngine, data: DataSet, journal: Journal, living: Living,
        unflushed: list[Attempt],
    ) -> list[Attempt]:  # fmt: skip
        if operation.kind == "flush" or (operation.kind == "ingest" and len(unflushed) >= UNFLUSHED_MAX):
            unflushed = self._flush(engine, living, unflushed)
        if operation.kind == "flush":
            return unflushed
        attempt = journal.attempt(operation.item) if operation.item else None
        with claimed_as_broken(f"{operation.kind} {operation.table}"), failing(attempt):
            returned = self._do(engine, data, operation)
        if attempt and (self._wal or operation.kind != "ingest"):
            attempt.acknowledge()
            unflushed = [one for one in unflushed if one.item[1] != operation.table]
        elif attempt:
            unflushed.append(attempt)
        living.did(engine, operation, returned)
        return unflushed

    def _flush(self, engine: StorageEngine, living: Living, unflushed: list[Attempt]) -> list[Attempt]:
        """Flush, and acknowledge what was waiting for it; nothing is any more."""
        with claimed_as_broken("flush"):
            engine.flush()
        for attempt in unflushed:
            attempt.acknowledge()
        living.did(engine, Operation("flush"), 0)
        return []

    def _do(self, engine: StorageEngine, data: DataSet, operation: Operation) -> int:
        table, returned = operation.table, 0
        match operation.kind:
            case "create":
                source = data.source(table)
                engine.create_table(table, source.schema, timestamp=source.timestamp, tags=source.tags)
            case "truncate":
                engine.truncate(table)
            case "segment-size":
                engine.change_segment_size(table, operation.number)
            case "drop":
                engine.drop_table(table)
            case "flush":
                engine.flush()
            case "misuse":
                refuse(engine, data)
            case "transfer":
                returned = engine.transfer(table, engine.root / operation.place)
            case "ingest":
                assert operation.batch is not None
                returned = engine.ingest(table, data.record_batch(operation.batch))
        return returned

    def recover(self, root: Path) -> Sequence[Item]:
        """Open the engine; return the tables, the batches in them, in Delta or replayed, and those moved elsewhere."""
        data = self._data()
        found = self._found(data, root)  # First: opening the engine finishes a transfer that was cut short.
        return [*found, *(["received", *batch.item[1:]] for batch in archived(self._folder(root), data))]

    def _found(self, data: DataSet, root: Path, opened: Callable[[], None] = lambda: None) -> list[Item]:
        with self._open(root) as engine:
            for table in engine.tables:
                check_spills(engine.root, table)
            opened()
            found = {table: data.source(table).batches_in(engine.read(table), table) for table in engine.tables}
        return [item for table in found for item in (["create", table], *(batch.item for batch in found[table]))]

    def verify(self, root: Path, promises: Promises) -> None:
        """Check what is where, as other readers of the files see it, too."""
        try:
            data = self._data()
            with self._open(root) as engine:
                for table in engine.tables:
                    check_places(engine, data.source(table), table, promises, logged=self._wal)
        except (ReferenceWalError, OSError) as error:
            raise PromiseBroken(
                "cannot-open", f"looking at it after recovery raised {type(error).__name__}: {error}"
            ) from error

    def fingerprint(self, root: Path) -> str:
        """Digest the folder without what deltalake dates or draws at random."""
        return digest_of(root)


class NewEngine(ReferenceEngine):
    """The same engine, whose folder, and the one above it, are not there when the workload begins."""

    unreached: ClassVar[Sequence[str]] = (*ReferenceEngine.unreached, "recovery.", "rows.", "drop.spill.")

    def _folder(self, root: Path) -> Path:
        return root / "new" / "engine"

    def prepare(self, root: Path) -> Sequence[Item]:
        """Nothing is there."""
        del root
        return []

    def _operations(self, data: DataSet) -> tuple[list[Operation], list[Operation]]:
        before, during = operations(data)
        return [], [*before, *during]


class UnloggedEngine(ReferenceEngine):
    """The same engine with its log switched off."""

    unreached: ClassVar[Sequence[str]] = (
        "wal.",
        "recovery.active",
        "recovery.tail",
        "recovery.leftover",
        "recovery.folder",
        "recovery.unfinished.",
        "recovery.unfinished_log",
        "recovery.logs",
        "rows.log.",
        "rows.opening.@a",
        "rows.opening.@c",
        *NEVER_SET,
    )

    def __init__(self, data: str = str(DATA), timestamp: str = "timestamp", tags: Sequence[str] = ("station",)) -> None:
        super().__init__(data, timestamp, tags, wal=False)
