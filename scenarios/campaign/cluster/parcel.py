"""Parcels between the coordinator and a worker: the contents of the files in snapshots.

A content is its size and its pieces that are not all zeros. The receiver compares each with its digest.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from crashmatrix.scenarios.judging.snapshots.snapshot import SnapshotStore
from crashmatrix.scenarios.judging.snapshots.sparse import chunks
from crashmatrix.scenarios.judging.snapshots.tree import Tree

__all__ = ["Parcel", "read_content", "write_content"]

Content = tuple[int, list[tuple[int, bytes]]]
"""A file's size, and its pieces with their offsets."""


@dataclass
class Parcel:
    """Contents by digest."""

    contents: dict[str, Content] = field(default_factory=dict)

    def pack(self, trees: Iterable[Tree], store: SnapshotStore, known: Iterable[str] = ()) -> None:
        """Add the contents of snapshots, but for those that the receiver knows."""
        known = set(known)
        for digest in {digest for tree in trees for digest in tree.contents} - known - self.contents.keys():
            self.contents[digest] = read_content(store.path(digest))

    def unpack(self, trees: Iterable[Tree], store: SnapshotStore) -> bool:
        """Put the contents of snapshots into a store; returns whether all are there and whole."""
        return all(store.fetch(digest, self._get) for tree in trees for digest in tree.contents)

    def _get(self, digest: str, path: Path) -> bool:
        if digest not in self.contents:
            return False
        write_content(self.contents[digest], path)
        return True


def read_content(path: Path) -> Content:
    """Read a file without its zeros."""
    with open(path, "rb", buffering=0) as file:
        return os.fstat(file.fileno()).st_size, list(chunks(file.fileno()))


def write_content(content: Content, path: Path) -> None:
    """Write a new file."""
    size, pieces = content
    with open(path, "xb", buffering=0) as file:
        os.ftruncate(file.fileno(), size)
        for offset, data in pieces:
            os.pwrite(file.fileno(), data, offset)
