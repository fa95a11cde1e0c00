"""Bugs of compressed rows, planted by hand: each does what its row says, and the engine that is not killed goes on."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from crashmatrix import faults
from crashmatrix.reference_wal import EngineOptions, ReferenceWalError, StorageEngine
from crashmatrix.reference_wal.delta import commit as delta_commit
from crashmatrix.reference_wal.delta.commit import DeltaStore
from crashmatrix.reference_wal.flusher import Pace
from crashmatrix.reference_wal.table import Table
from crashmatrix.scenarios.systems.reference.mutation.planting import compressed
from crashmatrix.scenarios.systems.reference.switched import SCHEMA, batch_of, batches_in

Plant = Callable[[Any, str, Callable[[Any], Any]], None]


def opened(root: Path, *, budget: int = 1 << 20, wal: bool = True) -> StorageEngine:
    """Each batch is a generation; a table is idle at once."""
    options = EngineOptions(
        segment_bytes_max=1, generation_bytes_max=80, compressed_bytes_max=budget, idle_seconds=3600, clock=lambda: 0.0
    )
    engine = StorageEngine.open(root, wal, options=options)
    if "t" not in engine.tables:
        engine.create_table("t", SCHEMA, timestamp="timestamp", tags=["station"])
        engine.ingest("t", batch_of(0))
        engine.ingest("t", batch_of(1))
    return engine


def found(root: Path) -> list[int] | str:
    """Return the batches that a reopened engine finds, or the error."""
    try:
        with StorageEngine.open(root) as engine:
            return batches_in(engine.read("t"), "t")
    except ReferenceWalError as error:
        return type(error).__name__


def stopped(root: Path, point: str, **options: Any) -> list[int] | str:
    """Stop in a flush as a kill would; return what is found then."""
    engine = opened(root, **options)
    with faults.scenario(f"{point}=panic"), suppress(faults.Panic):
        engine.flush()
    engine.close()
    return found(root)


@pytest.fixture
def plant(monkeypatch: pytest.MonkeyPatch) -> Plant:
    def replace(owner: Any, name: str, make: Callable[[Any], Any]) -> None:
        monkeypatch.setattr(owner, name, make(getattr(owner, name)))

    return replace


@pytest.mark.parametrize(
    ("owner", "method", "bug"),
    [
        (Table, "_keep", compressed.retired),
        (Pace, "_finish", compressed.unmarked),
        (Table, "save", compressed.newest_first),
        (Table, "switch_log", compressed.left_compressed),
        (Table, "_save", compressed.dropped_on_error),
        (DeltaStore, "commit", compressed.last_synced),
    ],
)
def test_undisturbed(owner: Any, method: str, bug: Callable[[Any], Any], plant: Plant, tmp_path: Path) -> None:
    """Without a crash nothing is lost, so only a crash can show the bug."""
    plant(owner, method, bug)
    with opened(tmp_path, budget=1500) as engine:
        engine.ingest("t", batch_of(2))
        engine.switch_log(False, "t")
        engine.switch_log(True, "t")
        engine.ingest("t", batch_of(3))
        engine.flush()
        assert batches_in(engine.read("t"), "t") == [0, 1, 2, 3]
    assert found(tmp_path) == [0, 1, 2, 3]


def test_the_log_forgets(plant: Plant, tmp_path: Path) -> None:
    """Segments are gone once their batches are compressed, and only then."""
    plant(Table, "_keep", compressed.retired)
    assert stopped(tmp_path, "commit.parquet.before_write") == "LogCorrupted"


def test_the_first_marker(plant: Plant, tmp_path: Path) -> None:
    """A commit of two generations says that it has the first one only."""
    plant(DeltaStore, "commit", compressed.marker_of_first)
    assert stopped(tmp_path, "engine.flush.before_retire") == [0, 1, 1]


def test_the_newest_first(plant: Plant, tmp_path: Path) -> None:
    """Between the two commits the marker covers batches that are in none."""
    plant(Table, "save", compressed.newest_first)
    engine = opened(tmp_path)
    with faults.scenario("commit.parquet.before_write=1*off->panic"), pytest.raises(faults.Panic):
        engine.close()
    assert found(tmp_path) == [1]


def test_no_marker_for_idle_rows(plant: Plant, tmp_path: Path) -> None:
    """Idle rows are in Delta, and come back from the log as well."""
    plant(Pace, "_finish", compressed.unmarked)
    with opened(tmp_path) as engine:
        engine.flush()
        engine.change_options(generation_bytes_max=1 << 20)
        engine.ingest("t", batch_of(2))
        engine._tables["t"].touched = -3600.0
        engine.finish_idle()
        assert batches_in(engine.read("t"), "t") == [0, 1, 2]
    assert found(tmp_path) == [0, 1, 2, 2]


def test_a_switch_leaves_them(plant: Plant, tmp_path: Path) -> None:
    """After the switch the rows are in memory only."""
    plant(Table, "switch_log", compressed.left_compressed)
    with opened(tmp_path) as engine:
        engine.switch_log(False, "t")
        assert (engine.files("t"), batches_in(engine.read("t"), "t")) == ([], [0, 1])


def test_dropped_on_error(plant: Plant, tmp_path: Path) -> None:
    """A commit that fails takes the rows with it, and the next one passes over them."""
    plant(Table, "_save", compressed.dropped_on_error)
    with opened(tmp_path) as engine:
        with faults.scenario("commit.parquet.before_write=raise(EIO)"):
            engine.flush()
        engine.ingest("t", batch_of(2))
        engine.flush()
    assert found(tmp_path) == [2]


def test_the_last_file_is_synced(plant: Plant, tmp_path: Path) -> None:
    """One of two files is synced, the last one; the step is as it was afterwards."""
    original, synced = delta_commit.SYNC_PARQUET, list[str]()

    def noting(fsync: Callable[[int], None]) -> Callable[[int], None]:
        def note(descriptor: int) -> None:
            synced.append(Path(f"/proc/self/fd/{descriptor}").readlink().name)
            fsync(descriptor)

        return note

    plant(DeltaStore, "commit", compressed.last_synced)
    plant(os, "fsync", noting)
    with opened(tmp_path) as engine:
        engine.flush()
        assert [name for name in synced if name.endswith(".parquet")] == [engine.files("t")[-1].name]
    assert delta_commit.SYNC_PARQUET is original
