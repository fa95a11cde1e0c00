"""The memory of a run, for one that resumes it: values in the report's ledger, with the files of the snapshots that they name.

A value is remembered once all its files are kept, and recalled only if all of them are there and whole.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeVar

from crashmatrix.reports.unfinished.ledger import Ledger
from crashmatrix.scenarios.judging.snapshots.snapshot import SnapshotStore
from crashmatrix.scenarios.judging.snapshots.tree import Tree

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
        known = self.recall(key, kind, trees)
        if known is not None:
            return known
        made = make()
        self.remember(key, made, trees(made))
        return made

    def recall(self, key: str, kind: type[T], trees: Callable[[T], Iterable[Tree]] = lambda _: ()) -> T | None:
        """Return the value of a key as remembered, if it is, with all its files."""
        known = self.ledger.get(key, kind)
        return known if known is not None and all(map(self._recall, trees(known))) else None

    def remember(self, key: str, made: object, trees: Iterable[Tree] = ()) -> None:
        """Remember a value that was found out."""
        self.made += 1
        if all(map(self._keep, trees)):
            self.ledger.put(key, made)

    def _recall(self, tree: Tree) -> bool:
        return all(self._store.fetch(digest, self.ledger.kept) for digest in tree.contents)

    def _keep(self, tree: Tree) -> bool:
        return all(self.ledger.keep(digest, self._store.path(digest)) for digest in tree.contents)
