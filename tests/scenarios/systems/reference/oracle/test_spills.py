"""Spill files that opening should have removed are found, whatever is in them."""

from __future__ import annotations

import shutil
from pathlib import Path

import pyarrow as pa
import pytest

from crashmatrix.reference_wal import EngineOptions, StorageEngine
from crashmatrix.scenarios.errors import PromiseBroken
from crashmatrix.scenarios.systems.reference.oracle.spills import check_spills

SCHEMA = pa.schema([pa.field("at", pa.int64(), nullable=False)])
COMMITTED = 3


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A folder with three batches in Delta and two in spill files."""
    root, aside = tmp_path / "engine", tmp_path / "aside"
    with StorageEngine.open(root, False, options=EngineOptions(memory_bytes_max=1)) as engine:
        engine.create_table("t", SCHEMA, timestamp="at")
        for row in range(COMMITTED + 2):
            engine.ingest("t", pa.record_batch([[row]], schema=SCHEMA))
            if row == COMMITTED - 1:
                engine.flush()
        shutil.copytree(root, aside)
    return aside


def spills(root: Path) -> list[Path]:
    return sorted((root / "spill" / "t").iterdir())


def test_files_that_follow(root: Path) -> None:
    """Those that are due, files of others, and a table without any."""
    assert len(spills(root)) == 2
    (root / "spill" / "t" / "notes.txt").touch()
    check_spills(root, "t")
    check_spills(root, "other")


@pytest.mark.parametrize("start", [0, COMMITTED - 1, COMMITTED + 1, COMMITTED + 9])
def test_a_file_too_many(start: int, root: Path) -> None:
    """One of rows that are in Delta, one that stands there twice, one behind a gap."""
    (root / "spill" / "t" / f"{start:020d}-{start:020d}-ffffffff.arrow").touch()
    with pytest.raises(PromiseBroken, match=r"is there, where a file from batch \d+ on is due"):
        check_spills(root, "t")


def test_a_file_too_few(root: Path) -> None:
    """The first is gone, so the second is of no use, and opening should have removed it."""
    spills(root)[0].unlink()
    with pytest.raises(PromiseBroken, match=f"from batch {COMMITTED} on is due"):
        check_spills(root, "t")


def test_a_table_without_commits(root: Path) -> None:
    """Its first batch is due."""
    for commit in (root / "tables" / "t" / "_delta_log").glob("*.json"):
        commit.unlink()
    with pytest.raises(PromiseBroken, match="from batch 0 on is due"):
        check_spills(root, "t")
