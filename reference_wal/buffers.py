"""Rows on their way from the log to Delta: buffered per series, sealed into generations.

A series is the rows that share their tag values. A *generation* is all rows of the contiguous batches ``lo..hi``: it is
sealed and committed as a whole, because the marker in Delta is one number. (Committing one series' buffer by itself would
mark its batches persisted while their other rows still wait in other buffers, and a crash then loses those.)
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from reference_wal.durable_io import step

__all__ = ["Generation", "SeriesBuffers", "split_series"]

SEAL = step("seal.take", "rows in the buffers and in the log", "buffers empty, the generation in memory and in the log")


@dataclass(frozen=True)
class Generation:
    """All rows of the batches ``lo`` to ``hi`` inclusive, by series."""

    lo: int
    hi: int
    series: dict[tuple[object, ...], pa.Table]

    @property
    def batch_ids(self) -> list[int]:
        """Every batch id the generation holds, ascending."""
        return list(range(self.lo, self.hi + 1))


class SeriesBuffers:
    """The rows of one table that are logged but not yet committed."""

    def __init__(self, tags: list[str]) -> None:
        self._tags = tags
        self._series: dict[tuple[object, ...], list[pa.RecordBatch]] = {}
        self._lo: int | None = None
        self._hi = -1
        self.bytes = 0

    def insert(self, batch_id: int, batch: pa.RecordBatch) -> None:
        """Add a batch; ids come in order, without gaps."""
        assert self._lo is None or batch_id == self._hi + 1, f"batch {batch_id} after {self._hi}"
        for key, rows in split_series(batch, self._tags):
            self._series.setdefault(key, []).append(rows)
        self._lo = batch_id if self._lo is None else self._lo
        self._hi = batch_id
        self.bytes += batch.nbytes

    def seal(self) -> Generation | None:
        """Take everything out as one generation; None if no batch is waiting."""
        if self._lo is None:
            return None
        with SEAL:
            series = {key: pa.Table.from_batches(rows) for key, rows in self._series.items()}
            generation = Generation(self._lo, self._hi, series)
            self.clear()
        return generation

    def clear(self) -> None:
        """Forget every row."""
        self._series, self._lo, self._hi, self.bytes = {}, None, -1, 0

    def rows(self) -> list[pa.RecordBatch]:
        """Return what is waiting, by series."""
        return [batch for series in self._series.values() for batch in series]


def split_series(batch: pa.RecordBatch, tags: list[str]) -> Iterator[tuple[tuple[object, ...], pa.RecordBatch]]:
    """Split a batch into its series: (tag values, rows in their order). A null tag is a value like any other.

    A batch without rows is one series, so that its generation has a schema.
    """
    if not tags or not batch.num_rows:
        yield (), batch
        return
    found = pa.Table.from_batches([batch.select(tags)]).group_by(tags, use_threads=False).aggregate([])
    for values in zip(*(found[tag].to_pylist() for tag in tags), strict=True):
        rows = batch.filter(_mask(batch, dict(zip(tags, values, strict=True))))
        yield values, rows


def _mask(batch: pa.RecordBatch, values: dict[str, object]) -> pa.Array:
    mask = None
    for tag, value in values.items():
        column = batch.column(tag)
        wanted = pa.scalar(value, column.type)
        same = pc.is_null(column) if value is None else pc.fill_null(pc.equal(column, wanted), False)
        mask = same if mask is None else pc.and_(mask, same)
    return mask
