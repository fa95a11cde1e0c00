"""The write-ahead log of many tables: its public interface, and folders that a crash left half-way."""

from __future__ import annotations

import errno
import threading
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from crashmatrix import faults
from crashmatrix.reference_wal import (
    AppendFailed,
    InvalidInput,
    LogCorrupted,
    LogPoisoned,
    TableExists,
    UnknownTable,
    WriteAheadLog,
)
from crashmatrix.reference_wal.log.counters import LogCounters
from tests.reference_wal.log.logs import assert_sizes
from tests.reference_wal.log.wals import opened, rows
from tests.reference_wal.support import SCHEMA, batch, contents, encode, meanwhile, open_files


def test_the_life_of_a_table(tmp_path: Path) -> None:
    """Create, append, persist, truncate, remove: each takes effect, and is still so after reopening."""
    root = tmp_path / "deep" / "wal"
    with opened(root) as wal:
        assert wal.tables == []
        wal.create_table_log("t", SCHEMA)
        assert [wal.append("t", batch(float(i))) for i in range(3)] == [0, 1, 2]
    with opened(root) as wal:
        assert wal.tables == ["t"]
        assert rows(wal, "t") == [(0, [0.0]), (1, [1.0]), (2, [2.0])]
        assert all(found.schema.equals(SCHEMA) for _, found in wal.unpersisted("t"))
        wal.mark_persisted("t", [0, 1])
        assert rows(wal, "t") == [(2, [2.0])]
        assert wal.append("t", batch(3.0)) == 3
        wal.truncate("t")
        assert rows(wal, "t") == []
        assert wal.append("t", batch(4.0)) == 4
    with opened(root) as wal:
        assert rows(wal, "t") == [(4, [4.0])]
        wal.remove_table_log("t")
        assert wal.tables == [] and contents(root) == {}
    with opened(root) as wal:
        assert wal.tables == []


@pytest.mark.parametrize("made_again", [None, 0, 2])
def test_reading_beside_a_removal(made_again: int | None, tmp_path: Path) -> None:
    """Who reads a log that is removed meanwhile learns that it is gone; it is not called damaged, and a later log of the same
    name is not read in its place, whether it has as many batches or none.
    """
    with opened(tmp_path, segment_bytes_max=1) as wal:
        wal.create_table_log("t", SCHEMA)
        for value in range(3):
            wal.append("t", batch(float(value)))
        log = wal.log("t")
        readings = [log.unpersisted() for _ in range(3)]
        assert [next(reading)[0] for reading in readings[:2]] == [0, 0]
        assert next(readings[1])[0] == 1
        wal.remove_table_log("t")
        if made_again is not None:
            wal.create_table_log("t", SCHEMA)
            assert [wal.append("t", batch(7.0)) for _ in range(made_again)] == list(range(made_again))
        for reading in readings:
            with pytest.raises(UnknownTable):
                next(reading)
        for refused in (lambda: log.append(batch(9.0)), log.truncate, lambda: log.mark_persisted([0])):
            with pytest.raises(UnknownTable):
                refused()


def test_root_may_be_text(tmp_path: Path) -> None:
    """The root is a path or its text."""
    with opened(tmp_path) as wal:
        wal.create_table_log("t", SCHEMA)
    again = WriteAheadLog(str(tmp_path))
    assert again.tables == ["t"]
    again.close()


def test_tables_do_not_mix(tmp_path: Path) -> None:
    """Each table has ids, rows, schema and segments of its own."""
    other = pa.schema([("x", pa.int64())])
    with opened(tmp_path, segment_bytes_max=1) as wal:
        wal.create_table_log("a", SCHEMA)
        wal.create_table_log("b", other)
        for number in range(3):
            assert wal.append("a", batch(float(number))) == number
            assert wal.append("b", pa.record_batch([[10 + number]], schema=other)) == number
        wal.mark_persisted("b", [0, 1])
        wal.truncate("a")
    with opened(tmp_path) as wal:
        assert wal.tables == ["a", "b"]
        assert rows(wal, "a") == []
        assert [(i, found.to_pydict()) for i, found in wal.unpersisted("b")] == [(2, {"x": [12]})]


