"""Laying a folder out again from its snapshot, as the program left it: `tree` says what survives.

Order, since each step would change what a later one sets:

(1) every name, folders before what is in them; a file with its content, owner, attributes, permissions and times
(2) further names of a file
(3) folders, the innermost first: their owner, attributes, permissions and times. The folder under test comes last

Until (3), folders are ours alone, and no default ACL in them is inherited by what is made in them.
"""

from __future__ import annotations

import errno
import os
import stat
from contextlib import suppress
from pathlib import Path

from crashmatrix.faults.disk.linux.folders import Cursor, opened_folder
from crashmatrix.scenarios.errors import ScenarioError
from crashmatrix.scenarios.judging.snapshots.metadata import put_metadata
from crashmatrix.scenarios.judging.snapshots.sparse import copy_ranges
from crashmatrix.scenarios.judging.snapshots.tree import DIRECTORY, FILE, LINK, ROOT, Entry, Tree

__all__ = ["lay_out"]

_TYPES = {
    "fifo": stat.S_IFIFO,
    "socket": stat.S_IFSOCK,
    "character device": stat.S_IFCHR,
    "block device": stat.S_IFBLK,
}


def lay_out(tree: Tree, root: Path, blobs: Path) -> None:
    """Lay a folder out at ``root``, which must not exist or be an empty folder. ``blobs`` has files by digest. Raises OSError.

    A tree without a folder leaves none: it was removed.

    Raises:
        ScenarioError: the tree is none that can be laid out.
    """
    if tree.unusable:
        raise ScenarioError(tree.unusable[1])
    root.parent.mkdir(parents=True, exist_ok=True)
    if not tree.entries:
        with suppress(FileNotFoundError):
            root.rmdir()
        return
    with suppress(FileExistsError):
        root.mkdir()
    with opened_folder(root.parent.resolve() / root.name) as folder, Cursor(folder) as cursor:
        _lay_out(tree, cursor, folder, blobs)
    with opened_folder(root.parent.resolve(), 0) as parent:
        put_metadata(parent, root.name, dict(tree.entries)[ROOT])


def _lay_out(tree: Tree, cursor: Cursor, folder: int, blobs: Path) -> None:
    # Sorted by the parts of the path, not by its text, so the entries of one folder are neighbours.
    entries = sorted((path.split("/"), entry) for path, entry in tree.entries if path != ROOT)
    for (*above, name), entry in entries:
        if not entry.same:
            cursor.go(above)
            _make(cursor.descriptor, name, entry, blobs)
    with Cursor(folder) as source:
        for (*above, name), entry in entries:
            if entry.same:
                *first_above, first = entry.same.split("/")
                source.go(first_above)
                cursor.go(above)
                os.link(first, name, src_dir_fd=source.descriptor, dst_dir_fd=cursor.descriptor, follow_symlinks=False)
    for (*above, name), entry in reversed(entries):
        if entry.kind == DIRECTORY:
            cursor.go(above)
            put_metadata(cursor.descriptor, name, entry)


def _make(folder: int, name: str, entry: Entry, blobs: Path) -> None:
    if entry.kind == DIRECTORY:
        os.mkdir(name, 0o700, dir_fd=folder)
        return
    if entry.kind == FILE:
        _make_file(folder, name, entry, blobs)
    elif entry.kind == LINK:
        os.symlink(entry.content, name, dir_fd=folder)
    else:
        _make_special(folder, name, entry)
    put_metadata(folder, name, entry)


def _make_file(folder: int, name: str, entry: Entry, blobs: Path) -> None:
    descriptor = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600, dir_fd=folder)
    try:
        with open(blobs / entry.content, "rb", buffering=0) as blob:
            copy_ranges(blob.fileno(), descriptor, entry.extents)
    finally:
        os.close(descriptor)


def _make_special(folder: int, name: str, entry: Entry) -> None:
    major, _, minor = entry.content.partition(":")
    device = os.makedev(int(major), int(minor)) if entry.content else 0
    try:
        os.mknod(name, _TYPES[entry.kind] | 0o600, device, dir_fd=folder)
    except OSError as error:
        if error.errno != errno.EPERM:
            raise
        raise ScenarioError(f"only root can lay out the {entry.kind} {name!r} again; run as root") from error
