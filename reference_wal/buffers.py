"""Rows on their way from the log to Delta: buffered per series, spilled when memory is short, sealed into generations.

A series is the rows that share their tag values. A *generation* is all rows of the contiguous batches ``lo..hi``: it is
sealed and committed as a whole, because the marker in Delta is one number. (Committing one series' buffer by itself would
mark its batches persisted while their other rows still wait in other buffers, and a crash then loses those.)

Threads that append to one log together may arrive here in another order than their ids. A batch that is early waits,
readable, until those before it are in; sealing first lets every append finish, so no batch is early then.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import pyarrow as pa
import pyarrow.acero  # group_by would import it, in each forked process anew
import pyarrow.compute as pc

from crashmatrix.reference_wal.delta.dictionaries import decoded
from crashmatrix.reference_wal.durable_io import step
from crashmatrix.reference_wal.keys import by_place
from crashmatrix.reference_wal.spill import Spill, SpillFolder

__all__ = ["Generation", "SeriesBuffers", "split_series"]

SEAL = step("seal.take", "rows in the buffers and in the log", "buffers empty, the generation in memory and in the log")


@dataclass(frozen=True)
class Generation:
    """All rows of the batches ``lo`` to ``hi`` inclusive: by series in memory, the older ones perhaps spilled."""

    lo: int
    hi: int
    series: dict[tuple[object, ...], pa.Table]
    spills: list[Spill] = field(default_factory=list)
    identity: str = ""

    @property
    def batch_ids(self) -> list[int]:
        """Every batch id the generation holds, ascending."""
        return list(range(self.lo, self.hi + 1))

    def rows(self) -> pa.Table:
        """Return every row, spilled ones read back. Raises SpillCorrupted, OSError."""
        spilled = [spill.read(self.identity) for spill in self.spills]
        return pa.concat_tables([*spilled, *self.series.values()])


class SeriesBuffers:
    """The rows of one table that are not yet committed. Not thread-safe.

    Args:
        tags: columns whose values name a series.
        next_id: the first batch to come.
        spills: where rows go when memory is short; None if they never do.
    """

    def __init__(self, tags: list[str], *, next_id: int = 0, spills: SpillFolder | None = None) -> None:
        self._tags = tags
        self._spill_folder = spills
        self.next_id = next_id
        self._early: dict[int, pa.RecordBatch] = {}
        self._forget()

    def _forget(self) -> None:
        self._series: dict[tuple[object, ...], list[pa.RecordBatch]] = {}
        self._spills: list[Spill] = []
        self._lo: int | None = None
        self._memory_lo = self.next_id
        self.bytes = self.memory_bytes = 0

    def insert(self, batch_id: int, batch: pa.RecordBatch) -> None:
        """Add a batch. If a predecessor is not there yet, the batch waits for it."""
        assert batch_id >= self.next_id and batch_id not in self._early, f"batch {batch_id} came twice"
        self._early[batch_id] = batch
        while (due := self._early.pop(self.next_id, None)) is not None:
            self._take(due)

    def _take(self, batch: pa.RecordBatch) -> None:
        for key, rows in split_series(batch, self._tags):
            self._series.setdefault(key, []).append(rows)
        self._lo = self.next_id if self._lo is None else self._lo
        self.next_id += 1
        self.bytes += batch.nbytes
        self.memory_bytes += batch.nbytes

    def spill(self) -> int:
        """Move the rows in memory to a file; returns the number of batches. Raises OSError."""
        assert self._spill_folder is not None
        lo, hi = self._memory_lo, self.next_id - 1
        if not self._series:
            return 0
        rows = pa.Table.from_batches([batch for series in self._series.values() for batch in series])
        self._spills.append(self._spill_folder.write(lo, hi, rows))
        self._series, self._memory_lo, self.memory_bytes = {}, self.next_id, 0
        return hi - lo + 1

    def adopt(self, spill: Spill) -> None:
        """Take a spill file found at start as the next batches."""
        assert spill.lo == self.next_id and not self._series
        self._lo = spill.lo if self._lo is None else self._lo
        self._spills.append(spill)
        self.next_id = self._memory_lo = spill.hi + 1
        self.bytes += spill.bytes

    def seal(self) -> Generation | None:
        """Take everything out as one generation; None if no batch is waiting. No append may be under way."""
        assert not self._early, f"batch {self.next_id} never came"
        if self._lo is None:
            return None
        with SEAL:
            generation = self._generation(self._lo)
            self._forget()
        return generation

    def _generation(self, lo: int) -> Generation:
        series = {key: pa.Table.from_batches(rows) for key, rows in self._series.items()}
        identity = self._spill_folder.identity if self._spill_folder else ""
        return Generation(lo, self.next_id - 1, series, list(self._spills), identity)

    def clear(self) -> list[Spill]:
        """Forget every row; returns the spill files they were in."""
        spills = self._spills
        self._forget()
        return spills

    def waiting(self) -> list[Generation]:
        """Return what is waiting: at most one generation as it would be sealed now, and early batches each by itself."""
        early = [Generation(number, number, {(): pa.Table.from_batches([b])}) for number, b in self._early.items()]
        return early if self._lo is None else [self._generation(self._lo), *early]


def split_series(batch: pa.RecordBatch, tags: list[str]) -> Iterator[tuple[tuple[object, ...], pa.RecordBatch]]:
    """Split a batch into its series: (tag values, rows in their order). A null tag is a value like any other.

    Tags are compared by value: two indices of a dictionary may have one value, and a null may be an index or a value.

    A batch without rows is one series, so that its generation has a schema.
    """
    if not tags or not batch.num_rows:
        yield (), batch
        return
    keys = decoded(by_place(pa.Table.from_batches([batch]), tags))
    found = keys.group_by(keys.column_names, use_threads=False).aggregate([])
    for values in zip(*(column.to_pylist() for column in found.columns), strict=True):
        yield values, batch.filter(_mask(keys, values))


def _mask(keys: pa.Table, values: tuple[object, ...]) -> pa.Array:
    """Return which rows have these values as keys."""
    mask = None
    for chunks, value in zip(keys.columns, values, strict=True):
        column = chunks.chunk(0)
        wanted = pa.scalar(value, column.type)
        same = pc.is_null(column) if value is None else pc.fill_null(pc.equal(column, wanted), False)
        mask = same if mask is None else pc.and_(mask, same)
    return mask
