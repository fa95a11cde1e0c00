"""What a run remembers for one that resumes it: values in the report's ledger, with the files of the snapshots that they name.

A value is remembered once all its files are kept, and recalled only if all of them are there and whole.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeVar

from crashmatrix.reports.ledger import Ledger
from crashmatrix.scenarios.judging.snapshots.snapshot import SnapshotStore
from crashmatrix.scenarios.judging.snapshots.tree import FILE, Tree

__all__ = ["Memory"]

T = TypeVar("T")


class Memory:
    """The memory of a run, in a report's ledger; without one it forgets everything. Thread-safe."""

    def __init__(self, store: SnapshotStore, ledger: Ledger | None = None) -> None:
        self._store, self.ledger = store, ledger or Ledger()
        self.made = 0
        """How many values were not remembered."""

    def once(
        self, key: str, kind: type[T], make: Callable[[], T], trees: Callable[[T], Iterable[Tree]] = lambda _: ()
    ) -> T:
        """Return the value of a key: as remembered, or as ``make`` makes it. ``trees`` are the snapshots in it."""
        known = self.ledger.get(key, kind)
        if known is not None and all(map(self._recall, trees(known))):
            return known
        made = make()
        self.made += 1
        if all(map(self._keep, trees(made))):
            self.ledger.put(key, made)
        return made

    def _recall(self, tree: Tree) -> bool:
        return all(self._store.fetch(digest, self.ledger.kept) for digest in _contents(tree))

    def _keep(self, tree: Tree) -> bool:
        return all(self.ledger.keep(digest, self._store.path(digest)) for digest in _contents(tree))


def _contents(tree: Tree) -> set[str]:
    return {entry.content for _, entry in tree.entries if entry.kind == FILE}
