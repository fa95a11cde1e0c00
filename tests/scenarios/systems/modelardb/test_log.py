"""The port of ModelarDB's log: what it makes of a damaged tail, with a flaw and without."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest

from crashmatrix import faults
from crashmatrix.scenarios.systems.modelardb.log import SEGMENT_BATCHES, Log
from crashmatrix.scenarios.systems.modelardb.stream import SCHEMA, message


def _zero_the_tail(content: bytes) -> bytes:
    return content[:-64] + bytes(64)


def _cut_the_tail(content: bytes) -> bytes:
    return content[:-64]


@pytest.mark.parametrize(
    ("flaw", "damage", "rows"),
    [("no-checksum", _zero_the_tail, 2), ("", _zero_the_tail, 1), ("", _cut_the_tail, 1)],
)
def test_damaged_tail(flaw: str, damage: Callable[[bytes], bytes], rows: int, tmp_path: Path) -> None:
    """Zeros where a record's last sector should be are taken for its content, unless there is a checksum."""
    batch = pa.RecordBatch.from_pylist([{"number": 1, "series": "a", "row": 0, "value": b"x" * 200}], schema=SCHEMA)
    log = Log(tmp_path, {flaw}, set())
    log.append(batch)
    log.append(batch)
    (segment,) = tmp_path.iterdir()
    segment.write_bytes(damage(segment.read_bytes()))
    assert len(Log(tmp_path, {flaw}, set()).unpersisted()) == rows


def segments(folder: Path, *names: str) -> None:
    """Make segments with as many batches as their names say; one with an open end is empty."""
    batch = pa.RecordBatch.from_pylist([{"number": 1, "series": "a", "row": 0, "value": b"x"}], schema=SCHEMA)
    for name in names:
        start, _, end = name.partition("-")
        count = int(end) - int(start) + 1 if end else 0
        content = message(None) + message(batch) * count
        (folder / f"{name}.arrows").write_bytes(content)


@pytest.mark.parametrize(
    ("flaw", "names", "history", "next_id"),
    [
        ("forgotten-id", ["16-"], range(16), 0),
        ("older-segment", ["28-31", "36-"], range(29, 36), 32),
        ("lost-leftover", [], range(16), 0),
        ("truncated-id", [], range(16), 0),
        ("", ["16-"], range(16), 16),
        ("", ["28-31", "36-"], range(29, 36), 36),
        ("", [], range(16), 16),
    ],
)
def test_the_next_id(flaw: str, names: list[str], history: range, next_id: int, tmp_path: Path) -> None:
    """The next id is above every id in the history, unless a flaw forgets some."""
    segments(tmp_path, *names)
    assert Log(tmp_path, {flaw}, set(history)).next_id == next_id


@pytest.mark.parametrize("flaw", ["", "truncated-id"])
def test_truncation(flaw: str, tmp_path: Path) -> None:
    """A truncated log has no batch, and its ids go on; the flaw shows in a crash amid it only."""
    batch = pa.RecordBatch.from_pylist([{"number": 1, "series": "a", "row": 0, "value": b"x"}], schema=SCHEMA)
    log = Log(tmp_path, {flaw}, set())
    for _ in range(SEGMENT_BATCHES + 2):
        log.append(batch)
    left: list[int] = []
    faults.configure_callback("modelardb.truncate.segments_gone", lambda: left.append(len(list(tmp_path.iterdir()))))
    try:
        log.truncate()
    finally:
        faults.remove("modelardb.truncate.segments_gone")
    assert left == [0 if flaw else 1]
    assert [path.name for path in tmp_path.iterdir()] == [f"{SEGMENT_BATCHES + 2}-.arrows"]
    assert log.append(batch) == SEGMENT_BATCHES + 2
