"""A memory of earlier looks at folders. Most files did not change since, so their digests and entries did not either.

A file's content is read at every look, and compared with the content that its inode had at the last one. Times and sizes say too
little: stores to a mapped file in memory change neither.
"""

from __future__ import annotations

import os
import stat
from typing import Any

from crashmatrix.scenarios.judging.snapshots.sparse import digest_of, extents_of, look_at
from crashmatrix.scenarios.judging.snapshots.tree import Entry

__all__ = ["Seen"]

_FILE_BYTES_MAX = 1 << 18
"""Larger files are not remembered."""
_BYTES_MAX = 1 << 25
_ENTRIES_MAX = 1 << 15

Extents = tuple[tuple[int, int], ...]


class Seen:
    """Remembers contents and entries, up to a limit. Thread-safe."""

    def __init__(self) -> None:
        self._contents: dict[tuple[int, int], tuple[bytes, str]] = {}
        self._bytes = 0
        self._entries: dict[tuple[Any, ...], Entry] = {}

    def content(self, descriptor: int, state: os.stat_result) -> tuple[str, Extents]:
        """Return a digest of an open file's content, and the ranges that are no holes, as `sparse.look_at` does."""
        size = state.st_size
        extents = extents_of(descriptor, size)
        if size > _FILE_BYTES_MAX or extents != ((0, size),):
            return look_at(descriptor, size)
        data, inode = os.pread(descriptor, size, 0), (state.st_dev, state.st_ino)
        known = self._contents.get(inode)
        if known is not None and known[0] == data:
            return known[1], extents
        digest = digest_of(data, size)
        self._bytes += len(data)
        if self._bytes > _BYTES_MAX:
            self._contents.clear()
            self._bytes = len(data)
        self._contents[inode] = data, digest
        return digest, extents

    def entry(
        self,
        kind: str,
        state: os.stat_result,
        content: str,
        attributes: tuple[tuple[str, bytes], ...],
        born_ns: int,
        extents: Extents = (),
    ) -> Entry:
        """Return the entry of a name; equal ones of one file are one object."""
        owner, times = (state.st_uid, state.st_gid), (state.st_atime_ns, state.st_mtime_ns)
        inode = state.st_ino, born_ns
        key = (state.st_mode, owner, times, content, attributes, extents, inode)
        if (known := self._entries.get(key)) is not None:
            return known
        if len(self._entries) > _ENTRIES_MAX:
            self._entries.clear()
        accessed, modified = times
        entry = Entry(
            kind, stat.S_IMODE(state.st_mode), content, owner, attributes,
            accessed_ns=accessed, modified_ns=modified, extents=extents, inode=inode,
        )  # fmt: skip
        self._entries[key] = entry
        return entry
