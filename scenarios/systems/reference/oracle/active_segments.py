"""The size of segments: a log closes one when it is full, not before, and not much later."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pyarrow as pa

from crashmatrix.reference_wal.log.segments.segment import open_segment, scan
from crashmatrix.reference_wal.log.write_ahead_log import WriteAheadLog
from crashmatrix.scenarios.errors import PromiseBroken
from crashmatrix.scenarios.systems.reference.notes import claimed_as_broken
from crashmatrix.scenarios.systems.reference.oracle.damage import without_crash_points

__all__ = ["ActiveSegments", "closes_when_full"]

_NEVER = 1 << 30


def closes_when_full(batch: pa.RecordBatch) -> None:
    """Append twice to logs whose segments are full after the first batch, and a byte short of it.

    Raises:
        PromiseBroken: the second batch is not in a segment of its own when it should be, or is when it should not.
    """
    with without_crash_points(), tempfile.TemporaryDirectory() as folder, claimed_as_broken("appending to new logs"):
        (only,) = _segments(Path(folder, "never full"), batch, _NEVER, appends=1)
        full = only.stat().st_size
        for size, due in ((full, 2), (full + 1, 1)):
            found = len(_segments(Path(folder, str(size)), batch, size, appends=2))
            if found != due:
                raise PromiseBroken(
                    "corrupt",
                    f"a segment has {full} bytes, where {size} are the limit, and the next batch is in {found}",
                )


def _segments(root: Path, batch: pa.RecordBatch, bytes_max: int, *, appends: int) -> list[Path]:
    wal = WriteAheadLog(root, segment_bytes_max=bytes_max, preallocate_bytes=0)
    try:
        wal.create_table_log("t", batch.schema)
        for _ in range(appends):
            wal.append("t", batch)
    finally:
        wal.close()
    return sorted((root / "t").glob("*.arrows"))


class ActiveSegments:
    """The active segments of an engine's logs, looked at after each append; `forget` those before another call."""

    def __init__(self, record_bytes_max: int) -> None:
        self._record_bytes_max = record_bytes_max
        self._before = dict[str, tuple[str, int]]()

    def forget(self) -> None:
        """Other calls close segments of any size."""
        self._before.clear()

    def appended(self, log: Path, segment_bytes_max: int) -> None:
        """Look at a log's folder after an append.

        Raises:
            PromiseBroken: the active segment is longer than it may be, or the append found one that was not full, and closed it.
        """
        most = segment_bytes_max + self._record_bytes_max
        for active in log.glob("*-.arrows"):
            with open_segment(active) as file:
                size = scan(file).good_bytes
            if size > most:
                raise PromiseBroken(
                    "corrupt", f"{active.name} of {log.name} has {size} bytes, where {most} are the most"
                )
            name, size_before = self._before.get(log.name, (active.name, 0))
            if name != active.name and size_before < segment_bytes_max:
                raise PromiseBroken(
                    "corrupt", f"{name} of {log.name} was closed at {size_before} bytes, of {segment_bytes_max}"
                )
            self._before[log.name] = active.name, size