def test_create_twice(tmp_path: Path) -> None:
    """A table that exists is not created again, and keeps its batches."""
    with opened(tmp_path) as wal:
        wal.create_table_log("t", SCHEMA)
        wal.append("t", batch(0.0))
        with pytest.raises(TableExists, match="'t' exists already"):
            wal.create_table_log("t", pa.schema([("x", pa.int8())]))
        assert rows(wal, "t") == [(0, [0.0])]


@pytest.mark.parametrize("next_id", [-1, -2])
def test_ids_begin_at_0(next_id: int, tmp_path: Path) -> None:
    """A log cannot begin below, and nothing of one that was to is on disk; one that begins at 0 is made."""
    with opened(tmp_path) as wal:
        with pytest.raises(InvalidInput, match=f"cannot be {next_id}; ids begin at 0"):
            wal.create_table_log("t", SCHEMA, next_id=next_id)
        assert wal.tables == [] and list(tmp_path.iterdir()) == []
        wal.create_table_log("t", SCHEMA, next_id=0)
        assert wal.append("t", batch(0.0)) == 0


def test_a_log_that_is_gone_and_a_disk_that_fails(tmp_path: Path) -> None:
    """Who reads a removed log while the disk fails gets the disk's own error, with its number, as from any other log."""
    with opened(tmp_path) as wal:
        wal.create_table_log("t", SCHEMA)
        wal.append("t", batch(0.0))
        reading = wal.log("t").unpersisted()
        wal.remove_table_log("t")
        (tmp_path / "t").mkdir()
        (tmp_path / "t" / "0-.arrows").symlink_to("0-.arrows")
        with pytest.raises(OSError, match="symbolic links") as caught:
            next(reading)
        assert caught.value.errno == errno.ELOOP


def test_removals_take_turns(tmp_path: Path) -> None:
    """A removal is through, with the hidden folder gone, before another thread makes and removes a log of that name."""
    with opened(tmp_path) as wal:
        wal.create_table_log("t", SCHEMA)

        def again() -> None:
            wal.create_table_log("t", SCHEMA)
            wal.remove_table_log("t")

        other = threading.Thread(target=again)

        faults.configure_callback("wal.remove_table.before_delete", lambda: meanwhile(other))
        try:
            wal.remove_table_log("t")
            other.join()
        finally:
            faults.remove("wal.remove_table.before_delete")
        assert wal.tables == [] and list(tmp_path.iterdir()) == []


UNKNOWN: dict[str, Callable[[WriteAheadLog], object]] = {
    "append": lambda wal: wal.append("u", batch(1.0)),
    "mark_persisted": lambda wal: wal.mark_persisted("u", []),
    "unpersisted": lambda wal: wal.unpersisted("u"),
    "truncate": lambda wal: wal.truncate("u"),
    "remove_table_log": lambda wal: wal.remove_table_log("u"),
    "log": lambda wal: wal.log("u"),
}


@pytest.mark.parametrize("call", UNKNOWN.values(), ids=UNKNOWN)
def test_unknown_table(call: Callable[[WriteAheadLog], object], tmp_path: Path) -> None:
    """A table that is not there is named, with those that are."""
    with opened(tmp_path) as wal:
        wal.create_table_log("t", SCHEMA)
        with pytest.raises(UnknownTable, match=r"no table 'u'.*tables here: t"):
            call(wal)


def test_made_anew_is_another_log(tmp_path: Path) -> None:
    """A table removed and created again starts at id 0 under another identity."""
    with opened(tmp_path) as wal:
        wal.create_table_log("t", SCHEMA)
        first = wal.log("t").identity
        wal.append("t", batch(0.0))
        wal.remove_table_log("t")
        wal.create_table_log("t", SCHEMA)
        second = wal.log("t").identity
        assert first and second and first != second
        assert wal.append("t", batch(7.0)) == 0
    with opened(tmp_path) as wal:
        assert wal.log("t").identity == second
        assert rows(wal, "t") == [(0, [7.0])]


