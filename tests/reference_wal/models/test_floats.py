"""Floats of four bytes keep their bits as Python's floats."""

from __future__ import annotations

import math

import pyarrow as pa

from crashmatrix.reference_wal.models.floats import as_float32, from_floats, to_floats

BITS = [0x7F800001, 0xFFBFFFFF, 0x7FC00000, 0xFF800000, 0x80000000, 1, 0x3F800000, 0x7F7FFFFF]


def test_there_and_back() -> None:
    """Every bit is kept, in chunks as well, of NaNs and of other values."""
    for bits in (BITS, BITS[3:]):
        column = pa.chunked_array([pa.array(part, pa.uint32()).view(pa.float32()) for part in (bits[:2], bits[2:])])
        assert from_floats(to_floats(column), pa.float32()).view(pa.uint32()).to_pylist() == bits


def test_rounding() -> None:
    """A value beyond the largest of four bytes becomes infinite, with its sign."""
    assert (as_float32(1e39), as_float32(-1e39), as_float32(0.5)) == (math.inf, -math.inf, 0.5)
