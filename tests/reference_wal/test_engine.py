"""The engine as its users see it: every acknowledged row, once, through restarts, faults and any order of calls."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest
from deltalake import DeltaTable
from hypothesis import given, settings, strategies as st

from crashmatrix import faults
from crashmatrix.reference_wal import (
    AppendFailed,
    EngineClosed,
    EngineLocked,
    EngineOptions,
    InvalidInput,
    LogCorrupted,
    LogPoisoned,
    StorageEngine,
    TableCorrupted,
    TableExists,
    UnknownTable,
)
from crashmatrix.reference_wal.table import Table
from tests import ROOT
from tests.reference_wal.engines import CALLS, flush, ids, opened
from tests.reference_wal.support import SCHEMA, batch, contents, each_with_one_a_day, numbers


def version(root: Path) -> int:
    return DeltaTable(str(root / "tables" / "t")).version()


def test_the_life_of_a_table(tmp_path: Path) -> None:
    """Create, ingest, flush, truncate: each takes effect at once, and is still so after reopening."""
    with opened(tmp_path) as engine:
        assert engine.tables == ["t"]
        assert engine.read("t").equals(SCHEMA.empty_table())
        assert [engine.ingest("t", batch(float(i), station="ab"[i % 2])) for i in range(3)] == [0, 1, 2]
        assert (numbers(engine.read("t")), ids(engine), engine.files("t")) == ([0.0, 1.0, 2.0], [0, 1, 2], [])
    with opened(tmp_path) as engine:
        assert (numbers(engine.read("t")), ids(engine)) == ([0.0, 1.0, 2.0], [0, 1, 2])
        engine.flush()
        assert (numbers(engine.read("t")), ids(engine), len(engine.files("t"))) == ([0.0, 1.0, 2.0], [], 1)
        engine.flush()
        assert version(tmp_path) == 1
        assert engine.ingest("t", batch(3.0)) == 3
        assert (numbers(engine.read("t")), ids(engine)) == ([0.0, 1.0, 2.0, 3.0], [3])
    with opened(tmp_path) as engine:
        assert (numbers(engine.read("t")), ids(engine)) == ([0.0, 1.0, 2.0, 3.0], [3])
        engine.truncate("t")
        assert (engine.read("t").num_rows, ids(engine), engine.files("t")) == (0, [], [])
        assert engine.ingest("t", batch(4.0)) == 4
    with opened(tmp_path) as engine:
        assert (numbers(engine.read("t")), ids(engine)) == ([4.0], [4])
    assert list((tmp_path / "tables" / "t").glob("*.parquet")) == []


def test_rows_come_back_as_they_were(tmp_path: Path) -> None:
    """Types, nulls and tags survive the log and Delta alike."""
    schema = pa.schema(
        [
            ("when", pa.timestamp("us", "UTC")),
            ("tag", pa.dictionary(pa.int32(), pa.string())),
            ("on", pa.bool_()),
            ("number", pa.int64()),
            ("value", pa.float64()),
            ("list", pa.list_(pa.float64())),
        ]
    )
    columns = [[1, 2, None], ["a", None, "b"], [True, None, False], [None, 7, 8], [None, 0.5, 1.5], [[1.0], None, []]]
    arrays = [pa.array(values, field.type) for values, field in zip(columns, schema, strict=True)]
    rows = pa.record_batch(arrays, schema=schema)
    expected = sorted(map(repr, rows.to_pylist()))

    with StorageEngine.open(tmp_path) as engine:
        engine.create_table("t", schema, timestamp="when", tags=["tag", "on"])
        engine.ingest("t", rows)
        assert sorted(map(repr, engine.read("t").to_pylist())) == expected
        engine.flush()
    with StorageEngine.open(tmp_path) as engine:
        assert engine.read("t").schema.equals(schema)
        assert sorted(map(repr, engine.read("t").to_pylist())) == expected


@pytest.mark.parametrize("tags", [[], ["station"]])
def test_empty_batches(tags: list[str], tmp_path: Path) -> None:
    """A batch without rows is taken, committed and counted like any other."""
    with StorageEngine.open(tmp_path) as engine:
        engine.create_table("t", SCHEMA, timestamp="timestamp", tags=tags)
        assert engine.ingest("t", batch()) == 0
        engine.flush()
        assert engine.ingest("t", batch(1.0)) == 1
        assert engine.ingest("t", batch()) == 2
        engine.flush()
    with StorageEngine.open(tmp_path) as engine:
        assert (numbers(engine.read("t")), ids(engine)) == ([1.0], [])
        assert engine.ingest("t", batch(2.0)) == 3


def test_a_full_generation_is_committed(tmp_path: Path) -> None:
    """Once as many bytes wait as the options allow, everything waiting is committed by the ingest that reached them."""
    size = batch(0.0).nbytes
    with opened(tmp_path, options=EngineOptions(generation_bytes_max=3 * size)) as engine:
        waiting = []
        for number in range(7):
            engine.ingest("t", batch(float(number)))
            waiting.append(len(ids(engine)))
        assert waiting == [1, 2, 0, 1, 2, 0, 1]
        assert len(engine.files("t")) == 2
        assert numbers(engine.read("t")) == [float(i) for i in range(7)]


def test_checkpoints(tmp_path: Path) -> None:
    """Every so many commits there is a checkpoint, counted on over restarts, and the table is the same with it."""
    log = tmp_path / "tables" / "t" / "_delta_log"
    found = []
    for number in range(7):
        with opened(tmp_path, options=EngineOptions(checkpoint_commits=3)) as engine:
            engine.ingest("t", batch(float(number)))
            engine.flush()
            assert numbers(engine.read("t")) == [float(i) for i in range(number + 1)]
        found.append(len(list(log.glob("*.checkpoint.parquet"))))
    assert found == [0, 0, 1, 1, 1, 2, 2]


def test_segment_size_is_changed_at_run_time(tmp_path: Path) -> None:
    """From the next batch on, segments are closed at the new size; no size below a byte is taken."""
    with opened(tmp_path) as engine:
        for number in range(3):
            engine.ingest("t", batch(float(number)))
        assert [path.name for path in (tmp_path / "wal" / "t").iterdir()] == ["0-.arrows"]
        with pytest.raises(InvalidInput, match="give a whole number, 1 or more"):
            engine.change_segment_size("t", 0)
        engine.change_segment_size("t", 1)
        for number in range(3, 5):
            engine.ingest("t", batch(float(number)))
        assert sorted(path.name for path in (tmp_path / "wal" / "t").iterdir()) == [
            "0-2.arrows",
            "3-3.arrows",
            "4-.arrows",
        ]
        assert numbers(engine.read("t")) == [float(number) for number in range(5)]


def test_segments_are_retired_by_commits(tmp_path: Path) -> None:
    """Committed batches leave the log: their closed segments are removed, and ids go on."""
    options = EngineOptions(segment_bytes_max=1)
    with opened(tmp_path, options=options) as engine:
        for number in range(4):
            engine.ingest("t", batch(float(number)))
        assert len(list((tmp_path / "wal" / "t").iterdir())) == 4
        engine.flush()
        assert [path.name for path in (tmp_path / "wal" / "t").iterdir()] == ["3-.arrows"]
    with opened(tmp_path) as engine:
        assert sorted(path.name for path in (tmp_path / "wal" / "t").iterdir()) == ["4-.arrows", "end"]
        assert engine.ingest("t", batch(4.0)) == 4


def test_several_tables(tmp_path: Path) -> None:
    """A flush commits every table, a truncation empties one."""
    with opened(tmp_path) as engine:
        engine.create_table("u", SCHEMA, timestamp="timestamp")
        for table in "tu":
            assert engine.ingest(table, batch(1.0)) == 0
        engine.flush()
        engine.truncate("t")
    with opened(tmp_path) as engine:
        assert engine.tables == ["t", "u"]
        assert (numbers(engine.read("t")), numbers(engine.read("u"))) == ([], [1.0])


# --- refusals


def test_existing_table(tmp_path: Path) -> None:
    """A table that exists is not created again, and keeps its rows."""
    with opened(tmp_path) as engine:
        engine.ingest("t", batch(1.0))
        with pytest.raises(TableExists):
            engine.create_table("t", pa.schema([("x", pa.int64())]), timestamp="x")
        assert numbers(engine.read("t")) == [1.0]


@pytest.mark.parametrize(
    "call",
    [*CALLS.values(), lambda engine, table: engine.unpersisted(table), lambda engine, table: engine.files(table)],
    ids=[*CALLS, "unpersisted", "files"],
)
def test_unknown_table(call: Callable[[StorageEngine, str], object], tmp_path: Path) -> None:
    """A table that is not there is named, with those that are, and the engine goes on."""
    with opened(tmp_path) as engine:
        with pytest.raises(UnknownTable, match=r"no table 'u'.*tables here: t"):
            call(engine, "u")
        engine.ingest("t", batch(1.0))


REFUSED_BATCHES = {
    "fewer columns": batch(1.0).select(["timestamp", "station"]),
    "another name": batch(1.0).rename_columns(["timestamp", "station", "other"]),
    "another type": pa.record_batch([*batch(1.0).columns[:2], pa.array([1])], names=SCHEMA.names),
}


@pytest.mark.parametrize("rows", REFUSED_BATCHES.values(), ids=REFUSED_BATCHES)
def test_other_schemas_are_refused(rows: pa.RecordBatch, tmp_path: Path) -> None:
    """A batch of another schema is refused; nothing of it is kept, and the next one is taken."""
    with opened(tmp_path) as engine:
        with pytest.raises(InvalidInput, match="schema"):
            engine.ingest("t", rows)
        assert engine.ingest("t", batch(1.0)) == 0
        engine.flush()
        assert numbers(engine.read("t")) == [1.0]


def test_closed(tmp_path: Path) -> None:
    """A closed engine does nothing more; closing twice is harmless."""
    engine = opened(tmp_path)
    engine.close()
    engine.close()
    for call in (*CALLS.values(), flush):
        with pytest.raises(EngineClosed):
            call(engine, "t")
    with pytest.raises(EngineClosed):
        engine.create_table("u", SCHEMA, timestamp="timestamp")


def test_closing_that_fails(tmp_path: Path) -> None:
    """If one log cannot be closed in good order, the others are, and the folder can be opened again."""
    engine = opened(tmp_path)
    engine.create_table("u", SCHEMA, timestamp="timestamp")
    for table in engine.tables:
        engine.ingest(table, batch(1))
    with faults.scenario("wal.close.before_write=1*raise(EIO)"), pytest.raises(OSError, match="output"):
        engine.close()
    assert sum((folder / "end").exists() for folder in (tmp_path / "wal").iterdir()) == 1
    with StorageEngine.open(tmp_path) as again:
        assert [numbers(again.read(table)) for table in again.tables] == [[1.0]] * 2


def test_locked_in_this_process(tmp_path: Path) -> None:
    """A folder opens once at a time; after closing, or after a refused opening, it opens again."""
    with opened(tmp_path), pytest.raises(EngineLocked, match="another process"):
        StorageEngine.open(tmp_path)
    with opened(tmp_path) as engine:
        engine.ingest("t", batch(1.0))
    (tmp_path / "tables" / "t").rename(tmp_path / "away")
    for _ in range(2):
        with pytest.raises(TableCorrupted):
            StorageEngine.open(tmp_path)
    (tmp_path / "away").rename(tmp_path / "tables" / "t")
    opened(tmp_path).close()


def test_locked_by_another_process(tmp_path: Path) -> None:
    """A second process is refused while the first has the folder, and gets in afterwards with every row."""
    script = (
        "import sys; from reference_wal import *\n"
        "try: engine = StorageEngine.open(sys.argv[1])\n"
        "except EngineLocked: print('locked')\n"
        "else: print(engine.read('t').num_rows)\n"
    )

    def other() -> str:
        return subprocess.run(
            [sys.executable, "-c", script, str(tmp_path)],
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        ).stdout.strip()

    with opened(tmp_path) as engine:
        engine.ingest("t", batch(1.0, 2.0))
        assert other() == "locked"
        engine.ingest("t", batch(3.0))
    assert other() == "3"


def test_a_disk_too_full_for_a_segment(tmp_path: Path) -> None:
    """An error while a segment is made, then a flush: the log keeps what says which log it is, and the engine opens again."""
    with opened(tmp_path, options=EngineOptions(segment_bytes_max=1)) as engine:
        for number in range(3):
            engine.ingest("t", batch(float(number)))
        with faults.scenario("wal.segment.before_write=raise(ENOSPC)"), pytest.raises(AppendFailed):
            engine.ingest("t", batch(3.0))
        engine.flush()
        assert numbers(engine.read("t")) == [0.0, 1.0, 2.0]
        with pytest.raises(LogPoisoned):
            engine.truncate("t")
        assert numbers(engine.read("t")) == [0.0, 1.0, 2.0]
    for _ in range(2):
        with opened(tmp_path) as engine:
            assert numbers(engine.read("t"))[:3] == [0.0, 1.0, 2.0]
    with opened(tmp_path) as engine:
        assert engine.ingest("t", batch(4.0)) == 3


# --- what opening finds


def test_a_lost_log_is_refused(tmp_path: Path) -> None:
    """A table without its log may lack acknowledged rows: refused, each time, naming the log."""
    with opened(tmp_path) as engine:
        engine.ingest("t", batch(1.0))
    shutil.rmtree(tmp_path / "wal" / "t")
    before = contents(tmp_path)
    for _ in range(2):
        with pytest.raises(LogCorrupted, match="the table's log is gone") as caught:
            StorageEngine.open(tmp_path)
        assert caught.value.path == tmp_path / "wal" / "t"
        assert contents(tmp_path) == before


def test_a_lost_delta_table_is_refused(tmp_path: Path) -> None:
    """A log that gave out ids without its Delta table is not an unfinished creation: refused, each time."""
    with opened(tmp_path) as engine:
        engine.ingest("t", batch(1.0))
        engine.flush()
    shutil.rmtree(tmp_path / "tables" / "t")
    for _ in range(2):
        with pytest.raises(TableCorrupted, match="is gone, while its log has given out ids up to 0"):
            StorageEngine.open(tmp_path)


@pytest.mark.parametrize("lost", ["_delta_log", f"_delta_log/{0:020d}.json"])
def test_a_delta_table_without_commits_is_refused(lost: str, tmp_path: Path) -> None:
    """A table's folder that lacks its commits is corruption, named as such."""
    opened(tmp_path).close()
    path = tmp_path / "tables" / "t" / lost
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    with pytest.raises(TableCorrupted, match="holds no commit"):
        StorageEngine.open(tmp_path)


