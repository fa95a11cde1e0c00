"""The engine without its log: nothing promised before a flush, nothing lost after it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from crashmatrix import faults
from crashmatrix.reference_wal import EngineClosed, EngineOptions, LogCorrupted, StorageEngine
from tests.reference_wal.support import SCHEMA, batch, numbers

SPILL_EACH = EngineOptions(memory_bytes_max=1)
"""Every ingest spills what it brought."""


def opened(root: Path, *, options: EngineOptions | None = None) -> StorageEngine:
    engine = StorageEngine.open(root, wal=False, options=options)
    if "t" not in engine.tables:
        engine.create_table("t", SCHEMA, timestamp="timestamp", tags=["station"])
    return engine


def crash(engine: StorageEngine) -> None:
    """Let go of the folder as a dying process does: nothing is committed."""
    with faults.scenario("seal.before_take=panic", allow_unhit=True), pytest.raises(faults.Panic):
        engine.close()


def test_no_log_is_touched(tmp_path: Path) -> None:
    """No folder of a log is made; everything else works as with one."""
    with opened(tmp_path) as engine:
        assert [engine.ingest("t", batch(float(i))) for i in range(3)] == [0, 1, 2]
        assert (numbers(engine.read("t")), engine.unpersisted("t")) == ([0.0, 1.0, 2.0], [])
        engine.flush()
        engine.truncate("t")
        assert engine.ingest("t", batch(3.0)) == 3
        engine.flush()
    with opened(tmp_path) as engine:
        assert numbers(engine.read("t")) == [3.0]
        assert engine.ingest("t", batch(4.0)) == 4
        engine.drop_table("t")
        assert engine.tables == []
    assert not (tmp_path / "wal").exists()


def test_memory_is_lost_and_nothing_else(tmp_path: Path) -> None:
    """A crash takes the rows that were not flushed; those that were stay, and their ids are not given out again."""
    engine = opened(tmp_path)
    engine.ingest("t", batch(0.0))
    engine.ingest("t", batch(1.0))
    engine.flush()
    engine.ingest("t", batch(2.0))
    crash(engine)
    with opened(tmp_path) as engine:
        assert numbers(engine.read("t")) == [0.0, 1.0]
        assert engine.ingest("t", batch(3.0)) == 2


def test_closing_commits(tmp_path: Path) -> None:
    """Closing commits the rows that wait."""
    with opened(tmp_path) as engine:
        engine.ingest("t", batch(0.0))
    with opened(tmp_path) as engine:
        assert (numbers(engine.read("t")), len(engine.files("t"))) == ([0.0], 1)
    with pytest.raises(EngineClosed):
        engine.ingest("t", batch(1.0))


@pytest.mark.parametrize("wal", [True, False])
def test_a_table_keeps_to_its_kind(wal: bool, tmp_path: Path) -> None:
    """A table has a log or none, whichever way the folder is opened later; new tables are of the kind it is opened with."""
    with StorageEngine.open(tmp_path, wal=wal) as engine:
        engine.create_table("t", SCHEMA, timestamp="timestamp")
        engine.ingest("t", batch(1.0))
    with StorageEngine.open(tmp_path, wal=not wal) as engine:
        assert (numbers(engine.read("t")), engine.has_log("t")) == ([1.0], wal)
        engine.create_table("u", SCHEMA, timestamp="timestamp")
        assert engine.ingest("t", batch(2.0)) == 1
        assert [bool(engine.unpersisted(table)) for table in "tu"] == [wal, False]
        engine.ingest("u", batch(3.0))
        assert (engine.has_log("u"), bool(engine.unpersisted("u"))) == (not wal, not wal)


def test_spill_files_are_replayed(tmp_path: Path) -> None:
    """Rows spilled before a crash come back once, and ids continue after them."""
    engine = opened(tmp_path, options=SPILL_EACH)
    for number in range(3):
        engine.ingest("t", batch(float(number), station="ab"[number % 2]))
    crash(engine)
    with opened(tmp_path) as engine:
        assert (numbers(engine.read("t")), engine.counters.replayed) == ([0.0, 1.0, 2.0], 3)
        assert engine.ingest("t", batch(3.0)) == 3
        engine.flush()
        assert list((tmp_path / "spill" / "t").iterdir()) == []
    with opened(tmp_path) as engine:
        assert (numbers(engine.read("t")), engine.counters.replayed) == ([0.0, 1.0, 2.0, 3.0], 0)


def test_a_committed_spill_file_is_not_replayed(tmp_path: Path) -> None:
    """A crash between a commit and the unlinking of its spill files leaves no row twice."""
    engine = opened(tmp_path, options=SPILL_EACH)
    for number in range(3):
        engine.ingest("t", batch(float(number)))
    with faults.scenario("spill.file.before_unlink=panic"), pytest.raises(faults.Panic):
        engine.flush()
    engine.close()
    assert len(list((tmp_path / "spill" / "t").iterdir())) == 3
    with opened(tmp_path) as engine:
        assert (numbers(engine.read("t")), engine.counters.replayed) == ([0.0, 1.0, 2.0], 0)
        assert list((tmp_path / "spill" / "t").iterdir()) == []
        assert engine.ingest("t", batch(3.0)) == 3


@pytest.mark.parametrize("length", [0, 1, 8, 300, -5])
@pytest.mark.parametrize("which", [0, 1, 2])
def test_a_torn_spill_file(which: int, length: int, tmp_path: Path) -> None:
    """The whole spill files before a torn one come back; the torn one and later ones are dropped permanently."""
    engine = opened(tmp_path, options=SPILL_EACH)
    for number in range(3):
        engine.ingest("t", batch(float(number)))
    crash(engine)
    torn = sorted((tmp_path / "spill" / "t").iterdir())[which]
    data = torn.read_bytes()
    torn.write_bytes(data[:length] + bytes(len(data) - len(data[:length])))
    with opened(tmp_path) as engine:
        assert numbers(engine.read("t")) == [float(number) for number in range(which)]
        assert engine.ingest("t", batch(9.0)) == which
        assert len(list((tmp_path / "spill" / "t").iterdir())) == which
    with opened(tmp_path) as engine:
        assert numbers(engine.read("t")) == [*map(float, range(which)), 9.0]


def test_a_spill_file_of_an_earlier_table(tmp_path: Path) -> None:
    """A table made anew never gets rows that an earlier one of its name had spilled."""
    engine = opened(tmp_path, options=SPILL_EACH)
    engine.ingest("t", batch(1.0))
    old = next((tmp_path / "spill" / "t").iterdir())
    data = old.read_bytes()
    engine.drop_table("t")
    engine.create_table("t", SCHEMA, timestamp="timestamp", tags=["station"])
    engine.close()
    old.parent.mkdir()
    old.write_bytes(data)
    with opened(tmp_path) as engine:
        assert (engine.read("t").num_rows, old.exists()) == (0, False)


def test_a_checkpoint_torn_by_a_power_cut(tmp_path: Path) -> None:
    """A checkpoint that the power tore is removed in a table without a log as well; the rows are read without it."""
    with StorageEngine.open(tmp_path, wal=False, options=EngineOptions(checkpoint_commits=1)) as engine:
        engine.create_table("t", SCHEMA, timestamp="timestamp")
        for number in range(2):
            engine.ingest("t", batch(float(number)))
            engine.flush()
    newest = sorted((tmp_path / "tables" / "t" / "_delta_log").glob("*.checkpoint.parquet"))[-1]
    newest.write_bytes(newest.read_bytes()[:100])
    with StorageEngine.open(tmp_path, wal=False) as engine:
        assert numbers(engine.read("t")) == [0.0, 1.0]
    assert not newest.exists()


@pytest.mark.parametrize("wal", [True, False])
@pytest.mark.parametrize("gone", ["wal", "wal/t"])
def test_a_log_that_is_gone(gone: str, wal: bool, tmp_path: Path) -> None:
    """A table that says it has a log is refused without it, whichever way the folder is opened: rows may be in it only."""
    with StorageEngine.open(tmp_path) as engine:
        engine.create_table("t", SCHEMA, timestamp="timestamp")
        engine.ingest("t", batch(1.0))
    shutil.rmtree(tmp_path / gone)
    with pytest.raises(LogCorrupted, match="the table's log is gone") as caught:
        StorageEngine.open(tmp_path, wal=wal)
    assert caught.value.path == tmp_path / "wal" / "t"
