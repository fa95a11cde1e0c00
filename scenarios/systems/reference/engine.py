"""The reference engine as a system under test, checked far beyond its contract.

The workload opens the engine on the remains of an earlier crash (a torn record, a torn commit, a torn checkpoint,
orphans, half-made and half-dropped tables), then ingests real data into several tables, creates one, truncates one, moves
rows of one to another Delta table, drops it and makes it anew, and flushes now and then; memory is so short that buffers
spill. Items: ``["create", TABLE]``, ``["ingest", TABLE, NUMBER]``, ``["truncate", TABLE]``, ``["drop", TABLE]``,
``["transfer", TABLE, NUMBER]``; recovered besides: ``["received", TABLE, NUMBER]`` for a batch that was moved.

Without a log (``reference:no-log``) a batch is acknowledged only once a flush has returned.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from functools import reduce
from pathlib import Path
from typing import ClassVar

import duckdb
import pyarrow as pa
import pyarrow.dataset  # pyarrow.parquet would import it in every child anew, the fork server does it once
from deltalake import DeltaTable

from crashmatrix.reference_wal import EngineOptions, ReferenceWalError, StorageEngine
from crashmatrix.reference_wal.delta.parquet_file import read_rows
from crashmatrix.scenarios.errors import PromiseBroken
from crashmatrix.scenarios.systems.reference.data import (
    ARCHIVE,
    ROW,
    Batch,
    DataSet,
    Operation,
    operations,
    read_source,
)
from crashmatrix.scenarios.systems.reference.folder import leave_debris, undated
from crashmatrix.scenarios.target.contract import Contract, ExactlyOnce, Violation
from crashmatrix.scenarios.target.journal import Attempt, Item, Journal, Promises, item_key
from crashmatrix.scenarios.target.system import SystemUnderTest

__all__ = ["ReferenceEngine", "TableContract", "UnloggedEngine", "outcomes"]

DATA = Path(__file__).parents[2] / "data" / "hourly_temperatures.parquet"

OPTIONS = EngineOptions(
    segment_bytes_max=24 * 1024,
    generation_bytes_max=40 * 1024,
    memory_bytes_max=32 * 1024,
    checkpoint_commits=3,
)
UNLOGGED_MEMORY_BYTES_MAX = 4 * 1024
"""Without a log nearly everything is spilled, since only that survives."""

_DUCKDB = duckdb.connect(config={"threads": 1, "async_threads": 0})
"""Connected once, before the checkers are forked, each of which would spend 20 ms on it; without threads, it survives a fork."""

UNFLUSHED_MAX = 3
"""Without a log: how many batches are ingested before a flush, so that they can be acknowledged."""

Outcome = dict[str, list[Item]]
"""A possible state: each table that exists, with the items of its batches, and what was moved out under ``archive/``."""


def outcomes(promises: Promises) -> list[Outcome]:
    """Return what recovery may find: everything acknowledged, and of what is in flight on each table the first so many.

    An acknowledgement settles every earlier attempt on its table: without a log, a truncation takes batches
    with it that no flush had acknowledged.
    """
    state = reduce(_apply, promises.initial, Outcome())
    in_flight: dict[str, list[Item]] = {}
    for event in promises.events:
        waiting = in_flight.setdefault(event.item[1], [])
        if event.kind == "attempt":
            waiting.append(event.item)
        else:
            del waiting[: waiting.index(event.item) + 1]
            state = _apply(state, event.item)
    found = [state]
    for items in in_flight.values():
        found = [reduce(_apply, items[:some], one) for one in found for some in range(len(items) + 1)]
    return found


def _apply(state: Outcome, item: Item) -> Outcome:
    kind, table = item[0], item[1]
    if kind == "ingest":
        return {**state, table: [*state[table], item]}
    if kind == "drop":
        return {name: items for name, items in state.items() if name != table}
    if kind == "transfer":
        moved = [["received", *moved[1:]] for moved in state[table]]
        place = f"{ARCHIVE}/{table}"
        return {**state, table: [], place: [*state.get(place, []), *moved]}
    return {**state, table: []}  # created or truncated


def _items(outcome: Outcome) -> list[Item]:
    return [item for name in sorted(outcome) for item in (*_created(name), *outcome[name])]


def _created(name: str) -> list[Item]:
    return [] if name.startswith(ARCHIVE) else [["create", name]]


class TableContract(Contract):
    """Exactly the acknowledged operations took effect, in order, and perhaps the one in flight, wholly."""

    def check(self, promises: Promises, recovered: Sequence[Item]) -> list[Violation]:
        """Judge the guarantee itself."""
        judged = [ExactlyOnce().check(Promises(tuple(_items(outcome))), recovered) for outcome in outcomes(promises)]
        return min(judged, key=len)


class ReferenceEngine(SystemUnderTest):
    """The reference log and engine on real hourly temperatures, or on your own rows.

    Args:
        data: a Parquet or CSV file.
        timestamp, tags: its time column and the columns that name a series.
        wal: whether the engine has a log.
    """

    contract = TableContract()
    boundaries: ClassVar[Sequence[str]] = ("wal.rotate.",)
    unreached: ClassVar[Sequence[str]] = ("wal.persist.",)  # Delta's marker says it for the engine; see reference-log.
    stable_recovery = True

    def __init__(
        self,
        data: str = str(DATA),
        timestamp: str = "timestamp",
        tags: Sequence[str] = ("station",),
        wal: bool = True,
    ) -> None:
        self._source, self._timestamp, self._tags, self._wal = Path(data), timestamp, list(tags), wal
        self._options = OPTIONS if wal else replace(OPTIONS, memory_bytes_max=UNLOGGED_MEMORY_BYTES_MAX)

    def setup(self) -> Sequence[str]:
        """Read the data once; every other process maps the result."""
        rows, remark = read_source(self._source, self._timestamp, self._tags)
        with pa.OSFile(str(self.workspace / "rows.arrow"), "wb") as sink, pa.ipc.new_file(sink, rows.schema) as writer:
            writer.write_table(rows)
        return [remark] if remark else []

    def _data(self) -> DataSet:
        with pa.memory_map(str(self.workspace / "rows.arrow")) as source:
            return DataSet(pa.ipc.open_file(source).read_all(), self.seed)

    def _open(self, root: Path, identity: str = "reference") -> StorageEngine:
        return StorageEngine.open(root, self._wal, options=replace(self._options, identity=identity))

    def prepare(self, root: Path) -> Sequence[Item]:
        """An engine's earlier life, then what a power cut could have done to the files it was writing."""
        data = self._data()
        before, _ = operations(data)
        with self._open(root) as engine:
            for operation in before:
                self._do(engine, root, data, operation)
            engine.flush()
        leave_debris(root)
        return [operation.item for operation in before]

    def workload(self, root: Path, journal: Journal) -> None:
        """Recover from that, then store the rest of the rows."""
        data = self._data()
        _, during = operations(data)
        with self._open(root, "reference-later") as engine:  # A table made anew is another table than the first.
            unflushed = list[Attempt]()
            for operation in during:
                if operation.kind == "flush" or (operation.kind == "ingest" and len(unflushed) >= UNFLUSHED_MAX):
                    unflushed = self._flush(engine, unflushed)
                if operation.kind == "flush":
                    continue
                if not operation.item:
                    self._do(engine, root, data, operation)
                    continue
                attempt = journal.attempt(operation.item)
                self._do(engine, root, data, operation)
                if self._wal or operation.kind != "ingest":
                    attempt.acknowledge()
                    unflushed = [one for one in unflushed if one.item[1] != operation.table]
                else:
                    unflushed.append(attempt)
            self._flush(engine, unflushed)

    def _flush(self, engine: StorageEngine, unflushed: list[Attempt]) -> list[Attempt]:
        """Flush, and acknowledge what was waiting for it; nothing is any more."""
        engine.flush()
        for attempt in unflushed:
            attempt.acknowledge()
        return []

    def _do(self, engine: StorageEngine, root: Path, data: DataSet, operation: Operation) -> None:
        match operation.kind:
            case "create":
                engine.create_table(operation.table, data.rows.schema, timestamp=self._timestamp, tags=self._tags)
            case "truncate":
                engine.truncate(operation.table)
            case "segment-size":
                engine.change_segment_size(operation.table, operation.number)
            case "drop":
                engine.drop_table(operation.table)
            case "transfer":
                engine.transfer(operation.table, root / ARCHIVE / operation.table)
            case "ingest":
                assert operation.batch is not None
                engine.ingest(operation.table, data.record_batch(operation.batch))

    def recover(self, root: Path) -> Sequence[Item]:
        """Open the engine; return the tables, the batches in them, in Delta or replayed, and those moved elsewhere."""
        data = self._data()
        with self._open(root) as engine:
            found = {table: data.batches_in(engine.read(table), table) for table in engine.tables}
        items = [item for table in found for item in (["create", table], *(batch.item for batch in found[table]))]
        return [*items, *(["received", *batch.item[1:]] for batch in _archived(root, data))]

    def verify(self, root: Path, promises: Promises) -> None:
        """Check what is where, as DuckDB sees it too, and that the engine goes on from here."""
        try:
            self._verify(root, promises)
        except (ReferenceWalError, OSError) as error:
            raise PromiseBroken(
                "cannot-open", f"going on after recovery raised {type(error).__name__}: {error}"
            ) from error

    def _verify(self, root: Path, promises: Promises) -> None:
        data = self._data()
        with self._open(root) as engine:
            committed = _committed(engine, data)
            expected = {
                table: self._check_places(engine, data, table, found, promises) for table, found in committed.items()
            }
            for batch in data.spare:
                _go_on(engine, data, batch, promises)
                expected[batch.table].append(batch.item)
            engine.flush()
        with self._open(root) as engine:
            for table, items in expected.items():
                found = [batch.item for batch in data.batches_in(engine.read(table), table)]
                if found != items:
                    raise PromiseBroken("loses", f"{table}: after going on, {len(found)} batches, not {len(items)}")

    def _check_places(
        self, engine: StorageEngine, data: DataSet, table: str, committed: list[Batch], promises: Promises
    ) -> list[Item]:
        """The log holds exactly the acknowledged batches that Delta does not, byte-equal and in order."""
        if not self._wal:
            return [batch.item for batch in data.batches_in(engine.read(table), table)]
        logged = engine.unpersisted(table)
        in_log = [_logged_batch(data, table, batch_id, batch) for batch_id, batch in logged]
        found = [batch.item for batch in (*committed, *in_log)]
        possible = [outcome.get(table, []) for outcome in outcomes(promises)]
        if found not in possible:
            keys = ", ".join(item_key(batch.item) for batch in in_log)
            verdict = "reordered" if sorted(found) in map(sorted, possible) else "duplicate"
            raise PromiseBroken(
                verdict, f"{table}: Delta holds {len(committed)} batches and the log, to be replayed, {keys or 'none'}"
            )
        ids = [batch_id for batch_id, _ in logged]
        if ids != sorted(set(ids)):
            raise PromiseBroken("reordered", f"{table}: the log's ids are out of order: {ids}")
        return found

    def fingerprint(self, root: Path) -> str:
        """Digest the folder without what deltalake dates or draws at random."""
        digest = hashlib.blake2b(digest_size=12)
        for path in sorted(root.rglob("*")):
            content = undated(path) if path.is_file() else b""
            digest.update(f"{path.relative_to(root)} {len(content)}\n".encode() + content)
        return digest.hexdigest()


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
    )

    def __init__(self, data: str = str(DATA), timestamp: str = "timestamp", tags: Sequence[str] = ("station",)) -> None:
        super().__init__(data, timestamp, tags, wal=False)


