"""Between the log and Delta: no row is lost on its way through the buffer, generations and Parquet."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings, strategies as st

from crashmatrix.reference_wal import InvalidInput, StorageEngine
from crashmatrix.reference_wal.buffers import RowBuffer, own_copy
from crashmatrix.reference_wal.delta.compression import compress
from crashmatrix.reference_wal.models.bound import Bound
from tests.reference_wal.support import SCHEMA, batch, numbers

WORDS = st.sampled_from(["", "a", "b", "ab"])
TAG_VALUES: dict[str, tuple[pa.DataType, st.SearchStrategy[Any]]] = {
    "string": (pa.string(), WORDS),
    "large string": (pa.large_string(), WORDS),
    "int8": (pa.int8(), st.sampled_from([-128, 0, 127])),
    "int64": (pa.int64(), st.sampled_from([-(2**63), 0, 2**63 - 1])),
    "uint64": (pa.uint64(), st.sampled_from([0, 2**63, 2**64 - 1])),
    "bool": (pa.bool_(), st.booleans()),
    "dictionary": (pa.dictionary(pa.int8(), pa.string()), WORDS),
}
QUICK = settings(max_examples=40, deadline=None)


@st.composite
def tagged(draw: st.DrawFn) -> tuple[pa.RecordBatch, list[str]]:
    """Draw a batch with up to three tags of any kind, and a column that numbers its rows."""
    kinds = draw(st.lists(st.sampled_from(sorted(TAG_VALUES)), max_size=3))
    rows = draw(st.integers(0, 8))
    columns: dict[str, pa.Array] = {"row": pa.array(range(rows), pa.int64())}
    for number, kind in enumerate(kinds):
        type_, values = TAG_VALUES[kind]
        drawn = draw(st.lists(st.none() | values, min_size=rows, max_size=rows))
        columns[f"tag{number}"] = pa.array(drawn, type_)
    return pa.record_batch(columns), [f"tag{number}" for number in range(len(kinds))]


@QUICK
@given(tagged(), st.integers(0, 3))
def test_each_row_reaches_parquet(case: tuple[pa.RecordBatch, list[str]], batches: int) -> None:
    """A generation's Parquet bytes hold every row of its batches, and nothing else, whatever the tags are."""
    rows, tags = case
    buffers = RowBuffer()
    for number in range(batches + 1):
        buffers.insert(number, rows)
    generation = buffers.seal()
    assert generation is not None

    data, count = compress(generation, timestamp="row", tags=tags)
    stored = pq.read_table(pa.BufferReader(data), schema=rows.schema)

    assert count == stored.num_rows == rows.num_rows * (batches + 1)
    assert sorted(map(repr, stored.to_pylist())) == sorted(map(repr, rows.to_pylist() * (batches + 1)))


# --- generations


def test_a_generation_holds_contiguous_ids() -> None:
    """Sealing takes all rows of the batches since the last sealing, and names exactly those."""
    buffers = RowBuffer()
    assert buffers.seal() is None
    for first, last in ((0, 2), (3, 3), (4, 9)):
        for number in range(first, last + 1):
            buffers.insert(number, batch(number, station="ab"[number % 2]))
        generation = buffers.seal()
        assert generation is not None
        assert (generation.lo, generation.hi) == (first, last)
        assert generation.batch_ids == list(range(first, last + 1))
        assert numbers(generation.rows()) == [float(i) for i in range(first, last + 1)]
        assert (buffers.seal(), buffers.waiting(), buffers.bytes) == (None, [], 0)


def test_a_batch_waits_as_it_came() -> None:
    """A batch is neither copied nor divided, so a batch of many series is taken as fast as one of few."""
    buffers, rows = RowBuffer(), pa.record_batch({"tag": [str(number) for number in range(1000)]})
    buffers.insert(0, rows)
    generation = buffers.seal()
    assert generation is not None and len(generation.batches) == 1 and generation.batches[0] is rows


def test_a_generation_may_start_anywhere() -> None:
    """After recovery the first batch is the one above the marker."""
    buffers = RowBuffer(next_id=7)
    buffers.insert(7, batch(7.0))
    generation = buffers.seal()
    assert generation is not None and generation.batch_ids == [7]


@pytest.mark.parametrize("again", [0, 1, 4])
def test_a_batch_twice_is_our_mistake(again: int) -> None:
    """A batch that came already, taken or early, is never buffered again."""
    buffers = RowBuffer()
    for number in (0, 1, 4):
        buffers.insert(number, batch(number))
    with pytest.raises(AssertionError):
        buffers.insert(again, batch(2.0))


@given(st.permutations(range(6)))
def test_batches_in_another_order(order: list[int]) -> None:
    """Threads may insert batches in any order: each batch can be read at once, and a generation has no holes."""
    buffers, seen = RowBuffer(), list[float]()
    for number in order:
        buffers.insert(number, batch(number, station="ab"[number % 2]))
        seen.append(float(number))
        assert sorted(value for part in buffers.waiting() for value in numbers(part.rows())) == sorted(seen)
        assert buffers.next_id == next(i for i in range(7) if i not in order[: len(seen)])
    generation = buffers.seal()
    assert generation is not None and generation.batch_ids == list(range(6))


