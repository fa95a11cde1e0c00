"""A tree as real files: laid out in an empty directory, with the owners, attributes and times that a crash state leaves.

Order: every name with its content; then its metadata (`linux.metadata`); directories last and the innermost first, since a time
changes with what is made in them.
"""

import os
import stat
from pathlib import Path

from crashmatrix.faults.disk.linux.metadata import set_metadata
from crashmatrix.faults.disk.posix.content import Content
from crashmatrix.faults.disk.posix.tree import Kept, Tree

__all__ = ["lay_out"]


def lay_out(tree: Tree, root: Path) -> None:
    """Make the tree's files in an existing empty directory. Raises OSError."""
    made: dict[int, bytes] = {}
    start = os.fsencode(root)
    umask = os.umask(0)
    try:
        for path, node, content in tree.entries:
            place = start + b"/" + path
            if node.inode in made:
                os.link(made[node.inode], place, follow_symlinks=False)
                continue
            _make(place, node, content)
            if not stat.S_ISDIR(node.mode):
                made[node.inode] = place
                _set(place, node)
    finally:
        os.umask(umask)
    for path, node, _ in reversed(tree.entries):
        if stat.S_ISDIR(node.mode):
            _set(start + b"/" + path, node)
    _set(start, tree.root)


def _make(place: bytes, node: Kept, content: Content) -> None:
    if stat.S_ISDIR(node.mode):
        os.mkdir(place, 0o700)  # noqa: PTH102 -- a path of bytes
    elif stat.S_ISLNK(node.mode):
        os.symlink(node.target, place)  # noqa: PTH211 -- a path of bytes
    elif not stat.S_ISREG(node.mode):
        os.mknod(place, node.mode, node.device)
    else:
        file = os.open(place, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            for offset, data in content.runs():
                os.pwrite(file, data, offset)
            os.ftruncate(file, content.size)
        finally:
            os.close(file)


def _set(place: bytes, node: Kept) -> None:
    times = (node.accessed_ns or node.modified_ns, node.modified_ns) if node.modified_ns else None
    mode = None if stat.S_ISLNK(node.mode) else stat.S_IMODE(node.mode)
    set_metadata(place, owner=node.owner, attributes=node.attributes, mode=mode, times_ns=times)
