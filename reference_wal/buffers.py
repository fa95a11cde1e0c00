"""Rows on their way from the log to Delta: buffered as batches, spilled when memory is short, sealed into generations.

A *generation* is all rows of the contiguous batches ``lo..hi``: it is sealed and committed as a whole, because the marker in
Delta is one number. (A series is the rows that share their tag values. With a buffer for each series, committed by itself, a
commit would mark batches persisted while their other rows still wait in other buffers, and a crash then loses those.) So
nothing divides the rows here; compression sorts them by series.

Threads that append to one log together may arrive here in another order than their ids. A batch that is early waits,
readable, until those before it are in; sealing first lets every append finish, so no batch is early then.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import pyarrow as pa

from crashmatrix.reference_wal.durable_io import step
from crashmatrix.reference_wal.spill import Spill, SpillFolder

__all__ = ["Generation", "RowBuffer"]

SEAL = step("seal.take", "rows in the buffers and in the log", "buffers empty, the generation in memory and in the log")


@dataclass(frozen=True)
class Generation:
    """All rows of the batches ``lo`` to ``hi`` inclusive: those of ``batches`` in memory, the older ones perhaps spilled."""

    lo: int
    hi: int
    batches: Sequence[pa.RecordBatch]
    spills: list[Spill] = field(default_factory=list)
    identity: str = ""

    @property
    def batch_ids(self) -> list[int]:
        """Every batch id the generation holds, ascending."""
        return list(range(self.lo, self.hi + 1))

    def rows(self) -> pa.Table:
        """Return every row, spilled ones read back. Raises SpillCorrupted, OSError."""
        spilled = [spill.read(self.identity) for spill in self.spills]
        return pa.concat_tables([*spilled, *([pa.Table.from_batches(self.batches)] if self.batches else [])])


class RowBuffer:
    """The rows of one table that are not yet committed. Not thread-safe.

    Args:
        next_id: the first batch to come.
        spills: where rows go when memory is short; None if they never do.
    """

    def __init__(self, *, next_id: int = 0, spills: SpillFolder | None = None) -> None:
        self._spill_folder = spills
        self.next_id = next_id
        self._early: dict[int, pa.RecordBatch] = {}
        self._forget()

    def _forget(self) -> None:
        self._batches: list[pa.RecordBatch] = []
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
        self._batches.append(batch)
        self._lo = self.next_id if self._lo is None else self._lo
        self.next_id += 1
        self.bytes += batch.nbytes
        self.memory_bytes += batch.nbytes

    def spill(self) -> int:
        """Move the rows in memory to a file; returns the number of batches. Raises OSError."""
        assert self._spill_folder is not None
        lo, hi = self._memory_lo, self.next_id - 1
        if not self._batches:
            return 0
        self._spills.append(self._spill_folder.write(lo, hi, pa.Table.from_batches(self._batches)))
        self._batches, self._memory_lo, self.memory_bytes = [], self.next_id, 0
        return hi - lo + 1

    def adopt(self, spill: Spill) -> None:
        """Take a spill file found at start as the next batches."""
        assert spill.lo == self.next_id and not self._batches
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
        identity = self._spill_folder.identity if self._spill_folder else ""
        return Generation(lo, self.next_id - 1, list(self._batches), list(self._spills), identity)

    def clear(self) -> list[Spill]:
        """Forget every row; returns the spill files they were in."""
        spills = self._spills
        self._forget()
        return spills

    def waiting(self) -> list[Generation]:
        """Return what is waiting: at most one generation as it would be sealed now, and early batches each by itself."""
        early = [Generation(number, number, [batch]) for number, batch in self._early.items()]
        return early if self._lo is None else [self._generation(self._lo), *early]
