"""The reference engine as a system under test, checked far beyond its contract.

The workload opens the engine on what an earlier, careless death left (a torn record, a torn commit, a torn checkpoint,
orphans, half-made tables), then ingests real data into several tables, creates one, truncates one, and flushes now and
then. Items: ``["create", TABLE]``, ``["ingest", TABLE, NUMBER]``, ``["truncate", TABLE]``.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import duckdb
import pyarrow as pa
import pyarrow.dataset  # pyarrow.parquet would import it in every child anew, the fork server does it once

from reference_wal import EngineOptions, ReferenceWalError, StorageEngine
from scenarios.contract import Contract, ExactlyOnce, Violation
from scenarios.errors import PromiseBroken
from scenarios.journal import Item, Journal, Promises, item_key
from scenarios.system import SystemUnderTest
from scenarios.systems.reference_data import MAIN, ROW, SCRATCH, Batch, DataSet, Operation, operations, read_source
from scenarios.systems.reference_log import tear_an_append

__all__ = ["ReferenceEngine", "TableContract", "outcomes"]

DATA = Path(__file__).parent.parent / "data" / "hourly_temperatures.parquet"

OPTIONS = EngineOptions(
    segment_bytes_max=24 * 1024, generation_bytes_max=40 * 1024, checkpoint_commits=3, identity="reference"
)

Outcome = dict[str, list[Item]]
"""A possible state: each table that exists, with the items of its batches."""


def outcomes(promises: Promises) -> list[Outcome]:
    """Return what recovery may find: everything acknowledged, without and with the operation in flight."""
    state: Outcome = {}
    for item in promises.initial:
        state = _apply(state, item)
    in_flight: Item = None
    for event in promises.events:
        in_flight = event.item if event.kind == "attempt" else None
        if event.kind == "ack":
            state = _apply(state, event.item)
    return [state] if in_flight is None else [state, _apply(state, in_flight)]


def _apply(state: Outcome, item: Item) -> Outcome:
    kind, table = item[0], item[1]
    if kind == "ingest":
        return {**state, table: [*state[table], item]}
    return {**state, table: []}  # created or truncated


def _items(outcome: Outcome) -> list[Item]:
    return [item for table in sorted(outcome) for item in (["create", table], *outcome[table])]


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
    """

    contract = TableContract()
    boundaries: ClassVar[Sequence[str]] = ("wal.rotate.",)
    unreached: ClassVar[Sequence[str]] = ("wal.persist.",)  # Delta's marker says it for the engine; see reference-log.
    stable_recovery = True

    def __init__(self, data: str = str(DATA), timestamp: str = "timestamp", tags: Sequence[str] = ("station",)) -> None:
        self._source, self._timestamp, self._tags = Path(data), timestamp, list(tags)

    def setup(self) -> Sequence[str]:
        """Read the data once; every other process maps the result."""
        rows, remark = read_source(self._source, self._timestamp, self._tags)
        with pa.OSFile(str(self.workspace / "rows.arrow"), "wb") as sink, pa.ipc.new_file(sink, rows.schema) as writer:
            writer.write_table(rows)
        return [remark] if remark else []

    def _data(self) -> DataSet:
        with pa.memory_map(str(self.workspace / "rows.arrow")) as source:
            return DataSet(pa.ipc.open_file(source).read_all(), self.seed)

    def prepare(self, root: Path) -> Sequence[Item]:
        """An engine's earlier life, then what a power cut could have done to the files it was writing."""
        data = self._data()
        before, _ = operations(data)
        with StorageEngine.open(root, options=OPTIONS) as engine:
            for operation in before:
                self._do(engine, data, operation)
            engine.flush()
        _leave_debris(root)
        return [_item(operation) for operation in before]

    def workload(self, root: Path, journal: Journal) -> None:
        """Recover from that, then store the rest of the rows."""
        data = self._data()
        _, during = operations(data)
        with StorageEngine.open(root, options=OPTIONS) as engine:
            for operation in during:
                if operation.kind == "flush":
                    engine.flush()
                    continue
                with journal.attempt(_item(operation)):
                    self._do(engine, data, operation)

    def _do(self, engine: StorageEngine, data: DataSet, operation: Operation) -> None:
        if operation.kind == "create":
            engine.create_table(operation.table, data.rows.schema, timestamp=self._timestamp, tags=self._tags)
        elif operation.kind == "truncate":
            engine.truncate(operation.table)
        elif operation.batch is not None:
            engine.ingest(operation.table, data.record_batch(operation.batch))

    def recover(self, root: Path) -> Sequence[Item]:
        """Open the engine; return the tables and the batches in them, whether in Delta or replayed."""
        data = self._data()
        with StorageEngine.open(root, options=OPTIONS) as engine:
            found = {table: data.batches_in(engine.read(table), table) for table in engine.tables}
        return [item for table in found for item in (["create", table], *(batch.item for batch in found[table]))]

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
        with StorageEngine.open(root, options=OPTIONS) as engine:
            committed = _committed(engine, data)
            expected = {
                table: _check_places(engine, data, table, found, promises) for table, found in committed.items()
            }
            for batch in data.spare:
                _go_on(engine, data, batch, promises)
                expected[batch.table].append(batch.item)
            engine.flush()
        with StorageEngine.open(root, options=OPTIONS) as engine:
            for table, items in expected.items():
                found = [batch.item for batch in data.batches_in(engine.read(table), table)]
                if found != items:
                    raise PromiseBroken("loses", f"{table}: after going on, {len(found)} batches, not {len(items)}")

    def fingerprint(self, root: Path) -> str:
        """Digest the folder without what deltalake dates or draws at random."""
        digest = hashlib.blake2b(digest_size=12)
        for path in sorted(root.rglob("*")):
            content = _undated(path) if path.is_file() else b""
            digest.update(f"{path.relative_to(root)} {len(content)}\n".encode() + content)
        return digest.hexdigest()


