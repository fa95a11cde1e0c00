"""The metadata of a file, set so that no step undoes another: owner, extended attributes, permissions, times.

(1) owner: the kernel then drops set-user-ID bits and capabilities
(2) extended attributes, ACLs among them: a file without write permission takes none
(3) permissions
(4) times: last of all, and of a directory only when everything in it was made
"""

import os
from collections.abc import Iterable

__all__ = ["set_metadata"]


def set_metadata(
    name: str | bytes,
    *,
    owner: tuple[int, int],
    attributes: Iterable[tuple[str | bytes, bytes]],
    mode: int | None,
    times_ns: tuple[int, int] | None,
    folder: int | None = None,
) -> None:
    """Set all of it on a path, or on a name in an open folder. A link is not followed. Raises OSError.

    Args:
        owner: user and group.
        mode: permissions; None for a link, whose own Linux cannot set.
        times_ns: of access and of change; None leaves them alone.
    """
    state = os.stat(name, dir_fd=folder, follow_symlinks=False)
    if (state.st_uid, state.st_gid) != owner:
        os.chown(name, *owner, dir_fd=folder, follow_symlinks=False)
    for attribute, value in attributes:
        place = name if folder is None else b"/proc/self/fd/%d/%s" % (folder, os.fsencode(name))
        os.setxattr(place, attribute, value, follow_symlinks=False)
    if mode is not None:
        os.chmod(name, mode, dir_fd=folder)  # a name in a folder, or a path of bytes
    if times_ns is not None:
        os.utime(name, ns=times_ns, dir_fd=folder, follow_symlinks=False)
