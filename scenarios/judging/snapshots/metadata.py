"""The metadata of a file, read from an open descriptor and set again (`linux.metadata`).

Labels of security modules (SELinux, IMA) are the machine's, not the program's. They are left alone.
"""

from __future__ import annotations

import errno
import os
import stat

from crashmatrix.faults.disk.linux.metadata import set_metadata
from crashmatrix.scenarios.judging.snapshots.tree import LINK, Entry

__all__ = ["attributes_of", "kind_of_mode", "put_metadata"]

_PREFIXES = ("user.", "trusted.", "system.posix_acl_", "security.capability")
_NONE = (errno.ENOTSUP, errno.ENOSYS)
"""Errors of a filesystem without extended attributes."""

_KINDS = {
    stat.S_IFREG: "file",
    stat.S_IFDIR: "directory",
    stat.S_IFLNK: "link",
    stat.S_IFIFO: "fifo",
    stat.S_IFSOCK: "socket",
    stat.S_IFCHR: "character device",
    stat.S_IFBLK: "block device",
}


def kind_of_mode(mode: int) -> str:
    """The kind of entry of a ``st_mode``."""
    return _KINDS[stat.S_IFMT(mode)]


def attributes_of(descriptor: int, name: str = "") -> tuple[tuple[str, bytes], ...]:
    """The extended attributes of an open file, or of a name in an open folder, which is not followed. Raises OSError."""
    place: int | str = f"/proc/self/fd/{descriptor}/{name}" if name else descriptor
    try:
        if not (names := os.listxattr(place, follow_symlinks=not name)):
            return ()
        return tuple((each, _value(place, each)) for each in sorted(names) if each.startswith(_PREFIXES))
    except OSError as error:
        if error.errno in _NONE:
            return ()
        raise


def _value(place: int | str, attribute: str) -> bytes:
    return os.getxattr(place, attribute, follow_symlinks=isinstance(place, int))


def put_metadata(folder: int, name: str, entry: Entry) -> None:
    """Set all of it on a name in an open folder, which is not followed. Raises OSError."""
    set_metadata(
        name, owner=entry.owner, attributes=entry.attributes, mode=None if entry.kind == LINK else entry.mode,
        times_ns=(entry.accessed_ns, entry.modified_ns), folder=folder,
    )  # fmt: skip
