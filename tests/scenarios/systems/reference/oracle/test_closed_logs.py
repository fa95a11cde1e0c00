"""A closed log without the note of its end, or with another's, is found; so is a byte that nobody checks."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pyarrow as pa
import pytest

from crashmatrix.reference_wal import WriteAheadLog
from crashmatrix.reference_wal.errors import LogCorrupted
from crashmatrix.reference_wal.log import persisted
from crashmatrix.reference_wal.log.end import END
from crashmatrix.reference_wal.log.segmented_log import SegmentedLog
from crashmatrix.scenarios.errors import PromiseBroken
from crashmatrix.scenarios.systems.reference.oracle.closed_logs import compare_ends, ends_of, refuse_changed_bytes

SCHEMA = pa.schema([pa.field("x", pa.int64())])


@contextmanager
def opened(root: Path) -> Iterator[WriteAheadLog]:
    wal = WriteAheadLog(root / "wal", segment_bytes_max=2_000, preallocate_bytes=1_024)
    try:
        yield wal
    finally:
        wal.close()


def look(root: Path) -> object:
    with opened(root) as wal:
        return [(table, wal.log(table).persisted, wal.unpersisted(table)) for table in wal.tables]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    with opened(tmp_path) as wal:
        for table in ("full", "empty"):
            wal.create_table_log(table, SCHEMA)
        for number in range(6):
            wal.append("full", pa.record_batch([pa.array([number])], schema=SCHEMA))
        wal.mark_persisted("full", [1, 4])
    return tmp_path


def test_the_log_keeps_its_promise(root: Path) -> None:
    """The note says the next id, none is there without a batch; and each changed byte is refused, or changes nothing."""
    with opened(root) as wal:
        ends = ends_of(wal)
    assert ends == {root / "wal" / "full": 6, root / "wal" / "empty": 0}
    compare_ends(ends)
    refuse_changed_bytes(root, opened, look, 0)


def test_other_notes(root: Path) -> None:
    """A note that is gone, old, or there without a batch."""
    full, empty = root / "wal" / "full", root / "wal" / "empty"
    with pytest.raises(PromiseBroken, match="full was closed, its note of the end says '6', not '7'"):
        compare_ends({full: 7})
    (empty / END).write_bytes((full / END).read_bytes())
    (full / END).unlink()
    for folder, next_id in ((full, 6), (empty, 0)):
        with pytest.raises(PromiseBroken, match=f"{folder.name} was closed"):
            compare_ends({folder: next_id})
        compare_ends({folder: next_id}, but_for=[folder])


def test_a_checksum_that_leaves_out_a_byte(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One of the set of persisted batches."""
    check = persisted._check
    with opened(root) as wal:
        monkeypatch.setattr(persisted, "_check", lambda line, identity: check(line[:-1], identity))
        wal.mark_persisted("full", [5])
    with pytest.raises(PromiseBroken, match="of full/persisted was changed before the folder was opened"):
        refuse_changed_bytes(root, opened, look, 0)


def test_damage_that_ends_a_segment_in_silence(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While segments are open, too."""

    unpersisted = SegmentedLog.unpersisted

    def silent(log: SegmentedLog) -> Iterator[tuple[int, pa.RecordBatch]]:
        with suppress(LogCorrupted):
            yield from unpersisted(log)

    monkeypatch.setattr(SegmentedLog, "unpersisted", silent)
    with pytest.raises(PromiseBroken, match="was changed while it was open, and other rows were returned"):
        refuse_changed_bytes(root, opened, look, 0)
