"""Generations of one table that are compressed and not yet committed, oldest first.

Compressing frees memory long before a commit has to: Parquet bytes are a fraction of the rows. So they may wait here, up to
a budget (`EngineOptions.compressed_bytes_max`), and one commit then serves many generations.

    | event                                        | the buffer                                                      |
    |----------------------------------------------|-----------------------------------------------------------------|
    | a generation is full, or got nothing for long| takes it, compressed, behind the others                         |
    | flush, switch of the log, close              | is committed                                                    |
    | all buffers together exceed the budget       | the largest one is committed, until the others fit              |
    | truncation, drop                             | forgets everything, once it is gone from the table              |

Invariants: the parts are contiguous, and right above the marker in Delta. A commit takes all of them, so the marker passes no
batch that is not in it. Nothing here is promised: until the commit is durable, each batch is in the log, and without a log
none is promised before a commit. So a crash that takes the buffer finds the batches above the marker, to be replayed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import pyarrow as pa

from crashmatrix.reference_wal.buffers import Generation
from crashmatrix.reference_wal.spill import Spill

__all__ = ["Compressed", "CompressedBuffer", "batches_in"]


@dataclass(frozen=True)
class Compressed:
    """A generation as the bytes of one Parquet file: all rows, or segments, of the batches ``lo`` to ``hi``.

    Attributes:
        rows: how many rows or segments.
        spills: the files in which some of its rows still are.
    """

    lo: int
    hi: int
    parquet: pa.Buffer
    rows: int
    spills: Sequence[Spill] = ()

    @classmethod
    def of(cls, generation: Generation, parquet: pa.Buffer, rows: int) -> Compressed:
        """Return a generation that became these bytes."""
        return cls(generation.lo, generation.hi, parquet, rows, generation.spills)


def batches_in(parts: Sequence[Compressed]) -> range:
    """Return the ids of all batches in these parts, which follow one another."""
    assert all(before.hi + 1 == after.lo for before, after in pairwise(parts)), "a gap in the batches"
    return range(parts[0].lo, parts[-1].hi + 1)


class CompressedBuffer:
    """The parts that wait to be committed. Not thread-safe."""

    def __init__(self) -> None:
        self.parts: list[Compressed] = []
        self._taken = 0

    @property
    def bytes(self) -> int:
        """Bytes of the parts, compressed; without those that are being committed already."""
        return sum(part.parquet.size for part in self.parts[self._taken :])

    def add(self, part: Compressed) -> None:
        """Take a part, which follows the others."""
        batches_in([*self.parts[-1:], part])
        self.parts = [*self.parts, part]  # Readers hold on to the list before.

    def take(self) -> list[Compressed]:
        """Return every part, to be committed; they stay until `clear`."""
        self._taken = len(self.parts)
        return self.parts

    def clear(self) -> list[Spill]:
        """Forget every part; returns the spill files that they were in."""
        spills = [spill for part in self.parts for spill in part.spills]
        self.parts, self._taken = [], 0
        return spills