def _item(operation: Operation) -> Item:
    return operation.batch.item if operation.batch else [operation.kind, operation.table]


def _check_places(
    engine: StorageEngine, data: DataSet, table: str, committed: list[Batch], promises: Promises
) -> list[Item]:
    """The log holds exactly the acknowledged batches that Delta does not, byte-equal and in order."""
    logged = engine.unpersisted(table)
    in_log = [_logged_batch(data, table, batch_id, batch) for batch_id, batch in logged]
    found = [batch.item for batch in (*committed, *in_log)]
    if not any(found == outcome.get(table) for outcome in outcomes(promises)):
        keys = ", ".join(item_key(batch.item) for batch in in_log)
        verdict = (
            "reordered" if sorted(found) in [sorted(o.get(table, [])) for o in outcomes(promises)] else "duplicate"
        )
        raise PromiseBroken(
            verdict, f"{table}: Delta holds {len(committed)} batches and the log, to be replayed, {keys or 'none'}"
        )
    ids = [batch_id for batch_id, _ in logged]
    if ids != sorted(set(ids)):
        raise PromiseBroken("reordered", f"{table}: the log's ids are out of order: {ids}")
    return found


def _logged_batch(data: DataSet, table: str, batch_id: int, batch: pa.RecordBatch) -> Batch:
    found = data.batches_in(pa.Table.from_batches([batch]), f"{table}, batch {batch_id} of the log")
    if len(found) != 1 or not data.record_batch(found[0]).equals(batch):
        raise PromiseBroken("corrupt", f"{table}: batch {batch_id} of the log is none that was appended")
    return found[0]


def _committed(engine: StorageEngine, data: DataSet) -> dict[str, list[Batch]]:
    """What each table's Parquet files hold, as DuckDB reads them."""
    found = {}
    with duckdb.connect(config={"threads": 1}) as connection:
        for table in engine.tables:
            files, rows = engine.files(table), data.rows.schema.empty_table()
            if files:
                relation = connection.read_parquet([str(file) for file in files])
                rows = relation.order(ROW).to_arrow_table().cast(rows.schema)
            found[table] = data.batches_in(rows, f"{table}, read by DuckDB")
    return found


def _go_on(engine: StorageEngine, data: DataSet, batch: Batch, promises: Promises) -> None:
    used = [batch_id for batch_id, _ in engine.unpersisted(batch.table)]
    acknowledged = sum(item[:2] == ["ingest", batch.table] for item in promises.acknowledged)
    fresh = engine.ingest(batch.table, data.record_batch(batch))
    if fresh < acknowledged or fresh in used:
        raise PromiseBroken("duplicate", f"{batch.table}: id {fresh} was given out again, after {acknowledged} batches")


def _undated(path: Path) -> bytes:
    if path.name.endswith(".checkpoint.parquet"):
        return b""  # Repeats the commits, whose dates and ids it holds compressed.
    if path.parent.name != "_delta_log":
        return path.read_bytes()
    lines = [json.loads(line) for line in path.read_bytes().splitlines()]
    return json.dumps([_without_dates(line) for line in lines], sort_keys=True).encode()


def _without_dates(value: Any) -> Any:
    random_or_dated = {
        "timestamp",
        "modificationTime",
        "deletionTimestamp",
        "createdTime",
        "id",
        "location",
        "metadata",
        "sizeInBytes",
    }
    if not isinstance(value, dict):
        return value
    return {key: _without_dates(part) for key, part in value.items() if key not in random_or_dated}


def _leave_debris(root: Path) -> None:
    """Leave the files of an engine that had begun to do more when the power went; nothing of it was acknowledged."""
    tear_an_append(next((root / "wal" / MAIN).glob("*-.arrows")))
    delta_log = root / "tables" / MAIN / "_delta_log"
    newest = max(int(path.stem) for path in delta_log.glob("*.json"))
    (delta_log / f"{newest + 1:020d}.json").touch()
    (root / "tables" / MAIN / "orphan.parquet").touch()
    (delta_log / "_last_checkpoint").write_text('{"version": 0, "size": 3')
    scratch = root / "wal" / SCRATCH
    (scratch / "99-.tmp").touch()
    (root / "wal" / "unborn").mkdir()
    (root / "wal" / ".removed-old").mkdir()
    (root / "tables" / ".creating-unborn").mkdir()
