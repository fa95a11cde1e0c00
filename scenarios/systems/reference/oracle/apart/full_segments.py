"""Segments that are full to the byte: the next batch begins another one, and not before."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pyarrow as pa

from crashmatrix.reference_wal.log.write_ahead_log import WriteAheadLog
from crashmatrix.scenarios.errors import PromiseBroken
from crashmatrix.scenarios.systems.reference.oracle.apart.first_run import folder_apart, judged

__all__ = ["closes_when_full"]

_BATCH = pa.record_batch({"x": [1]})
_NEVER = 1 << 30


def closes_when_full() -> None:
    """Append twice to logs whose segments are full after the first batch, and a byte short of it.

    Raises:
        PromiseBroken: the second batch is not in a segment of its own when it should be, or is when it should not.
    """
    with folder_apart() as folder, judged("appending to new logs"):
        (only,) = _segments(folder / "never full", _NEVER, appends=1)
        full = only.stat().st_size
        for size, due in ((full, 2), (full + 1, 1)):
            found = len(_segments(folder / str(size), size, appends=2))
            if found != due:
                raise PromiseBroken(
                    "corrupt",
                    f"a segment has {full} bytes, where {size} are the limit, and the next batch is in {found}",
                )


def _segments(root: Path, bytes_max: int, *, appends: int) -> list[Path]:
    with closing(WriteAheadLog(root, segment_bytes_max=bytes_max, preallocate_bytes=0)) as wal:
        wal.create_table_log("t", _BATCH.schema)
        for _ in range(appends):
            wal.append("t", _BATCH)
    return sorted((root / "t").glob("*.arrows"))
