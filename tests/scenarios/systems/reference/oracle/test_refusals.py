"""Calls that must be refused are, each by an error of its kind; one that is not shows, and so does a file left open."""

from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from crashmatrix.reference_wal import StorageEngine, WriteAheadLog, engine as engine_module
from crashmatrix.reference_wal.errors import InvalidInput
from crashmatrix.reference_wal.log import batch_check, write_ahead_log
from crashmatrix.reference_wal.log.batch_check import BatchCheck
from crashmatrix.reference_wal.log.retention import Retention
from crashmatrix.reference_wal.log.segmented_log import SegmentedLog
from crashmatrix.scenarios.errors import PromiseBroken
from crashmatrix.scenarios.systems.reference.data import MAIN, SCRATCH, DataSet, numbered
from crashmatrix.scenarios.systems.reference.operations import ARCHIVE
from crashmatrix.scenarios.systems.reference.oracle.refusals import (
    compare_counters,
    let_go,
    nothing_behind,
    nothing_to_retire,
    read_meanwhile,
    refuse,
    refuse_to_log,
)


@pytest.fixture
def data(tmp_path: Path) -> DataSet:
    times = pa.array(range(300), pa.timestamp("us"))
    (tmp_path / "rows").mkdir()
    DataSet.store(numbered(pa.table({"at": times, "sensor": ["a"] * 300})), tmp_path / "rows", 0)
    return DataSet(tmp_path / "rows", 0, "at", ["sensor"])


def unchecked(*_: Any) -> None:
    """Check nothing."""


def refused_more(*_: Any, **__: Any) -> None:
    raise InvalidInput("whatever it is")


