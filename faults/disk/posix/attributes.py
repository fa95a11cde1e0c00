"""The part of a tree's recorder that is about attributes: permissions, owners, times, and extended attributes.

A change that a program makes to one of them is logged, if it changes anything. Times that change along with content or names
are not logged one by one: such a change has the time of the recorder's clock, which is logged when it moves on (CLOCK). Each
change after that is a nanosecond later than the one before, so which of two files is newer never depends on the machine's speed.

ACLs are kept, and permissions follow them, but neither are they enforced nor do new files inherit them.
"""

import errno
import os
import stat
import struct
import time
from functools import cache

from crashmatrix.faults.disk.inode import Inode
from crashmatrix.faults.disk.linux import fuse
from crashmatrix.faults.disk.linux.fuse import Request, Setattr
from crashmatrix.faults.disk.recorder import CONTROL, MOUNT, NOTES, Recorder
from crashmatrix.faults.disk.trace.operations import (
    ACCESSED,
    CLOCK,
    MODE,
    MODIFIED,
    OWNER,
    Attribute,
    Operation,
    operation_row,
)

__all__ = ["AttributeRecorder"]

_TICK_NS = 1_000_000
_CREATE, _REPLACE = 1, 2  # linux/xattr.h
_ACL, _CAPABILITY = b"system.posix_acl_access", b"security.capability"
_ACL_ENTRY = struct.Struct("<HHI")  # linux/posix_acl_xattr.h: tag, permissions, id; a version of 4 bytes before them
_ACL_HEAD_BYTES = 4
_ACL_OWNER, _ACL_GROUP, _ACL_MASK, _ACL_OTHER = 1, 4, 16, 32


class AttributeRecorder(Recorder):
    """Logs what is changed of attributes, and answers for extended ones."""

    _ticked = _ticked_at = 0

    def _init(self, request: Request) -> bytes:
        return fuse.initial_reply(request, fuse.HANDLE_PRIVILEGES)

    def _append(self, operation: Operation) -> None:
        self._log.append(*operation_row(operation))

    def _now(self) -> int:
        """The time of the change that is logged next (see `Trace.time_at`); it never goes back."""
        now = time.time_ns()
        if now >= self._ticked + _TICK_NS:
            self._ticked = now
            self._log.append(CLOCK, number=now)
            self._ticked_at = self._log.entries
        return self._ticked + self._log.entries - self._ticked_at

    def _set(self, inode: Inode, change: Setattr) -> None:
        """Set permissions, owner and times; those that a change of size implies are none of a program's."""
        owner = (inode.uid if change.uid is None else change.uid, inode.gid if change.gid is None else change.gid)
        if owner != (inode.uid, inode.gid):
            inode.uid, inode.gid = owner
            self._note_attribute(inode, OWNER, b"%d %d" % owner)
        if change.takes_privileges or (change.uid, change.gid) != (None, None):
            self._take_privileges(inode)
        if change.mode is not None:
            self._set_mode(inode, change.mode)
        if change.size is None:
            self._set_times(inode, change)
        inode.changed_ns = self._now()

    def _set_times(self, inode: Inode, change: Setattr) -> None:
        for name, field, value in (
            (ACCESSED, "accessed_ns", change.accessed_ns),
            (MODIFIED, "modified_ns", change.modified_ns),
        ):
            if value is not None:
                setattr(inode, field, self._now() if value < 0 else value)
                self._note_attribute(inode, name, b"%d" % getattr(inode, field))

    def _set_mode(self, inode: Inode, mode: int) -> None:
        mode = stat.S_IFMT(inode.mode) | stat.S_IMODE(mode)
        if mode != inode.mode:
            inode.mode = mode
            self._note_attribute(inode, MODE, b"%d" % mode)

    def _take_privileges(self, inode: Inode) -> None:
        """Take away what would let others act as the file's owner, as the kernel does when a file is written or given away."""
        if not stat.S_ISREG(inode.mode):
            return
        group = stat.S_ISGID if inode.mode & stat.S_IXGRP else 0
        self._set_mode(inode, inode.mode & ~stat.S_ISUID & ~group)
        if inode.extended.pop(_CAPABILITY, None) is not None:
            self._note_attribute(inode, _CAPABILITY, None)

    def _note_attribute(self, inode: Inode, name: bytes, value: bytes | None) -> None:
        self._append(Attribute(inode.number, name, value))

    # Extended attributes.

    def _setxattr(self, request: Request) -> bytes:
        length, flags = request.unpack("2I")
        inode = self._recorded(request)
        name, _, rest = bytes(request.body[8:]).partition(b"\0")
        value = rest[:length]
        if flags & _CREATE and name in inode.extended:
            raise OSError(errno.EEXIST, "setxattr")
        if flags & _REPLACE and name not in inode.extended:
            raise OSError(errno.ENODATA, "setxattr")
        if inode.extended.get(name) != value:
            inode.extended[name] = value
            self._note_attribute(inode, name, value)
        if name == _ACL:
            self._set_mode(inode, _mode_of(value, inode.mode))
        inode.changed_ns = self._now()
        return b""

    def _getxattr(self, request: Request) -> bytes:
        length, _ = request.unpack("2I")
        value = self._inodes[request.node].extended.get(request.names(8)[0])
        if value is None:
            raise OSError(errno.ENODATA, "getxattr")
        return fuse.attribute_reply(value, length)

    def _listxattr(self, request: Request) -> bytes:
        length, _ = request.unpack("2I")
        names = b"".join(name + b"\0" for name in self._inodes[request.node].extended)
        return fuse.attribute_reply(names, length)

    def _removexattr(self, request: Request) -> bytes:
        inode, name = self._recorded(request), request.names()[0]
        if inode.extended.pop(name, None) is None:
            raise OSError(errno.ENODATA, "removexattr")
        self._note_attribute(inode, name, None)
        inode.changed_ns = self._now()
        return b""

    def _recorded(self, request: Request) -> Inode:
        """The inode of a request, if crash images can keep its attributes. Raises OSError."""
        if request.node in (MOUNT, NOTES, CONTROL) or not _memory_keeps_attributes():
            raise OSError(errno.EOPNOTSUPP, "extended attributes")
        return self._inodes[request.node]


def _mode_of(acl: bytes, mode: int) -> int:
    """Permissions as an ACL has them: of the owner, of the mask or else the group, and of others."""
    found: dict[int, int] = {tag: bits for tag, bits, _ in _ACL_ENTRY.iter_unpack(acl[_ACL_HEAD_BYTES:])}
    group = found.get(_ACL_MASK, found.get(_ACL_GROUP, 0))
    return mode & ~0o777 | found.get(_ACL_OWNER, 0) << 6 | group << 3 | found.get(_ACL_OTHER, 0)


@cache
def _memory_keeps_attributes() -> bool:
    """Whether files in memory, which crash images are, take extended attributes: since Linux 6.6."""
    file = os.memfd_create("crashmatrix-probe")
    try:
        os.setxattr(file, "user.crashmatrix", b"")
    except OSError:
        return False
    finally:
        os.close(file)
    return True
