"""Logs that an earlier death left: recovery drops the torn record, and starts the segment that a rotation did not."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Literal

import pyarrow as pa
import pytest

from crashmatrix.reference_wal import WriteAheadLog
from crashmatrix.reference_wal.log.segments.segment import open_segment, scan
from crashmatrix.scenarios.systems.reference.torn_logs import leave_remains, stop_rotating, tear_an_append

SCHEMA = pa.schema([("value", pa.binary())])


@pytest.mark.parametrize(
    ("leave", "name"),
    [
        *((partial(tear_an_append, lost=lost), "0-.arrows") for lost in ("rest", "middle", "last")),
        (stop_rotating, "0-1.arrows"),
    ],
)
def test_recovery(leave: Callable[[Path], None], name: str, tmp_path: Path) -> None:
    """Every batch is there, and the log goes on; the debris is not that of a clean end."""
    rows = pa.record_batch([pa.array([b"x" * 3000])], schema=SCHEMA)
    wal = WriteAheadLog(tmp_path, segment_bytes_max=1 << 20)
    wal.create_table_log("t", SCHEMA)
    for _ in range(2):
        wal.append("t", rows)
    wal.log("t").close(note_end=False)
    (segment,) = (tmp_path / "t").glob("*.arrows")
    before = segment.read_bytes()
    leave(segment)
    (left,) = (tmp_path / "t").glob("*.arrows")
    assert left.name == name
    assert left.read_bytes() != before
    wal = WriteAheadLog(tmp_path, segment_bytes_max=1 << 20)
    assert [batch_id for batch_id, _ in wal.unpersisted("t")] == [0, 1]
    assert wal.append("t", rows) == 2
    wal.close()


@pytest.mark.parametrize("lost", ["middle", "last"])
def test_a_late_tear(lost: Literal["middle", "last"], tmp_path: Path) -> None:
    """A large record lacks a single sector, far behind its beginning."""
    wal = WriteAheadLog(tmp_path)
    wal.create_table_log("t", SCHEMA)
    wal.append("t", pa.record_batch([pa.array([b"x" * 500])], schema=SCHEMA))
    wal.log("t").close(note_end=False)
    (segment,) = (tmp_path / "t").glob("*.arrows")
    tear_an_append(segment, lost=lost)
    with open_segment(segment) as file:
        found = scan(file)
    assert found.damage and (found.records, found.damage.proof) == (1, None)
    assert found.damage.problem == "the record does not match its checksum"
    assert segment.read_bytes().count(b"x") > 15_000


def test_remains(tmp_path: Path) -> None:
    """All of them at once: recovery removes what is its own, and leaves strange files alone."""
    wal = WriteAheadLog(tmp_path)
    for table in ("torn", "rotating"):
        wal.create_table_log(table, SCHEMA)
        wal.append(table, pa.record_batch([pa.array([b"x" * 500])], schema=SCHEMA))
        wal.log(table).close(note_end=False)
    leave_remains(tmp_path, torn={"torn": "last"}, rotating="rotating", strange=["torn/0-notes"])
    WriteAheadLog(tmp_path).close()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["rotating", "torn"]
    segments = {path.relative_to(tmp_path).as_posix() for path in tmp_path.glob("*/*") if path.name != "end"}
    assert segments == {
        *(f"{log}/{name}.arrows" for log in ("rotating", "torn") for name in ("0-0", "1-")),
        "torn/0-notes",
    }
