"""Crash images of trees: each state's files are made in a new directory of their own, in memory.

Nothing is mounted and nothing is put back: a change to one state's files cannot reach another state.
"""

import contextlib
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Self

from crashmatrix.faults.disk.linux.namespace import enter_private_namespace
from crashmatrix.faults.disk.linux.removal import remove_tree
from crashmatrix.faults.disk.posix.layout import lay_out
from crashmatrix.faults.disk.posix.tree import Trees
from crashmatrix.faults.disk.stage import DATA
from crashmatrix.faults.disk.state import CrashState
from crashmatrix.faults.disk.stopwatch import Stopwatch
from crashmatrix.faults.disk.trace.trace import Trace

__all__ = ["TreeImages"]


class TreeImages:
    """The crash images of one tree's trace. Use crashmatrix.faults.disk.CrashImages, which see."""

    def __init__(self, trace: Trace) -> None:
        self._trees = Trees(trace)
        self._watch = Stopwatch("apply", "remove")
        self.seconds = self._watch.seconds
        self._number = 0

    def __enter__(self) -> Self:
        self._folder = Path(tempfile.mkdtemp(prefix="images-", dir=enter_private_namespace()))
        self._folder.chmod(0o755)
        return self

    def __exit__(self, *_: object) -> None:
        remove_tree(self._folder)

    @contextlib.contextmanager
    def mounted(self, state: CrashState) -> Iterator[Path]:
        """The state's files, in a directory that no other state had or will have."""
        self._number += 1
        place = self._folder / str(self._number)
        with self._watch.timed("apply"):
            tree = self._trees.of(state)
            root = place / DATA
            root.mkdir(parents=True)
            lay_out(tree, root)
        try:
            yield root
        finally:
            with self._watch.timed("remove"):
                remove_tree(place)  # A process left behind may still add files: they go with the namespace.

    def save(self, state: CrashState, path: Path) -> None:
        """Write the state's files to a tar archive."""
        with self.mounted(state) as root, tarfile.open(path, "w") as archive:
            archive.add(root, arcname=DATA)
