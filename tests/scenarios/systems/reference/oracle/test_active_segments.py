"""A segment that grows too long, and one that is closed before it is full, are found."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest

from crashmatrix.reference_wal import WriteAheadLog
from crashmatrix.scenarios.errors import PromiseBroken
from crashmatrix.scenarios.systems.reference.oracle.active_segments import ActiveSegments

SCHEMA = pa.schema([pa.field("x", pa.int64())])
BATCH = pa.record_batch([pa.array([1])], schema=SCHEMA)
RECORD_BYTES, MAX = 600, 3_000


def appended(wal: WriteAheadLog, segments: ActiveSegments, times: int, bytes_max: int = MAX) -> None:
    for _ in range(times):
        wal.append("t", BATCH)
        segments.appended(wal.root / "t", bytes_max)


@pytest.fixture
def wal(tmp_path: Path) -> WriteAheadLog:
    wal = WriteAheadLog(tmp_path, segment_bytes_max=MAX, preallocate_bytes=1_024)
    wal.create_table_log("t", SCHEMA)
    return wal


def test_as_it_should_be(wal: WriteAheadLog) -> None:
    """Segments are closed when they are full, and by other calls at any size."""
    segments = ActiveSegments(RECORD_BYTES)
    appended(wal, segments, 20)
    assert len([*wal.log("t").folder.iterdir()]) > 2
    wal.log("t").rotate()
    segments.forget()
    appended(wal, segments, 2)
    wal.change_segment_size(2_000)
    segments.forget()
    appended(wal, segments, 20, 2_000)
    wal.close()


@pytest.mark.parametrize(
    ("bytes_max", "text"),
    [(6_000, "0-.arrows of t has .* bytes, where 3600 are the most"), (1, "0-.arrows of t was closed at")],
)
def test_another_size(bytes_max: int, text: str, wal: WriteAheadLog) -> None:
    """The log has another size in mind."""
    wal.change_segment_size(bytes_max)
    with pytest.raises(PromiseBroken, match=text):
        appended(wal, ActiveSegments(RECORD_BYTES), 20)
    wal.close()
