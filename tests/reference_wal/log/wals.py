"""Write-ahead logs that the tests of this folder share."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from crashmatrix.reference_wal import (
    WriteAheadLog,
)
from tests.reference_wal.support import numbers


@contextmanager
def opened(root: Path, *, segment_bytes_max: int = 1 << 20) -> Iterator[WriteAheadLog]:
    wal = WriteAheadLog(root, segment_bytes_max=segment_bytes_max)
    try:
        yield wal
    finally:
        wal.close()


def rows(wal: WriteAheadLog, table: str) -> list[tuple[int, list[float]]]:
    return [(batch_id, numbers(found)) for batch_id, found in wal.unpersisted(table)]
