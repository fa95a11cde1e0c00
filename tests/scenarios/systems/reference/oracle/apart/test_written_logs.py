"""The oracle's own writer writes what the log writes, byte by byte."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest

from crashmatrix.reference_wal import WriteAheadLog
from crashmatrix.reference_wal.log.segments.segment import open_segment, scan
from crashmatrix.scenarios.systems.reference.oracle.apart.written_logs import Written, note_of_end, set_of_persisted

SCHEMA = pa.schema([pa.field("number", pa.int64(), nullable=False)], metadata={"unit": "m"})


def batch(number: int) -> pa.RecordBatch:
    return pa.record_batch([pa.array([number])], schema=SCHEMA)


def written(**others: object) -> Written:
    whole = Written("which", "t", 0, SCHEMA, [batch(0), batch(1)])
    return replace(whole, **others)  # type: ignore[arg-type]


@pytest.mark.parametrize("zeros", [0, 700])
def test_the_same_files(tmp_path: Path, zeros: int) -> None:
    """A segment, the set of persisted batches, and the note of the end."""
    wal = WriteAheadLog(tmp_path, preallocate_bytes=zeros)
    wal.create_table_log("t", SCHEMA, identity="which")
    for number in range(2):
        wal.append("t", batch(number))
    wal.mark_persisted("t", [1])
    wal.close()
    files = {path.name: path.read_bytes() for path in (tmp_path / "t").iterdir()}
    segment = files["0-.arrows"]
    assert segment == written(zeros=len(segment) - len(written().data)).data
    assert files["persisted"] == set_of_persisted("1-1", "which")
    assert files["end"] == note_of_end(2, "which")


@pytest.mark.parametrize(
    ("others", "records"),
    [
        ({}, 2),
        ({"grouped": True, "start": 7}, 2),
        ({"ids": (0, 2)}, 1),
        ({"cut": 1}, 1),
        ({"lost": 1}, 0),
        ({"messages": [batch(0), b"nothing"]}, 1),
    ],
)
def test_records_as_the_log_reads_them(tmp_path: Path, others: dict[str, object], records: int) -> None:
    """Up to the first one that is not what it should be."""
    path = tmp_path / "0-.arrows"
    path.write_bytes(written(**others).data)
    with open_segment(path) as file:
        found = scan(file)
    assert found.opening is not None
    assert (found.opening.header.start, found.records) == (others.get("start", 0), records)
