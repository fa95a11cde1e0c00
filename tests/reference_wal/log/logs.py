"""Small logs that the tests of this folder share."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa

from crashmatrix.reference_wal.log.end import END
from crashmatrix.reference_wal.log.segmented_log import SegmentedLog
from crashmatrix.reference_wal.log.segments.segment import SegmentName, open_segment, scan
from crashmatrix.reference_wal.log.unrecovered import UnrecoveredLog
from tests.reference_wal.support import SCHEMA, batch, numbers

LARGE = 1 << 20


def create(root: Path, segment_bytes_max: int = LARGE, schema: pa.Schema = SCHEMA) -> SegmentedLog:
    folder = root / "t"
    folder.mkdir()
    return SegmentedLog.create(folder, schema, table="t", segment_bytes_max=segment_bytes_max)


def reopen(log: SegmentedLog, *, persisted_through: int = -1) -> SegmentedLog:
    log.close()
    found = UnrecoveredLog.look(log.folder, segment_bytes_max=log.segment_bytes_max)
    assert found is not None
    return found.reconcile(persisted_through)


@contextmanager
def closing(log: SegmentedLog) -> Iterator[SegmentedLog]:
    try:
        yield log
    finally:
        log.close()


def ids(log: SegmentedLog) -> list[int]:
    """Return the unpersisted ids; each batch must hold its own row."""
    found = list(log.unpersisted())
    assert all(numbers(rows) == [float(batch_id)] for batch_id, rows in found)
    return [batch_id for batch_id, _ in found]


def fill(log: SegmentedLog, count: int) -> None:
    """Append batches whose row is their id."""
    for _ in range(count):
        assert log.append(batch(log.next_id)) == log.next_id - 1


def assert_sizes(log: SegmentedLog, segment_bytes_max: int, preallocate_bytes: int) -> None:
    """A log whose active segment is empty closes its segments at this size and fills them ahead so far, the next one as well."""
    for _ in range(2):
        assert log.segment_bytes_max == segment_bytes_max
        with open_segment(log.folder / f"{log.next_id}-.arrows") as file:
            found = scan(file)
        assert (found.records, found.size_bytes - found.good_bytes) == (0, preallocate_bytes)
        log.append(batch(log.next_id))
        log.rotate()


def names(log: SegmentedLog) -> list[str]:
    found = [SegmentName.parse(path.name) for path in log.folder.iterdir() if path.name != END]
    assert all(found)
    return [str(name) for name in sorted((name for name in found if name), key=lambda name: name.start)]
