"""Short memory: rows wait on disk instead, are read from there, and leave nothing behind."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest

from crashmatrix import faults
from crashmatrix.reference_wal import EngineOptions, LogPoisoned, SpillCorrupted, StorageEngine
from crashmatrix.reference_wal.spill import SpillFolder
from tests.reference_wal.support import SCHEMA, at_each_sync, batch, numbers

ROW_BYTES = batch(0.0).nbytes

SPILLED = ((0, 0), (0, 1), (2, 3), (2, 4), (4, 4), (6, 6), (5, 7), (8, 8))
"""The first and last batches of files, the last of which is torn."""


def opened(root: Path, budget: int) -> StorageEngine:
    engine = StorageEngine.open(root, options=EngineOptions(memory_bytes_max=budget))
    for table in "tu":
        if table not in engine.tables:
            engine.create_table(table, SCHEMA, timestamp="timestamp", tags=["station"])
    return engine


def spilled(root: Path) -> list[str]:
    return sorted(str(path.relative_to(root / "spill")) for path in (root / "spill").rglob("*.arrow"))


def test_the_budget_is_kept(tmp_path: Path) -> None:
    """No more than the budget stays in memory, over all tables; every row is read all the same."""
    with opened(tmp_path, 4 * ROW_BYTES) as engine:
        for number in range(9):
            engine.ingest("t", batch(float(number), station="ab"[number % 2]))
            engine.ingest("u", batch(float(number + 100), station=None)) if number % 4 == 0 else None
            assert sum(table.memory_bytes for table in engine._all()) <= 4 * ROW_BYTES
            assert numbers(engine.read("t")) == [float(i) for i in range(number + 1)]
        assert "t" in {name.partition("/")[0] for name in spilled(tmp_path)}
        assert engine.counters.spilled == sum(int(name[23:43]) - int(name[2:22]) + 1 for name in spilled(tmp_path))
        engine.flush()
        assert (numbers(engine.read("t")), numbers(engine.read("u"))) == (
            [*map(float, range(9))],
            [100.0, 104.0, 108.0],
        )
        assert spilled(tmp_path) == []


def test_with_a_log_spill_files_are_not_read_again(tmp_path: Path) -> None:
    """The log holds the rows: what is found at start is deleted, whatever is in it, and each row is there once."""
    with opened(tmp_path, 1) as engine:
        for number in range(3):
            engine.ingest("t", batch(float(number)))
    assert len(spilled(tmp_path)) == 3
    (tmp_path / "spill" / "t" / f"{0:020d}-{2:020d}-00000000.arrow").write_bytes(b"junk")
    (tmp_path / "spill" / "t" / "notes.txt").write_text("mine")
    with opened(tmp_path, 1 << 20) as engine:
        assert (numbers(engine.read("t")), spilled(tmp_path)) == ([0.0, 1.0, 2.0], [])
        assert (tmp_path / "spill" / "t" / "notes.txt").exists()
        engine.flush()
        assert numbers(engine.read("t")) == [0.0, 1.0, 2.0]


def test_truncation_takes_spilled_rows(tmp_path: Path) -> None:
    """A truncation drops what was spilled as well."""
    with opened(tmp_path, 1) as engine:
        engine.ingest("t", batch(0.0))
        engine.truncate("t")
        assert (engine.read("t").num_rows, spilled(tmp_path)) == (0, [])
        engine.ingest("t", batch(1.0))
        engine.flush()
        assert numbers(engine.read("t")) == [1.0]


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: data[:-1],
        lambda data: b"",
        lambda data: bytes(len(data)),
        lambda data: bytes([data[0] ^ 1]) + data[1:],
        lambda data: data[:-1] + bytes([data[-1] ^ 1]),
    ],
)
def test_a_damaged_spill_file(damage: object, tmp_path: Path) -> None:
    """A spill file that changed is never committed; with a log, reopening has every row."""
    assert callable(damage)
    with opened(tmp_path, 1) as engine:
        engine.ingest("t", batch(0.0))
        file = next((tmp_path / "spill" / "t").iterdir())
        file.write_bytes(damage(file.read_bytes()))
        with pytest.raises(SpillCorrupted, match="reopen the engine"):
            engine.flush()
        with pytest.raises(LogPoisoned):
            engine.read("t")
    with opened(tmp_path, 1) as engine:
        assert numbers(engine.read("t")) == [0.0]


@pytest.mark.parametrize("fault", ["panic", "raise(ENOSPC)"])
@pytest.mark.parametrize("point", [point.name for point in faults.catalogue("spill.")])
def test_a_failed_spill(point: str, fault: str, tmp_path: Path) -> None:
    """A spill that failed stops the engine; reopening has each acknowledged row once."""
    with opened(tmp_path, 1) as engine:
        engine.ingest("t", batch(0.0))
        with faults.scenario(f"{point}={fault}"), pytest.raises((faults.Panic, OSError)):
            engine.flush()
            engine.ingest("t", batch(1.0))
    with opened(tmp_path, 1) as engine:
        found = numbers(engine.read("t"))
        assert found == ([0.0, 1.0] if "write" in point else [0.0])


@pytest.mark.parametrize("logged", [True, False])
def test_files_of_no_use_go_for_good(logged: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """They are gone when their folder is synced. One that came back could go on from rows that were spilled since."""
    folder = SpillFolder(tmp_path / "spill", "t")
    for lo in (5, 7):
        folder.write(lo, lo + 1, pa.table({"x": [lo, lo + 1]}))
    seen = list[tuple[Path, list[Path]]]()
    at_each_sync(monkeypatch, lambda path: seen.append((path, list(folder.folder.iterdir()))))
    folder.discard() if logged else folder.replayable(-1)
    assert seen == [(folder.folder, [])]


def test_files_of_no_use_that_are_gone_already(synced: list[str], tmp_path: Path) -> None:
    """An opening that was killed may have removed them, and not durably. The next one makes up for it."""
    folder = SpillFolder(tmp_path / "spill", "t")
    folder.write(5, 6, pa.table({"x": [5, 6]})).path.unlink()
    assert folder.replayable(-1) == []
    assert synced == [str(folder.folder)]


def test_which_files_are_replayed(tmp_path: Path) -> None:
    """Up to the marker Delta has them; behind a gap nothing goes on. Each counts as the row of the table it is."""
    folder = SpillFolder(tmp_path / "spill", "t")
    spills = [folder.write(lo, hi, pa.table({"x": [lo]})) for lo, hi in SPILLED]
    spills[-1].path.write_bytes(b"torn")
    before = faults.entered()
    assert folder.replayable(3) == [spills[4], spills[6]]
    taken = {name: count - before[name] for name, count in faults.entered().items() if count != before[name]}
    assert taken == {"rows.spill.below": 3, "rows.spill.next": 2, "rows.spill.beyond": 2, "rows.spill.torn": 1}
    assert [number for number, spill in enumerate(spills) if spill.path.exists()] == [4, 6]


@pytest.mark.parametrize("other", ["log/u", "log/", "Log/t"])
def test_a_file_of_another_table(other: str, tmp_path: Path) -> None:
    """It is taken for a torn one, although its name and its bytes fit each other: each sign of the identity counts."""
    SpillFolder(tmp_path / "spill", other).write(0, 0, pa.table({"x": [1]}))
    assert SpillFolder(tmp_path / "spill", "log/t").replayable(-1) == []


def test_a_spill_of_a_dropped_table(tmp_path: Path) -> None:
    """A thread that still has the table in hand gets its memory back, and makes no file of it."""
    with opened(tmp_path, 4 * ROW_BYTES) as engine:
        engine.ingest("t", batch(0.0))
        (tmp_path / "spill" / "t").mkdir(parents=True)
        dropped = engine._tables["t"]
        engine.drop_table("t")
        assert not (tmp_path / "spill" / "t").exists()
        assert dropped.memory_bytes > 0
        dropped.spill()
        assert (dropped.memory_bytes, dropped.bytes, spilled(tmp_path)) == (0, 0, [])
