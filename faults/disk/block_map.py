"""Which file or metadata each write to a disk is about."""

from collections.abc import Mapping

from faults.disk.crash_images import CrashImages
from faults.disk.named import UNKNOWN, Named
from faults.disk.operations import Write
from faults.disk.trace import Trace

__all__ = ["disk_changes"]


def disk_changes(trace: Trace, cut: int, images: CrashImages) -> Mapping[int, Named]:
    return {at: Named(kind=UNKNOWN) for at, op in enumerate(trace.operations[:cut]) if isinstance(op, Write)}
