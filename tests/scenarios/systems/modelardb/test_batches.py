"""Batches and how they are found again: whole, in part, twice, or with points of nobody."""

from __future__ import annotations

import pyarrow as pa
import pytest

from crashmatrix.scenarios.errors import PromiseBroken
from crashmatrix.scenarios.systems.modelardb.batches import batch_of, numbers_in, points_of


def rows(*batches: pa.RecordBatch) -> pa.Table:
    return pa.Table.from_batches(batches)


def test_found_again() -> None:
    """Batches are counted; a segment's fast points fill a buffer, and the lone batch has none."""
    assert numbers_in(0, rows(batch_of(0, 3), batch_of(0, 1), batch_of(0, 3))) == [1, 3, 3]
    assert sum(points_of(number).get("fast", 0) for number in range(4)) == 14
    assert points_of(4) == {"steady": 1}


def test_parts_and_strangers() -> None:
    """A batch in part is a loss, unless parts count; a changed point is nobody's."""
    part = batch_of(0, 1).slice(1)
    with pytest.raises(PromiseBroken, match="came back 0 to 1 times"):
        numbers_in(0, rows(part))
    assert numbers_in(0, rows(part), parts=True) == [1]
    with pytest.raises(PromiseBroken, match="never stored"):
        numbers_in(0, rows(batch_of(1, 1)), parts=True)
