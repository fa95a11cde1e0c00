"""Logs as an earlier death could have left them: an append torn, a rotation half done."""

from __future__ import annotations

from pathlib import Path

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

__all__ = ["SECTOR_BYTES", "stop_rotating", "tear_an_append"]

SECTOR_BYTES = 512
"""The disk's, and not the engine's idea of it, which is under test."""

_LARGE_BYTES = 20_000


def tear_an_append(active: Path, *, late: bool = False) -> None:
    """Leave of one more record its first sector; the others are the zeros that they were filled with.

    Args:
        late: leave of a large one all but a single sector, the last one with anything in it.
    """
    with open_segment(active) as file:
        opening = read_opening(file)
        assert opening is not None
        records = [record for record in read_records(file, opening) if isinstance(record, Record)]
    end = records[-1].end
    message = Codec(opening.schema).encode(_large(records[-1].batch) if late else records[-1].batch)
    seal = opening.form.write(records[-1].id + 1, end, end, message)
    record, first = seal + message.to_pybytes(), SECTOR_BYTES - end % SECTOR_BYTES
    with active.open("r+b") as log:
        log.seek(end)
        log.write(_without_last_sector(record, first) if late else record[:first])


def _large(batch: pa.RecordBatch) -> pa.RecordBatch:
    (large,) = pa.Table.from_batches([batch] * (1 + _LARGE_BYTES // batch.nbytes)).combine_chunks().to_batches()
    return large


def _without_last_sector(record: bytes, first: int) -> bytes:
    lost = max(start for start in range(first, len(record), SECTOR_BYTES) if any(record[start : start + SECTOR_BYTES]))
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
