"""Between the log and Delta: no row is lost on its way through series, generations and Parquet."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings, strategies as st

from crashmatrix.reference_wal import StorageEngine
from crashmatrix.reference_wal.buffers import SeriesBuffers, split_series
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
@given(tagged())
def test_each_row_is_in_one_series(case: tuple[pa.RecordBatch, list[str]]) -> None:
    """Each row is in exactly one series, that of its tag values, in the order of arrival, whatever the tags are."""
    rows, tags = case
    series = list(split_series(rows, tags))

    assert sorted(row for _, part in series for row in part["row"].to_pylist()) == list(range(rows.num_rows))
    assert len({key for key, _ in series}) == len(series)
    for key, part in series:
        assert part.schema.equals(rows.schema)
        assert part["row"].to_pylist() == sorted(part["row"].to_pylist())
        assert part.equals(rows.take(part["row"]))
        assert {tuple(values) for values in zip(*(part[tag].to_pylist() for tag in tags), strict=True)} <= {key}


@QUICK
@given(tagged(), st.integers(0, 3))
def test_each_row_reaches_parquet(case: tuple[pa.RecordBatch, list[str]], batches: int) -> None:
    """A generation's Parquet bytes hold every row of its batches, and nothing else, whatever the tags are."""
    rows, tags = case
    buffers = SeriesBuffers(tags)
    for number in range(batches + 1):
        buffers.insert(number, rows)
    generation = buffers.seal()
    assert generation is not None

    data, count = compress(generation, timestamp="row", tags=tags)
    stored = pq.read_table(pa.BufferReader(data), schema=rows.schema)

    assert count == stored.num_rows == rows.num_rows * (batches + 1)
    assert sorted(map(repr, stored.to_pylist())) == sorted(map(repr, rows.to_pylist() * (batches + 1)))


SERIES = [
    ("no tags", [], ["a", "b", None], {(): [0, 1, 2]}),
    ("one tag", ["tag"], ["a", "b", "a"], {("a",): [0, 2], ("b",): [1]}),
    ("nulls", ["tag"], [None, "a", None], {(None,): [0, 2], ("a",): [1]}),
    ("empty is not null", ["tag"], ["", None], {("",): [0], (None,): [1]}),
    ("no rows", ["tag"], [], {(): []}),
]


@pytest.mark.parametrize(
    ("tags", "values", "expected"), [case[1:] for case in SERIES], ids=[case[0] for case in SERIES]
)
def test_series(tags: list[str], values: list[str | None], expected: dict[tuple[Any, ...], list[int]]) -> None:
    """Rows of equal tag values are one series, a null being a value like any other."""
    rows = pa.record_batch({"tag": pa.array(values, pa.string()), "row": pa.array(range(len(values)), pa.int64())})
    assert {key: part["row"].to_pylist() for key, part in split_series(rows, tags)} == expected


DICTIONARIES: dict[str, tuple[list[int | None], list[str | None], dict[tuple[str | None], list[int]]]] = {
    "one value under two indices": ([0, 1, 0, 1], ["a", "a"], {("a",): [0, 1, 2, 3]}),
    "a null as index and as value": ([0, 1, None], ["a", None], {("a",): [0], (None,): [1, 2]}),
    "two nulls as values": ([2, 1, 0], [None, "a", None], {("a",): [1], (None,): [0, 2]}),
    "a value that is not used": ([1, 1], ["b", "a", "a"], {("a",): [0, 1]}),
}


@pytest.mark.parametrize(("indices", "values", "expected"), DICTIONARIES.values(), ids=DICTIONARIES)
def test_series_of_dictionary_tags(
    indices: list[int | None], values: list[str | None], expected: dict[tuple[str | None], list[int]]
) -> None:
    """Tags are compared by value, whatever indices the values have: no row is in two series, in a slice neither."""
    tag = pa.DictionaryArray.from_arrays(pa.array([0, *indices], pa.int32()), pa.array(values, pa.string()))
    rows = pa.record_batch({"row": pa.array(range(-1, len(indices))), "tag": tag, "other": pa.array([1] * len(tag))})
    for tags, more in ((["tag"], ()), (["other", "tag"], (1,))):
        found = [(key, part["row"].to_pylist()) for key, part in split_series(rows.slice(1), tags)]
        assert sorted(found, key=repr) == sorted(
            [((*more, *key), places) for key, places in expected.items()], key=repr
        )
        assert all(part.schema.equals(rows.schema) for _, part in split_series(rows, tags))


# --- generations


def test_a_generation_holds_contiguous_ids() -> None:
    """Sealing takes all rows of the batches since the last sealing, and names exactly those."""
    buffers = SeriesBuffers(["station"])
    assert buffers.seal() is None
    for first, last in ((0, 2), (3, 3), (4, 9)):
        for number in range(first, last + 1):
            buffers.insert(number, batch(number, station="ab"[number % 2]))
        generation = buffers.seal()
        assert generation is not None
        assert (generation.lo, generation.hi) == (first, last)
        assert generation.batch_ids == list(range(first, last + 1))
        assert numbers(pa.concat_tables(generation.series.values())) == [float(i) for i in range(first, last + 1)]
        assert (buffers.seal(), buffers.waiting(), buffers.bytes) == (None, [], 0)


def test_a_generation_may_start_anywhere() -> None:
    """After recovery the first batch is the one above the marker."""
    buffers = SeriesBuffers([], next_id=7)
    buffers.insert(7, batch(7.0))
    generation = buffers.seal()
    assert generation is not None and generation.batch_ids == [7]


@pytest.mark.parametrize("again", [0, 1, 4])
def test_a_batch_twice_is_our_mistake(again: int) -> None:
    """A batch that came already, taken or early, is never buffered again."""
    buffers = SeriesBuffers([])
    for number in (0, 1, 4):
        buffers.insert(number, batch(number))
    with pytest.raises(AssertionError):
        buffers.insert(again, batch(2.0))


@given(st.permutations(range(6)))
def test_batches_in_another_order(order: list[int]) -> None:
    """Threads may insert batches in any order: each batch can be read at once, and a generation has no holes."""
    buffers, seen = SeriesBuffers(["station"]), list[float]()
    for number in order:
        buffers.insert(number, batch(number, station="ab"[number % 2]))
        seen.append(float(number))
        assert sorted(value for part in buffers.waiting() for value in numbers(part.rows())) == sorted(seen)
        assert buffers.next_id == next(i for i in range(7) if i not in order[: len(seen)])
    generation = buffers.seal()
    assert generation is not None and generation.batch_ids == list(range(6))


def test_no_generation_with_a_hole() -> None:
    """The marker would pass a missing batch by: nothing is sealed before it is there."""
    buffers = SeriesBuffers([])
    buffers.insert(1, batch(1.0))
    with pytest.raises(AssertionError, match="batch 0 never came"):
        buffers.seal()


def test_waiting_rows_are_readable_and_counted() -> None:
    """Waiting rows can be read, and the size reported grows with them."""
    buffers = SeriesBuffers(["station"])
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
    buffers = SeriesBuffers(["station"])
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
