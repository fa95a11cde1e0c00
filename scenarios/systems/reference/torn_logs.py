"""Logs as an earlier death could have left them: an append torn, a rotation half done."""

from __future__ import annotations

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

__all__ = ["SECTOR_BYTES", "active_segment", "stop_rotating", "tear_an_append"]

SECTOR_BYTES = 512
"""The disk's, and not the engine's idea of it, which is under test."""

_LARGE_BYTES = 20_000


def active_segment(log: Path) -> Path:
    """Return the segment that takes the next record of a log's folder."""
    return next(log.glob("*-.arrows"))


def tear_an_append(active: Path, *, lost: Literal["rest", "middle", "last"] = "rest") -> None:
    """Leave a part of one more record; sectors that were lost are the zeros that they were filled with.

    Args:
        lost: all but the first sector; or a single one of a large record, in its middle or the last with anything in it.
    """
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