def test_identity_may_be_given(tmp_path: Path) -> None:
    """A log keeps the identity that it was given."""
    with opened(tmp_path) as wal:
        wal.create_table_log("t", SCHEMA, identity="mine")
    with opened(tmp_path) as wal:
        assert wal.log("t").identity == "mine"


CREATION = [
    "wal.create_table.before_mkdir",
    "wal.create_table.after_mkdir",
    "wal.segment.before_write",
    "wal.segment.after_write",
    "wal.segment.after_sync",
    "wal.segment.before_rename",
    "wal.segment.after_rename",
    "wal.create_table.before_sync",
    "wal.create_table.after_sync",
]


@pytest.mark.parametrize("point", CREATION)
def test_creation_cut_short(point: str, tmp_path: Path) -> None:
    """A creation that stopped half-way leaves the table whole or not at all, and the name free or usable."""
    with opened(tmp_path) as wal, faults.scenario(f"{point}=panic"), pytest.raises(faults.Panic):
        wal.create_table_log("t", SCHEMA)
    with opened(tmp_path) as wal:
        created = point in CREATION[6:]
        assert wal.tables == (["t"] if created else [])
        assert (tmp_path / "t").exists() == created
        if not created:
            wal.create_table_log("t", SCHEMA)
        assert wal.append("t", batch(0.0)) == 0


def test_strange_files_are_left_alone(tmp_path: Path) -> None:
    """A file beside the tables is nobody's business."""
    (tmp_path / "notes.txt").write_text("mine")
    with opened(tmp_path) as wal:
        wal.create_table_log("t", SCHEMA)
    with opened(tmp_path) as wal:
        assert wal.tables == ["t"]
    assert (tmp_path / "notes.txt").read_text() == "mine"


def test_a_strange_folder_is_never_deleted(tmp_path: Path) -> None:
    """A folder with somebody's files is not an unfinished creation: it is refused, and kept."""
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "me.jpg").write_text("dear")
    with pytest.raises(LogCorrupted, match=r"photos: holds no segment, but me\.jpg"):
        WriteAheadLog(tmp_path)
    assert contents(tmp_path) == {"photos/me.jpg": b"dear"}


def test_a_log_under_another_name_is_refused(tmp_path: Path) -> None:
    """A log's folder that was renamed is not taken for the log of another table."""
    with opened(tmp_path) as wal:
        wal.create_table_log("t", SCHEMA)
        wal.append("t", batch(0.0))
    (tmp_path / "t").rename(tmp_path / "u")
    before = contents(tmp_path)
    with pytest.raises(LogCorrupted, match="belongs to the log of table 't'"):
        WriteAheadLog(tmp_path)
    assert contents(tmp_path) == before


def test_corruption_in_one_table_is_named(tmp_path: Path) -> None:
    """A damaged log refuses to open with its path."""
    (tmp_path / "t").mkdir()
    (tmp_path / "t" / "0-0.arrows").write_bytes(encode([batch(0.0)])[0][:-1])
    with pytest.raises(LogCorrupted) as caught:
        WriteAheadLog(tmp_path)
    assert caught.value.path == tmp_path / "t" / "0-0.arrows"


def test_one_poisoned_table_leaves_the_others(tmp_path: Path) -> None:
    """A failed append poisons its table's log only."""
    with opened(tmp_path) as wal:
        for table in "ab":
            wal.create_table_log(table, SCHEMA)
        with faults.scenario("wal.append.before_sync=raise(EIO)"), pytest.raises(AppendFailed):
            wal.append("a", batch(0.0))
        with pytest.raises(LogPoisoned):
            wal.append("a", batch(0.0))
        assert wal.append("b", batch(1.0)) == 0
        assert (rows(wal, "a"), rows(wal, "b")) == ([], [(0, [1.0])])
    with opened(tmp_path) as wal:
        assert wal.append("a", batch(2.0)) == len(rows(wal, "a")) - 1


