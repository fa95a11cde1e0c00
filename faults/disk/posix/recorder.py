"""The recorder of a tree: a filesystem in memory that logs every change its callers make.

    data      the directory under test, empty at first

The log has the kinds of entries of a tree (crashmatrix.faults.disk.trace.operations).

Invariants:
- Inode numbers are never used twice, and no inode is dropped: a recording is short.
- The kernel checks permissions (`default_permissions`). `attributes` has what is logged of those, of owners and of times.
"""

import errno
import itertools
import stat

from crashmatrix.faults.disk.inode import Inode
from crashmatrix.faults.disk.linux import fuse
from crashmatrix.faults.disk.linux.fuse import Request, Setattr
from crashmatrix.faults.disk.posix.attributes import AttributeRecorder
from crashmatrix.faults.disk.recorder import CONTROL, MOUNT, NOTES, RECORDED
from crashmatrix.faults.disk.trace.operations import Data, Entry, Names, Node, Size, Sync

__all__ = ["TreeRecorder"]

_PUNCH_HOLE, _ZERO_RANGE, _KEEP_SIZE = 2, 16, 1  # linux/falloc.h
_NOREPLACE, _EXCHANGE = 1, 2  # linux/fs.h, renameat2
_DATA_ONLY = 1  # linux/fuse.h, a flag of FSYNC