def test_no_generation_with_a_hole() -> None:
    """The marker would pass a missing batch by: nothing is sealed before it is there."""
    buffers = RowBuffer()
    buffers.insert(1, batch(1.0))
    with pytest.raises(AssertionError, match="batch 0 never came"):
        buffers.seal()


def test_waiting_rows_are_readable_and_counted() -> None:
    """Waiting rows can be read, and the size reported grows with them."""
    buffers = RowBuffer()
    sizes = []
    for number in range(3):
        buffers.insert(number, batch(number, station="ab"[number % 2]))
        sizes.append(buffers.bytes)
        waiting = [row for part in buffers.waiting() for row in numbers(part.rows())]
        assert sorted(waiting) == [float(i) for i in range(number + 1)]
    assert 0 < sizes[0] < sizes[1] < sizes[2]
    buffers.clear()
    assert (buffers.waiting(), buffers.bytes, buffers.seal()) == ([], 0, None)


def test_empty_batches_keep_their_ids() -> None:
    """Batches without rows are part of a generation: their ids are persisted with it."""
    buffers = RowBuffer()
    buffers.insert(0, batch())
    buffers.insert(1, batch())
    generation = buffers.seal()
    assert generation is not None and generation.batch_ids == [0, 1]
    data, count = compress(generation, timestamp="timestamp", tags=["station"])
    assert count == 0 and pq.read_table(pa.BufferReader(data)).schema.equals(SCHEMA)


NAMES = [[".x", "x"], [".x"], ["[0]", "x"], ["a.b", "a"], ["", "x"], ["1", "0"]]


@pytest.mark.parametrize("bounds", [None, {}])
@pytest.mark.parametrize("names", NAMES, ids=str)
def test_names_that_look_like_paths(names: list[str], bounds: dict[str, Bound] | None, tmp_path: Path) -> None:
    """Tags and times may have any names: an engine stores the rows, and opens again."""
    columns = [(name, pa.string()) for name in names] + [(".time", pa.timestamp("us")), ("v", pa.float64())]
    schema = pa.schema([pa.field(*one, nullable=False) for one in columns])
    tags = [["b", "a", "b"], ["c", "d", "d"]][: len(names)]
    rows = pa.record_batch([*tags, [3, 2, 1], [1.0, 2.0, 3.0]], schema=schema)
    for _ in range(2):
        with StorageEngine.open(tmp_path) as engine:
            if not engine.tables:
                engine.create_table("t", schema, timestamp=".time", tags=names, bounds=bounds)
            engine.ingest("t", rows)
            engine.flush()
    with StorageEngine.open(tmp_path) as engine:
        found = engine.read("t").to_pylist()
    assert sorted(map(str, found)) == sorted(map(str, rows.to_pylist() * 2))


def lent(rows: int) -> tuple[bytearray, pa.RecordBatch]:
    """A batch over memory of its caller."""
    memory = bytearray(b"".join(number.to_bytes(8, "little") for number in range(rows)))
    column = pa.Array.from_buffers(pa.int64(), rows, [None, pa.py_buffer(memory)])
    return memory, pa.record_batch([column.cast(pa.timestamp("us")), column], schema=SCHEMA_OF_NUMBERS)


SCHEMA_OF_NUMBERS = pa.schema([("time", pa.timestamp("us")), ("value", pa.int64())])


@pytest.mark.parametrize("tags", [[], ["value"]])
@pytest.mark.parametrize("part", ["whole", "slice"])
def test_memory_of_the_caller(tmp_path: Path, tags: list[str], part: str) -> None:
    """The caller may use the memory behind a batch again once that is stored; a slice of it does not keep the rest alive."""
    memory, whole = lent(1000)
    rows = whole if part == "whole" else whole.slice(10, 3)
    expected = rows.to_pylist()
    with StorageEngine.open(tmp_path) as engine:
        engine.create_table("t", SCHEMA_OF_NUMBERS, timestamp="time", tags=tags)
        engine.ingest("t", rows)
        memory[:] = b"\xff" * len(memory)
        engine.flush()
        assert engine.read("t").sort_by("time").to_pylist() == expected
    copy = own_copy(rows)
    assert copy.equals(rows)
    assert copy.get_total_buffer_size() <= 2 * rows.nbytes


@pytest.mark.parametrize("wal", [True, False])
def test_a_damaged_slice_is_refused(tmp_path: Path, wal: bool) -> None:
    """A batch whose offsets lead out of its memory is refused by the check of the log, before anything copies it."""
    offsets = pa.py_buffer(b"".join(number.to_bytes(4, "little") for number in (0, 1 << 30, 1, 1)))
    texts = pa.Array.from_buffers(pa.string(), 3, [None, offsets, pa.py_buffer(b"x" * 64)])
    schema = pa.schema([("time", pa.timestamp("us")), ("text", pa.string())])
    rows = pa.record_batch([pa.array([1, 2, 3], pa.timestamp("us")), texts], schema=schema).slice(0, 1)
    with StorageEngine.open(tmp_path, wal) as engine:
        engine.create_table("t", schema, timestamp="time")
        with pytest.raises(InvalidInput, match="offset"):
            engine.ingest("t", rows)