def test_threads(tmp_path: Path) -> None:
    """Threads appending to several tables get ids of their own, and every batch is there under its id."""
    threads, each, tables = 4, 12, ["a", "b"]
    given: dict[tuple[str, int], float] = {}
    together = threading.Barrier(threads)
    with opened(tmp_path, segment_bytes_max=4096) as wal:
        for table in tables:
            wal.create_table_log(table, SCHEMA)

        def work(number: int) -> None:
            together.wait()
            for turn in range(each):
                for table in tables:
                    value = float(number * 1000 + turn)
                    given[table, wal.append(table, batch(value))] = value

        running = [threading.Thread(target=work, args=(number,)) for number in range(threads)]
        for thread in running:
            thread.start()
        for thread in running:
            thread.join()
    assert sorted(given) == [(table, batch_id) for table in tables for batch_id in range(threads * each)]
    with opened(tmp_path) as wal:
        for table in tables:
            assert rows(wal, table) == [(batch_id, [given[table, batch_id]]) for batch_id in range(threads * each)]


@pytest.mark.parametrize(
    "point", ["wal.segment.before_sync", "wal.segment.after_rename", "wal.create_table.before_sync"]
)
def test_creation_may_be_tried_again(point: str, tmp_path: Path) -> None:
    """A creation that the disk refused leaves no descriptor open, and the next one of that name goes through."""
    with opened(tmp_path) as wal:
        before = open_files(tmp_path)
        with faults.scenario(f"{point}=raise(ENOSPC)"), pytest.raises(OSError, match="No space"):
            wal.create_table_log("t", SCHEMA)
        assert open_files(tmp_path) == before
        assert wal.tables == []
        wal.create_table_log("t", SCHEMA)
        assert wal.append("t", batch(0.0)) == 0
    with opened(tmp_path) as wal:
        assert rows(wal, "t") == [(0, [0.0])]


def test_a_creation_tried_again_deletes_nothing_of_others(tmp_path: Path) -> None:
    """A folder that was there before the first try is not cleared for the second."""
    with opened(tmp_path) as wal:
        (tmp_path / "t").mkdir()
        (tmp_path / "t" / "notes.txt").write_text("mine")
        for _ in range(2):
            with pytest.raises(FileExistsError):
                wal.create_table_log("t", SCHEMA)
    assert contents(tmp_path) == {"t/notes.txt": b"mine"}


def test_a_removal_that_failed_is_not_the_end_of_the_name(tmp_path: Path) -> None:
    """Removed but for its space, a table can be made and removed again; removed half-way, it is refused until reopened."""
    with opened(tmp_path) as wal:
        wal.create_table_log("t", SCHEMA)
        with faults.scenario("wal.remove_table.before_delete=raise(EIO)"), pytest.raises(OSError, match="output"):
            wal.remove_table_log("t")
        wal.create_table_log("t", SCHEMA)
        wal.remove_table_log("t")
        assert list(tmp_path.iterdir()) == []
        wal.create_table_log("t", SCHEMA)
        with faults.scenario("wal.remove_table.before_sync=raise(EIO)"), pytest.raises(OSError, match="output"):
            wal.remove_table_log("t")
        calls: list[Callable[[], object]] = [lambda: wal.append("t", batch(0.0)), lambda: wal.remove_table_log("t")]
        calls += [lambda: wal.unpersisted("t"), lambda: wal.create_table_log("t", SCHEMA)]
        for call in calls:
            with pytest.raises(LogPoisoned):
                call()
    with opened(tmp_path) as wal:
        assert wal.tables == []


def test_sizes_are_set_one_after_the_other(tmp_path: Path) -> None:
    """A second call waits until every log has the size of the first one, so that the last call holds for all of them."""
    with opened(tmp_path) as wal:
        wal.create_table_log("t", SCHEMA)
        second = threading.Thread(target=wal.change_segment_size, args=(88,))

        class Slow(dict[str, Any]):
            def values(self) -> Any:
                meanwhile(second)
                return super().values()

        wal._logs = Slow(wal._logs)
        wal.change_segment_size(77)
        second.join()
        assert (wal.segment_bytes_max, wal.log("t").segment_bytes_max) == (88, 88)


