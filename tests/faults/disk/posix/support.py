"""Shared by the tests of trees: operations and traces made by hand, and a small program to record."""

import stat

from crashmatrix.faults.disk import Data, Machine, Mark, Names, Node, Operation, RecordOptions, Size, Trace
from crashmatrix.faults.disk.trace.operations import ROOT
from tests.faults.disk.support import write_durably

POSIX = RecordOptions(filesystem="posix")

FILE, FOLDER = stat.S_IFREG | 0o644, stat.S_IFDIR | 0o755
A, B, C = ROOT + 1, ROOT + 2, ROOT + 3

Files = frozenset[tuple[str, bytes | None]]
"""Relative names and contents; None for a directory."""


def made_up(*operations: Operation) -> Trace:
    """A trace made by hand."""
    return Trace(filesystem="posix", size_bytes=0, base=(), operations=(*operations, Mark("finish")))


def name(folder: int, text: bytes, inode: int) -> Names:
    """A name that is made, or removed (inode 0)."""
    return Names(((folder, text, inode),))


def rename(old: tuple[int, bytes], new: tuple[int, bytes], inode: int) -> Names:
    """A rename, without anything in the new place."""
    return Names(((*old, 0), (*new, inode)))


def files(**contents: bytes | None) -> Files:
    """Return the contents of the files by name."""
    return frozenset(contents.items())


TWO = (Node(A, FILE), name(ROOT, b"a", A), Size(A, 1), Data(A, 0, b"1"))
"""A file that was made and written."""


def small(machine: Machine) -> None:
    """Leave one file to the kernel, and make one durable."""
    (machine.root / "loose").write_bytes(b"l" * 6000)
    write_durably(machine.root / "synced", b"s" * 3000)
    machine.note(b"synced")
