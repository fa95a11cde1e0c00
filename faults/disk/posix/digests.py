"""Names for trees: two crash states have one digest exactly when their trees are equal."""

from collections import defaultdict
from functools import cached_property

from crashmatrix.faults.disk.posix.tree import Trees
from crashmatrix.faults.disk.state import CrashState
from crashmatrix.faults.disk.trace.operations import SECTOR_BYTES, Data, Size
from crashmatrix.faults.disk.trace.trace import Trace

__all__ = ["TreeDigests"]


class TreeDigests:
    """Digests of a trace's crash states; since a tree needs no recovery, they also name the folders that states become."""

    def __init__(self, trace: Trace) -> None:
        self._trees, self._trace = Trees(trace), trace

    def of(self, state: CrashState) -> int:
        """The digest of the tree that is left in this state."""
        return self._trees.of(state).digest

    def changed(self, position: int) -> tuple[int, ...] | None:
        """The sectors of a write that may differ from what they were before it, counted from the write's first.

        The first of the others is among them: a write of which only that is there still sets the file's time. None for any
        change that is not a write.
        """
        return self._changed.get(position)

    def inert(self, cut: int) -> frozenset[int]:
        """None is known."""
        del cut
        return frozenset()

    @cached_property
    def _changed(self) -> dict[int, tuple[int, ...]]:
        found, at = dict[int, tuple[int, ...]](), self._trace.durability.at
        pending: defaultdict[int, list[Data | Size]] = defaultdict(list)
        settled: defaultdict[int, int] = defaultdict(int)
        for position, operation in enumerate(self._trace.operations):
            if isinstance(operation, Data | Size):
                earlier = pending[operation.inode]
                if settled[operation.inode] <= position:  # A sync came between this change and those.
                    earlier.clear()
                settled[operation.inode] = at[position]
                if isinstance(operation, Data):
                    found[position] = self._sectors(position, operation, earlier)
                earlier.append(operation)
        return found

    def _sectors(self, position: int, data: Data, earlier: list[Data | Size]) -> tuple[int, ...]:
        """The sectors of a write that differ from the durable content, or from what an earlier pending change puts there.

        And the first of the others.
        """
        start, stop = data.offset, data.offset + len(data.data)
        before = self._trees.durable_content(data.inode, position).read(start, stop - start)
        cut = min((change.size for change in earlier if isinstance(change, Size)), default=stop)
        over = [change for change in earlier if isinstance(change, Data) and _overlap(change, start, stop)]
        first, found, others = start // SECTOR_BYTES, list[int](), False
        for sector in range(first, -(-stop // SECTOR_BYTES)):
            low, high = max(start, sector * SECTOR_BYTES), min(stop, (sector + 1) * SECTOR_BYTES)
            new = data.data[low - start : high - start]
            zeroed = any(data.data[max(low, cut) - start : high - start])
            differs = (
                new != before[low - start : high - start] or zeroed or any(_differs(one, low, new) for one in over)
            )
            if differs or not others:
                found.append(sector - first)
            others |= not differs
        return tuple(found)


def _overlap(change: Data, start: int, stop: int) -> bool:
    return change.offset < stop and start < change.offset + len(change.data)


def _differs(earlier: Data, low: int, new: bytes) -> bool:
    """Whether an earlier write put other bytes where the `new` ones, from `low` on, go."""
    start, stop = max(low, earlier.offset), min(low + len(new), earlier.offset + len(earlier.data))
    return (
        start < stop and earlier.data[start - earlier.offset : stop - earlier.offset] != new[start - low : stop - low]
    )
