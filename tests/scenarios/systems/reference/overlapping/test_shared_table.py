"""Batches are found again whole, as often as they are there; a file that changes shows."""

from __future__ import annotations

import os
from pathlib import Path

import pyarrow as pa
import pytest

from crashmatrix.reference_wal import StorageEngine
from crashmatrix.scenarios.errors import PromiseBroken
from crashmatrix.scenarios.systems.reference.overlapping.shared_table import (
    LARGE,
    SCHEMA,
    SMALL,
    TABLE,
    batch_of,
    batches_in,
    files_in,
    moved_in,
    numbers_in,
)


def test_batches_are_found_again(tmp_path: Path) -> None:
    """In the table and where rows were moved to; no table and no place have none."""
    with StorageEngine.open(tmp_path / "engine") as engine:
        assert (batches_in(engine), moved_in(tmp_path / "moved", {})) == (None, [])
        engine.create_table(TABLE, SCHEMA, timestamp="at", tags=["name"])
        for number, rows in ((3, LARGE), (1, SMALL)):
            engine.ingest(TABLE, batch_of(number, rows))
        assert batches_in(engine) == [1, 3]
        engine.flush()
        engine.transfer(TABLE, tmp_path / "moved")
        assert (batches_in(engine), sorted(moved_in(tmp_path / "moved", {}))) == ([], [1, 3])


def test_batches_that_are_not_whole() -> None:
    """A batch twice is found twice; rows that are missing, or of another name, are not taken for a batch."""
    small, large = batch_of(1, SMALL), batch_of(2, LARGE)
    assert numbers_in(pa.Table.from_batches([small, large, small])) == [1, 1, 2]
    other = small.set_column(2, "name", batch_of(7, SMALL)["name"])
    for rows in (large.slice(0, LARGE - 1), small.slice(1), other):
        with pytest.raises(PromiseBroken):
            numbers_in(pa.Table.from_batches([rows]))


def test_files(tmp_path: Path) -> None:
    """A file that is new, gone, longer or written once more."""
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "file").write_bytes(b"1")
    before = files_in(tmp_path)
    assert before == files_in(tmp_path)
    os.utime(tmp_path / "folder" / "file", ns=(5, 5))
    assert files_in(tmp_path) != before
    (tmp_path / "folder" / "file").unlink()
    assert set(files_in(tmp_path)) == {"folder"}
