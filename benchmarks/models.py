"""Compression by models beside lossless rows: bytes a point, and points a second to compress and to read back.

    python -m benchmarks.models

Two real data sets: the hourly temperatures of the reference workload, and the daily weather of Seattle from the package
vega_datasets (four years of wind, temperature and rain; NOAA, public domain).
"""

from __future__ import annotations

import importlib.resources
import time
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as csv
import pyarrow.parquet as pq

from crashmatrix.reference_wal.buffers import Generation
from crashmatrix.reference_wal.delta.compression import compress, read_parquet
from crashmatrix.reference_wal.models.bound import Bound, absolute, relative
from crashmatrix.reference_wal.models.segments import Shape, from_segments

TEMPERATURES = Path(__file__).parents[1] / "scenarios" / "data" / "hourly_temperatures.parquet"
BOUNDS: list[Bound | None] = [
    None,
    Bound("lossless"),
    relative(1.0),
    relative(5.0),
    absolute(0.5),
    absolute(2.0),
    absolute(5.0),
]
REPEATS = 3


def temperatures() -> pa.Table:
    return _required(pq.read_table(TEMPERATURES).select(["timestamp", "station", "temperature"]))


def weather() -> pa.Table:
    file = importlib.resources.files("vega_datasets") / "_data" / "seattle-weather.csv"
    rows = csv.read_csv(pa.BufferReader(file.read_bytes()))
    dates = pc.strptime(rows["date"].cast(pa.string()), format="%Y/%m/%d", unit="us")
    columns = {"timestamp": dates, "station": pa.array(["seattle"] * rows.num_rows)}
    fields = {name: rows[name].cast(pa.float64()) for name in ("wind", "temp_max", "temp_min", "precipitation")}
    return _required(pa.table({**columns, **fields}))


def _required(rows: pa.Table) -> pa.Table:
    return rows.cast(pa.schema([field.with_nullable(False) for field in rows.schema]))


def best(work: Callable[[], object]) -> float:
    """Return the seconds of the fastest run."""
    seconds = []
    for _ in range(REPEATS):
        begun = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - begun)
    return min(seconds)


def measure(rows: pa.Table, bound: Bound | None) -> tuple[float, float, float]:
    """Return bytes a value, and thousands of values a second compressed and read."""
    fields = [name for name in rows.column_names if name not in ("timestamp", "station")]
    shape = None
    if bound is not None:
        shape = Shape(rows.schema, "timestamp", ["station"], dict.fromkeys(fields, bound) if bound.size else {})
    generation = Generation(0, 0, rows.to_batches())

    def write() -> pa.Buffer:
        return compress(generation, timestamp="timestamp", tags=["station"], shape=shape)[0]

    parquet = write()

    def read() -> pa.Table:
        found = read_parquet(pa.BufferReader(parquet))
        return found if shape is None else from_segments(found, shape)

    values = rows.num_rows * len(fields)
    return parquet.size / values, values / best(write) / 1000, values / best(read) / 1000


def main() -> None:
    for name, rows in (("hourly temperatures", temperatures()), ("daily weather", weather())):
        print(f"{name}: {rows.num_rows} rows")
        for bound in BOUNDS:
            size, written, read = measure(rows, bound)
            kind = "rows" if bound is None else f"models, {bound.kind} {bound.size or ''}"
            print(f"  {kind:24} {size:6.2f} bytes a value   {written:8.0f} k/s compressed   {read:8.0f} k/s read")


if __name__ == "__main__":
    main()
