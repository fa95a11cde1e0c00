"""The folders that one run leaves at its endings: copied while its process is held, or at its end.

An ending may come about at several instants; its copies are kept in their order. A folder whose page cache is dropped
(``uncached``) is made from a copy, and the contents that change.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from crashmatrix.faults.disk.linux.removal import remove_tree
from crashmatrix.scenarios.io_error.messages import REOPENED, UNCACHED
from crashmatrix.scenarios.judging.checker import Checker, CrashState
from crashmatrix.scenarios.judging.snapshots.tree import Tree
from crashmatrix.scenarios.processes.sandbox.view import ROOT_NAME
from crashmatrix.scenarios.target.journal import Item, Promises

__all__ = ["Copies", "Stop"]


@dataclass(frozen=True)
class Stop:
    """A state of an ending. ``after`` is as in `Taken`."""

    state: CrashState
    after: str = ""


@dataclass
class Copies:
    """The copies of one run, by ending: the folder, how long the journal was, and the last call before (`Taken.after`)."""

    checker: Checker
    root: Path
    _taken: dict[str, list[tuple[Tree, int, str]]] = field(default_factory=dict)

    @property
    def endings(self) -> Collection[str]:
        """The endings that have come about."""
        return self._taken.keys()

    def take(self, ending: str, journal_bytes: int, uncached: Mapping[str, bytes], after: str = "") -> None:
        """Copy the folder, and make another copy without the page cache if something would change."""
        tree = self.checker.store.capture(self.root)
        if ending != UNCACHED:
            self._add(ending, tree, journal_bytes, after)
        if uncached:
            self._add(UNCACHED, self._dropped(tree, uncached), journal_bytes)

    def as_at_the_end(self, ending: str, journal_bytes: int) -> None:
        """Have an ending be as the end was, if it has not come about."""
        if ending not in self._taken:
            self._add(ending, self._taken[REOPENED][0][0], journal_bytes)

    def stops(self, journal: bytes, items: Sequence[Item]) -> dict[str, list[Stop]]:
        """Return the states by ending, with the promises made by then. Raises UsageError: the journal makes no sense."""
        return {
            ending: [
                Stop(CrashState(tree, Promises.parse(journal[:size], items)), after) for tree, size, after in copies
            ]
            for ending, copies in self._taken.items()
        }

    def _add(self, ending: str, tree: Tree, journal_bytes: int, after: str = "") -> None:
        self._taken.setdefault(ending, []).append((tree, journal_bytes, after))

    def _dropped(self, tree: Tree, uncached: Mapping[str, bytes]) -> Tree:
        """A folder once the page cache was dropped."""
        if tree.unusable:
            return tree
        folder = self.checker.folder()
        self.checker.store.restore(tree, folder / ROOT_NAME)
        for name, content in uncached.items():
            (folder / ROOT_NAME / name).write_bytes(content)
        dropped = self.checker.store.capture(folder / ROOT_NAME)
        remove_tree(folder)
        return dropped
