"""A recorded disk as it was when its recording began."""

from bisect import bisect_right

from faults.disk.trace import Trace

__all__ = ["BLOCK", "BaseDisk"]

BLOCK = 4096
_ZEROS = bytes(BLOCK)


class BaseDisk:
    """The blocks of a trace's base, by number."""

    def __init__(self, trace: Trace) -> None:
        self._runs, self._starts = trace.base, [offset for offset, _ in trace.base]

    def block(self, number: int) -> bytes:
        """The 4096 bytes of one block."""
        offset = number * BLOCK
        run = bisect_right(self._starts, offset) - 1
        if run >= 0:
            start, data = self._runs[run]
            return data[offset - start : offset - start + BLOCK].ljust(BLOCK, b"\0")
        return _ZEROS
