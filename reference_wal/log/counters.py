"""The counters of one log, readable at any time."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["LogCounters"]


@dataclass(frozen=True)
class LogCounters:
    """Numbers since the log was opened: ``appends`` acknowledged, of ``bytes`` in the file; ``syncs`` of groups, which took
    ``sync_seconds``; ``rotations``; segments ``retired``; batches ``replayed``, that is read back."""

    appends: int = 0
    bytes: int = 0
    syncs: int = 0
    sync_seconds: float = 0.0
    rotations: int = 0
    retired: int = 0
    replayed: int = 0
