"""Small Delta tables that the tests of this folder share."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa

from crashmatrix.reference_wal import EngineOptions
from crashmatrix.reference_wal.buffers import Generation
from crashmatrix.reference_wal.delta.commit import DeltaStore, TableProperties
from crashmatrix.reference_wal.delta.compressed_buffer import Compressed
from crashmatrix.reference_wal.delta.compression import compress
from crashmatrix.reference_wal.delta.folder import give_name
from tests.reference_wal.support import SCHEMA, batch

APPLICATION = "log/t"


PROPERTIES = TableProperties(timestamp="timestamp", tags=["station"], identity="log", logged=True, arrow="")


KEEP_SEGMENTS = EngineOptions(segment_bytes_max=1 << 20)
"""The log holds every batch of a session until it is reopened."""


def store(root: Path, commits: int = 0) -> DeltaStore:
    """Return a table with a commit of one row for each batch 0, 1, ..."""
    DeltaStore.make_unfinished(root / "t", SCHEMA, PROPERTIES)
    give_name(root / "t")
    made = DeltaStore(root / "t")
    for number in range(commits):
        commit(made, number, number)
    return made


def commit(table: DeltaStore, lo: int, hi: int) -> None:
    rows = pa.Table.from_batches([batch(*range(lo, hi + 1))])
    generation = Generation(lo, hi, rows.to_batches())
    parquet, count = compress(generation, timestamp="timestamp", tags=["station"])
    table.commit([Compressed.of(generation, parquet, count)], application=APPLICATION)


def json_of(root: Path, version: int) -> Path:
    return root / "t" / "_delta_log" / f"{version:020d}.json"


def unsealed(file: Path) -> None:
    """Make a commit look as deltalake wrote it before commits had checksums."""
    first, *others = [json.loads(line) for line in file.read_bytes().splitlines()]
    first["commitInfo"].pop("checksum", None)
    first["commitInfo"]["engineInfo"] = "delta-rs:py-1.6.6"
    file.write_text("\n".join(json.dumps(line) for line in (first, *others)))
