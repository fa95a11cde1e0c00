"""Rows are compared by the bits of their values, whatever Arrow makes of them."""

from __future__ import annotations

import struct
from typing import Any

import pyarrow as pa
import pytest

from crashmatrix.scenarios.systems.reference.rows.exact import first_difference, plain, undictionaried


def from_bits(bits: int) -> float:
    return float(struct.unpack("<d", struct.pack("<Q", bits))[0])


NAN, OTHER_NAN = from_bits(0x7FF8000000000000), from_bits(0x7FF8000000000ABC)
NAMES = pa.dictionary(pa.int8(), pa.string())
DIFFERENT: dict[str, tuple[pa.DataType, Any, Any]] = {
    "zeros": (pa.float64(), 0.0, -0.0),
    "NaNs": (pa.float64(), NAN, OTHER_NAN),
    "NaN and null": (pa.float64(), NAN, None),
    "zeros in a list": (pa.list_(pa.float32()), [0.0], [-0.0]),
    "zeros in a struct": (pa.struct([("x", pa.list_(pa.float64()))]), {"x": [0.0]}, {"x": [-0.0]}),
    "names": (NAMES, "a", "b"),
    "names in a list": (pa.list_(NAMES), ["a"], ["b"]),
    "zeros in a large list": (pa.large_list(pa.float32()), [0.0], [-0.0]),
    "null and empty list": (pa.list_(NAMES), None, []),
    "null and struct of null": (pa.struct([("x", NAMES)]), None, {"x": None}),
    "microseconds": (pa.timestamp("us"), 1, 2),
}


def table(kind: pa.DataType, *values: Any) -> pa.Table:
    return pa.table({"n": pa.array(range(len(values))), "x": pa.array(values, kind)})


@pytest.mark.parametrize(("kind", "one", "other"), DIFFERENT.values(), ids=DIFFERENT)
def test_differences(kind: pa.DataType, one: Any, other: Any) -> None:
    """A single value that differs is found, with its column and row; the same value is not, not even a NaN."""
    first, same, second = table(kind, one, one), table(kind, one, one), table(kind, one, other)
    assert first_difference(plain(first), plain(same)) is None
    assert first_difference(plain(first), plain(second)) == ("x", 1)


def test_layout_does_not_count() -> None:
    """Other chunks, other dictionaries, slices and garbage under nulls: equal all the same."""
    whole = pa.chunked_array([pa.array(["a", None, "b"], NAMES)])
    parts = pa.chunked_array([pa.array(["b", "a"], NAMES).slice(1), pa.array([None, "b"], NAMES)])
    assert first_difference(plain(pa.table({"x": whole})), plain(pa.table({"x": parts}))) is None
    ambiguous = pa.DictionaryArray.from_arrays(pa.array([2, 1, 3], pa.int8()), pa.array(["b", None, "a", "b"]))
    assert first_difference(plain(pa.table({"x": whole})), plain(pa.table({"x": ambiguous}))) is None
    other = pa.DictionaryArray.from_arrays(pa.array([2, 1, 0], pa.int8()), pa.array(["a", None, "a", "b"]))
    assert first_difference(plain(pa.table({"x": whole})), plain(pa.table({"x": other}))) == ("x", 2)
    nulls = pa.array([1.0, 2.0], mask=None)
    garbage = pa.Array.from_buffers(pa.float64(), 2, [pa.py_buffer(b"\x01"), nulls.buffers()[1]])
    clean = pa.array([1.0, None])
    assert first_difference(plain(pa.table({"x": garbage})), plain(pa.table({"x": clean}))) is None


def test_types_without_dictionaries() -> None:
    """Another reader's type: values in the dictionaries' place, nulls in every field, all else as it is."""
    nested = pa.struct([pa.field("a", NAMES, nullable=False), pa.field("b", pa.list_(NAMES))])
    assert undictionaried(nested) == pa.struct([pa.field("a", pa.string()), pa.field("b", pa.list_(pa.string()))])
    assert undictionaried(pa.decimal128(5, 2)) == pa.decimal128(5, 2)
