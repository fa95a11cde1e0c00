"""Uneven rows are what they are said to be, and a table by models takes them."""

from __future__ import annotations

import math
import struct
from itertools import pairwise

import pyarrow as pa

from crashmatrix.reference_wal.models.segments import Shape, from_segments, to_segments
from crashmatrix.scenarios.systems.reference.rows.exact import plain
from crashmatrix.scenarios.systems.reference.rows.uneven import (
    UNEVEN_BOUNDS,
    UNEVEN_SCHEMA,
    UNEVEN_TAGS,
    uneven_batch,
)

SHAPE = Shape(UNEVEN_SCHEMA, "timestamp", UNEVEN_TAGS, UNEVEN_BOUNDS)


def integer_times(batch: pa.RecordBatch) -> pa.Table:
    rows = pa.Table.from_batches([batch])
    place = rows.schema.get_field_index("timestamp")
    return rows.set_column(place, "timestamp", rows["timestamp"].cast(pa.int64()))


def test_what_there_is() -> None:
    """Times are uneven and never twice in a series; some values are not numbers; a batch is the same each time, and later."""
    rows = integer_times(uneven_batch(0))
    assert plain(rows).equals(plain(integer_times(uneven_batch(0))))
    for channel, live in {(row["channel"], row["live"]) for row in rows.to_pylist()}:
        mine = [row for row in rows.to_pylist() if (row["channel"], row["live"]) == (channel, live)]
        times = sorted(row["timestamp"] for row in mine)
        assert len({after - before for before, after in pairwise(times)}) == 3
        assert (times[-1] - times[0] == 2**64 - 1) == (channel == 100)
    assert any(map(math.isnan, rows["exact"].to_pylist()))
    before, after = (sorted(integer_times(uneven_batch(number))["timestamp"].to_pylist()) for number in range(2))
    assert before[-2] < 10**9 and before[-24] < after[1]


def test_values_at_the_edge() -> None:
    """The constant half-way between two floats of four bytes is not one itself: rounded, it is too far from one of them."""
    low, high = (struct.unpack("<f", struct.pack("<f", 2.0**24 + more))[0] for more in (0.0, 2.0))
    middle = (low + high) / 2
    assert (low, high) == (2.0**24, 2.0**24 + 2)
    assert struct.unpack("<f", struct.pack("<f", middle))[0] != middle


def test_models_take_them() -> None:
    """Segments of several kinds come of them, and as many rows come back."""
    rows = pa.Table.from_batches([uneven_batch(number) for number in range(3)])
    segments = to_segments(rows, SHAPE)
    assert {"raw", "pmc-mean"} <= set(segments["model"].to_pylist())
    assert any(segments["times"].to_pylist())
    assert from_segments(segments, SHAPE).num_rows == rows.num_rows
