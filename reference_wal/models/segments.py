"""A generation as segments: for each series and field, runs of points that one model stands for. As ModelarDB's tables are.

    the table's tags, field, start, end, points, times, model, values

``start`` and ``end`` are times; ``times`` is empty if the points lie evenly between them, else the differences from one time to
the next (uint64). ``model`` is one of `fitting.MODELS`, ``values`` its parameters; ``raw`` has the values themselves.

A table by models has a time column, tags, and fields that are floats; none of them is ever null. Rows come back sorted within
their series; every value of a field is within its bound, times and tags are the same.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby, pairwise
from typing import Any

import pyarrow as pa

from crashmatrix.reference_wal.errors import InvalidInput
from crashmatrix.reference_wal.keys import order
from crashmatrix.reference_wal.models.bound import LOSSLESS, Bound
from crashmatrix.reference_wal.models.fitting import RAW, Fit, Rounded, decode, longest, raw
from crashmatrix.reference_wal.models.floats import as_float32, from_floats, to_floats

__all__ = ["Shape", "from_segments", "to_segments"]

_POINTS_MAX = 64 * 1024
"""Points of one segment, as many as a buffer of ModelarDB's takes."""


class Shape:
    """The columns of a table by models, and the schema of its segments.

    Raises:
        InvalidInput: a column is neither the time, nor a tag, nor a float; or it may be null.
    """

    def __init__(self, schema: pa.Schema, timestamp: str, tags: Sequence[str], bounds: Mapping[str, Bound]) -> None:
        self.schema, self.timestamp, self.tags = schema, timestamp, list(tags)
        self.fields = [name for name in schema.names if name != timestamp and name not in tags]
        self.bounds = {name: bounds.get(name, LOSSLESS) for name in self.fields}
        if unknown := sorted(set(bounds) - set(self.fields)):
            raise InvalidInput(f"error bounds for {', '.join(unknown)}, which are not fields; fields: {self.fields}")
        if not pa.types.is_timestamp(schema.field(timestamp).type):
            raise InvalidInput(f"column {timestamp!r} of a table by models must be a timestamp")
        if not self.fields:
            raise InvalidInput("a table by models needs a field: a column of floats")
        for name in self.tags:
            if pa.types.is_dictionary(schema.field(name).type):
                raise InvalidInput(f"tag {name!r} of a table by models must not be a dictionary")
        for name in self.fields:
            if not (pa.types.is_float32(schema.field(name).type) or pa.types.is_float64(schema.field(name).type)):
                raise InvalidInput(f"column {name!r} of a table by models must be a float, a tag or the time")
        for field in schema:
            if field.nullable:
                raise InvalidInput(f"column {field.name!r} of a table by models must not be nullable")
        time = schema.field(timestamp).type
        own = [("field", pa.string()), ("start", time), ("end", time), ("points", pa.int32())]
        own += [("times", pa.binary()), ("model", pa.string()), ("values", pa.binary())]
        taken = sorted({name for name, _ in own} & set(self.tags))
        if taken:
            raise InvalidInput(f"tags of a table by models cannot be named {', '.join(taken)}")
        self.segments = pa.schema([*(schema.field(tag) for tag in self.tags), *(pa.field(*one) for one in own)])


def to_segments(rows: pa.Table, shape: Shape) -> pa.Table:
    """Return rows of the shape's schema as its segments. Raises pa.ArrowException."""
    rows = rows.take(order(rows, [*shape.tags, shape.timestamp]))
    times = rows[shape.timestamp].cast(pa.int64()).to_pylist()
    tags = list(zip(*(rows[tag].to_pylist() for tag in shape.tags), strict=True)) or [()] * len(times)
    columns = {name: to_floats(rows[name]) for name in shape.fields}
    found: list[tuple[Any, ...]] = []
    for key, places in groupby(range(len(times)), key=tags.__getitem__):
        first, *rest = places
        part = slice(first, (rest or [first])[-1] + 1)
        own_times = times[part]
        for name, values in columns.items():
            rounded = _rounding(shape.schema.field(name).type)
            for start, fit in _fits(values[part], own_times, shape.bounds[name], rounded):
                moments = own_times[start : start + fit[2]]
                found.append((*key, name, moments[0], moments[-1], fit[2], _packed(moments), fit[0], fit[1]))
    parts = [list(column) for column in zip(*found, strict=True)] or [[] for _ in shape.segments]
    arrays = [
        pa.array(part, pa.int64()).cast(field.type) if pa.types.is_timestamp(field.type) else pa.array(part, field.type)
        for part, field in zip(parts, shape.segments, strict=True)
    ]
    return pa.Table.from_arrays(arrays, schema=shape.segments)


