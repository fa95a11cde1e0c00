"""Every type that a column can have, stored and read back; and batches that have to be refused, column by column.

The workload's own rows have the types that sensors send, and those of `rows.hostile`. A bug in the code for another type is not
reached by them. So once a workload is over, tables of all types (`rows.typed`) are made in folders of their own, outside of the
folder under test: no crash point lies there, and no call is made to fail. Rows are read from the living system, from its log,
from Parquet, and by plain Arrow.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from crashmatrix.reference_wal import EngineOptions, InvalidInput, StorageEngine
from crashmatrix.reference_wal.log.write_ahead_log import WriteAheadLog
from crashmatrix.scenarios.errors import PromiseBroken
from crashmatrix.scenarios.systems.reference.notes import claimed_as_broken
from crashmatrix.scenarios.systems.reference.oracle.apart.first_run import folder_apart
from crashmatrix.scenarios.systems.reference.rows.column import ROWS, Column
from crashmatrix.scenarios.systems.reference.rows.typed import TYPED_TIME, batch_with, columns, values_of

__all__ = ["keep_every_type", "log_every_type"]

_TABLE, _TAG = "types", "state"
_TIMES = ((3, 1, 4, 2), (8, 5, 7, 6), (0, 0, 0, 0), (9, 10, 11, 12), (16, 15, 14, 13))
_PARTS = (slice(0, ROWS), slice(1, ROWS), slice(0, 0), slice(2, 3), slice(0, ROWS))
"""The rows that are stored of each batch; the last batch comes after the refusals."""

_Rows = list[dict[str, Any]]


def keep_every_type(*, logged: bool) -> None:
    """Store batches of every type that a table can have in an engine, and others that it must refuse.

    Raises PromiseBroken unless the former come back and the latter change nothing.
    """
    some = columns(in_delta=True)
    with folder_apart() as root, claimed_as_broken("keeping rows of every type"):
        with _opened(root, logged) as engine:
            _refuse_tables(engine)
            engine.create_table(_TABLE, _batch(some, 0).schema, timestamp=TYPED_TIME, tags=[_TAG])
            _store_all(some, lambda batch: engine.ingest(_TABLE, batch))
            _compare(engine.read(_TABLE), some, "the living engine")
        with _opened(root, logged) as engine:
            _compare(engine.read(_TABLE), some, "the engine opened again")
            engine.flush()
            _compare(engine.read(_TABLE), some, "the engine after a flush")
            _compare_files(engine, some)
            nobody = engine.unpersisted(_TABLE)
        if nobody:
            raise PromiseBroken("corrupt", f"the log holds {len(nobody)} batches of every type after a flush")


def log_every_type() -> None:
    """Append batches of every type to a log, and others that it must refuse. Raises as `keep_every_type`."""
    some = columns(in_delta=False)
    with folder_apart() as root, claimed_as_broken("logging rows of every type"):
        with _logs(root) as wal:
            wal.create_table_log(_TABLE, _batch(some, 0).schema)
            _store_all(some, lambda batch: wal.append(_TABLE, batch))
            _compare_logged(wal, some, "the log")
        with _logs(root) as wal:
            _compare_logged(wal, some, "the log opened again")
            wal.log(_TABLE).rotate()
            files = sorted((root / "wal" / _TABLE).glob("*.arrows"))
            batches = [batch for file in files for batch in pa.ipc.open_stream(file.read_bytes())]
        _compare(pa.Table.from_batches(batches), some, "another reader of the log")


def _opened(root: Path, logged: bool) -> StorageEngine:
    return StorageEngine.open(root, logged, options=EngineOptions(identity=_TABLE, preallocate_bytes=0))


def _logs(root: Path) -> closing[WriteAheadLog]:
    return closing(WriteAheadLog(root / "wal", segment_bytes_max=1 << 20, preallocate_bytes=0))


# Batches


def _batch(some: Sequence[Column], number: int) -> pa.RecordBatch:
    part = _PARTS[number]
    return batch_with(some, _TIMES[number]).slice(part.start, part.stop - part.start)


def _due(some: Sequence[Column], numbers: Sequence[int]) -> _Rows:
    """Return the rows of these batches, by their time."""
    rows = [
        {TYPED_TIME: _TIMES[number][place], **{column.field.name: column.values[place] for column in some}}
        for number in numbers
        for place in range(ROWS)[_PARTS[number]]
    ]
    return sorted(rows, key=_time)


def _time(row: dict[str, Any]) -> int:
    return int(row[TYPED_TIME])


def _store_all(some: Sequence[Column], put: Callable[[pa.RecordBatch], int]) -> None:
    """Store the batches; before the last one comes each that must be refused, and none of those may take an id."""
    for number in range(len(_TIMES)):
        if number == len(_TIMES) - 1:
            _refuse_batches(some, put)
        if (batch_id := put(_batch(some, number))) != number:
            raise PromiseBroken("corrupt", f"batch {number} of every type has the id {batch_id}")


def _refuse_batches(some: Sequence[Column], put: Callable[[pa.RecordBatch], int]) -> None:
    for column in some:
        for problem, array in column.bad.items():
            batch = batch_with(some, _TIMES[-1], instead=(column.field.name, array))
            _refused(put, batch, f"a batch with {problem} in {column.field.name}", naming=column.field.name)
    for problem, batch in _misshapen(_batch(some, 0)).items():
        _refused(put, batch, f"a batch with {problem}", naming=_TABLE)


def _misshapen(batch: pa.RecordBatch) -> dict[str, pa.RecordBatch]:
    """Return batches of other columns than the table's."""
    first, last = batch.schema.field(0), batch.schema.field(batch.num_columns - 1)
    nullable = batch.schema.set(0, first.with_nullable(True))
    renamed = batch.schema.set(batch.num_columns - 1, last.with_name("another"))
    return {
        "a column less": batch.drop_columns(last.name),
        "a column more": batch.append_column("more", batch.column(0)),
        "another order": batch.select([*batch.schema.names[1:], first.name]),
        "another name": pa.RecordBatch.from_arrays(batch.columns, schema=renamed),
        "a column that may be null": pa.RecordBatch.from_arrays(batch.columns, schema=nullable),
        "another type": batch.set_column(0, first.with_type(pa.int32()), batch.column(0).cast(pa.int32())),
    }


