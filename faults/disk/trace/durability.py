"""Durability: the sync that makes each change durable, and so the changes that are pending when the power fails.

    a sync       of                 makes durable, of the changes before it
    Flush        the disk           every Write
    Sync         a file             its Data and Size
    Sync         a directory        every Names that concerns it
    Mark START   what is prepared   everything

When a change to names becomes durable, so do all pending changes before it to the same names, in any directory, and so on:
names change in order. So a name never goes back in time, and a directory is never in two places.
"""

from collections import defaultdict
from collections.abc import Sequence

from crashmatrix.faults.disk.trace.operations import Change, Data, Flush, Mark, Names, Operation, Size, Sync, Write

__all__ = ["START", "Durability"]

START = "start"
"""The mark before the workload: everything before it is durable."""

_DISK = 0  # The object of every Write; inodes count from 1.


class Durability:
    """For each operation, by position: the sync that made it durable, and the changes that became durable with it."""

    def __init__(self, operations: Sequence[Operation]) -> None:
        self.at: list[int] = [len(operations)] * len(operations)
        """The position of the sync that made each change durable; the trace's end for never; 0 for any other operation."""
        self.oldest: list[int] = []
        """For each cut, a position before which every change is durable at the cut."""
        self.along: dict[int, tuple[int, ...]] = {}
        """For a change to names, the positions of the latest changes before it to the same names."""
        self._pending: defaultdict[int, list[int]] = defaultdict(list)
        self._last: dict[tuple[int, bytes], int] = {}
        for position, operation in enumerate(operations):
            if isinstance(operation, Change):
                self._add(position, operation)
            else:
                self.at[position] = 0
                for object_ in self._synced(operation):
                    for change in self._pending.pop(object_, ()):
                        self._settle(change, position)
        oldest = 0
        for cut in range(len(operations) + 1):
            while oldest < cut and self.at[oldest] < cut:
                oldest += 1
            self.oldest.append(oldest)

    def _add(self, position: int, change: Change) -> None:
        for object_ in _objects(change):
            self._pending[object_].append(position)
        if isinstance(change, Names):
            names = [(folder, name) for folder, name, _ in change.entries]
            self.along[position] = tuple({self._last[name] for name in names if name in self._last})
            self._last.update(dict.fromkeys(names, position))

    def _synced(self, operation: Operation) -> list[int]:
        match operation:
            case Flush():
                return [_DISK]
            case Sync(inode):
                return [inode]
            case Mark(name) if name == START:
                return list(self._pending)
        return []

    def _settle(self, change: int, position: int) -> None:
        going = [change]
        while going:
            change = going.pop()
            if self.at[change] == len(self.at):
                self.at[change] = position
                going += self.along.get(change, ())


def _objects(change: Change) -> set[int]:
    match change:
        case Write():
            return {_DISK}
        case Data(inode) | Size(inode):
            return {inode}
        case Names(entries):
            return {folder for folder, _, _ in entries}
