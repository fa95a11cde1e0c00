"""Rows to segments and back: times and tags the same, values within their bounds, whatever the numbers are."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

import pyarrow as pa
import pytest

from crashmatrix.reference_wal import InvalidInput, ParquetDamaged, StorageEngine
from crashmatrix.reference_wal.models.bound import LOSSLESS, Bound, absolute, relative
from crashmatrix.reference_wal.models.segments import Shape, from_segments, to_segments

SCHEMA = pa.schema(
    [
        pa.field("time", pa.timestamp("us"), nullable=False),
        pa.field("station", pa.string(), nullable=False),
        pa.field("a", pa.float64(), nullable=False),
        pa.field("b", pa.float32(), nullable=False),
    ]
)
BOUNDS = [LOSSLESS, absolute(0.7), relative(3.0)]


def shape(bound: Bound) -> Shape:
    return Shape(SCHEMA, "time", ["station"], {"a": bound, "b": bound} if bound.size else {})


def drawn(seed: int, count: int) -> pa.Table:
    """Return rows of two series: constants, lines, noise, and what is not a number; some times uneven or equal."""
    chance = random.Random(seed)
    rows = []
    for station in ("x", "y"):
        time = value = 0.0
        for place in range(count):
            time += chance.choice([10, 10, 10, 10, 0, 3])
            kind = place // 8 % 4
            value = [value, value + 0.5, chance.uniform(-5, 5), chance.choice([float("nan"), -0.0, 1e300])][kind]
            rows.append({"time": int(time), "station": station, "a": value, "b": min(value, 3e38)})
    chance.shuffle(rows)
    columns = [pa.array([row[field.name] for row in rows], field.type) for field in SCHEMA]
    return pa.Table.from_arrays(columns, schema=SCHEMA)


@pytest.mark.parametrize("bound", BOUNDS, ids=str)
@pytest.mark.parametrize("seed", range(6))
def test_there_and_back(seed: int, bound: Bound) -> None:
    """Every row comes back once, sorted within its series, each value within the bound of its column."""
    rows = drawn(seed, 90)
    found = from_segments(to_segments(rows, shape(bound)), shape(bound))
    assert found.schema.equals(SCHEMA)
    order = [("station", "ascending"), ("time", "ascending")]
    rows, found = rows.sort_by(order), found.sort_by(order)
    assert rows.select(["time", "station"]).equals(found.select(["time", "station"]))
    for name in ("a", "b"):
        assert all(map(bound.holds, rows[name].to_pylist(), found[name].to_pylist()))


def test_no_rows() -> None:
    """A generation without rows has no segments."""
    empty = SCHEMA.empty_table()
    assert to_segments(empty, shape(LOSSLESS)).num_rows == 0
    assert from_segments(to_segments(empty, shape(LOSSLESS)), shape(LOSSLESS)).equals(empty)


def test_a_constant_is_one_segment() -> None:
    """A series that does not change is one segment for each field, and its times take no room."""
    rows = pa.table([list(range(0, 1000, 10)), ["x"] * 100, [2.5] * 100, [2.5] * 100], schema=SCHEMA)
    segments = to_segments(rows, shape(LOSSLESS))
    assert segments.select(["field", "points", "times", "model"]).to_pylist() == [
        {"field": name, "points": 100, "times": b"", "model": "pmc-mean"} for name in ("a", "b")
    ]


class Counted(Bound):
    """A bound that counts how many values models look at."""

    looks: ClassVar[int] = 0

    def interval(self, stored: float) -> tuple[float, float]:
        Counted.looks += 1
        return super().interval(stored)


ULP = 2.0**-23
"""The distance of 1 from the next float of four bytes."""

MISSES: dict[str, tuple[str, Callable[[int], float], Counted]] = {
    "zeros with two signs": ("a", lambda place: -0.0 if place == 799 else 0.0, Counted("lossless")),
    "zeros with signs in turn": ("a", lambda place: -0.0 if place % 20 else 0.0, Counted("lossless")),
    "a constant that rounds": ("b", lambda place: 1 + ULP * (place % 2), Counted("absolute", 0.6 * ULP)),
    "a line that rounds": ("b", lambda place: 1 + 0.5 * ULP * place, Counted("absolute", 0.6 * ULP)),
    "a line through a third": ("a", lambda place: place / 3, Counted("absolute", 2.0**-46)),
}


@pytest.mark.parametrize(("field", "value", "bound"), MISSES.values(), ids=MISSES)
def test_models_that_miss_a_value(field: str, value: Callable[[int], float], bound: Counted) -> None:
    """If the check of a model fails at each place, the number of looks at values still grows no faster than theirs."""
    count = 800
    values = {name: pa.array([value(place) if name == field else 0.0 for place in range(count)]) for name in "ab"}
    rows = pa.table({"time": range(count), "station": ["x"] * count, **values}).cast(SCHEMA)
    by_models = Shape(SCHEMA, "time", ["station"], {field: bound})
    Counted.looks = 0
    found = from_segments(to_segments(rows, by_models), by_models)
    assert Counted.looks < 40 * count
    assert all(map(bound.holds, rows[field].to_pylist(), found[field].to_pylist()))


REFUSED = [
    ({"c": pa.field("c", pa.int64(), nullable=False)}, {}, "must be a float"),
    ({"c": pa.field("c", pa.float64())}, {}, "must not be nullable"),
    ({}, {"station": absolute(1.0)}, "which are not fields"),
]


@pytest.mark.parametrize(("more", "bounds", "problem"), REFUSED)
def test_tables_that_are_not_by_models(more: dict[str, pa.Field], bounds: dict[str, Bound], problem: str) -> None:
    """Columns that models cannot stand for are refused."""
    with pytest.raises(InvalidInput, match=problem):
        Shape(pa.schema([*SCHEMA, *more.values()]), "time", ["station"], bounds)


@pytest.mark.parametrize("bound", BOUNDS, ids=str)
def test_a_table_by_models(bound: Bound, tmp_path: Path) -> None:
    """The engine keeps a table as segments, through a restart and a transfer; a damaged file is refused."""
    rows, bounds = drawn(1, 40), {"a": bound, "b": bound} if bound.size else {}
    with StorageEngine.open(tmp_path / "e") as engine:
        engine.create_table("t", SCHEMA, timestamp="time", tags=["station"], bounds=bounds)
        for batch in rows.to_batches(max_chunksize=25):
            engine.ingest("t", batch)
        engine.flush()
    with StorageEngine.open(tmp_path / "e") as engine:
        found = engine.read("t")
        order = [("station", "ascending"), ("time", "ascending"), ("b", "ascending")]
        assert found.num_rows == rows.num_rows
        assert found.sort_by(order)["time"].equals(rows.sort_by(order)["time"])
        file = engine.files("t")[0]
        data = file.read_bytes()
        file.write_bytes(data[:-1] + b"x")
        with pytest.raises(ParquetDamaged):
            engine.read("t")
        file.write_bytes(data)
        assert engine.transfer("t", tmp_path / "there") > 0
        assert engine.read("t").num_rows == 0


def test_times_farther_apart_than_an_int64_can_say() -> None:
    """The first time there is, and the last one, come back; segments that end at another time than they say are refused."""
    times = pa.array([-(2**63), 0, 7, 2**63 - 1], pa.int64()).cast(pa.timestamp("us"))
    rows = pa.table([times, ["x"] * 4, [1.0] * 4, [2.0] * 4], schema=SCHEMA)
    segments = to_segments(rows, shape(LOSSLESS))
    assert from_segments(segments, shape(LOSSLESS)).equals(rows)
    place = segments.schema.get_field_index("end")
    with pytest.raises(ValueError, match="times of a segment end at"):
        from_segments(segments.set_column(place, "end", segments["start"]), shape(LOSSLESS))


def test_bits_of_nans() -> None:
    """A NaN of four bytes keeps its bits, also if it is a signalling one."""
    bits = pa.array([0x7F800001, 0xFF812345, 0x7FC00000, 0x3F800000, 0xFFFFFFFF, 0xFF800000], pa.uint32())
    rows = pa.table([range(6), ["x"] * 6, [1.0] * 6, [0.0] * 6], schema=SCHEMA)
    rows = rows.set_column(3, SCHEMA.field("b"), bits.view(pa.float32()))
    found = from_segments(to_segments(rows, shape(LOSSLESS)), shape(LOSSLESS))
    assert found["b"].combine_chunks().view(pa.uint32()).equals(bits)
