"""The port of ModelarDB's log: what it makes of a damaged tail, with a flaw and without."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest

from crashmatrix.scenarios.systems.modelardb.log import SCHEMA, Log


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