class TreeRecorder(AttributeRecorder):
    """A tree in memory, with the directory `name` in it; `log` is an open file."""

    def __init__(self, log: int, name: str) -> None:
        super().__init__(log, name, Inode(RECORDED, stat.S_IFDIR | 0o755))
        self._numbers = itertools.count(CONTROL + 1)

    # Names.

    def _mknod(self, request: Request) -> bytes:
        mode, device, _, _ = request.unpack("4I")
        return self._make(request, request.names(16)[0], mode, device=device)

    def _mkdir(self, request: Request) -> bytes:
        mode, _ = request.unpack("2I")
        return self._make(request, request.names(8)[0], stat.S_IFDIR | mode)

    def _symlink(self, request: Request) -> bytes:
        name, target = request.names()
        return self._make(request, name, stat.S_IFLNK | 0o777, target=target)

    def _create(self, request: Request) -> bytes:
        _, mode, _, _ = request.unpack("4I")
        return self._make(request, request.names(16)[0], mode) + self._opened(fuse.KEEP_CACHE)

    def _tmpfile(self, request: Request) -> bytes:
        _, mode, _, _ = request.unpack("4I")
        inode = self._new(request, mode)
        return fuse.entry_reply(inode.attributes()) + self._opened(fuse.KEEP_CACHE)

    def _link(self, request: Request) -> bytes:
        (number,) = request.unpack("Q")
        self._lead((request.node, request.names(8)[0], number))
        return fuse.entry_reply(self._inodes[number].attributes())

    def _unlink(self, request: Request) -> bytes:
        self._lead((request.node, request.names()[0], 0))
        return b""

    def _rmdir(self, request: Request) -> bytes:
        name = request.names()[0]
        if self._named(request.node, name).names:
            raise OSError(errno.ENOTEMPTY, "rmdir")
        self._lead((request.node, name, 0))
        return b""

    def _rename(self, request: Request) -> bytes:
        (folder,) = request.unpack("Q")
        return self._move(request.node, folder, request.names(8), 0)

    def _rename2(self, request: Request) -> bytes:
        folder, flags, _ = request.unpack("QII")
        return self._move(request.node, folder, request.names(16), flags)

    def _move(self, old_folder: int, new_folder: int, names: list[bytes], flags: int) -> bytes:
        if flags & ~(_NOREPLACE | _EXCHANGE):
            raise OSError(errno.EINVAL, "rename")
        old_name, new_name = names
        moved = self._named(old_folder, old_name)
        replaced = self._inodes[new_folder].names.get(new_name, 0)
        if replaced and flags & _NOREPLACE:
            raise OSError(errno.EEXIST, "rename")
        if replaced and self._inodes[replaced].names and not flags & _EXCHANGE:
            raise OSError(errno.ENOTEMPTY, "rename")
        left_behind = replaced if flags & _EXCHANGE else 0
        self._lead((old_folder, old_name, left_behind), (new_folder, new_name, moved.number))
        return b""

    def _make(self, request: Request, name: bytes, mode: int, *, device: int = 0, target: bytes = b"") -> bytes:
        if request.node == MOUNT:
            raise OSError(errno.EPERM, "the files beside the directory under test are fixed")
        inode = self._new(request, mode, device=device, target=target)
        self._lead((request.node, name, inode.number))
        return fuse.entry_reply(inode.attributes())

    def _new(self, request: Request, mode: int, *, device: int = 0, target: bytes = b"") -> Inode:
        now = self._now()
        inode = Inode(
            next(self._numbers), mode, request.uid, request.gid, device, target,
            changed_ns=now, modified_ns=now, accessed_ns=now,
        )  # fmt: skip
        self._inodes[inode.number] = inode
        self._append(Node(inode.number, mode, target, (request.uid, request.gid), device))
        return inode

    def _lead(self, *entries: Entry) -> None:
        """Change these names, at once."""
        if any(folder == MOUNT for folder, _, _ in entries):
            raise OSError(errno.EPERM, "the files beside the directory under test are fixed")
        now = self._now()
        self._append(Names(entries))
        for folder, name, number in entries:
            names = self._inodes[folder].names
            if (before := names.pop(name, 0)) in self._inodes:
                self._inodes[before].links -= 1
                self._inodes[before].changed_ns = now
            if number:
                names[name] = number
                self._inodes[number].links += 1
                self._inodes[number].changed_ns = now
            self._inodes[folder].touch(now)

    def _readlink(self, request: Request) -> bytes:
        return self._inodes[request.node].target

    # Contents.

    def _setattr(self, request: Request) -> bytes:
        inode, change = self._inodes[request.node], Setattr.of(request)
        if inode.number not in (MOUNT, NOTES, CONTROL):  # A shell's `>` works on notes, too.
            if change.size is not None:
                self._resize(inode, change.size)
            self._set(inode, change)
        return fuse.attributes_reply(inode.attributes())

    def _content(self, inode: int, offset: int, length: int, /) -> bytes:
        # A copy, since a view would keep the bytearray from growing.
        return bytes(memoryview(self._inodes[inode].content)[offset : offset + length])

    def _write(self, request: Request) -> fuse.Answer:
        if request.takes_privileges:
            self._take_privileges(self._inodes[request.node])
        return super()._write(request)

    def _put(self, inode: int, offset: int, data: memoryview, /) -> None:
        file = self._inodes[inode]
        if offset + len(data) > len(file.content):
            self._resize(file, offset + len(data))
        now = self._now()  # Right before the change: its time in the trace and the one that stat(2) shows are one.
        self._append(Data(inode, offset, bytes(data)))
        file.content[offset : offset + len(data)] = data
        file.touch(now)

    def _resize(self, inode: Inode, size: int) -> None:
        before = len(inode.content)
        if size == before:
            return
        now = self._now()
        self._append(Size(inode.number, size))
        if size < before:
            del inode.content[size:]
        else:
            inode.content.extend(bytes(size - before))
        inode.touch(now)

    def _fallocate(self, request: Request) -> bytes:
        _, offset, length, mode = request.unpack("QQQI")
        if mode & ~(_PUNCH_HOLE | _ZERO_RANGE | _KEEP_SIZE):
            raise OSError(errno.EOPNOTSUPP, "fallocate")
        inode = self._inodes[request.node]
        if offset + length > len(inode.content) and not mode & _KEEP_SIZE:
            self._resize(inode, offset + length)
        zeroed = min(offset + length, len(inode.content)) - offset
        if mode & (_PUNCH_HOLE | _ZERO_RANGE) and zeroed > 0:
            self._put(inode.number, offset, memoryview(bytes(zeroed)))
        return b""

    def _fsync(self, request: Request) -> bytes:
        if request.node not in (NOTES, CONTROL):
            _, flags = request.unpack("QI")
            self._append(Sync(request.node, bool(flags & _DATA_ONLY)))
        return b""

    _fsyncdir = _fsync

    def _state(self) -> dict[str, object]:
        return {"inodes": len(self._inodes)}