@pytest.mark.parametrize(
    ("place", "name", "instead", "said"),
    [
        (BatchCheck, "__call__", unchecked, "different schema"),
        (batch_check, "_null_in", lambda *_: "", "ingest.* was not refused"),
        (batch_check, "_validate_visible", unchecked, "ingest.* was not refused"),
        (engine_module, "check_changes", unchecked, "change_options"),
        (StorageEngine, "_table", refused_more, "by InvalidInput, not UnknownTable"),
    ],
)
def test_an_engine_refuses(
    place: Any, name: str, instead: Any, said: str, data: DataSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every call is refused; an engine that accepts one, or refuses it as another mistake, shows."""
    with StorageEngine.open(tmp_path / "engine") as engine:
        for table in (MAIN, SCRATCH):
            source = data.source(table)
            engine.create_table(table, source.schema, timestamp=source.timestamp, tags=source.tags)
        engine.ingest(MAIN, data.record_batch(data.batches[MAIN][0]))
        engine.flush()
        engine.transfer(MAIN, engine.root / ARCHIVE / MAIN)
        refuse(engine, data)
        assert engine.tables == [MAIN, SCRATCH]
        monkeypatch.setattr(place, name, instead)
        with pytest.raises((PromiseBroken, pa.ArrowInvalid), match=f"(?s){said}"):
            refuse(engine, data)


@pytest.mark.parametrize(
    ("place", "name", "instead", "said"),
    [
        (BatchCheck, "__call__", unchecked, "append"),
        (write_ahead_log, "check_table_name", unchecked, "create_table_log"),
    ],
)
def test_a_log_refuses(
    place: Any, name: str, instead: Any, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As an engine."""
    wal = WriteAheadLog(tmp_path, segment_bytes_max=1 << 20)
    schema = pa.schema([pa.field("number", pa.int64(), nullable=False)])
    wal.create_table_log("t", schema)
    wal.append("t", pa.record_batch([pa.array([1])], schema=schema))
    refuse_to_log(wal, "t", "unknown")
    monkeypatch.setattr(place, name, instead)
    with pytest.raises((PromiseBroken, pa.ArrowInvalid), match=said):
        refuse_to_log(wal, "t", "unknown")
    wal.close()


def test_batches_left_out_of_a_reading_show(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A reading that goes on while segments are retired returns whatever is left."""
    wal = WriteAheadLog(tmp_path, segment_bytes_max=1)
    schema = pa.schema([("number", pa.int64())])
    wal.create_table_log("t", schema)
    log = wal.log("t")
    for number in range(4):
        wal.append("t", pa.record_batch([pa.array([number])], schema=schema))
    with read_meanwhile(log):
        wal.mark_persisted("t", [1, 2])
    readings = iter([iter([(0, None)]), log.unpersisted()])
    monkeypatch.setattr(log, "unpersisted", lambda: next(readings))
    with pytest.raises(PromiseBroken, match=r"t: \[3\] were left out of \[0\]"), read_meanwhile(log):
        pass
    wal.close()


@pytest.mark.parametrize(
    "wrong",
    [{"appends": 3}, {"syncs": 0}, {"syncs": 3}, {"rotations": 0}, {"retired": 1}, {"bytes": 0}, {"replayed": 0}],
)
def test_a_wrong_counter_shows(wrong: dict[str, int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Counters fit the appends and the files of a log."""
    wal = WriteAheadLog(tmp_path, segment_bytes_max=1 << 20)
    schema = pa.schema([pa.field("number", pa.int64(), nullable=False)])
    wal.create_table_log("t", schema)
    log = wal.log("t")
    for number in range(2):
        wal.append("t", pa.record_batch([pa.array([number])], schema=schema))
    log.rotate()
    assert len(list(log.unpersisted())) == 2
    compare_counters(log, appends=2, shared=1, closed=0)
    monkeypatch.setattr(SegmentedLog, "counters", replace(log.counters, **wrong))
    with pytest.raises(PromiseBroken, match="2 appends"):
        compare_counters(log, appends=2, shared=1, closed=0)
    monkeypatch.setattr(SegmentedLog, "oldest_id", 1)
    with pytest.raises(PromiseBroken, match="oldest batch is 1, it is 0"):
        compare_counters(log, appends=2, shared=1, closed=0)
    wal.close()


def test_a_file_left_open_shows(tmp_path: Path) -> None:
    """Files elsewhere do not matter."""
    held, elsewhere = tmp_path / "root" / "file", tmp_path / "root-of-others"
    held.parent.mkdir()
    with elsewhere.open("w"):
        with held.open("w"), pytest.raises(PromiseBroken, match="still holds file open"):
            let_go(tmp_path / "root")
        let_go(tmp_path / "root")


def test_a_file_that_another_thread_is_about_to_close(tmp_path: Path) -> None:
    """It is waited for, a moment."""
    file = (tmp_path / "file").open("w")
    closing = threading.Timer(0.1, file.close)
    closing.start()
    let_go(tmp_path)
    assert file.closed
    closing.join()


@pytest.mark.parametrize("name", ["wal/.removed-t", "tables/t/_transfer.json", "options.json.tmp", "5.json#unfinished"])
def test_a_file_left_behind_shows(name: str, tmp_path: Path) -> None:
    """But for those of a folder that is another's, the lock, and what deltalake leaves when a rename of its fails."""
    for other in (".lock", "theirs/.hidden", "tables/t/5.json", "tables/t/_last_checkpoint#1"):
        (tmp_path / other).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / other).touch()
    nothing_behind(tmp_path, but_for="theirs")
    (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / name).touch()
    with pytest.raises(PromiseBroken, match=f"left behind: {name}"):
        nothing_behind(tmp_path, but_for="theirs")


def test_a_second_name_of_a_commit_is_no_leftover(tmp_path: Path) -> None:
    """delta-rs leaves one if it cannot unlink it, and tells nobody. A file of its own there shows; opening removes both."""
    root = tmp_path / "engine"
    with StorageEngine.open(root) as engine:
        engine.create_table("t", pa.schema([("at", pa.int64())]), timestamp="at")
    commit = next((root / "tables" / "t" / "_delta_log").glob("*.json"))
    second, other = (commit.with_name(f"{commit.name}#{number}") for number in (1, 2))
    second.hardlink_to(commit)
    nothing_behind(root)
    other.write_bytes(commit.read_bytes())
    with pytest.raises(PromiseBroken, match=f"left behind: .*{other.name}$"):
        nothing_behind(root)
    with StorageEngine.open(root):
        assert not second.exists()
        assert not other.exists()


def test_a_segment_that_could_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Once all batches of a closed segment are persisted, it is gone; one that stays shows."""
    wal = WriteAheadLog(tmp_path / "wal", segment_bytes_max=1 << 20, preallocate_bytes=0)
    wal.create_table_log("t", pa.schema([pa.field("x", pa.int64())]))
    log = wal.log("t")
    for number in range(4):
        wal.append("t", pa.record_batch([pa.array([number])], ["x"]))
        if number % 2:
            log.rotate()
    wal.mark_persisted("t", [0])
    nothing_to_retire(log)
    wal.mark_persisted("t", [1])
    nothing_to_retire(log)
    monkeypatch.setattr(Retention, "_retire", unchecked)
    wal.mark_persisted("t", [2, 3])
    with pytest.raises(PromiseBroken, match="t keeps 2-3"):
        nothing_to_retire(log)
    wal.close()
