"""Bugs of whole tables, planted by hand: each does what its row says."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest

from crashmatrix.reference_wal import EngineOptions, StorageEngine
from crashmatrix.reference_wal.delta import checkpoint
from crashmatrix.reference_wal.delta.commit import DeltaStore, TableProperties
from crashmatrix.reference_wal.table import Table
from crashmatrix.scenarios.systems.reference.mutation.planting import tables

SCHEMA = pa.schema([("time", pa.timestamp("us")), ("value", pa.float64())])


def rows(value: float) -> pa.RecordBatch:
    return pa.RecordBatch.from_arrays([pa.array([int(value)], pa.timestamp("us")), pa.array([value])], schema=SCHEMA)


def opened(root: Path, *, wal: bool = True) -> StorageEngine:
    engine = StorageEngine.open(root, wal, options=EngineOptions(memory_bytes_max=1))
    if "t" not in engine.tables:
        engine.create_table("t", SCHEMA, timestamp="time")
    return engine


@pytest.mark.parametrize("drop", [tables.drop_log_first, tables.drop_in_place])
def test_undisturbed_a_table_is_dropped_all_the_same(
    drop: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The bug shows in a crash only."""
    monkeypatch.setattr(Table, "drop", drop(Table.drop))  # type: ignore[operator]
    with opened(tmp_path) as engine:
        engine.ingest("t", rows(1.0))
        engine.flush()
        engine.drop_table("t")
    with StorageEngine.open(tmp_path) as engine:
        assert engine.tables == []


def test_every_second_flush(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first flush commits nothing, the second one commits what both should have."""
    monkeypatch.setattr(Table, "flush", tables.one_behind(Table.flush))
    with opened(tmp_path) as engine:
        engine.ingest("t", rows(1.0))
        engine.flush()
        assert engine.files("t") == []
        engine.ingest("t", rows(2.0))
        engine.flush()
        assert len(engine.files("t")) == 1


def test_a_marker_that_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A truncation leaves the marker where it was; the rows are gone."""
    monkeypatch.setattr(DeltaStore, "clear", tables.marker_stays(DeltaStore.clear))
    with opened(tmp_path, wal=False) as engine:
        engine.ingest("t", rows(1.0))
        engine.flush()
        engine.ingest("t", rows(2.0))
        engine.truncate("t")
        assert engine.read("t").num_rows == 0
    with opened(tmp_path, wal=False) as engine:
        assert engine.ingest("t", rows(3.0)) == 1  # 2 if the marker had moved


def test_a_checksum_that_always_fits() -> None:
    """Every content has the same checksum."""
    fits = tables.always_fits(None)
    assert fits(b"one", "x") == fits(b"another", "y")


def test_a_sender_without_a_name() -> None:
    """Every transfer is another sender's."""
    seen: list[tuple[str, int]] = []
    tables.unnumbered(lambda name, number: seen.append((name, number)))("log/t", 3)
    assert seen == [("nobody", 3)]


def test_one_checkpoint_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The table is there all the same, with one checkpoint and the commits since."""
    monkeypatch.setattr(checkpoint, "clean_up", tables.one_checkpoint(checkpoint.clean_up))
    with StorageEngine.open(tmp_path, options=EngineOptions(checkpoint_commits=2)) as engine:
        engine.create_table("t", SCHEMA, timestamp="time")
        for number in range(5):
            engine.ingest("t", rows(float(number)))
            engine.flush()
    assert len([*(tmp_path / "tables" / "t" / "_delta_log").glob("*.checkpoint.parquet")]) == 1
    with opened(tmp_path) as engine:
        assert engine.read("t").num_rows == 5


def test_a_schema_without_metadata(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The table is made, and rows come back, without it."""
    monkeypatch.setattr(TableProperties, "made", tables.bare_schema(TableProperties.made))
    with StorageEngine.open(tmp_path) as engine:
        engine.create_table("t", SCHEMA.with_metadata({"made by": "us"}), timestamp="time")
        engine.ingest("t", rows(1.0))
        assert engine.read("t").schema.equals(SCHEMA, check_metadata=True)