def test_logs_of_two_tables_swapped_are_refused(tmp_path: Path) -> None:
    """No table ever gets the rows of another."""
    with opened(tmp_path) as engine:
        engine.create_table("u", SCHEMA, timestamp="timestamp", tags=["station"])
        engine.ingest("t", batch(1.0))
        engine.ingest("u", batch(2.0))
    wal = tmp_path / "wal"
    for source, target in (("t", "x"), ("u", "t"), ("x", "u")):
        (wal / source).rename(wal / target)
    with pytest.raises(LogCorrupted, match="belongs to the log of table 'u'"):
        StorageEngine.open(tmp_path)


CREATION = [
    point.name for prefix in ("wal.create_table", "wal.segment", "delta.create") for point in faults.catalogue(prefix)
]


@pytest.mark.lengthy
@pytest.mark.parametrize(("point", "fault"), each_with_one_a_day(CREATION, ["panic", "raise(ENOSPC)"]))
def test_creation_cut_short(point: str, fault: str, tmp_path: Path) -> None:
    """A creation that failed half-way stops the engine; after reopening the table is there, empty, or the name is free."""
    with opened(tmp_path) as engine:
        engine.ingest("t", batch(1.0))
        with faults.scenario(f"{point}={fault}"), pytest.raises((faults.Panic, OSError)):
            engine.create_table("u", SCHEMA, timestamp="timestamp")
        for call in (*CALLS.values(), flush):
            with pytest.raises(LogPoisoned):
                call(engine, "t")
    with opened(tmp_path) as engine:
        created = point in (
            "delta.create.after_rename",
            "delta.create.before_sync_folder",
            "delta.create.after_sync_folder",
        )
        assert engine.tables == (["t", "u"] if created else ["t"])
        if not created:
            assert not (tmp_path / "wal" / "u").exists()
            engine.create_table("u", SCHEMA, timestamp="timestamp")
        assert engine.ingest("u", batch(2.0)) == 0
        engine.flush()
        assert (numbers(engine.read("t")), numbers(engine.read("u"))) == ([1.0], [2.0])
    assert sorted(path.name for path in (tmp_path / "tables").iterdir()) == ["t", "u"]


