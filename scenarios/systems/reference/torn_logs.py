"""Logs as an earlier death could have left them: an append torn, a rotation half done."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

import pyarrow as pa

from crashmatrix.reference_wal.log.segments.segment import (
    Codec,
    Record,
    SegmentName,
    open_segment,
    read_opening,
    read_records,
    scan,
)

__all__ = ["SECTOR_BYTES", "Lost", "active_segment", "leave_remains", "stop_rotating", "tear_an_append"]

Lost = Literal["rest", "middle", "last"]
"""The sectors of a record that a power cut lost: all but the first; or one in its middle; or the last one with anything in it."""

SECTOR_BYTES = 512
"""The disk's, and not the engine's idea of it, which is under test."""

_LARGE_BYTES = 20_000


def active_segment(log: Path) -> Path:
    """Return the segment that takes the next record of a log's folder."""
    return next(log.glob("*-.arrows"))


def leave_remains(wal: Path, *, torn: Mapping[str, Lost], rotating: str, strange: Sequence[str]) -> None:
    """Leave what a crash, and other people, could have left in the folder of logs.

    Args:
        torn: tables whose last append is torn, and how.
        rotating: a table of which a segment was closed, and the next one not started.
        strange: files that are not the engine's, by their place in the folder.
    """
    for table, lost in torn.items():
        tear_an_append(active_segment(wal / table), lost)
    stop_rotating(active_segment(wal / rotating))
    for name in ("99-.tmp", "persisted.tmp"):
        (wal / rotating / name).touch()
    for name in ("unfinished", ".removed-old"):
        (wal / name).mkdir()
    for name in strange:
        (wal / name).touch()


def tear_an_append(active: Path, lost: Lost = "rest") -> None:
    """Leave a part of one more record; sectors that were lost are the zeros that they were filled with."""
    with open_segment(active) as file:
        opening = read_opening(file)
        assert opening is not None
        records = [record for record in read_records(file, opening) if isinstance(record, Record)]
    end = records[-1].end
    message = Codec(opening.schema).encode(records[-1].batch if lost == "rest" else _large(records[-1].batch))
    seal = opening.form.write(records[-1].id + 1, end, end, message)
    record, first = seal + message.to_pybytes(), SECTOR_BYTES - end % SECTOR_BYTES
    with active.open("r+b") as log:
        log.seek(end)
        log.write(record[:first] if lost == "rest" else _without_a_sector(record, first, lost))


def _large(batch: pa.RecordBatch) -> pa.RecordBatch:
    (large,) = pa.Table.from_batches([batch] * (1 + _LARGE_BYTES // batch.nbytes)).combine_chunks().to_batches()
    return large


def _without_a_sector(record: bytes, first: int, which: str) -> bytes:
    starts = range(first, len(record), SECTOR_BYTES)
    full = [start for start in starts if any(record[start : start + SECTOR_BYTES])]
    lost = full[-1] if which == "last" else full[len(full) // 2]
    return record[:lost] + bytes(len(record[lost : lost + SECTOR_BYTES])) + record[lost + SECTOR_BYTES :]


def stop_rotating(active: Path) -> None:
    """Close a segment, and do not start the next one."""
    with open_segment(active) as file:
        found = scan(file)
    assert found.opening is not None and found.records
    start = found.opening.header.start
    with active.open("r+b") as log:
        log.truncate(found.good_bytes)
    active.rename(active.with_name(str(SegmentName(start, start + found.records - 1))))
