"""Appends a second: the reference log beside bare loops of write and fdatasync, and beside other stores, on the same payloads.

    python -m benchmarks.append [--rounds N] [--directory DIR]

Each append is durable before the next one begins. The bare loops write as many bytes as the log does; "zero-filled" is a file
filled with zeros, and synced, before the clock starts, and so is the segment of the log "filled at creation"; otherwise the log
fills its own while it runs. The stores get the batch's Arrow message as a value: SQLite (WAL, synchronous=FULL, one INSERT a
commit), LMDB (defaults), RocksDB and LevelDB (sync=True).

The variants run interleaved, round after round, in fresh files on the same disk (``--directory``), so that a change of the
machine's speed meets all of them; printed are medians over the rounds, the smallest and the largest, and as a ratio the
median of the rounds' own ratios to the bare growing file.
"""

from __future__ import annotations

import argparse
import importlib
import os
import sqlite3
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from pathlib import Path

import pyarrow as pa

from crashmatrix.reference_wal.log.segment_writer import PREALLOCATE_BYTES
from crashmatrix.reference_wal.log.segments.segment import Codec, SegmentEncoder, SegmentHeader
from crashmatrix.reference_wal.log.write_ahead_log import SEGMENT_BYTES_MAX, WriteAheadLog

APPENDS = {1024: 1000, 64 * 1024: 300, 1024 * 1024: 60}
"""How many appends a round makes, by the bytes of a batch's values."""
THREADS, EACH_THREAD = 8, 250
BASE = "bare loop, growing file"
SCHEMA = pa.schema([("timestamp", pa.timestamp("us")), ("value", pa.float64())])

Append = Callable[[], object]
Variant = Callable[[Path, pa.RecordBatch], AbstractContextManager[Append]]


def batch_of(size_bytes: int) -> pa.RecordBatch:
    rows = size_bytes // 16
    values = pa.Array.from_buffers(pa.float64(), rows, [None, pa.py_buffer(os.urandom(8 * rows))])
    return pa.record_batch([pa.array(range(rows), pa.timestamp("us")), values], schema=SCHEMA)


@contextmanager
def log(folder: Path, batch: pa.RecordBatch, preallocate_bytes: int = PREALLOCATE_BYTES) -> Iterator[Append]:
    wal = WriteAheadLog(folder, preallocate_bytes=preallocate_bytes)
    wal.create_table_log("t", SCHEMA)
    yield partial(wal.append, "t", batch)
    wal.close()


@contextmanager
def bare(folder: Path, batch: pa.RecordBatch, *, filled: bool) -> Iterator[Append]:
    size = len(Codec(SCHEMA).encode(batch)) + SegmentEncoder(SCHEMA, SegmentHeader("", "", 0)).form.size
    record = os.urandom(size)
    fd = os.open(folder / "file", os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC)
    for _ in range(APPENDS[batch.nbytes] + 1 if filled else 0):
        os.write(fd, bytes(size))
    os.fsync(fd)
    os.lseek(fd, 0, os.SEEK_SET)

    def append() -> None:
        os.write(fd, record)
        os.fdatasync(fd)

    yield append
    os.close(fd)


@contextmanager
def sqlite(folder: Path, batch: pa.RecordBatch) -> Iterator[Append]:
    value = Codec(SCHEMA).encode(batch).to_pybytes()
    db = sqlite3.connect(folder / "rows.db", isolation_level=None)
    db.execute("PRAGMA journal_mode=wal")
    db.execute("PRAGMA synchronous=full")
    db.execute("CREATE TABLE rows (number INTEGER PRIMARY KEY, value BLOB)")
    yield lambda: db.execute("INSERT INTO rows (value) VALUES (?)", (value,))
    db.close()


@contextmanager
def lmdb(folder: Path, batch: pa.RecordBatch) -> Iterator[Append]:
    value, keys = Codec(SCHEMA).encode(batch).to_pybytes(), iter(range(10**9))
    env = importlib.import_module("lmdb").open(str(folder), map_size=2**32)

    def append() -> None:
        with env.begin(write=True) as transaction:
            transaction.put(b"%010d" % next(keys), value, append=True)

    yield append
    env.close()


