"""Bugs of switches and options, planted by hand: each does what its row says, and the engine that is not killed goes on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from crashmatrix import faults
from crashmatrix.reference_wal import EngineOptions, LogCorrupted, OptionsCorrupted, StorageEngine, settings
from crashmatrix.reference_wal.delta.commit import DeltaStore
from crashmatrix.reference_wal.log.table_logs import TableLogs
from crashmatrix.reference_wal.opening import HealedTable
from crashmatrix.reference_wal.settings import Settings
from crashmatrix.reference_wal.table import Table
from crashmatrix.scenarios.systems.reference.mutation.planting import switches

SCHEMA = pa.schema([("time", pa.timestamp("us")), ("value", pa.float64())])

Plant = Callable[[Any, str, Callable[[Any], Any]], None]


def rows(value: float) -> pa.RecordBatch:
    return pa.RecordBatch.from_arrays([pa.array([int(value)], pa.timestamp("us")), pa.array([value])], schema=SCHEMA)


def opened(root: Path, *, wal: bool = True) -> StorageEngine:
    engine = StorageEngine.open(root, wal, options=EngineOptions())
    if "t" not in engine.tables:
        engine.create_table("t", SCHEMA, timestamp="time")
        engine.ingest("t", rows(0.0))
    return engine


def found(root: Path) -> int:
    with StorageEngine.open(root) as engine:
        return int(engine.read("t").num_rows)


@pytest.fixture
def plant(monkeypatch: pytest.MonkeyPatch) -> Plant:
    def replace(owner: Any, name: str, make: Callable[[Any], Any]) -> None:
        monkeypatch.setattr(owner, name, make(getattr(owner, name)))

    return replace


def killed(root: Path, point: str, on: bool) -> None:
    """Switch the log, and stop at a failpoint as a kill would."""
    engine = opened(root, wal=not on)
    with faults.scenario(f"{point}=panic"), pytest.raises(faults.Panic):
        engine.switch_log(on, "t")
    engine.close()


ORDERS = [
    ("switch_log", switches.stopped_before_committed, False, "wal.remove_table.after_rename"),
    ("_switch_off", switches.stopped_before_said, False, "wal.remove_table.after_rename"),
    ("_switch_on", switches.said_before_made, True, "engine.switch.before_start"),
]


@pytest.mark.parametrize(("method", "bug", "on", "point"), ORDERS)
def test_a_wrong_order(
    method: str, bug: Callable[[Any], Any], on: bool, point: str, plant: Plant, tmp_path: Path
) -> None:
    """Undisturbed, the log is switched and every row is there; stopped in between, the table says it has a log that is gone."""
    plant(Table, method, bug)
    with opened(tmp_path / "whole", wal=not on) as engine:
        engine.switch_log(on, "t")
        assert engine.has_log("t") == on
    assert found(tmp_path / "whole") == 1
    killed(tmp_path / "killed", point, on)
    with pytest.raises(LogCorrupted):
        StorageEngine.open(tmp_path / "killed")


def test_what_waits_is_left(plant: Plant, tmp_path: Path) -> None:
    """Switching commits nothing, and afterwards all goes on as ever."""
    plant(Table, "switch_log", switches.uncommitted)
    with opened(tmp_path) as engine:
        engine.switch_log(False, "t")
        assert (engine.files("t"), engine.read("t").num_rows) == ([], 1)
        engine.flush()
        assert len(engine.files("t")) == 1


def test_a_log_from_zero(plant: Plant, tmp_path: Path) -> None:
    """A log that is switched on gives out ids that the table has given out before."""
    plant(TableLogs, "start", switches.from_zero)
    with opened(tmp_path, wal=False) as engine:
        engine.switch_log(True, "t")
        assert engine._tables["t"].log.next_id == 0


def test_an_unknown_log_is_kept(plant: Plant, tmp_path: Path) -> None:
    """A log that a switch left is not removed; its table goes on without it."""
    plant(HealedTable, "row", switches.unknown_log_kept)
    killed(tmp_path, "engine.switch.before_stop", on=False)
    with opened(tmp_path) as engine:
        assert ((tmp_path / "wal" / "t").exists(), engine.has_log("t")) == (True, False)


def test_a_switch_without_its_syncs(plant: Plant, tmp_path: Path) -> None:
    """The failpoints of the commit are passed as ever, and nothing is synced at them."""
    plant(DeltaStore, "set_logged", switches.said_unsynced)
    with opened(tmp_path) as engine:
        engine.switch_log(False, "t")
    assert found(tmp_path) == 1


def test_options_in_place(plant: Plant, tmp_path: Path) -> None:
    """Undisturbed, the options are set; stopped before they are written, the file is empty."""
    plant(settings, "FILE", switches.in_place)
    made = Settings(tmp_path, {})
    made.change({"memory_bytes_max": 5})
    assert dict(Settings.read(tmp_path).values) == {"memory_bytes_max": 5}
    with faults.scenario("options.file.before_write=panic"), pytest.raises(faults.Panic):
        made.change({"memory_bytes_max": 6})
    with pytest.raises(OptionsCorrupted):
        Settings.read(tmp_path)


def test_options_forgotten(plant: Plant, tmp_path: Path) -> None:
    """The file has the last change only; the running engine knows all of them."""
    plant(Settings, "change", switches.forgotten)
    made = Settings(tmp_path, {})
    made.change({"memory_bytes_max": 5})
    made.change({"segment_bytes_max": 6})
    assert dict(made.values) == {"memory_bytes_max": 5, "segment_bytes_max": 6}
    assert dict(Settings.read(tmp_path).values) == {"segment_bytes_max": 6}


def test_a_name_without_its_sync(plant: Plant, tmp_path: Path) -> None:
    """The options are set; only the last step differs."""
    original = settings.FILE
    plant(settings, "FILE", switches.unsynced_name)
    assert (settings.FILE.sync, settings.FILE.rename) == (original.sync, original.rename)
    assert settings.FILE.sync_folder is not original.sync_folder
    Settings(tmp_path, {}).change({"memory_bytes_max": 5})
    assert dict(Settings.read(tmp_path).values) == {"memory_bytes_max": 5}


def test_a_switch_with_nothing_to_do(plant: Plant, tmp_path: Path) -> None:
    """A log that is off is not switched off again, and what waits is not committed."""
    plant(Table, "switch_log", switches.nothing_to_do)
    with opened(tmp_path) as engine:
        engine.switch_log(False, "t")
        assert len(engine.files("t")) == 1
        engine.ingest("t", rows(1.0))
        engine.switch_log(False, "t")
        assert len(engine.files("t")) == 1


def test_none_is_forgotten(plant: Plant, tmp_path: Path) -> None:
    """An option that is set to none is not in the file; the others are."""
    plant(Settings, "change", switches.none_forgotten)
    made = Settings(tmp_path, {})
    made.change({"memory_bytes_max": 5, "idle_seconds": 2.5})
    made.change({"idle_seconds": None})
    assert dict(Settings.read(tmp_path).values) == {"memory_bytes_max": 5}
