"""Bugs of overlapping calls, planted by hand: each does what its row says, and nothing shows while calls come one by one."""

from __future__ import annotations

import errno
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from crashmatrix import faults
from crashmatrix.reference_wal import StorageEngine, TableCorrupted
from crashmatrix.reference_wal.access.health import Health
from crashmatrix.reference_wal.access.table_access import TableAccess
from crashmatrix.reference_wal.table import Table
from crashmatrix.scenarios.systems.reference.mutation.planting import threads
from tests.reference_wal.support import SCHEMA, batch, numbers

BUGS = [
    (TableAccess, "__init__", threads.readers_ignored),
    (TableAccess, "changing", threads.checked_before_waiting),
    (TableAccess, "changing", threads.poisoned_late),
    (Health, "refuse_changes", threads.closed_all_the_same),
    (Table, "_seal", threads.sealed_all_the_same),
    (Table, "switch_log", threads.switched_amid_appends),
]

Plant = Callable[[type, str, Callable[[Any], Any]], None]


@pytest.fixture
def plant(monkeypatch: pytest.MonkeyPatch) -> Plant:
    return lambda owner, name, make: monkeypatch.setattr(owner, name, make(getattr(owner, name)))


def opened(root: Path) -> StorageEngine:
    engine = StorageEngine.open(root)
    engine.create_table("t", SCHEMA, timestamp="timestamp")
    engine.ingest("t", batch(0.0))
    return engine


@pytest.mark.parametrize(("owner", "name", "bug"), BUGS)
def test_one_by_one(owner: type, name: str, bug: Callable[[Any], Any], plant: Plant, tmp_path: Path) -> None:
    """Rows are flushed, truncated and kept through a switch as they should be."""
    plant(owner, name, bug)
    with opened(tmp_path) as engine:
        engine.flush()
        engine.truncate("t")
        engine.ingest("t", batch(1.0))
        engine.switch_log(False, "t")
        engine.switch_log(True, "t")
        assert numbers(engine.read("t")) == [1.0]
    with StorageEngine.open(tmp_path) as engine:
        assert numbers(engine.read("t")) == [1.0]


def test_the_marker_covers_what_failed(plant: Plant, tmp_path: Path) -> None:
    """A flush that waited for one that failed commits its own batch, and the log is taken to owe nothing before it."""
    plant(TableAccess, "changing", threads.checked_before_waiting)
    plant(Table, "_seal", threads.sealed_all_the_same)
    waited, here, checked = list[Future[None]](), threading.get_ident(), threading.Event()

    def noted(original: Callable[[TableAccess], None]) -> Callable[[TableAccess], None]:
        def refuse(self: TableAccess) -> None:
            original(self)
            if threading.get_ident() != here:
                checked.set()

        return refuse

    def fail(point: faults.FailPoint, _: int) -> None:
        if point.name == "compress.before_encode" and threading.get_ident() == here:
            engine.ingest("t", batch(1.0))
            waited.append(pool.submit(engine.flush))
            checked.wait()
            raise OSError(errno.EIO, "the disk failed")

    plant(TableAccess, "refuse_if_unusable", noted)

    engine = opened(tmp_path)
    with ThreadPoolExecutor() as pool:
        faults.observe(fail)
        with pytest.raises(OSError, match="the disk failed"):
            engine.flush()
        faults.observe(None)
    waited[0].result()
    engine.close()
    with StorageEngine.open(tmp_path) as engine:
        assert numbers(engine.read("t")) == [1.0]


def test_a_batch_that_comes_too_early(plant: Plant, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A batch that waited for a switch of the log that fails is acknowledged, into a log that the next opening removes."""
    plant(TableAccess, "changing", threads.poisoned_late)
    ingested, note = list[Future[int]](), Health.note

    def fail(point: faults.FailPoint, _: int) -> None:
        if point.name == "engine.switch.before_stop":
            ingested.append(pool.submit(engine.ingest, "t", batch(1.0)))
            raise OSError(errno.EIO, "the disk failed")

    def late(health: Health, error: BaseException) -> None:
        ingested[0].result()
        note(health, error)

    monkeypatch.setattr(Health, "note", late)
    engine = opened(tmp_path)
    with ThreadPoolExecutor() as pool:
        faults.observe(fail)
        with pytest.raises(OSError, match="the disk failed"):
            engine.switch_log(False, "t")
        faults.observe(None)
    engine.close()
    with pytest.raises(TableCorrupted, match="says it has no log"):
        StorageEngine.open(tmp_path)


def test_a_batch_in_a_log_that_goes(plant: Plant, tmp_path: Path) -> None:
    """A batch that was acknowledged amid a switch is in a log that the table does not know of."""
    plant(Table, "switch_log", threads.switched_amid_appends)
    engine = opened(tmp_path)

    def kill(point: faults.FailPoint, _: int) -> None:
        if point.name == "commit.delta.before_transact" and engine.unpersisted("t") == []:
            engine.ingest("t", batch(1.0))
        if point.name == "engine.switch.before_stop":
            raise faults.Panic(point.name)

    engine.flush()
    faults.observe(kill)
    with pytest.raises(faults.Panic):
        engine.switch_log(False, "t")
    faults.observe(None)
    engine.close()
    with pytest.raises(TableCorrupted, match="says it has no log"):
        StorageEngine.open(tmp_path)
