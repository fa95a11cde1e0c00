"""The planted handling of errors is wrong in the way that it says."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from crashmatrix import faults
from crashmatrix.reference_wal import AppendFailed, LogPoisoned, StorageEngine, UnknownTable, WriteAheadLog
from crashmatrix.reference_wal.table import Table
from crashmatrix.scenarios.systems.reference.mutation.planting import errors
from tests.reference_wal.support import SCHEMA, batch, numbers


def test_a_failed_sync_is_made_once_more() -> None:
    """The first error is forgotten; a second one is not."""
    calls: list[int] = []

    def sync(descriptor: int) -> None:
        calls.append(descriptor)
        if len(calls) in (1, 3, 4):
            raise OSError

    again = errors.once_more(sync)
    again(7)
    assert calls == [7, 7]
    with pytest.raises(OSError):
        again(7)


def test_a_write_is_taken_for_whole(tmp_path: Path) -> None:
    """One write is made, whatever it returns."""
    fd = os.open(tmp_path / "file", os.O_CREAT | os.O_WRONLY)
    errors.whatever_was_written(None)(fd, [b"ab", b"c"], 0)
    os.close(fd)
    assert (tmp_path / "file").read_bytes() == b"abc"


class Segment:
    """As much of an active segment as the planted steps touch."""

    def __init__(self, path: Path) -> None:
        self.path, self.end_bytes = path, 10


def _full(*_: object, **__: object) -> float:
    raise OSError("full")


def test_an_error_is_swallowed(tmp_path: Path) -> None:
    """Records that could not be written count as written."""
    segment = Segment(tmp_path / "segment")
    assert errors.swallowed(_full)(segment, [b"abc"]) == 0.0
    assert segment.end_bytes == 13
    assert errors.commit_swallowed(_full)(None) is None


def test_an_error_removes_the_segment(tmp_path: Path) -> None:
    """The error goes on, and the file is gone."""
    segment = Segment(tmp_path / "segment")
    segment.path.touch()
    with pytest.raises(OSError, match="full"):
        errors.removed(_full)(segment, [b"abc"])
    assert not segment.path.exists()


def test_a_creation_that_cannot_be_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A part of the log is in the way; another log can be made."""
    original = WriteAheadLog.create_table_log
    monkeypatch.setattr(WriteAheadLog, "create_table_log", errors.made_once_only(original))
    wal = WriteAheadLog(tmp_path)
    with faults.scenario("wal.create_table.before_sync=raise(EIO)"), pytest.raises(OSError, match="output"):
        wal.create_table_log("t", SCHEMA)
    with pytest.raises(FileExistsError):
        wal.create_table_log("t", SCHEMA)
    wal.create_table_log("u", SCHEMA)
    wal.close()


def test_a_removal_that_is_forgotten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a removal that failed half-way the table is not known, and nothing says so; others are removed."""
    original = WriteAheadLog.remove_table_log
    monkeypatch.setattr(WriteAheadLog, "remove_table_log", errors.removal_forgotten(original))
    wal = WriteAheadLog(tmp_path)
    for table in "tu":
        wal.create_table_log(table, SCHEMA)
    with faults.scenario("wal.remove_table.before_rename=raise(EIO)"), pytest.raises(OSError, match="output"):
        wal.remove_table_log("t")
    with pytest.raises(UnknownTable):
        wal.log("t")
    wal.remove_table_log("u")
    assert wal.tables == []
    wal.close()


def test_a_truncation_after_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Undisturbed, a table is truncated; after an append that failed, it is cleared before the log refuses."""
    monkeypatch.setattr(Table, "truncate", errors.truncated_all_the_same(Table.truncate))
    with StorageEngine.open(tmp_path) as engine:
        engine.create_table("t", SCHEMA, timestamp="timestamp")
        engine.ingest("t", batch(1.0))
        engine.truncate("t")
        engine.ingest("t", batch(2.0))
        with faults.scenario("wal.append.after_sync=raise(EIO)"), pytest.raises(AppendFailed):
            engine.ingest("t", batch(3.0))
        with pytest.raises(LogPoisoned):
            engine.truncate("t")
    with StorageEngine.open(tmp_path) as engine:
        assert numbers(engine.read("t")) == [3.0]
