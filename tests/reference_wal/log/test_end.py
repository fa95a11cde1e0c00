"""The note of where a closed log ends: damage that looks like a crash is not taken for one; a torn note says nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from crashmatrix import faults
from crashmatrix.reference_wal import AppendFailed, LogCorrupted, WriteAheadLog
from crashmatrix.reference_wal.log.end import END, read_end, write_end
from tests.reference_wal.support import SCHEMA, batch, flipped


def test_every_change_makes_it_say_nothing(tmp_path: Path) -> None:
    """The note counts for its own log, whole; after any change it says nothing."""
    write_end(tmp_path, "me", 57)
    assert (read_end(tmp_path, "me"), read_end(tmp_path, "you")) == (57, 0)
    data = (tmp_path / END).read_bytes()
    for place in range(len(data)):
        for changed in (flipped(data, place), flipped(data, place, 1), data[:place]):
            (tmp_path / END).write_bytes(changed)
            assert read_end(tmp_path, "me") == 0
    (tmp_path / END).unlink()
    assert read_end(tmp_path, "me") == 0


def filled(root: Path) -> Path:
    wal = WriteAheadLog(root)
    wal.create_table_log("t", SCHEMA, identity="me")
    for number in range(3):
        wal.append("t", batch(float(number)))
    wal.close()
    return root / "t" / "0-.arrows"


def test_a_cut_after_closing_shows(tmp_path: Path) -> None:
    """The last record of a log closed in good order cannot vanish, whatever is left of it; an older end does not matter."""
    segment = filled(tmp_path)
    data = segment.read_bytes().rstrip(b"\0")
    segment.write_bytes(data[:-1])
    for _ in range(2):
        with pytest.raises(LogCorrupted, match="ends before batch 2, but 2 was durable") as caught:
            WriteAheadLog(tmp_path)
        assert caught.value.path == segment
    write_end(tmp_path / "t", "me", 2)
    assert len(WriteAheadLog(tmp_path).unpersisted("t")) == 2


def test_a_cut_of_every_batch(tmp_path: Path) -> None:
    """A log that lost all of its batches ends before batch 0, not at batch -1."""
    wal = WriteAheadLog(tmp_path)
    wal.create_table_log("t", SCHEMA, identity="me")
    wal.append("t", batch(0.0))
    wal.close()
    segment = tmp_path / "t" / "0-.arrows"
    segment.write_bytes(segment.read_bytes().rstrip(b"\0")[:-1])
    with pytest.raises(LogCorrupted, match="ends before batch 0, but 0 was durable"):
        WriteAheadLog(tmp_path)


def test_nothing_is_noted_without_need(tmp_path: Path) -> None:
    """A log that took no batch, or whose append failed, leaves the note as it was; a disk that refuses it fails nothing."""
    filled(tmp_path)
    note = tmp_path / "t" / END
    before = note.read_bytes()
    WriteAheadLog(tmp_path).close()
    assert note.read_bytes() == before
    wal = WriteAheadLog(tmp_path)
    with faults.scenario("wal.append.before_sync=raise(EIO)"), pytest.raises(AppendFailed):
        wal.append("t", batch(5.0))
    wal.close()
    assert note.read_bytes() == before
    wal = WriteAheadLog(tmp_path)
    wal.append("t", batch(9.0))
    (tmp_path / "t").rename(tmp_path / "aside")
    wal.close()


def test_errors_that_are_not_the_disks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only an error of the disk is passed over: closing reports any other."""

    def fail(*_: object) -> None:
        raise MemoryError

    with monkeypatch.context() as patch, pytest.raises(MemoryError):
        patch.setattr(Path, "write_bytes", fail)
        write_end(tmp_path, "me", 1)


def test_a_note_that_cannot_be_read(tmp_path: Path) -> None:
    """It is an error: a note that is there may say that batches were durable."""
    (tmp_path / END).mkdir()
    with pytest.raises(OSError, match=END):
        read_end(tmp_path, "me")
