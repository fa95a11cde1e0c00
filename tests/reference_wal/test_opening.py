"""The meaning of an engine's folder after a crash: every combination of a table's parts, and drops cut short."""

from __future__ import annotations

import itertools
import os
import shutil
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from crashmatrix import faults
from crashmatrix.reference_wal import (
    EngineLocked,
    EngineOptions,
    LogCorrupted,
    LogPoisoned,
    StorageEngine,
    TableCorrupted,
    UnknownTable,
)
from crashmatrix.reference_wal.delta.commit import DeltaStore
from crashmatrix.reference_wal.opening import FoundTable, HealedTable, Layout
from tests.reference_wal.heard_calls import Late, listen
from tests.reference_wal.support import SCHEMA, batch, contents, each_with_one_a_day, numbers


def opened(root: Path, table: str = "t", *, options: EngineOptions | None = None) -> StorageEngine:
    engine = StorageEngine.open(root, options=options)
    if table not in engine.tables:
        engine.create_table(table, SCHEMA, timestamp="timestamp", tags=["station"])
    return engine


ROWS: dict[tuple[bool, bool, bool, int | None], str] = {
    (True, False, False, None): "@j",
    (True, False, False, 0): "@a",
    (True, False, False, 3): "@a",
    (False, True, False, None): "@b",
    (False, True, False, 0): "@c",
    (False, True, False, 3): "@d",
    (False, False, True, None): "@e",
    (False, False, True, 0): "@e",
    (False, False, True, 3): "@e",
    (False, False, False, 0): "@g",
    (False, False, False, 3): "@g",
}


def test_every_combination_has_its_row() -> None:
    """Each combination of a table's parts has one row that says what it means; two of its names at once are refused."""
    for there, creating, dropped in itertools.product([False, True], repeat=3):
        for next_id in (None, 0, 3):
            if there or creating or dropped or next_id is not None:
                expected = ROWS.get((there, creating, dropped, next_id), "@f")
                assert FoundTable("t", there, creating, dropped, next_id).row == expected


class Said:
    """The answer of a table to whether it has a log."""

    def __init__(self, logged: bool) -> None:
        self.properties = SimpleNamespace(logged=logged)
        self.path = Path()


HEALED: dict[tuple[bool, str | None, int], str] = {
    (True, None, 0): "@h",
    (True, "own", 0): "@a",
    (True, "own", 5): "@a",
    (True, "own", 6): "@a",
    (True, "other", 5): "@i",
    (False, None, 0): "@j",
    (False, "own", 0): "@k",
    (False, "own", 5): "@k",
    (False, "own", 6): "@l",
    (False, "other", 5): "@i",
}


@pytest.mark.parametrize(("found", "row"), HEALED.items())
def test_what_a_table_says_and_its_log(found: tuple[bool, str | None, int], row: str) -> None:
    """Whether a table has a log is what it says; a log that it does not know of owes no batch above the marker, here 4."""
    logged, identity, next_id = found
    store = cast("DeltaStore", Said(logged))
    assert HealedTable("t", "own", store, marker=4).row(identity, next_id) == row


def test_a_log_with_batches_of_a_table_without_one(tmp_path: Path) -> None:
    """A log that came back with batches, after its table's was switched off, is refused: they may be anybody's."""
    with opened(tmp_path) as engine:
        engine.ingest("t", batch(1.0))
        shutil.copytree(tmp_path / "wal" / "t", tmp_path / "old")
        engine.truncate("t")
        engine.switch_log(False, "t")
    shutil.copytree(tmp_path / "old", tmp_path / "wal" / "t")
    with opened(tmp_path) as engine:  # Its batch lies below the marker: truncated, so nothing is owed.
        assert numbers(engine.read("t")) == []
        engine.switch_log(True, "t")
        engine.ingest("t", batch(2.0))
        shutil.rmtree(tmp_path / "old")
        shutil.copytree(tmp_path / "wal" / "t", tmp_path / "old")
        engine.drop_table("t")
        engine.create_table("t", SCHEMA, timestamp="timestamp", tags=["station"], wal=False)
    shutil.copytree(tmp_path / "old", tmp_path / "wal" / "t")
    with pytest.raises(LogCorrupted, match="another table of this name"):
        StorageEngine.open(tmp_path)