@contextmanager
def rocksdb(folder: Path, batch: pa.RecordBatch) -> Iterator[Append]:
    rocksdict = importlib.import_module("rocksdict")
    value, keys = Codec(SCHEMA).encode(batch).to_pybytes(), iter(range(10**9))
    db = rocksdict.Rdict(str(folder / "db"), rocksdict.Options(raw_mode=True))
    synced = rocksdict.WriteOptions()
    synced.sync = True
    yield lambda: db.put(b"%010d" % next(keys), value, write_opt=synced)
    db.close()


@contextmanager
def leveldb(folder: Path, batch: pa.RecordBatch) -> Iterator[Append]:
    value, keys = Codec(SCHEMA).encode(batch).to_pybytes(), iter(range(10**9))
    db = importlib.import_module("plyvel").DB(str(folder / "db"), create_if_missing=True)
    yield lambda: db.put(b"%010d" % next(keys), value, sync=True)
    db.close()


VARIANTS: dict[str, Variant] = {
    BASE: partial(bare, filled=False),
    "bare loop, zero-filled file": partial(bare, filled=True),
    "reference log": log,
    "reference log, filled at creation": partial(log, preallocate_bytes=SEGMENT_BYTES_MAX),
    "reference log, no zeros": partial(log, preallocate_bytes=0),
    "SQLite": sqlite,
    "LMDB": lmdb,
    "RocksDB": rocksdb,
    "LevelDB": leveldb,
}
PACKAGES = {"LMDB": "lmdb", "RocksDB": "rocksdict", "LevelDB": "plyvel"}


def available() -> dict[str, Variant]:
    """The variants whose packages are installed; the others are named."""
    found = dict(VARIANTS)
    for name, package in PACKAGES.items():
        try:
            importlib.import_module(package)
        except ImportError as error:
            print(f"not measured: {name} ({error})")
            del found[name]
    return found


def rate(variant: Variant, parent: Path, batch: pa.RecordBatch, appends: int) -> float:
    """Appends a second."""
    with tempfile.TemporaryDirectory(dir=parent) as folder, variant(Path(folder), batch) as append:
        append()
        begun = time.perf_counter()
        for _ in range(appends):
            append()
        return appends / (time.perf_counter() - begun)


def rate_of_threads(parent: Path, batch: pa.RecordBatch, threads: int) -> float:
    """Appends a second of so many threads into one log."""
    with tempfile.TemporaryDirectory(dir=parent) as folder, log(Path(folder), batch) as append:
        together = threading.Barrier(threads + 1)

        def work() -> None:
            together.wait()
            for _ in range(EACH_THREAD):
                append()

        running = [threading.Thread(target=work) for _ in range(threads)]
        for thread in running:
            thread.start()
        together.wait()
        begun = time.perf_counter()
        for thread in running:
            thread.join()
        return threads * EACH_THREAD / (time.perf_counter() - begun)


def show(name: str, rates: list[float], base: list[float]) -> None:
    ratio = statistics.median(own / its for own, its in zip(rates, base, strict=True))
    print(f"  {name:<30}{statistics.median(rates):>10.0f}{min(rates):>10.0f}{max(rates):>10.0f}{ratio:>8.2f}")


def print_table(title: str, rates: dict[str, list[float]], base: str) -> None:
    print(f"{title:<32}{'appends/s':>10}{'min':>10}{'max':>10}{'x base':>8}")
    for name, found in rates.items():
        show(name, found, rates[base])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--directory", type=Path, default=os.environ.get("BENCHMARK_DIRECTORY", "/var/tmp"))
    options = parser.parse_args()
    variants = available()
    print(f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} CPUs, {options.rounds} rounds")
    for size, appends in APPENDS.items():
        batch, rates = batch_of(size), {name: list[float]() for name in variants}
        for _ in range(options.rounds):
            for name, variant in variants.items():
                rates[name].append(rate(variant, options.directory, batch, appends))
        print_table(f"{size // 1024} KiB a batch", rates, BASE)
    small, by_threads = batch_of(1024), {f"{count} threads, one log": list[float]() for count in (1, THREADS)}
    for _ in range(options.rounds):
        for name, found in by_threads.items():
            found.append(rate_of_threads(options.directory, small, int(name.partition(" ")[0])))
    print_table("1 KiB a batch", by_threads, next(iter(by_threads)))


if __name__ == "__main__":
    main()
