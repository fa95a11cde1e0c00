"""The size of segments: a log closes one when it is full, not before, and not much later."""

from __future__ import annotations

from pathlib import Path

from crashmatrix.reference_wal.log.segments.segment import open_segment, scan
from crashmatrix.scenarios.errors import PromiseBroken

__all__ = ["ActiveSegments"]


class ActiveSegments:
    """The active segments of an engine's logs, looked at after each append; `forget` those before another call."""

    def __init__(self, record_bytes_max: int) -> None:
        self._record_bytes_max = record_bytes_max
        self._before = dict[str, tuple[str, int]]()

    def forget(self) -> None:
        """Other calls close segments of any size."""
        self._before.clear()

    def appended(self, log: Path, segment_bytes_max: int) -> None:
        """Look at a log's folder after an append.

        Raises:
            PromiseBroken: the active segment is longer than it may be, or the append found one that was not full, and closed it.
        """
        most = segment_bytes_max + self._record_bytes_max
        for active in log.glob("*-.arrows"):
            with open_segment(active) as file:
                size = scan(file).good_bytes
            if size > most:
                raise PromiseBroken(
                    "corrupt", f"{active.name} of {log.name} has {size} bytes, where {most} are the most"
                )
            name, size_before = self._before.get(log.name, (active.name, 0))
            if name != active.name and size_before < segment_bytes_max:
                raise PromiseBroken(
                    "corrupt", f"{name} of {log.name} was closed at {size_before} bytes, of {segment_bytes_max}"
                )
            self._before[log.name] = active.name, size
