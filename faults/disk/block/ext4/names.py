"""The changes of a directory's names on an ext4 disk, in words. A number of an inode that is used again is another file."""

from bisect import bisect_right
from collections.abc import Callable

from crashmatrix.faults.disk.block.ext4.layout import Ext4Layout
from crashmatrix.faults.disk.trace.named import IN_PLACE

__all__ = ["Lives", "what_changed"]


class Lives:
    """Which file the number of an inode meant at each moment, from the generations that blocks of inodes hold.

    Moments are numbers of transactions, of which each holds the directory and the inodes that it changed. Without a journal they
    are positions in the trace, where the inodes may follow their directory.
    """

    def __init__(self, layout: Ext4Layout, *, base: Callable[[int], bytes]) -> None:
        self._layout, self._base = layout, base
        self._moments: dict[int, list[int]] = {}
        self._generations: dict[int, list[int]] = {}

    def learn(self, moment: int, block: int, data: bytes) -> None:
        """Look at a block as it was written; moments never decrease."""
        for inode, generation in self._layout.generations(block, data).items():
            if inode not in self._moments:
                first = self._layout.generations(block, self._base(block))[inode]
                self._moments[inode], self._generations[inode] = [-1], [first]
            self._moments[inode].append(moment)
            self._generations[inode].append(generation)

    def same(self, inode: int, one: int, other: int) -> bool:
        """Whether a number meant one file all the time from one moment to another."""
        moments, generations = self._moments.get(inode, []), self._generations.get(inode, [])
        first = max(0, bisect_right(moments, one) - 1)
        last = bisect_right(moments, other) + (0 if self._layout.journal else 1)
        return len(set(generations[first:last])) <= 1


def what_changed(
    before: dict[str, int], after: dict[str, int], same: Callable[[int], bool] = lambda _: True
) -> list[str]:
    """The changes of a directory's names, in words.

    Args:
        same: whether the number of an inode that is in both means one file.
    """
    moved = {inode: name for name, inode in before.items() if after.get(name) != inode and same(inode)}
    stay = {inode: name for name, inode in before.items() if after.get(name) == inode}
    origins = {name: moved[inode] for name, inode in after.items() if inode in moved and before.get(name) != inode}
    words = []
    for name, inode in after.items():
        if before.get(name) == inode and same(inode):
            continue
        if old := origins.get(name):
            words += _moved(old, name, origins, before)
        elif inode in stay and stay[inode] != name:
            words.append(f"{name} linked to {stay[inode]}")
        else:
            words.append(f"{name} {'replaced' if name in before and name not in origins.values() else 'made'}")
    gone = sorted(name for name in before if name not in after and name not in origins.values())
    return [*words, *(f"{name} removed" for name in gone)]


def _moved(old: str, name: str, origins: dict[str, str], before: dict[str, int]) -> list[str]:
    if origins.get(old) == name:
        return [f"{old} and {name} exchanged"] if old < name else []
    over = IN_PLACE if name in before and name not in origins.values() else ""
    return [f"{old} becomes {name}{over}"]