# --- a disk that refuses


def test_recovery_believes_the_disk_only(tmp_path: Path) -> None:
    """The newest commit, the tables' names and the logs' are synced before the log forgets a batch on their account."""
    with opened(tmp_path, options=EngineOptions(segment_bytes_max=1)) as engine:
        engine.ingest("t", batch(0.0))
        engine.ingest("t", batch(1.0))
        with faults.scenario("commit.delta.before_sync_folder=panic"), pytest.raises(faults.Panic):
            engine.flush()
    seen: list[str] = []
    faults.observe(lambda point, _: seen.append(point.name))
    try:
        opened(tmp_path).close()
    finally:
        faults.observe(None)
    retired = seen.index("wal.retire.before_unlink")
    for step in ("recovery.newest_commit.after_sync", "recovery.tables.after_sync", "recovery.logs.after_sync"):
        assert seen.index(step) < retired


def test_the_marker_names_the_log(tmp_path: Path) -> None:
    """The marker belongs to this log of this table: a log made anew never meets it."""
    with opened(tmp_path, options=EngineOptions(identity="me")) as engine:
        engine.ingest("t", batch(0.0))
        engine.flush()
    delta = DeltaTable(str(tmp_path / "tables" / "t"))
    assert (delta.transaction_version("me/t"), delta.transaction_version("you/t")) == (0, None)


