"""Reading a log back: the reference log, every checksum verified, beside pyarrow's IPC reader alone on the same files.

    python -m benchmarks.replay [--rounds N] [--directory DIR] [--mebibytes N]

The variants run interleaved; printed are medians over the rounds. The files are in the page cache. pyarrow reads them by
`pyarrow.OSFile`, as the log does, and mapped, where it reads metadata only.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa

from benchmarks.append import SCHEMA, batch_of
from crashmatrix.reference_wal.log.segmented_log import SegmentedLog
from crashmatrix.reference_wal.log.write_ahead_log import WriteAheadLog

SHARE = {1024: 16, 64 * 1024: 1, 1024 * 1024: 1}
"""By bytes of a batch: of the log's size, one part in so many, since small batches take long to write."""


def fill(folder: Path, size_bytes: int, total_bytes: int) -> WriteAheadLog:
    wal = WriteAheadLog(folder)
    wal.create_table_log("t", SCHEMA)
    batch = batch_of(size_bytes)
    for _ in range(total_bytes // size_bytes):
        wal.append("t", batch)
    wal.log("t").rotate()
    return wal


def replay(log: SegmentedLog) -> int:
    return sum(1 for _ in log.unpersisted())


def pyarrow_alone(log: SegmentedLog, open_file: Callable[[str], pa.NativeFile]) -> int:
    batches = 0
    for path in log.folder.glob("*.arrows"):
        with open_file(str(path)) as file:
            batches += sum(batch.num_rows > 0 for batch in pa.ipc.open_stream(file))
    return batches


def seconds(read: Callable[[], int], expected: int) -> float:
    begun = time.perf_counter()
    assert read() == expected
    return time.perf_counter() - begun


def measure(folder: Path, size_bytes: int, total_bytes: int, rounds: int) -> None:
    wal = fill(folder, size_bytes, total_bytes)
    log, expected = wal.log("t"), total_bytes // size_bytes
    variants: dict[str, Callable[[], int]] = {
        "pyarrow alone": lambda: pyarrow_alone(log, pa.OSFile),
        "pyarrow alone, mapped": lambda: pyarrow_alone(log, pa.memory_map),
        "reference log, verified": lambda: replay(log),
    }
    found: dict[str, list[float]] = {name: [] for name in variants}
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for _ in range(rounds):
        for name, read in variants.items():
            found[name].append(seconds(read, expected))
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    print(f"{total_bytes >> 20} MiB in batches of {size_bytes >> 10} KiB; peak memory grew by {grown >> 10} MiB")
    for name, times in found.items():
        speed = statistics.median(total_bytes / taken for taken in times) / 1e9
        ratio = statistics.median(base / own for base, own in zip(found["pyarrow alone"], times, strict=True))
        print(
            f"  {name:<26}{speed:>8.2f} GB/s{statistics.median(times) / expected * 1e6:>9.1f} us a batch{ratio:>7.2f} x"
        )
    wal.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--mebibytes", type=int, default=256)
    parser.add_argument("--directory", type=Path, default=os.environ.get("BENCHMARK_DIRECTORY", "/var/tmp"))
    options = parser.parse_args()
    print(f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} CPUs, {options.rounds} rounds")
    for size_bytes, part in SHARE.items():
        with tempfile.TemporaryDirectory(dir=options.directory) as folder:
            measure(Path(folder), size_bytes, (options.mebibytes << 20) // part, options.rounds)


if __name__ == "__main__":
    main()