def _refused(put: Callable[[pa.RecordBatch], int], batch: pa.RecordBatch, said: str, *, naming: str) -> None:
    try:
        put(batch)
    except InvalidInput as error:
        if type(error) is not InvalidInput or naming not in str(error):
            raise PromiseBroken("corrupt", f"{said} was refused otherwise: {type(error).__name__}, {error}") from error
        return
    raise PromiseBroken("corrupt", f"{said} was taken")


def _refuse_tables(engine: StorageEngine) -> None:
    """Request tables that an engine cannot have: Delta, Parquet or Arrow cannot store their rows, and says so early."""
    for kind in _NO_TABLES:
        schema = pa.schema([pa.field(TYPED_TIME, pa.int64()), pa.field("it", kind)])
        try:
            engine.create_table("none", schema, timestamp=TYPED_TIME)
        except InvalidInput:
            continue
        raise PromiseBroken("corrupt", f"a table with a column of {kind} was made")


_NAMES = pa.dictionary(pa.int8(), pa.string())
_NO_TABLES = (pa.map_(pa.string(), _NAMES), pa.list_(pa.struct([pa.field("many", pa.list_view(_NAMES))])), pa.float16())


# Rows


def _compare(rows: pa.Table, some: Sequence[Column], where: str) -> None:
    """Raise PromiseBroken unless these are the rows of all batches, of the same types."""
    if not rows.schema.equals(schema := _batch(some, 0).schema):
        wrong = [name for name in schema.names if not rows.schema.field(name).equals(schema.field(name))]
        raise PromiseBroken("corrupt", f"{where} has other types of {', '.join(wrong) or 'columns'}")
    _compare_values(rows, _due(some, range(len(_TIMES))), where)


def _compare_values(rows: pa.Table | pa.RecordBatch, due: _Rows, where: str) -> None:
    found = sorted(values_of(rows), key=_time)
    if [_time(row) for row in found] != [_time(row) for row in due]:
        verdict = "loses" if len(found) < len(due) else "duplicate"
        raise PromiseBroken(verdict, f"{where} has {len(found)} rows of every type, not {len(due)}, or others")
    for row, right in zip(found, due, strict=True):
        if wrong := [name for name in right if repr(row[name]) != repr(right[name])]:  # -0.0 is not 0.0.
            name = wrong[0]
            raise PromiseBroken("corrupt", f"{where} has {row[name]!r} in {name}, not {right[name]!r}")


def _compare_logged(wal: WriteAheadLog, some: Sequence[Column], where: str) -> None:
    """Raise PromiseBroken unless the log returns each batch as it was."""
    found = wal.unpersisted(_TABLE)
    if [batch_id for batch_id, _ in found] != [*range(len(_TIMES))]:
        raise PromiseBroken("loses", f"{where} has the batches {[batch_id for batch_id, _ in found]} of every type")
    for number, batch in found:
        if not batch.schema.equals(_batch(some, 0).schema):
            raise PromiseBroken("corrupt", f"{where} has other types in batch {number}")
        _compare_values(batch, _due(some, [number]), f"{where}, batch {number},")


def _compare_files(engine: StorageEngine, some: Sequence[Column]) -> None:
    """Look at the Parquet files past the engine: the same values, sorted by tag and time."""
    rows = pa.concat_tables([pq.read_table(file, partitioning=None) for file in engine.files(_TABLE)])
    rows.validate(full=True)
    _compare_values(rows, _due(some, range(len(_TIMES))), "another reader of the file")
    keys = list(zip(rows[_TAG].to_pylist(), rows[TYPED_TIME].to_pylist(), strict=True))
    if keys != sorted(keys):
        raise PromiseBroken("reordered", f"rows of every type are not sorted by {_TAG} and {TYPED_TIME}")
