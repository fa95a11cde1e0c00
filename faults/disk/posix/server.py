"""The recorder of a tree: a filesystem in memory that logs every change its callers make, in one total order.

    data      the directory under test, empty at first
    notes     write-only. Each line written becomes a note in the log; it needs no locking and no reply
    control   a write is one command, done when write(2) returns: `mark NAME`. A read gives the recorder's state as JSON

The log is that of faults.disk.recorder, with the kinds of entries of a tree (faults.disk.operations).

Invariants:
- One thread answers all requests. That is the total order: a change is in the log before its request is answered.
- Inode numbers are never used twice, and nothing is forgotten: a recording is short.
- Permissions are checked by the kernel (`default_permissions`), times and owners are kept for stat(2) and not logged.
"""

import errno
import itertools
import json
import os
import stat
import time
from collections.abc import Callable

from faults.disk.operations import Data, Entry, Mark, Names, Node, Note, Operation, Size, Sync, operation_row
from faults.disk.posix import wire
from faults.disk.posix.inode import ROOT, Inode
from faults.disk.posix.wire import Opcode, Request, Setattr
from faults.disk.recorder import CONTROL_NAME, GREETING, NOTES_NAME, append_entry

__all__ = ["TreeRecorder"]

_MOUNT, _NOTES, _CONTROL = 1, 3, 4  # Inodes; the first is FUSE's own choice, and 2 is ROOT.
_PUNCH_HOLE, _ZERO_RANGE, _KEEP_SIZE = 2, 16, 1  # linux/falloc.h
_NOREPLACE, _EXCHANGE = 1, 2  # linux/fs.h, renameat2


