"""The engine's work since it was opened, in numbers."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from dataclasses import asdict, dataclass

from crashmatrix.reference_wal.log.counters import LogCounters

__all__ = ["Counters", "Tally"]


@dataclass(frozen=True, kw_only=True)
class Counters:
    """Numbers since the engine was opened.

    Attributes:
        appends, append_bytes: batches acknowledged, and their size in memory, in bytes.
        syncs, sync_seconds: of the logs of the tables that are there now.
        generations, commits: sealed, and committed to Delta (truncations and removals included).
        rows: committed.
        checkpoints: written and verified.
        replayed: batches read back from the log, or from spill files without one, on opening.
        spilled: batches moved to spill files.
        transferred: rows moved to other tables.
    """

    appends: int = 0
    append_bytes: int = 0
    syncs: int = 0
    sync_seconds: float = 0.0
    generations: int = 0
    commits: int = 0
    rows: int = 0
    checkpoints: int = 0
    replayed: int = 0
    spilled: int = 0
    transferred: int = 0


class Tally:
    """Counts up, from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._numbers = asdict(Counters())

    def add(self, **numbers: int) -> None:
        """Add to counters named as in `Counters`."""
        with self._lock:
            for name, number in numbers.items():
                self._numbers[name] += number

    def read(self, logs: Iterable[LogCounters]) -> Counters:
        """Return what was counted so far, with the syncs of these logs."""
        logs = list(logs)
        syncs, seconds = sum(log.syncs for log in logs), sum(log.sync_seconds for log in logs)
        with self._lock:
            return Counters(**{**self._numbers, "syncs": syncs, "sync_seconds": seconds})
