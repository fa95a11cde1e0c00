"""How much memory and how many processes a sandbox may have, and whether it has more.

Memory is what its processes really use, shared pages counted once: `RLIMIT_AS` and `RLIMIT_DATA` would refuse programs that only
reserve much (Go, Java, Node, LMDB), and `RLIMIT_NPROC` does not hold for root. Control groups would be exact, but few users may
make them, and to move a process into one takes milliseconds.
"""

from __future__ import annotations

import contextlib
import mmap
import os
from collections.abc import Iterable
from pathlib import Path

__all__ = ["MEMORY_BYTES_MAX", "PROCESSES_MAX", "breach"]

PROCESSES_MAX = 512
MEMORY_BYTES_MAX = 4 << 30

_PROC = Path("/proc")


def breach(processes_max: int = PROCESSES_MAX, memory_bytes_max: int = MEMORY_BYTES_MAX) -> str:
    """Return the limit that the processes of this PID namespace break; empty if none. /proc must be that of the namespace."""
    numbers = [name for name in os.listdir(_PROC) if name.isdigit() and name != "1"]  # noqa: PTH208  # names only: it is quicker
    processes = [_PROC / number for number in numbers]
    if len(processes) > processes_max:
        return f"it had more than {processes_max:,} processes"
    if sum(map(_resident_bytes, processes)) > memory_bytes_max and _used_bytes(processes) > memory_bytes_max:
        return f"its processes used more than {memory_bytes_max >> 20:,} MiB of memory"
    return ""


def _resident_bytes(process: Path) -> int:
    """Its pages in memory; those that processes share count for each, so that their sum is too large rather than too small."""
    with contextlib.suppress(OSError, IndexError):
        return int((process / "statm").read_text().split()[1]) * mmap.PAGESIZE
    return 0


def _used_bytes(processes: Iterable[Path]) -> int:
    """As `_resident_bytes`, where a page that n processes share counts as an n-th for each; takes longer."""
    used = 0
    for process in processes:
        with contextlib.suppress(OSError):
            lines = (process / "smaps_rollup").read_text().splitlines()
            used += sum(int(line.split()[1]) << 10 for line in lines if line.startswith("Pss_Anon:"))
    return used
