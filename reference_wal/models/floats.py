"""Columns of floats as Python's floats, which have eight bytes, and back: the same bits, also of floats of four bytes.

A NaN has bits of its own, 23 of a float of four bytes. Hardware that converts it to eight bytes sets the first of them: the NaN
is quiet then. So NaNs are converted here: their bits are the first ones of the 52 that eight bytes have.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence

import pyarrow as pa

__all__ = ["as_float32", "from_floats", "to_floats"]

_QUIET_NAN = 0x7FC00000
_EXPONENT, _FRACTION = 0x7F800000, 0x007FFFFF
_WIDER = 52 - 23


def to_floats(column: pa.ChunkedArray) -> list[float]:
    """Return the values of a column of floats without nulls."""
    values: list[float] = column.to_pylist()
    if pa.types.is_float64(column.type) or not any(map(math.isnan, values)):
        return values
    bits = [one for chunk in column.chunks for one in chunk.view(pa.uint32()).to_pylist()]
    return [_wide_nan(one) if math.isnan(value) else value for one, value in zip(bits, values, strict=True)]


def _wide_nan(bits: int) -> float:
    wide = (bits >> 31) << 63 | 0x7FF << 52 | (bits & _FRACTION) << _WIDER
    return float(struct.unpack("<d", struct.pack("<Q", wide))[0])


def from_floats(values: Sequence[float], kind: pa.DataType) -> pa.Array:
    """Return values as an array of this type, rounded to it."""
    array = pa.array(values, pa.float64()).cast(kind, safe=False)
    if pa.types.is_float64(kind) or not any(map(math.isnan, values)):
        return array
    bits = array.view(pa.uint32()).to_pylist()
    bits = [_narrow_nan(value) if math.isnan(value) else one for one, value in zip(bits, values, strict=True)]
    return pa.array(bits, pa.uint32()).view(kind)


def _narrow_nan(value: float) -> int:
    wide = int.from_bytes(struct.pack("<d", value), "little")
    fraction = (wide >> _WIDER) & _FRACTION
    return wide >> 63 << 31 | (_EXPONENT | fraction if fraction else _QUIET_NAN)


def as_float32(value: float) -> float:
    """Return a value rounded to four bytes."""
    try:
        return float(struct.unpack("<f", struct.pack("<f", value))[0])
    except OverflowError:
        return math.copysign(math.inf, value)
