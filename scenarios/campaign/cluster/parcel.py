"""Parcels between the coordinator and a worker: the contents of the files in snapshots.

A content is its size and its pieces that are not all zeros. The pages of all contents are in the parcel once: neighbouring crash
states have files that differ in a few. The receiver compares each content with its digest.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from crashmatrix.scenarios.judging.snapshots.snapshot import SnapshotStore
from crashmatrix.scenarios.judging.snapshots.sparse import chunks
from crashmatrix.scenarios.judging.snapshots.tree import Tree

__all__ = ["Parcel", "read_content", "write_content"]

Content = tuple[int, list[tuple[int, bytes]]]
"""A file's size, and its pieces with their offsets."""

_PAGE_BYTES = 4096
_SMALL_BYTES = 1 << 16
"""A file of no more is read whole: each system call costs more than its zeros, while Dask's thread wants the interpreter, too."""


@dataclass
class Parcel:
    """Contents by digest: each one's size, and its pieces, as their offsets and the numbers of their pages."""

    contents: dict[str, tuple[int, list[tuple[int, list[int]]]]] = field(default_factory=dict)
    pages: dict[bytes, int] = field(default_factory=dict)
    """The pages, with their numbers, in order."""

    def pack(self, trees: Iterable[Tree], store: SnapshotStore, known: Iterable[str] = ()) -> None:
        """Add the contents of snapshots, but for those that the receiver knows."""
        known = set(known)
        for digest in {digest for tree in trees for digest in tree.contents} - known - self.contents.keys():
            size, pieces = read_content(store.path(digest))
            self.contents[digest] = size, [(offset, self._numbers(data)) for offset, data in pieces]

    def _numbers(self, data: bytes) -> list[int]:
        pages = (data[at : at + _PAGE_BYTES] for at in range(0, len(data), _PAGE_BYTES))
        return [self.pages.setdefault(page, len(self.pages)) for page in pages]

    def unpack(self, trees: Iterable[Tree], store: SnapshotStore) -> bool:
        """Put the contents of snapshots into a store; returns whether all are there and whole."""
        return all(store.fetch(digest, self._get) for tree in trees for digest in tree.contents)

    def _get(self, digest: str, path: Path) -> bool:
        if digest not in self.contents:
            return False
        size, pieces = self.contents[digest]
        whole = [(offset, b"".join(self._in_order[number] for number in numbers)) for offset, numbers in pieces]
        write_content((size, whole), path)
        return True

    @cached_property
    def _in_order(self) -> list[bytes]:
        return [*self.pages]


def read_content(path: Path) -> Content:
    """Read a file without its zeros."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        data = os.read(descriptor, _SMALL_BYTES + 1)
        if len(data) > _SMALL_BYTES:
            return os.fstat(descriptor).st_size, list(chunks(descriptor))
    finally:
        os.close(descriptor)
    return len(data), [(0, data)] if data.strip(b"\0") else []


def write_content(content: Content, path: Path) -> None:
    """Write a new file."""
    size, pieces = content
    with open(path, "xb", buffering=0) as file:
        os.ftruncate(file.fileno(), size)
        for offset, data in pieces:
            os.pwrite(file.fileno(), data, offset)
