"""The interface of a log to the engine, and the stand-in for a log that is switched off.

Without a log nothing is promised before a commit: `NoLog` gives out ids and holds no batch. Ids go on above the marker in
Delta, so none that was ever committed is given out again; those of batches that a crash took from memory are. No folder of
a log is made, read or changed.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from typing import Protocol

import pyarrow as pa

from crashmatrix.reference_wal.errors import EngineClosed, UnknownTable
from crashmatrix.reference_wal.log.batch_check import BatchCheck
from crashmatrix.reference_wal.log.counters import LogCounters

__all__ = ["Log", "Logs", "NoLog", "NoLogs"]


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


class Logs(Protocol):
    """Every table's log: a `WriteAheadLog` or `NoLogs`. Thread-safe."""

    @property
    def tables(self) -> list[str]:
        """Names of the tables that have a log."""

    def log(self, table: str) -> Log:
        """Return one table's log. Raises UnknownTable."""

    def create_table_log(self, table: str, schema: pa.Schema, *, identity: str) -> None:
        """Start the log of a table; durable on return."""

    def remove_table_log(self, table: str) -> None:
        """Forget the table; durable on return."""

    def close(self) -> None:
        """Take no more batches."""


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


class NoLogs:
    """The logs of an engine without a log: the tables that were opened or created, and their next ids."""

    def __init__(self) -> None:
        self._logs: dict[str, NoLog] = {}

    @property
    def tables(self) -> list[str]:
        """Names of the tables, sorted."""
        return sorted(self._logs)

    def log(self, table: str) -> NoLog:
        """Return the table's stand-in. Raises UnknownTable."""
        try:
            return self._logs[table]
        except KeyError:
            raise UnknownTable(table, self.tables) from None

    def create_table_log(self, table: str, schema: pa.Schema, *, identity: str, next_id: int = 0) -> None:
        """Begin to give out ids, from this one on."""
        self._logs[table] = NoLog(table, schema, identity, next_id=next_id)

    def remove_table_log(self, table: str) -> None:
        """Give out no more ids."""
        self._logs.pop(table).closed = True

    def close(self) -> None:
        """Give out no more ids at all."""
        for log in self._logs.values():
            log.closed = True
