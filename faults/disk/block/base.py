"""A recorded disk by its blocks: their content when its recording began, and their content after a write."""

from bisect import bisect_right
from collections.abc import Callable, Iterator

from crashmatrix.faults.disk.trace.trace import Trace

__all__ = ["BLOCK", "BaseDisk", "blocks_of"]

BLOCK = 4096


class BaseDisk:
    """The blocks of a trace's base, by number."""

    def __init__(self, trace: Trace) -> None:
        self._runs, self._starts = trace.base, [offset for offset, _ in trace.base]

    def block(self, number: int) -> bytes:
        """The 4096 bytes of one block."""
        return self.read(number * BLOCK, BLOCK)

    def read(self, offset: int, length: int) -> bytes:
        """`length` bytes from an offset on; no run of the base begins within them."""
        run = bisect_right(self._starts, offset) - 1
        if run < 0:
            return bytes(length)
        start, data = self._runs[run]
        return data[offset - start : offset - start + length].ljust(length, b"\0")


def blocks_of(offset: int, data: bytes | memoryview, before: Callable[[int], bytes]) -> Iterator[tuple[int, bytes]]:
    """The blocks that a write touches, with their content after it; the rest of a block written in part stays as before."""
    for block in range(offset // BLOCK, -(-(offset + len(data)) // BLOCK)):
        start = block * BLOCK
        piece = bytes(data[max(0, start - offset) : start + BLOCK - offset])
        if len(piece) < BLOCK:
            old, inside = before(block), max(0, offset - start)
            piece = old[:inside] + piece + old[inside + len(piece) :]
        yield block, piece