def test_a_drop_is_durable_before_it_is_finished(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The process that hid a table may have died before it synced that. A power cut must not bring it back without its log."""
    with opened(tmp_path) as engine:
        engine.ingest("t", batch(1.0))
    late, early, tables = Late(monkeypatch), list[str](), tmp_path / "tables"
    (tables / "t").rename(tables / ".dropped-t")

    def hear(call: str, given: tuple[Any, ...], _: dict[str, Any]) -> None:
        if call in ("rename", "unlink", "rmdir") and str(tables) in late.names:
            early.append(Path(given[0]).name)

    listen(monkeypatch, hear)
    with closing(StorageEngine.open(tmp_path)) as engine:
        assert engine.tables == []
    assert early == [".dropped-t"]  # The folder itself, which goes last.
    assert list(tables.iterdir()) == [] and str(tables) not in late.names


def test_a_table_never_used_is_missed(tmp_path: Path) -> None:
    """An acknowledged table whose Delta folder vanished is not an unfinished creation, though it never held a batch."""
    opened(tmp_path).close()
    shutil.rmtree(tmp_path / "tables" / "t")
    for _ in range(2):
        with pytest.raises(TableCorrupted, match="is gone, while its log is there"):
            StorageEngine.open(tmp_path)


def test_batches_in_a_table_never_created(tmp_path: Path) -> None:
    """A log with batches beside a half-made table is not an unfinished creation."""
    with opened(tmp_path) as engine:
        engine.ingest("t", batch(1.0))
    (tmp_path / "tables" / "t").rename(tmp_path / "tables" / ".creating-t")
    before = contents(tmp_path)
    with pytest.raises(TableCorrupted, match="was never created"):
        StorageEngine.open(tmp_path)
    assert contents(tmp_path) == before


@pytest.mark.parametrize("problem", ["gone", "never created", "two names"])
def test_a_refusal_changes_nothing(problem: str, tmp_path: Path) -> None:
    """If the names and the logs show damage, what crashes have left of other tables is still there after the refusal."""
    with opened(tmp_path) as engine:
        engine.ingest("t", batch(1.0))
    opened(tmp_path, "half-dropped").close()
    tables, wal = tmp_path / "tables", tmp_path / "wal"
    (tables / "half-dropped").rename(tables / ".dropped-half-dropped")
    (tables / ".creating-half-made").mkdir()
    for name in (".removed-y", "z"):
        (wal / name).mkdir()
        (wal / name / "0-.tmp").touch()
    (tmp_path / "options.json.tmp").touch()
    match problem:
        case "gone":
            shutil.rmtree(tables / "t")
        case "never created":
            (tables / "t").rename(tables / ".creating-t")
        case "two names":
            (tables / ".dropped-t").mkdir()
    before = contents(tmp_path), sorted(tmp_path.rglob("*"))
    with pytest.raises(TableCorrupted, match="/t: "):
        StorageEngine.open(tmp_path)
    assert (contents(tmp_path), sorted(tmp_path.rglob("*"))) == before


def test_two_names(tmp_path: Path) -> None:
    """A table beside what is left of another's removal is refused, since the removal is finished first."""
    opened(tmp_path).close()
    (tmp_path / "tables" / ".dropped-t").mkdir()
    with pytest.raises(TableCorrupted, match="beside it what is left"):
        StorageEngine.open(tmp_path)


def test_the_log_of_an_earlier_table(tmp_path: Path) -> None:
    """A table never gets the log of another table of its name."""
    opened(tmp_path).close()
    shutil.copytree(tmp_path / "wal" / "t", tmp_path / "old")
    with opened(tmp_path) as engine:
        engine.drop_table("t")
    opened(tmp_path).close()
    shutil.rmtree(tmp_path / "wal" / "t")
    shutil.copytree(tmp_path / "old", tmp_path / "wal" / "t")
    with pytest.raises(LogCorrupted, match="is the log of another table of this name"):
        StorageEngine.open(tmp_path)


def test_a_truncation_damaged_later(tmp_path: Path) -> None:
    """Damage to the commit of a truncation is refused before anything is changed."""
    with opened(tmp_path) as engine:
        engine.ingest("t", batch(1.0))
        engine.flush()
        engine.truncate("t")
    newest = max((tmp_path / "tables" / "t" / "_delta_log").glob("*.json"))
    newest.write_bytes(b"")
    before = contents(tmp_path)
    for _ in range(2):
        with pytest.raises(TableCorrupted, match="does not fit its checksum"):
            StorageEngine.open(tmp_path)
        assert contents(tmp_path) == before


# --- drops


def test_a_dropped_table_is_gone(tmp_path: Path) -> None:
    """A dropped table leaves nothing behind, and a new table under its name begins at 0 without its rows."""
    options = EngineOptions(memory_bytes_max=1)
    with opened(tmp_path, options=options) as engine:
        engine.create_table("u", SCHEMA, timestamp="timestamp")
        for number in range(3):
            engine.ingest("t", batch(float(number)))
        engine.flush()
        engine.ingest("t", batch(3.0))
        engine.drop_table("t")
        assert engine.tables == ["u"]
        assert {path.name for area in ("wal", "tables", "spill") for path in (tmp_path / area).iterdir()} <= {"u"}
        for call in (engine.read, engine.truncate, engine.drop_table, engine.files, engine.unpersisted):
            with pytest.raises(UnknownTable):
                call("t")
        engine.create_table("t", SCHEMA, timestamp="timestamp")
        assert engine.ingest("t", batch(9.0)) == 0
    with opened(tmp_path) as engine:
        assert (engine.tables, numbers(engine.read("t"))) == (["t", "u"], [9.0])
        engine.drop_table("t")
    with StorageEngine.open(tmp_path) as engine:
        assert engine.tables == ["u"]


DROP = [point.name for area in ("drop.", "wal.remove_table", "engine.drop") for point in faults.catalogue(area)]


@pytest.mark.lengthy
@pytest.mark.parametrize(("point", "fault"), each_with_one_a_day(DROP, ["panic", "raise(EIO)"]))
def test_a_drop_cut_short(point: str, fault: str, tmp_path: Path) -> None:
    """Wherever a drop fails, the whole table is there after reopening, or nothing of it, and its name can be used."""
    with opened(tmp_path, options=EngineOptions(memory_bytes_max=1)) as engine:
        engine.ingest("t", batch(0.0))
        engine.flush()
        engine.ingest("t", batch(1.0))
        with faults.scenario(f"{point}={fault}"), pytest.raises((faults.Panic, OSError)):
            engine.drop_table("t")
        if point != "engine.drop.before_acknowledge":
            with pytest.raises(LogPoisoned):
                engine.flush()
    for _ in range(2):
        with StorageEngine.open(tmp_path) as engine:
            there = point == "drop.table.before_rename"
            assert engine.tables == (["t"] if there else [])
            if there:
                assert numbers(engine.read("t")) == [0.0, 1.0]
    with opened(tmp_path) as engine:
        assert engine.ingest("t", batch(2.0)) == (2 if there else 0)


def test_the_lock(tmp_path: Path) -> None:
    """A folder that is locked is not locked again before that is let go."""
    layout = Layout(tmp_path)
    held = layout.lock()
    with pytest.raises(EngineLocked, match="another process"):
        layout.lock()
    os.close(held)
    os.close(layout.lock())
