"""Tables with older checkpoints are read; one that ignores a torn checkpoint, or a gap, is found."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest

from crashmatrix.reference_wal import EngineOptions, StorageEngine
from crashmatrix.reference_wal.delta import checkpoint
from crashmatrix.reference_wal.errors import TableCorrupted
from crashmatrix.scenarios.errors import PromiseBroken
from crashmatrix.scenarios.systems.reference.oracle.older import read_older, refuse_two

SCHEMA = pa.schema([pa.field("at", pa.int64(), nullable=False)])
ROWS = [*range(10)]


def look(root: Path) -> object:
    with StorageEngine.open(root, False, options=EngineOptions(checkpoint_commits=3)) as engine:
        return sorted(engine.read("t")["at"].to_pylist())


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("engine")
    with StorageEngine.open(root, False, options=EngineOptions(checkpoint_commits=3)) as engine:
        engine.create_table("t", SCHEMA, timestamp="at")
        for row in ROWS:
            engine.ingest("t", pa.record_batch([[row]], schema=SCHEMA))
            engine.flush()
    return root


def test_the_engine_keeps_its_promise(root: Path) -> None:
    """In a folder with two checkpoints, and in one with none."""
    read_older(root, look, ROWS)
    refuse_two(root, look)
    read_older(root / "tables", look, ROWS)
    refuse_two(root / "tables", look)


def test_checkpoints_that_are_not_read(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """None counts without a proof, or each does, torn or not."""
    monkeypatch.setattr(checkpoint, "_is_parquet", lambda _: False)
    with pytest.raises(PromiseBroken, match="opening a copy whose checkpoints have no proofs raised TableCorrupted"):
        read_older(root, look, ROWS)
    monkeypatch.setattr(checkpoint, "_is_parquet", lambda _: True)
    with pytest.raises(PromiseBroken, match=r"have no proofs, and tables/t/.*parquet is torn"):
        read_older(root, look, ROWS)
    with pytest.raises(PromiseBroken, match="have no proofs, and other rows were returned"):
        read_older(root, lambda _: [], ROWS)


def test_a_gap_that_nobody_sees(root: Path) -> None:
    """The error names the checkpoint, and there is one."""
    with pytest.raises(PromiseBroken, match=r"is torn, and .*json is gone, and nobody noticed"):
        refuse_two(root, lambda _: None)

    def refuse(copy: Path) -> None:
        raise TableCorrupted(copy / "tables" / "t", "not readable")

    with pytest.raises(PromiseBroken, match="raised TableCorrupted"):
        refuse_two(root, refuse)


def test_a_gap_further_on(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An engine that looks for the first commits behind a checkpoint only does not see that the last but one is gone."""
    readable = checkpoint._readable_without

    def first_only(log: Path, found: list[Path]) -> bool:
        versions = sorted(int(file.stem) for file in log.glob("*.json"))
        start = checkpoint.newest_version(log, without=found)
        return readable(log, found) or {start + 1} <= set(versions)

    monkeypatch.setattr(checkpoint, "_readable_without", first_only)
    with pytest.raises(PromiseBroken, match=r"is torn, and .*json is gone"):
        refuse_two(root, look)
