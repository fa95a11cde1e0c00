"""Traces made by hand of what a workload called on the `posix` filesystem."""

from __future__ import annotations

import stat

from crashmatrix.faults.disk import Note, Operation, Trace
from crashmatrix.faults.disk.trace.operations import ROOT, Data, Mark, Names, Node, Size

LOG = 10


def posix_trace(*operations: Operation) -> Trace:
    marked = [Mark("start"), *operations, Mark("finish")]
    return Trace(filesystem="posix", size_bytes=0, base=(), operations=tuple(marked))


def made(name: bytes, inode: int = LOG) -> tuple[Operation, ...]:
    """A file is made in the store's folder."""
    return Node(inode, stat.S_IFREG | 0o644), Names(((ROOT, name, inode),))


def written(content: bytes, offset: int = 0, inode: int = LOG) -> tuple[Operation, ...]:
    """A file grows by this content."""
    return Size(inode, offset + len(content)), Data(inode, offset, content)


def acknowledged(item: int) -> tuple[Operation, ...]:
    return (Note(b"ack %d" % item),)


def attempted(item: int) -> tuple[Operation, ...]:
    return (Note(b"attempt %d" % item),)
