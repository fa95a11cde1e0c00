"""The metadata of a file, set so that no step undoes another: owner, extended attributes, permissions, times.

(1) owner: the kernel then drops set-user-ID bits and capabilities
(2) extended attributes, ACLs among them: a file without write permission takes none
(3) permissions
(4) times: last of all, and of a directory only when everything in it was made
"""

import ctypes
import os
import struct
from collections.abc import Iterable

__all__ = ["birth_ns", "set_metadata"]

_LIBC = ctypes.CDLL(None, use_errno=True)
_AT_EMPTY_PATH, _AT_SYMLINK_NOFOLLOW = 0x1000, 0x100  # linux/fcntl.h
_STATX_BTIME = 0x800  # linux/stat.h, as are the places in the answer
_ANSWER_BYTES, _BORN_AT = 256, 80


def birth_ns(descriptor: int, name: str = "") -> int:
    """When an open file, or a name in an open folder, was made (statx(2)); 0 where that is not known. A link is not followed."""
    answer = ctypes.create_string_buffer(_ANSWER_BYTES)
    flags = _AT_SYMLINK_NOFOLLOW | (0 if name else _AT_EMPTY_PATH)
    if _LIBC.statx(descriptor, os.fsencode(name), flags, _STATX_BTIME, answer) < 0:
        return 0
    seconds, nanoseconds = struct.unpack_from("<qI", answer, _BORN_AT)
    known = struct.unpack_from("<I", answer)[0] & _STATX_BTIME
    return seconds * 1_000_000_000 + nanoseconds if known else 0


def set_metadata(
    name: str | bytes,
    *,
    owner: tuple[int, int] | None,
    attributes: Iterable[tuple[str | bytes, bytes]],
    mode: int | None,
    times_ns: tuple[int, int] | None,
    folder: int | None = None,
) -> None:
    """Set all of it on a path, or on a name in an open folder. A link is not followed. Raises OSError.

    Args:
        owner: user and group; None leaves them alone.
        mode: permissions; None for a link, whose own Linux cannot set.
        times_ns: of access and of change; None leaves them alone.
    """
    if owner is not None:
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
