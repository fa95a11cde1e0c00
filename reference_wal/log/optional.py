"""The interface of a log to the engine, and the stand-in for the log of a table that has none.

Without a log nothing is promised before a commit: `NoLog` gives out ids and holds no batch. Ids go on above the marker in
Delta, so none that was ever committed is given out again; those of batches that a crash took from memory are. No folder of
a log is made, read or changed.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from typing import Protocol

import pyarrow as pa

from crashmatrix.reference_wal.errors import EngineClosed
from crashmatrix.reference_wal.log.batch_check import BatchCheck
from crashmatrix.reference_wal.log.counters import LogCounters

__all__ = ["Log", "NoLog"]


class Log(Protocol):
    """The log of a table: a `SegmentedLog` or a `NoLog`."""

    table: str
    identity: str
    schema: pa.Schema
    segment_bytes_max: int

    @property
    def next_id(self) -> int:
        """The id of the next batch."""

    @property
    def counters(self) -> LogCounters:
        """Numbers since the log was opened."""

    def append(self, batch: pa.RecordBatch, /) -> int:
        """Return the batch's id, once it is promised."""

    def refuse_if_poisoned(self) -> None:
        """Raise LogPoisoned if it can take no more before it is opened again."""

    def unpersisted(self) -> Iterator[tuple[int, pa.RecordBatch]]:
        """Yield the batches that Delta does not hold, in order."""

    def mark_persisted(self, ids: Iterable[int], /) -> None:
        """Forget batches that Delta holds."""

    def truncate(self) -> None:
        """Forget every batch; ids go on."""


class NoLog:
    """Answers as the log of one table would that never holds a batch. Thread-safe."""

    def __init__(self, table: str, schema: pa.Schema, identity: str, *, next_id: int = 0) -> None:
        self.table, self.schema, self.identity, self.next_id = table, schema, identity, next_id
        self.segment_bytes_max = 0
        self.closed = False
        self._lock, self._check = threading.Lock(), BatchCheck(table, schema)

    counters = LogCounters()

    def append(self, batch: pa.RecordBatch) -> int:
        """Return the next id; promises nothing. Raises InvalidInput, EngineClosed."""
        self._check(batch)
        with self._lock:
            if self.closed:
                raise EngineClosed
            self.next_id += 1
            return self.next_id - 1

    def refuse_if_poisoned(self) -> None:
        """Do nothing: without writes there are no failures."""

    def unpersisted(self) -> Iterator[tuple[int, pa.RecordBatch]]:
        """Return nothing: no batch is held."""
        return iter(())

    def mark_persisted(self, ids: Iterable[int], /) -> None:
        """Do nothing: no batch is held."""

    def truncate(self) -> None:
        """Do nothing: no batch is held, and ids go on."""
