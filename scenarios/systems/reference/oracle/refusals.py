"""Faults that show without a crash: calls that must be refused, files that are left behind, and files that are still held open.

A refused call raises an error of its kind, and changes nothing; what is there is compared afterwards, as after any operation.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa

from crashmatrix.reference_wal import StorageEngine
from crashmatrix.reference_wal.errors import InvalidInput, LogPoisoned, TableExists, UnknownTable
from crashmatrix.reference_wal.log.segmented_log import SegmentedLog
from crashmatrix.reference_wal.log.write_ahead_log import WriteAheadLog
from crashmatrix.scenarios.errors import PromiseBroken
from crashmatrix.scenarios.systems.reference.data import MAIN, SCRATCH, DataSet
from crashmatrix.scenarios.systems.reference.notes import claimed_as_broken
from crashmatrix.scenarios.systems.reference.operations import ARCHIVE
from crashmatrix.scenarios.systems.reference.rows.hostile import PLACE

__all__ = [
    "append_together",
    "compare_counters",
    "in_threads",
    "let_go",
    "nothing_behind",
    "nothing_to_retire",
    "read_meanwhile",
    "refuse",
    "refuse_all",
    "refuse_marks",
    "refuse_to_log",
    "threads_in_order",
]

_Calls = Iterator[tuple[type[InvalidInput], partial[Any]]]
_NOWHERE = "nowhere"
_CLOSING_SECONDS_MAX = 1.0


def refuse(engine: StorageEngine, data: DataSet) -> None:
    """Make calls that an engine must refuse. Raises PromiseBroken if it does not, or says another thing than it should."""
    for kind, call in _bad_calls(engine, data):
        _refused(kind, call)


def _refused(kind: type[InvalidInput], call: partial[Any]) -> None:
    name = f"{call.func.__name__}{call.args}"
    try:
        call()
    except InvalidInput as error:
        if type(error) is not kind:
            raise PromiseBroken(
                "corrupt", f"{name} was refused by {type(error).__name__}, not {kind.__name__}"
            ) from error
        return
    raise PromiseBroken("corrupt", f"{name} was not refused by {kind.__name__}")


def _bad_calls(engine: StorageEngine, data: DataSet) -> _Calls:
    source = data.source(SCRATCH)
    create = partial(engine.create_table, schema=source.schema, timestamp=source.timestamp)
    some = data.record_batch(next(batch for batch in data.batches[SCRATCH] if batch.rows))
    yield InvalidInput, partial(engine.ingest, SCRATCH, some.drop_columns("step"))
    yield InvalidInput, partial(engine.ingest, SCRATCH, _without_values(some, "step"))
    for column, array in _unstorable(some.num_rows):
        yield InvalidInput, partial(engine.ingest, SCRATCH, _with(some, column, array))
    yield TableExists, partial(create, SCRATCH)
    for name in ("-", "a/b", "", "x" * 101):
        yield InvalidInput, partial(create, name)
    yield InvalidInput, partial(create, _NOWHERE, timestamp=_NOWHERE)
    yield InvalidInput, partial(create, _NOWHERE, tags=["reading"])
    yield InvalidInput, partial(create, _NOWHERE, schema=source.schema.append(_HIDDEN_DICTIONARY))
    for changes in _BAD_CHANGES:
        yield InvalidInput, partial(engine.change_options, **changes)
    yield InvalidInput, partial(engine.change_segment_size, MAIN, 0)
    yield InvalidInput, partial(engine.transfer, SCRATCH, engine.root / "tables" / MAIN)
    if (engine.root / ARCHIVE / MAIN / "_delta_log").exists():
        yield InvalidInput, partial(engine.transfer, SCRATCH, engine.root / ARCHIVE / MAIN)  # It has other columns.
        yield InvalidInput, partial(engine.transfer, SCRATCH, engine.root / ARCHIVE)  # It is not a table.
    yield UnknownTable, partial(engine.ingest, _NOWHERE, some)
    yield UnknownTable, partial(engine.transfer, _NOWHERE, engine.root / ARCHIVE / _NOWHERE)
    yield UnknownTable, partial(engine.change_segment_size, _NOWHERE, 9)
    yield UnknownTable, partial(engine.switch_log, True, _NOWHERE)
    calls: list[Callable[[str], object]] = [engine.truncate, engine.drop_table, engine.read, engine.unpersisted]
    for call in [*calls, engine.files, engine.has_log]:
        yield UnknownTable, partial(call, _NOWHERE)


_HIDDEN_DICTIONARY = pa.field("hidden", pa.map_(pa.string(), pa.dictionary(pa.int8(), pa.string())))

_BAD_CHANGES: tuple[dict[str, object], ...] = (
    {"identity": "x"},
    {"segment_bytes_max": 0},
    {"flush_seconds": 0},
    {"wal": 1},
)


def _without_values(batch: pa.RecordBatch, column: str) -> pa.RecordBatch:
    return _with(batch, column, pa.nulls(batch.num_rows, batch.schema.field(column).type))


def _with(batch: pa.RecordBatch, column: str, array: pa.Array) -> pa.RecordBatch:
    arrays = [array if field.name == column else batch[field.name] for field in batch.schema]
    return pa.RecordBatch.from_arrays(arrays, schema=batch.schema)


def _unstorable(rows: int) -> Iterator[tuple[str, pa.Array]]:
    """Yield columns of hostile rows with nulls that are not on top, and with values that Arrow's format does not allow."""
    zeros = pa.array([0] * rows, pa.int8())
    yield "state", pa.DictionaryArray.from_arrays(zeros, pa.array([None], pa.string()))
    for place in ({"floor": None}, {"floor": 0, "spot": [None]}):
        yield "place", pa.array([place] * rows, PLACE)
    yield "note", pa.array([b"\xff"] * rows).view(pa.string())
    yield "site", pa.DictionaryArray.from_arrays(zeros.cast(pa.int16()), pa.array([], pa.string()), safe=False)