def _fits(values: Sequence[float], times: Sequence[int], bound: Bound, rounded: Rounded) -> Iterator[tuple[int, Fit]]:
    """Yield the models of a series' field, each with the place of its first point; points between models are ``raw``."""
    place = raw_from = 0
    while place < len(values):
        fit = longest(values, times, place, min(len(values), place + _POINTS_MAX), bound, rounded)
        if fit is None:
            place += 1
            if place - raw_from < _POINTS_MAX and place < len(values):
                continue
        if place > raw_from:
            yield raw_from, (RAW, raw(values[raw_from:place]), place - raw_from)
        if fit is not None:
            yield place, fit
            place += fit[2]
        raw_from = place


def _rounding(kind: pa.DataType) -> Rounded:
    return float if pa.types.is_float64(kind) else as_float32


def _packed(times: Sequence[int]) -> bytes:
    """Return what `_unpacked` needs besides the first time, the last and the count."""
    if list(times) == _even(times[0], times[-1], len(times)):
        return b""
    return struct.pack(f"<{len(times) - 1}Q", *(after - before for before, after in pairwise(times)))


def _even(start: int, end: int, count: int) -> list[int]:
    step = (end - start) // (count - 1) if count > 1 else 0
    return [start + step * place for place in range(count)]


def _unpacked(start: int, end: int, count: int, packed: bytes) -> list[int]:
    if not packed:
        return _even(start, end, count)
    times = [start]
    for difference in struct.unpack(f"<{count - 1}Q", packed):
        times.append(times[-1] + difference)
    if times[-1] != end:
        raise ValueError(f"times of a segment end at {times[-1]}, not at {end}")
    return times


def from_segments(segments: pa.Table, shape: Shape) -> pa.Table:
    """Return the rows that segments stand for. Raises ValueError, pa.ArrowException: no segments of this shape."""
    found: dict[tuple[Any, ...], dict[str, tuple[list[int], list[float]]]] = {}
    moments = {name: segments[name].cast(pa.int64()).to_pylist() for name in ("start", "end")}
    others = segments.drop_columns(["start", "end"]).to_pylist()
    for segment, start, end in zip(others, moments["start"], moments["end"], strict=True):
        key = tuple(segment[tag] for tag in shape.tags)
        try:
            times = _unpacked(start, end, segment["points"], segment["times"])
        except struct.error as error:
            raise ValueError(f"times of a segment: {error}") from error
        all_times, values = found.setdefault(key, {}).setdefault(segment["field"], ([], []))
        all_times += times
        values += decode(segment["model"], segment["values"], times)
    tables = [_rows(key, fields, shape) for key, fields in found.items()]
    return pa.concat_tables(tables) if tables else shape.schema.empty_table()


def _rows(key: tuple[Any, ...], fields: dict[str, tuple[list[int], list[float]]], shape: Shape) -> pa.Table:
    times = fields[shape.fields[0]][0]
    if any(fields.get(name, ([], []))[0] != times for name in shape.fields):
        raise ValueError("the fields of a series have different times")
    columns: list[pa.Array] = []
    for field in shape.schema:
        if field.name == shape.timestamp:
            columns.append(pa.array(times, pa.int64()).cast(field.type))
        elif field.name in shape.tags:
            columns.append(pa.array([key[shape.tags.index(field.name)]] * len(times), field.type))
        else:
            columns.append(from_floats(fields[field.name][1], field.type))
    return pa.Table.from_arrays(columns, schema=shape.schema)