@pytest.mark.parametrize(("segment_bytes_max", "preallocate_bytes"), [(30_001, 0), (30_002, 5003), (30_003, 1)])
def test_sizes_are_those_given(segment_bytes_max: int, preallocate_bytes: int, tmp_path: Path) -> None:
    """A log that is made, one that goes on with a segment left empty, and one that is recovered have the sizes given."""

    def sized() -> WriteAheadLog:
        return WriteAheadLog(tmp_path, segment_bytes_max=segment_bytes_max, preallocate_bytes=preallocate_bytes)

    with closing(sized()) as wal:
        wal.create_table_log("new", SCHEMA)
        wal.create_table_log("empty", SCHEMA)
        wal.create_table_log("filled", SCHEMA)
        wal.append("filled", batch(0.0))
        assert_sizes(wal.log("new"), segment_bytes_max, preallocate_bytes)
    with closing(sized()) as wal:
        assert (wal.segment_bytes_max, wal.preallocate_bytes) == (segment_bytes_max, preallocate_bytes)
        for table in ("new", "empty", "filled"):
            assert_sizes(wal.log(table), segment_bytes_max, preallocate_bytes)


@pytest.mark.parametrize(
    "sizes", [{"segment_bytes_max": 0}, {"segment_bytes_max": 1.5}, {"preallocate_bytes": -1}], ids=str
)
def test_sizes_that_cannot_be(sizes: dict[str, Any], tmp_path: Path) -> None:
    """They are refused before anything is made, and in a log that is open already."""
    ((name, value),) = sizes.items()
    with pytest.raises(InvalidInput, match=f"option {name} cannot be {value}; give a whole number"):
        WriteAheadLog(tmp_path / "logs", **sizes)
    assert not (tmp_path / "logs").exists()
    with opened(tmp_path) as wal:
        before = wal.segment_bytes_max
        if name == "segment_bytes_max":
            with pytest.raises(InvalidInput, match="1 or more"):
                wal.change_segment_size(value)
        assert wal.segment_bytes_max == before


def test_sizes_if_none_are_given(tmp_path: Path) -> None:
    """A segment is closed at 64 MiB, and filled 1 MiB ahead, whether its log is made or recovered."""
    for _ in range(2):
        with closing(WriteAheadLog(tmp_path)) as wal:
            if not wal.tables:
                wal.create_table_log("t", SCHEMA)
            assert_sizes(wal.log("t"), 64 << 20, 1 << 20)


def test_a_name_is_free_for_one_thread_at_a_time(tmp_path: Path) -> None:
    """A creation is over before another thread removes the table: then its next creation may fail, and be tried again."""
    other_went_on = threading.Event()

    def other() -> None:
        wal.remove_table_log("t")
        with faults.scenario("wal.create_table.after_mkdir=raise(EIO)"), pytest.raises(OSError, match="output"):
            wal.create_table_log("t", SCHEMA)
        other_went_on.set()

    class Slow(set[str]):
        def discard(self, table: object) -> None:
            if wal.tables:
                meanwhile(thread)
            super().discard(str(table))

    with opened(tmp_path) as wal:
        thread = threading.Thread(target=other)
        wal._half_made = Slow()
        wal.create_table_log("t", SCHEMA)
        thread.join()
        assert other_went_on.is_set()
        wal.create_table_log("t", SCHEMA)


def test_counters(tmp_path: Path) -> None:
    """A log counts what it did since it was opened."""
    with opened(tmp_path, segment_bytes_max=2500) as wal:
        wal.create_table_log("t", SCHEMA)
        for number in range(6):
            wal.append("t", batch(float(number)))
        wal.mark_persisted("t", range(4))
        found, log = wal.log("t").counters, wal.log("t")
        assert (found.appends, found.syncs, found.replayed) == (6, 6, 0)
        assert found.rotations >= 1 and found.retired >= 1 and found.sync_seconds > 0
        sizes = sum(path.stat().st_size for path in log.folder.glob("*-?.arrows"))
        assert found.bytes > sizes / 2
        assert len(list(log.unpersisted())) == log.counters.replayed == 2
    with opened(tmp_path) as wal:
        assert wal.log("t").counters == LogCounters(
            appends=0, bytes=0, syncs=0, sync_seconds=0, rotations=0, retired=0, replayed=0
        )