# --- any order of calls

OPERATIONS = st.lists(
    st.one_of(
        st.tuples(st.just("ingest"), st.sampled_from("ab"), st.integers(0, 3)),
        st.tuples(st.just("truncate"), st.sampled_from("ab"), st.just(0)),
        st.tuples(st.sampled_from(["flush", "reopen"]), st.just(""), st.just(0)),
    ),
    max_size=12,
)
SMALL = EngineOptions(segment_bytes_max=2500, generation_bytes_max=150, checkpoint_commits=2)


@pytest.mark.lengthy
@settings(max_examples=25, deadline=None, database=None)
@given(OPERATIONS)
def test_any_order_of_calls(operations: list[tuple[str, str, int]]) -> None:
    """After any calls in any order, with restarts in between, each table holds what a list in memory would."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        model: dict[str, list[float]] = {"a": [], "b": []}
        next_ids = dict.fromkeys(model, 0)
        engine = StorageEngine.open(root, options=SMALL)
        try:
            for table in model:
                engine.create_table(table, SCHEMA, timestamp="timestamp", tags=["station"])
            for number, (operation, table, rows) in enumerate(operations):
                if operation == "ingest":
                    values = [float(number * 10 + row) for row in range(rows)]
                    assert engine.ingest(table, batch(*values, station=[None, "", "x"][rows % 3])) == next_ids[table]
                    next_ids[table] += 1
                    model[table] += values
                elif operation == "truncate":
                    engine.truncate(table)
                    model[table] = []
                elif operation == "flush":
                    engine.flush()
                    assert all(not engine.unpersisted(name) for name in model)
                else:
                    engine.close()
                    engine = StorageEngine.open(root, options=SMALL)
                assert {name: numbers(engine.read(name)) for name in model} == model
        finally:
            engine.close()


def test_an_interrupt_after_a_drop(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The table is gone, and the engine has not noted it yet: every call is refused, and the next opening knows."""
    drop = Table.drop

    def interrupted(table: Table) -> None:
        drop(table)
        raise KeyboardInterrupt

    with StorageEngine.open(tmp_path) as engine:
        engine.create_table("t", SCHEMA, timestamp="timestamp")
        monkeypatch.setattr(Table, "drop", interrupted)
        with pytest.raises(KeyboardInterrupt):
            engine.drop_table("t")
        with pytest.raises(LogPoisoned):
            engine.create_table("t", SCHEMA, timestamp="timestamp")
    with StorageEngine.open(tmp_path) as engine:
        assert engine.tables == []