def _logged_batch(data: DataSet, table: str, batch_id: int, batch: pa.RecordBatch) -> Batch:
    found = data.batches_in(pa.Table.from_batches([batch]), f"{table}, batch {batch_id} of the log")
    if len(found) != 1 or not data.record_batch(found[0]).equals(batch):
        raise PromiseBroken("corrupt", f"{table}: batch {batch_id} of the log is none that was appended")
    return found[0]


def _committed(engine: StorageEngine, data: DataSet) -> dict[str, list[Batch]]:
    """Return the batches in each table's Parquet files, as DuckDB reads them."""
    found = {}
    for table in engine.tables:
        files, rows = engine.files(table), data.rows.schema.empty_table()
        if files:
            relation = _DUCKDB.read_parquet([str(file) for file in files])
            rows = relation.order(ROW).to_arrow_table().cast(rows.schema)
        found[table] = data.batches_in(rows, f"{table}, read by DuckDB")
    return found


def _archived(root: Path, data: DataSet) -> list[Batch]:
    """Return the batches in the receiving tables, by the files that deltalake names."""
    found = []
    for path in sorted((root / ARCHIVE).glob("*")) if (root / ARCHIVE).exists() else ():
        if not path.name.startswith("."):
            files = sorted(path / name for name in pa.table(DeltaTable(path).get_add_actions())["path"].to_pylist())
            rows = pa.concat_tables([data.rows.schema.empty_table(), *map(read_rows, files)])
            found += data.batches_in(rows, f"{ARCHIVE}/{path.name}")
    return found


def _go_on(engine: StorageEngine, data: DataSet, batch: Batch, promises: Promises) -> None:
    used = [batch_id for batch_id, _ in engine.unpersisted(batch.table)]
    acknowledged = sum(item[:2] == ["ingest", batch.table] for item in promises.acknowledged)
    fresh = engine.ingest(batch.table, data.record_batch(batch))
    if fresh < acknowledged or fresh in used:
        raise PromiseBroken("duplicate", f"{batch.table}: id {fresh} was given out again, after {acknowledged} batches")
