"""The time to open an engine after a number of commits: ``python -m benchmarks.opening_cost [COMMITS ...]``.

The folder is in memory, so that making it takes minutes and not hours, and the disk does not affect the time. The number of
commits grows; the few rows that wait in the log stay the same. "moved" empties the table every 500 commits.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from pathlib import Path

import pyarrow as pa

from crashmatrix.reference_wal import EngineOptions, StorageEngine

SCHEMA = pa.schema([("timestamp", pa.timestamp("us")), ("value", pa.float64())])
MOVED_EVERY = 500
UNPERSISTED = 20


def batch(number: int) -> pa.RecordBatch:
    return pa.record_batch([pa.array([number], pa.timestamp("us")), pa.array([float(number)])], schema=SCHEMA)


def fill(root: Path, commits: int, *, moved: bool) -> None:
    with StorageEngine.open(root, options=EngineOptions(segment_bytes_max=64 * 1024)) as engine:
        engine.create_table("t", SCHEMA, timestamp="timestamp")
        for number in range(commits):
            engine.ingest("t", batch(number))
            engine.flush()
            if moved and number % MOVED_EVERY == MOVED_EVERY - 1:
                engine.truncate("t")
        for number in range(UNPERSISTED):
            engine.ingest("t", batch(number))


def milliseconds_to_open(root: Path) -> float:
    found = []
    for _ in range(5):
        begun = time.perf_counter()
        StorageEngine.open(root).close()
        found.append(1000 * (time.perf_counter() - begun))
    return statistics.median(found)


def main() -> None:
    print("commits  live files  json files  open, ms")
    for commits in [int(text) for text in sys.argv[1:]] or [100, 1000, 10_000]:
        for moved in (False, True):
            with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
                root = Path(folder) / "engine"
                fill(root, commits, moved=moved)
                live = len(list((root / "tables" / "t").glob("*.parquet")))
                jsons = len(list((root / "tables" / "t" / "_delta_log").glob("*.json")))
                print(f"{commits:7,}  {live:10,}  {jsons:10,}  {milliseconds_to_open(root):8.1f}", flush=True)


if __name__ == "__main__":
    main()
