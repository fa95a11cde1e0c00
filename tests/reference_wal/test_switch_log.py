"""A table's log switched on and off: nothing acknowledged is lost, whatever is done in between and wherever it stops."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from crashmatrix import faults
from crashmatrix.reference_wal import AppendFailed, EngineOptions, LogPoisoned, StorageEngine
from tests.reference_wal.support import SCHEMA, batch, contents, each_with_one_a_day, numbers

OPTIONS = EngineOptions(memory_bytes_max=1, segment_bytes_max=400)
"""Rows are spilled at once, and each batch has a segment."""


def opened(root: Path, *, wal: bool = True) -> StorageEngine:
    engine = StorageEngine.open(root, wal, options=OPTIONS)
    if "t" not in engine.tables:
        engine.create_table("t", SCHEMA, timestamp="timestamp", tags=["station"])
    return engine


def test_ids_and_rows_go_on(tmp_path: Path) -> None:
    """Each switch keeps every row and the ids, commits what waits, and outlasts reopening; switching twice changes nothing."""
    with opened(tmp_path) as engine:
        engine.ingest("t", batch(0.0))
        for number, on in enumerate((True, False, False, True, False, True), 1):
            engine.switch_log(on, "t")
            assert (engine.has_log("t"), (tmp_path / "wal" / "t").exists()) == (on, on)
            assert engine.ingest("t", batch(float(number))) == number
            assert bool(engine.unpersisted("t")) == on
    with opened(tmp_path) as engine:
        assert (engine.has_log("t"), numbers(engine.read("t"))) == (True, [float(number) for number in range(7)])
        assert engine.ingest("t", batch(7.0)) == 7


def test_segments_keep_their_size(tmp_path: Path) -> None:
    """A size set for one table's segments holds when its log is switched off and on again."""
    with opened(tmp_path) as engine:
        engine.change_segment_size("t", 1 << 20)
        engine.switch_log(False, "t")
        engine.switch_log(True, "t")
        for number in range(4):
            engine.ingest("t", batch(float(number)))
        assert len(list((tmp_path / "wal" / "t").glob("*.arrows"))) == 1


def test_on_again(tmp_path: Path) -> None:
    """Switching on a log that is on already changes nothing: every batch is promised, and waits to be committed with others."""
    with opened(tmp_path) as engine:
        engine.ingest("t", batch(0.0))
        before = contents(tmp_path)
        engine.switch_log(True, "t")
        assert (contents(tmp_path), engine.counters.commits) == (before, 0)


def test_off_again(tmp_path: Path) -> None:
    """Switching off a log that is off already commits what waits, as it does otherwise."""
    with opened(tmp_path, wal=False) as engine:
        engine.ingest("t", batch(0.0))
        engine.switch_log(False, "t")
        assert len(engine.files("t")) == 1


def test_all_tables_and_those_to_come(tmp_path: Path) -> None:
    """Switching without a table's name switches all of them, and what new tables are, in later openings as well."""
    with opened(tmp_path) as engine:
        engine.create_table("u", SCHEMA, timestamp="timestamp", wal=False)
        engine.switch_log(False)
        assert not any(map(engine.has_log, "tu"))
    with opened(tmp_path, wal=True) as engine:
        engine.create_table("v", SCHEMA, timestamp="timestamp")
        assert not engine.has_log("v")
        engine.switch_log(True, "v")
        engine.create_table("w", SCHEMA, timestamp="timestamp")
        assert (engine.has_log("v"), engine.has_log("w")) == (True, False)
        engine.switch_log(True)
        assert all(map(engine.has_log, "tuvw"))


def test_a_table_dropped_meanwhile(tmp_path: Path) -> None:
    """Switching all tables goes on if somebody drops one of them meanwhile."""
    with opened(tmp_path) as engine:
        for table in "uv":
            engine.create_table(table, SCHEMA, timestamp="timestamp")

        def drop(point: faults.FailPoint, _: object) -> None:
            if point.name == "engine.switch.before_stop" and "u" in engine.tables:
                engine.drop_table("u")

        faults.observe(drop)
        try:
            engine.switch_log(False)
        finally:
            faults.observe(None)
        assert (engine.tables, engine.has_log("t"), engine.has_log("v")) == (["t", "v"], False, False)


STEPS = ("off", "on", "truncate", "again", "ingest")