def refuse_to_log(wal: WriteAheadLog, table: str, unknown: str) -> None:
    """Make calls that a log must refuse; ``table`` has batches, and a column without nulls, ``unknown`` is not there.

    Raises PromiseBroken.
    """
    log, other = wal.log(table), pa.record_batch([pa.array([1])], ["other"])
    before = log.next_id, log.persisted, log.oldest_id
    for ids in ([-1], [log.next_id], [0, log.next_id + 3]):
        _refused(InvalidInput, partial(wal.mark_persisted, table, ids))
        _refused(InvalidInput, partial(log.mark_persisted, ids))
    nulls = pa.record_batch([pa.nulls(1, field.type) for field in log.schema], schema=log.schema)
    for batch in (other, nulls):
        _refused(InvalidInput, partial(wal.append, table, batch))
    _refused(TableExists, partial(wal.create_table_log, table, log.schema))
    _refused(InvalidInput, partial(wal.create_table_log, "-", log.schema))
    calls: list[Callable[[str], object]] = [wal.log, wal.truncate, wal.unpersisted, wal.remove_table_log]
    for call in calls:
        _refused(UnknownTable, partial(call, unknown))
    _refused(UnknownTable, partial(wal.append, unknown, other))
    _refused(UnknownTable, partial(wal.mark_persisted, unknown, [0]))
    if (log.next_id, log.persisted, log.oldest_id) != before:
        raise PromiseBroken("corrupt", f"refused calls took {before} to {(log.next_id, log.persisted, log.oldest_id)}")


def refuse_all(wal: WriteAheadLog, table: str, schema: pa.Schema, batch: pa.RecordBatch) -> None:
    """Make each call on a table whose removal has failed half-way. Raises PromiseBroken unless it says that nobody can know."""
    calls: list[Callable[[], object]] = [
        *(partial(wal.log, table), partial(wal.truncate, table), partial(wal.unpersisted, table)),
        *(partial(wal.append, table, batch), partial(wal.mark_persisted, table, [])),
        *(partial(wal.create_table_log, table, schema), partial(wal.remove_table_log, table)),
    ]
    for call in calls:
        with suppress(LogPoisoned):
            call()
            raise PromiseBroken("corrupt", f"{table} takes a call, and its removal has failed half-way")


def refuse_marks(wal: WriteAheadLog, table: str) -> None:
    """Mark batches of a table whose log has failed. Raises PromiseBroken unless each call is refused."""
    calls: list[Callable[[], None]] = [partial(wal.mark_persisted, table, [0]), partial(wal.truncate, table)]
    for call in calls:
        with suppress(LogPoisoned), claimed_as_broken(f"a mark of {table} after a failed call"):
            call()
            raise PromiseBroken("corrupt", f"{table} takes marks after a call has failed")


def append_together(log: SegmentedLog, batches: Mapping[int, pa.RecordBatch]) -> dict[int, Exception]:
    """Append from as many threads, which queue in this order while the log is kept quiet; returns the errors, by number."""
    errors, threads = dict[int, Exception](), list[threading.Thread]()

    def append(number: int, batch: pa.RecordBatch) -> None:
        try:
            log.append(batch)
        except Exception as error:  # For the caller to raise, in its thread.
            errors[number] = error

    with log.quiet():
        for queued, each in enumerate(batches.items(), 1):
            threads.append(threading.Thread(target=append, args=each))
            threads[-1].start()
            while log.waiting < queued and threads[-1].is_alive():
                time.sleep(0.0005)
    for thread in threads:
        thread.join()
    return errors


