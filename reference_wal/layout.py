"""The paths of an engine's folder, and the lock that keeps it to one process.

root/.lock                  held while open
root/options.json           options set while the engine ran     (`settings`)
root/wal/{table}/           the log of a table that has one      (`log.write_ahead_log`)
root/tables/{table}/        the table's Delta table              (`delta.commit`)
root/spill/{table}/         rows that wait, when memory is short (`spill`)
"""

from __future__ import annotations

import fcntl
import os
from dataclasses import dataclass
from pathlib import Path

from crashmatrix.reference_wal.errors import EngineLocked
from crashmatrix.reference_wal.spill import SpillFolder

__all__ = ["Layout"]


@dataclass(frozen=True)
class Layout:
    """The paths of an engine's folder."""

    root: Path

    @property
    def tables(self) -> Path:
        """The Delta tables' folder."""
        return self.root / "tables"

    @property
    def wal(self) -> Path:
        """The logs' folder."""
        return self.root / "wal"

    def table(self, name: str) -> Path:
        """The folder of a Delta table."""
        return self.tables / name

    def spills(self, name: str, identity: str = "") -> SpillFolder:
        """The spill files of a table."""
        return SpillFolder(self.root / "spill" / name, identity)

    def lock(self) -> int:
        """Keep the folder, which is there, to this process; returns what to close in the end. Raises EngineLocked, OSError."""
        lock = os.open(self.root / ".lock", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
            raise EngineLocked(self.root) from None
        return lock
