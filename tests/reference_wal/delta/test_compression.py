"""A generation as Parquet bytes: every value comes back as it was, sorted and encoded as documented."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from crashmatrix.reference_wal.buffers import Generation
from crashmatrix.reference_wal.delta.compression import DISTINCT_SHARE_MAX, compress, read_parquet, to_parquet
from crashmatrix.reference_wal.delta.dictionaries import decoded_type
from crashmatrix.reference_wal.models.segments import Shape, from_segments
from tests.reference_wal.support import flipped


def parquet(columns: dict[str, pa.Array], tags: Sequence[str] = ()) -> pq.ParquetFile:
    rows = pa.table({"time": pa.array(range(len(next(iter(columns.values())))), pa.timestamp("us")), **columns})
    return pq.ParquetFile(pa.BufferReader(to_parquet(rows, timestamp="time", tags=list(tags))))


def test_sorted_by_tags_then_time() -> None:
    """Each series is one stretch of the file, in the order of time; rows with a null tag come last."""
    rows = pa.table(
        {
            "time": pa.array([3, 1, 2, 5, 4], pa.timestamp("us")),
            "city": pa.array(["b", "a", None, "a", "a"], pa.dictionary(pa.int8(), pa.string())),
            "on": pa.array([True, True, False, False, True]),
        }
    )
    generation = Generation(0, 0, [*rows.slice(0, 2).to_batches(), *rows.slice(2).to_batches()])

    data, count = compress(generation, timestamp="time", tags=["city", "on"])

    stored = pq.read_table(pa.BufferReader(data))
    assert count == 5
    assert stored["city"].to_pylist() == ["a", "a", "a", "b", None]
    assert stored["on"].to_pylist() == [False, True, True, True, False]
    assert stored["time"].cast(pa.int64()).to_pylist() == [5, 1, 4, 3, 2]


VALUES = {
    "floats": pa.array([0.0, -0.0, 5e-324, -math.inf, math.inf, 1 / 3, None]),
    "few floats": pa.array([1.5, None] * 10),
    "float32": pa.array([1.5, None, 3.4e38], pa.float32()),
    "integers": pa.array([-(2**63), 2**63 - 1, None]),
    "int32": pa.array([-(2**31), 2**31 - 1, None], pa.int32()),
    "int8": pa.array([-128, 127, None], pa.int8()),
    "uint64": pa.array([0, 2**64 - 1, None], pa.uint64()),
    "strings": pa.array(["", "a", None, "\N{SNOWMAN}"]),
    "dictionary": pa.array(["b", None, "a", "b"], pa.dictionary(pa.int32(), pa.string())),
    "booleans": pa.array([True, None, False]),
    "timestamps": pa.array([-1, 0, None], pa.timestamp("us", "UTC")),
    "nested": pa.array([[1, None], [], None]),
    "nulls": pa.nulls(3),
    "bytes": pa.array([b"", b"\0", None]),
}


@pytest.mark.parametrize("column", VALUES.values(), ids=VALUES)
def test_values_round_trip(column: pa.Array) -> None:
    """Every value comes back as it was, sign of zero and nulls included."""
    stored = parquet({"x": column}).read()["x"]
    assert stored.type == decoded_type(column.type) and stored.null_count == column.null_count
    assert list(map(repr, stored.to_pylist())) == list(map(repr, column.to_pylist()))


@pytest.mark.parametrize("share", [1, 40], ids=["byte stream split", "dictionary"])
def test_nan_and_null_are_told_apart(share: int) -> None:
    """NaN stays NaN and null stays null, in either encoding."""
    values = [math.nan, None, 1.0] * share
    stored = parquet({"x": pa.array(values, from_pandas=False)}).read()["x"]
    assert stored.null_count == share
    assert list(map(repr, stored.to_pylist())) == list(map(repr, values))


DICTIONARY = {"PLAIN", "RLE", "RLE_DICTIONARY"}


ENCODINGS = [
    ("timestamps", pa.array(range(100), pa.timestamp("us")), {"DELTA_BINARY_PACKED"}),
    ("int64", pa.array(range(100)), {"DELTA_BINARY_PACKED"}),
    ("int32", pa.array(range(100), pa.int32()), {"DELTA_BINARY_PACKED"}),
    ("strings", pa.array(["a", "b"] * 50), {"RLE_DICTIONARY"}),
    ("large strings", pa.array(["a", "b"] * 50, pa.large_string()), {"RLE_DICTIONARY"}),
    ("repetitive floats", pa.array([1.0, 2.0] * 50), {"RLE_DICTIONARY"}),
    ("floats at the share", pa.array([float(i // 4) for i in range(100)]), {"RLE_DICTIONARY"}),
    ("floats over the share", pa.array([float(min(i, 25)) for i in range(100)]), {"BYTE_STREAM_SPLIT"}),
    ("float32", pa.array([float(i) for i in range(100)], pa.float32()), {"BYTE_STREAM_SPLIT"}),
]


@pytest.mark.parametrize("first", range(len(ENCODINGS)), ids=[name for name, *_ in ENCODINGS])
def test_encodings(first: int) -> None:
    """Times and integers are delta-encoded, strings and repetitive floats by dictionary, other floats split, in any place."""
    assert DISTINCT_SHARE_MAX == 0.25
    columns = [*ENCODINGS[first:], *ENCODINGS[:first]]  # Each is first once, and last.
    rows = pa.table({name: column for name, column, _ in columns})
    metadata = pq.read_metadata(pa.BufferReader(to_parquet(rows, timestamp="timestamps", tags=[]))).row_group(0)
    for number, (name, _, expected) in enumerate(columns):
        encodings = set(metadata.column(number).encodings)
        assert metadata.column(number).compression == "ZSTD"
        assert expected <= encodings, name
        assert encodings - expected <= {"RLE", *(DICTIONARY if expected == {"RLE_DICTIONARY"} else ())}, name


def test_floats_just_over_the_share() -> None:
    """26 distinct values of 103 are more than a quarter, 26 of 104 are not."""
    for rows, expected in ((103, "BYTE_STREAM_SPLIT"), (104, "RLE_DICTIONARY")):
        values = pa.array([float(min(number, 25)) for number in range(rows)])
        assert expected in parquet({"x": values}).metadata.row_group(0).column(1).encodings


def test_segments() -> None:
    """A generation of a table by models is stored as segments, their texts by dictionary; as many are returned as stored."""
    names = ("at", "city", "x", "y")
    kinds = (pa.timestamp("us"), pa.string(), pa.float64(), pa.float64())
    schema = pa.schema([pa.field(name, kind, nullable=False) for name, kind in zip(names, kinds, strict=True)])
    values = [float(number * number % 7) for number in range(6)]
    rows = pa.table([range(6), ["a", "b"] * 3, values, values], schema=schema)
    shape = Shape(schema, "at", ["city"], {})
    data, count = compress(Generation(0, 0, rows.to_batches()), timestamp="at", tags=["city"], shape=shape)
    with pq.ParquetFile(pa.BufferReader(data)) as file:
        found, columns = file.read(), file.metadata.row_group(0)
    assert found.schema.names == shape.segments.names and found.num_rows == count >= 4
    each = [columns.column(place) for place in range(columns.num_columns)]
    by_dictionary = {column.path_in_schema for column in each if column.has_dictionary_page}
    assert by_dictionary == {field.name for field in shape.segments if field.type == pa.string()}
    assert from_segments(found, shape).sort_by("at").equals(rows.sort_by("at"))


def test_a_page_that_changed_is_not_read() -> None:
    """Pages carry checksums, and they are verified."""
    data = to_parquet(pa.table({"at": range(100)}), timestamp="at", tags=[]).to_pybytes()
    column = pq.read_metadata(pa.BufferReader(data)).row_group(0).column(0)
    changed = flipped(data, column.data_page_offset + column.total_compressed_size - 1)
    with pytest.raises(OSError, match=r"(?i)crc"):
        read_parquet(pa.BufferReader(changed))


@pytest.mark.parametrize("inner", ["text", True, 1, 2.5], ids=repr)
def test_a_name_that_is_a_path_into_another_column(inner: object) -> None:
    """Parquet knows ``b`` in a struct ``a`` as ``a.b``: a column of that name is stored, whatever the other one holds."""
    columns = {"ts": list(range(9)), "a": [{"b": inner}] * 9, "a.b": [float(number) for number in range(9)]}
    rows = pa.table(columns)
    parquet = to_parquet(rows, timestamp="ts", tags=[])
    assert read_parquet(pa.BufferReader(parquet)).equals(rows)