def in_threads(work: Callable[[int], None], count: int) -> None:
    """Call this in so many threads, with their numbers from 1; raise the first error of any."""
    errors = list[Exception]()

    def guarded(number: int) -> None:
        try:
            work(number)
        except Exception as error:  # Raised below.
            errors.append(error)

    threads = [threading.Thread(target=guarded, args=(number,)) for number in range(1, count + 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for error in errors:
        raise error


def threads_in_order(numbers: Sequence[int], table: str) -> None:
    """Raise PromiseBroken unless each thread's batches are in its order; a thread has a hundred numbers of its own."""
    for thread in {number // 100 for number in numbers}:
        mine = [number for number in numbers if number // 100 == thread]
        if mine != sorted(mine):
            raise PromiseBroken("reordered", f"{table}: one thread's batches came back as {mine}")


@contextmanager
def read_meanwhile(log: SegmentedLog) -> Iterator[None]:
    """Read a log while the block changes it: what is still there afterwards has been read. Raises PromiseBroken."""
    reading = log.unpersisted()
    read = [batch_id for batch_id, _ in islice(reading, 1)]
    yield
    with claimed_as_broken(f"reading {log.table} while batches are marked"):
        read += [batch_id for batch_id, _ in reading]
        if missing := [batch_id for batch_id, _ in log.unpersisted() if batch_id not in read]:
            raise PromiseBroken("loses", f"{log.table}: {missing} were left out of {read}, read meanwhile")


def compare_counters(log: SegmentedLog, *, appends: int, shared: int, closed: int) -> None:
    """Raise PromiseBroken unless a log counts right.

    Args:
        appends: batches since it was opened.
        shared: those that may have shared the sync of another one.
        closed: segments that were there when it was opened, but for the one that takes the next record.
    """
    counters, starts = log.counters, [int(path.name.partition("-")[0]) for path in log.folder.glob("*.arrows")]
    segments = len(starts)
    if log.oldest_id != min(starts):
        raise PromiseBroken(
            "corrupt", f"{log.table} says that its oldest batch is {log.oldest_id}, it is {min(starts)}"
        )
    right = counters.appends == appends and appends - shared <= counters.syncs <= appends
    right = right and counters.rotations - counters.retired == segments - 1 - closed
    if not right or not counters.bytes or not counters.sync_seconds or not counters.replayed:
        raise PromiseBroken(
            "corrupt", f"{log.table} has {segments} segments after {appends} appends, and counts {counters}"
        )


def nothing_to_retire(log: SegmentedLog) -> None:
    """Raise PromiseBroken if a closed segment is there whose batches are all persisted."""
    for path in log.folder.glob("*-?*.arrows"):
        first, last = map(int, path.stem.split("-"))
        if any(start <= first and last <= end for start, end in log.persisted):
            raise PromiseBroken("corrupt", f"{log.table} keeps {path.name}, whose batches are all persisted")


def nothing_behind(root: Path, *, but_for: str = "") -> None:
    """Raise PromiseBroken if a file of an unfinished step is there, outside of this folder, while no call is under way."""
    found = list[str]()
    # Often called: a Path for each file would take longer than the engine's own calls.
    for folder, folders, files in os.walk(root):
        place = folder[len(str(root)) + 1 :]
        if place.partition("/")[0] != but_for or not place:
            unfinished = [name for name in (*folders, *files) if _is_unfinished(name)]
            found += [f"{place}/{name}".lstrip("/") for name in unfinished if not _is_second_name(Path(folder, name))]
    if found:
        raise PromiseBroken("corrupt", f"left behind: {', '.join(sorted(found))}")


def _is_second_name(path: Path) -> bool:
    """Whether this is a commit under the name that delta-rs wrote it to: the unlink failed, and delta-rs tells nobody.

    Opening the engine removes it.
    """
    commit = path.with_name(path.name.partition("#")[0])
    return commit != path and commit.exists() and commit.samefile(path)


def _is_unfinished(name: str) -> bool:
    """Whether the engine makes files of this name for a while. Others, of packages that it uses, are not its own."""
    return (
        (name.startswith(".") and name != ".lock")
        or name.endswith(".tmp")
        or ".json#" in name
        or name == "_transfer.json"
    )


def let_go(root: Path, *, but_for: str = "") -> None:
    """Raise PromiseBroken if this process holds a file below ``root`` open, or left one behind: after closing, all is done.

    deltalake has threads of its own, which may close a file that they have read a moment later.
    """
    nothing_behind(root, but_for=but_for)
    deadline = time.monotonic() + _CLOSING_SECONDS_MAX
    while held := _held_open(os.path.realpath(root)):
        if time.monotonic() > deadline:
            raise PromiseBroken("corrupt", f"closed, and still holds {', '.join(sorted(held))} open")
        time.sleep(0.005)


def _held_open(place: str) -> list[str]:
    held = list[str]()
    for file in Path("/proc/self/fd").iterdir():
        try:
            path = str(file.readlink())
        except OSError:  # The listing's own.
            continue
        if path.startswith(f"{place}/"):
            held.append(path.removeprefix(f"{place}/"))
    return held
