"""The metadata of a file, read from an open descriptor and set again: owner, attributes, permissions, times.

Order in which it is set, since each step changes what an earlier one would have set:

(1) owner: the kernel then drops set-user-ID bits and capabilities
(2) extended attributes, ACLs among them: a file without write permission takes none
(3) permissions
(4) times: last of all, and of a directory only when everything in it was made

Labels of security modules (SELinux, IMA) are the machine's, not the program's. They are left alone.
"""

from __future__ import annotations

import errno
import os
import stat

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
        names = os.listxattr(place, follow_symlinks=not name)
        return tuple((each, _value(place, each)) for each in sorted(names) if each.startswith(_PREFIXES))
    except OSError as error:
        if error.errno in _NONE:
            return ()
        raise


def _value(place: int | str, attribute: str) -> bytes:
    return os.getxattr(place, attribute, follow_symlinks=isinstance(place, int))


def put_metadata(folder: int, name: str, entry: Entry) -> None:
    """Set all of it on a name in an open folder, which is not followed. Raises OSError."""
    state = os.stat(name, dir_fd=folder, follow_symlinks=False)
    if (state.st_uid, state.st_gid) != entry.owner:
        os.chown(name, *entry.owner, dir_fd=folder, follow_symlinks=False)
    for attribute, value in entry.attributes:
        os.setxattr(f"/proc/self/fd/{folder}/{name}", attribute, value, follow_symlinks=False)
    if entry.kind != LINK:  # Nobody looks at a link's own permissions, and Linux cannot set them.
        os.chmod(name, entry.mode, dir_fd=folder)
    os.utime(name, ns=(entry.accessed_ns, entry.modified_ns), dir_fd=folder, follow_symlinks=False)