@pytest.mark.parametrize("steps", list(itertools.permutations(STEPS, 4)), ids="-".join)
@pytest.mark.slow
def test_each_order(steps: tuple[str, ...], tmp_path: Path) -> None:
    """In each order of switching, truncating, dropping and making anew, only the rows stored since come back after a kill."""
    owed: list[float] = []
    engine = opened(tmp_path)
    engine.ingest("t", batch(0.0))
    owed = [0.0]
    for number, step in enumerate(steps, 1):
        if step in ("on", "off"):
            engine.switch_log(step == "on", "t")
        elif step == "truncate":
            engine.truncate("t")
            owed = []
        elif step == "again":
            engine.drop_table("t")
            engine.create_table("t", SCHEMA, timestamp="timestamp", tags=["station"])
            owed = []
        else:
            engine.ingest("t", batch(float(number)))
            owed.append(float(number))
    engine.switch_log(True, "t")
    engine.ingest("t", batch(9.0))
    with faults.scenario("engine.flush.before_acknowledge=panic", allow_unhit=True):
        engine.close()
    with opened(tmp_path) as engine:
        assert numbers(engine.read("t")) == [*owed, 9.0]


def hits(on: bool, root: Path) -> list[str]:
    """Return the failpoints that a switch passes."""
    seen: list[str] = []
    with prepared(root, on) as engine:
        faults.observe(lambda point, _: seen.append(point.name))
        try:
            engine.switch_log(on, "t")
        finally:
            faults.observe(None)
    return list(dict.fromkeys(seen))


def prepared(root: Path, on: bool) -> StorageEngine:
    """A table of the other kind, with committed rows and rows that wait."""
    engine = opened(root, wal=not on)
    for number in range(3):
        engine.ingest("t", batch(float(number)))
        if number < 1:
            engine.flush()
    return engine


COMMIT = ("seal.", "compress.", "commit.", "engine.flush.before_retire", "spill.file.before_unlink")
ENDS = ("engine.switch.before_acknowledge",)


def passed(*areas: str) -> list[str]:
    return [point.name for area in (*COMMIT, *areas, *ENDS) for point in faults.catalogue(area)]


ON = passed("engine.switch.before_start", "wal.create_table.", "wal.segment.", "engine.switch.after_start")
OFF = passed("engine.switch.before_stop", "wal.retire.", "wal.remove_table.", "engine.switch.after_stop")


def test_the_failpoints_of_a_switch(tmp_path: Path) -> None:
    """The failpoints tried below are those that a switch passes."""
    assert set(ON) <= set(hits(True, tmp_path / "on")) and set(OFF) <= set(hits(False, tmp_path / "off"))


@pytest.mark.parametrize(("point", "fault"), each_with_one_a_day(ON, ["panic", "raise(EIO)"]))
def test_switching_on_cut_short(point: str, fault: str, tmp_path: Path) -> None:
    """Wherever switching a log on stops, every row that was flushed is there, no row twice, and the table says what it has."""
    _cut_short(True, point, fault, tmp_path)


@pytest.mark.parametrize(("point", "fault"), each_with_one_a_day(OFF, ["panic", "raise(EIO)"]))
def test_switching_off_cut_short(point: str, fault: str, tmp_path: Path) -> None:
    """The same for switching off: every row is there, since each was acknowledged."""
    _cut_short(False, point, fault, tmp_path)


def _cut_short(on: bool, point: str, fault: str, root: Path) -> None:
    engine = prepared(root, on)
    with faults.scenario(f"{point}={fault}"), pytest.raises((faults.Panic, OSError)):
        engine.switch_log(on, "t")
    if point != "engine.switch.before_acknowledge":
        with pytest.raises(LogPoisoned):
            engine.ingest("t", batch(9.0))
    engine.close()
    with opened(root) as engine:
        assert numbers(engine.read("t")) == [0.0, 1.0, 2.0]
        assert (root / "wal" / "t").exists() == engine.has_log("t")
        assert engine.ingest("t", batch(3.0)) == 3
        engine.switch_log(not engine.has_log("t"), "t")
    with opened(root) as engine:
        assert numbers(engine.read("t")) == [0.0, 1.0, 2.0, 3.0]


def test_not_after_a_failed_append(tmp_path: Path) -> None:
    """A log that may hold a batch nobody knows of is not switched off before it was read again."""
    with opened(tmp_path) as engine:
        with faults.scenario("wal.append.before_sync=raise(EIO)"), pytest.raises(AppendFailed):
            engine.ingest("t", batch(0.0))
        with pytest.raises(LogPoisoned):
            engine.switch_log(False, "t")
    with opened(tmp_path) as engine:
        engine.switch_log(False, "t")
        assert numbers(engine.read("t")) == [0.0]