class TreeRecorder:
    """FUSE operations over a tree in memory; `log` is an open file."""

    def __init__(self, log: int) -> None:
        self._log = log
        self._inodes = {
            _MOUNT: Inode(_MOUNT, stat.S_IFDIR | 0o755),
            ROOT: Inode(ROOT, stat.S_IFDIR | 0o755),
            # Anyone may write notes: a workload need not run as root to make promises.
            _NOTES: Inode(_NOTES, stat.S_IFREG | 0o622, links=1),
            _CONTROL: Inode(_CONTROL, stat.S_IFREG | 0o600, links=1),
        }
        self._inodes[_MOUNT].names = {b"data": ROOT, NOTES_NAME.encode(): _NOTES, CONTROL_NAME.encode(): _CONTROL}
        self._numbers = itertools.count(_CONTROL + 1)
        self._handles = 0
        self._unfinished: dict[int, bytes] = {}
        self._listings: dict[int, list[tuple[bytes, int, int]]] = {}
        self._handlers: dict[int, Callable[[Request], bytes | bytearray | memoryview]] = {
            code: getattr(self, f"_{code.name.lower()}") for code in Opcode if hasattr(self, f"_{code.name.lower()}")
        }

    def serve(self, device: int, stall_seconds: float) -> None:
        """Answer the kernel until the filesystem is unmounted."""
        wire.serve(device, self._handlers, stall_seconds)

    def _init(self, request: Request) -> bytes:
        return wire.initial_reply(request)

    def _statfs(self, _: Request) -> bytes:
        return wire.statfs_reply()

    # Names.

    def _lookup(self, request: Request) -> bytes:
        return wire.entry_reply(self._named(request.node, request.names()[0]).attributes())

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
        return self._make(request, request.names(16)[0], mode) + self._opened(wire.KEEP_CACHE)

    def _tmpfile(self, request: Request) -> bytes:
        _, mode, _, _ = request.unpack("4I")
        inode = self._new(request, mode)
        return wire.entry_reply(inode.attributes()) + self._opened(wire.KEEP_CACHE)

    def _link(self, request: Request) -> bytes:
        (number,) = request.unpack("Q")
        self._lead((request.node, request.names(8)[0], number))
        return wire.entry_reply(self._inodes[number].attributes())

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
        if request.node == _MOUNT:
            raise OSError(errno.EPERM, "what is beside the directory under test is fixed")
        inode = self._new(request, mode, device=device, target=target)
        self._lead((request.node, name, inode.number))
        return wire.entry_reply(inode.attributes())

    def _new(self, request: Request, mode: int, *, device: int = 0, target: bytes = b"") -> Inode:
        inode = Inode(next(self._numbers), mode, request.uid, request.gid, device, target)
        self._inodes[inode.number] = inode
        self._append(Node(inode.number, mode, target))
        return inode

    def _lead(self, *entries: Entry) -> None:
        """Have these names lead elsewhere, at once."""
        if any(folder == _MOUNT for folder, _, _ in entries):
            raise OSError(errno.EPERM, "what is beside the directory under test is fixed")
        self._append(Names(entries))
        for folder, name, number in entries:
            names = self._inodes[folder].names
            if (before := names.pop(name, 0)) in self._inodes:
                self._inodes[before].links -= 1
                self._inodes[before].changed_ns = time.time_ns()
            if number:
                names[name] = number
                self._inodes[number].links += 1
                self._inodes[number].changed_ns = time.time_ns()
            self._inodes[folder].touch()

    def _named(self, folder: int, name: bytes) -> Inode:
        number = self._inodes[folder].names.get(name)
        if number is None:
            raise OSError(errno.ENOENT, "no such name")
        return self._inodes[number]

    def _readlink(self, request: Request) -> bytes:
        return self._inodes[request.node].target

    # Directories as they are read.

    def _opendir(self, request: Request) -> bytes:
        folder = self._inodes[request.node]
        # As of now: one that changes while it is read neither skips nor repeats a name.
        listed = [(name, number, self._inodes[number].mode) for name, number in folder.names.items()]
        answer = self._opened(0)
        self._listings[self._handles] = [(b".", folder.number, folder.mode), (b"..", 0, folder.mode), *listed]
        return answer

    def _readdir(self, request: Request) -> bytes:
        handle, offset, length = request.unpack("QQI")
        return wire.directory_entries(self._listings[handle], offset, length)

    def _releasedir(self, request: Request) -> bytes:
        (handle,) = request.unpack("Q")
        self._listings.pop(handle, None)
        return b""

    # Contents.

    def _getattr(self, request: Request) -> bytes:
        return wire.attributes_reply(self._inodes[request.node].attributes())

    def _setattr(self, request: Request) -> bytes:
        inode, change, now = self._inodes[request.node], Setattr.of(request), time.time_ns()
        if change.size is not None and inode.number not in (_NOTES, _CONTROL):  # A shell's `>` works on notes, too.
            self._resize(inode, change.size)
        if change.mode is not None:
            inode.mode = stat.S_IFMT(inode.mode) | stat.S_IMODE(change.mode)
            self._append(Node(inode.number, inode.mode, inode.target))
        inode.uid = inode.uid if change.uid is None else change.uid
        inode.gid = inode.gid if change.gid is None else change.gid
        inode.changed_ns = now
        for name, value in (("accessed_ns", change.accessed_ns), ("modified_ns", change.modified_ns)):
            if value is not None:
                setattr(inode, name, now if value < 0 else value)
        return wire.attributes_reply(inode.attributes())

    def _open(self, request: Request) -> bytes:
        # Direct: a write is one request however long and wherever, and a read does not believe the size 0.
        return self._opened(wire.DIRECT_IO if request.node in (_NOTES, _CONTROL) else wire.KEEP_CACHE)

    def _opened(self, flags: int) -> bytes:
        self._handles += 1
        return wire.open_reply(self._handles, flags)

    def _read(self, request: Request) -> memoryview:
        _, offset, length = request.unpack("QQI")
        content = self._state() if request.node == _CONTROL else self._inodes[request.node].content
        # A copy, since a view would keep the bytearray from growing.
        return memoryview(bytes(memoryview(content)[offset : offset + length]))

    def _write(self, request: Request) -> bytes:
        handle, offset, length = request.unpack("QQI")
        data = bytes(request.body[40 : 40 + length])
        if request.node == _NOTES:
            self._take_notes(handle, data)
        elif request.node == _CONTROL:
            self._command(data.decode().split())
        else:
            self._put(self._inodes[request.node], offset, data)
        return wire.write_reply(length)

    def _put(self, inode: Inode, offset: int, data: bytes) -> None:
        if offset + len(data) > len(inode.content):
            self._resize(inode, offset + len(data))
        self._append(Data(inode.number, offset, data))
        inode.content[offset : offset + len(data)] = data
        inode.touch()

    def _resize(self, inode: Inode, size: int) -> None:
        before = len(inode.content)
        if size == before:
            return
        self._append(Size(inode.number, size))
        if size < before:
            del inode.content[size:]
        else:
            inode.content.extend(bytes(size - before))
        inode.touch()

    def _fallocate(self, request: Request) -> bytes:
        _, offset, length, mode = request.unpack("QQQI")
        if mode & ~(_PUNCH_HOLE | _ZERO_RANGE | _KEEP_SIZE):
            raise OSError(errno.EOPNOTSUPP, "fallocate")
        inode = self._inodes[request.node]
        if offset + length > len(inode.content) and not mode & _KEEP_SIZE:
            self._resize(inode, offset + length)
        zeroed = min(offset + length, len(inode.content)) - offset
        if mode & (_PUNCH_HOLE | _ZERO_RANGE) and zeroed > 0:
            self._put(inode, offset, bytes(zeroed))
        return b""

    def _fsync(self, request: Request) -> bytes:
        if request.node not in (_NOTES, _CONTROL):
            self._append(Sync(request.node))
        return b""

    _fsyncdir = _fsync

    def _flush(self, request: Request) -> bytes:
        (handle,) = request.unpack("Q")
        if rest := self._unfinished.pop(handle, b""):  # An unfinished line counts as one when the file is closed.
            self._append(Note(rest))
        return b""

    def _nothing(self, _: Request) -> bytes:
        return b""

    _destroy = _release = _nothing

    # Notes and commands.

    def _take_notes(self, handle: int, data: bytes) -> None:
        *lines, rest = (self._unfinished.pop(handle, b"") + data).split(b"\n")
        for line in lines:
            self._append(Note(line))
        if rest:
            self._unfinished[handle] = rest

    def _command(self, words: list[str]) -> None:
        match words:
            case ["mark", name]:
                self._append(Mark(name))
            case _:
                raise OSError(errno.EINVAL, "unknown command")

    def _state(self) -> bytes:
        return json.dumps({"role": GREETING, "pid": os.getpid(), "inodes": len(self._inodes)}).encode() + b"\n"

    def _append(self, operation: Operation) -> None:
        kind, offset, data, number = operation_row(operation)
        append_entry(self._log, kind, offset, data, number)
