"""The kernel's side of FUSE: requests read from /dev/fuse, one at a time, and their answers.

The protocol is spoken directly and not through libfuse. A tree needs its inodes: libfuse's common interface names files by path,
gives each hard link an inode of its own, and renames an open file that is unlinked or replaced, so that one atomic rename
reaches the recorder as two. But durability depends on inodes and on atomic renames. A disk needs the speed: through libfuse and
its Python binding a workload of syncs took 1.5 times as long. And a recorder that is forked and loads nothing starts at once.

Layouts and numbers are those of linux/fuse.h, version 7.31, which every kernel since 5.4 speaks.
"""

import errno
import os
import signal
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import NamedTuple

__all__ = [
    "DIRECT_IO",
    "HANDLE_PRIVILEGES",
    "KEEP_CACHE",
    "LATER",
    "Answer",
    "Attributes",
    "Opcode",
    "Request",
    "Setattr",
    "attribute_reply",
    "attributes_reply",
    "directory_entries",
    "entry_reply",
    "initial_reply",
    "open_reply",
    "reply",
    "serve",
    "statfs_reply",
    "write_reply",
]


class Opcode(IntEnum):
    """The requests that are answered; any other is refused with ENOSYS, and the kernel then does without it."""

    LOOKUP = 1
    FORGET = 2
    GETATTR = 3
    SETATTR = 4
    READLINK = 5
    SYMLINK = 6
    MKNOD = 8
    MKDIR = 9
    UNLINK = 10
    RMDIR = 11
    RENAME = 12
    LINK = 13
    OPEN = 14
    READ = 15
    WRITE = 16
    STATFS = 17
    RELEASE = 18
    FSYNC = 20
    SETXATTR = 21
    GETXATTR = 22
    LISTXATTR = 23
    REMOVEXATTR = 24
    FLUSH = 25
    INIT = 26
    OPENDIR = 27
    READDIR = 28
    RELEASEDIR = 29
    FSYNCDIR = 30
    CREATE = 35
    INTERRUPT = 36
    DESTROY = 38
    BATCH_FORGET = 42
    FALLOCATE = 43
    RENAME2 = 45
    TMPFILE = 51


_UNANSWERED = frozenset({Opcode.FORGET, Opcode.BATCH_FORGET, Opcode.INTERRUPT})

DIRECT_IO, KEEP_CACHE = 1, 2
"""Flags of an opened file: no page cache; the cache of an earlier opening is still valid."""

_MAJOR, _MINOR = 7, 31
_BIG_WRITES, _MAX_PAGES = 1 << 5, 1 << 22
HANDLE_PRIVILEGES = 1 << 28
"""The recorder takes away set-user-ID bits and capabilities at writes: without it, the kernel looks for them at each write."""
_WRITE_TAKES_PRIVILEGES, _SETATTR_TAKES_PRIVILEGES = 1 << 2, 11
_WRITE_BYTES_MOST = 1 << 20
_PAGE = 4096
_BUFFER_BYTES = _WRITE_BYTES_MOST + 2 * _PAGE
_FOR_EVER_SECONDS = 1 << 30  # Names and attributes change only through the kernel that caches them.

_IN = struct.Struct("=IIQQIIIHH")
_OUT = struct.Struct("=IiQ")
_ATTRIBUTES = struct.Struct("=6Q10I")
_ENTRY = struct.Struct("=4Q2I")
_ATTRIBUTES_OUT = struct.Struct("=QII")
_SETATTR = struct.Struct("=II6Q8I")
_OPENED = struct.Struct("=QII")
_WRITTEN = struct.Struct("=II")
_ATTRIBUTE_SIZE = struct.Struct("=II")
_STATFS = struct.Struct("=5Q4I24x")
_INITIAL = struct.Struct("=4IHHIIHHI28x")
_DIRENT = struct.Struct("=QQII")
_WRITE = struct.Struct("=QQI20x")
_WRITE_FLAGS = struct.Struct("=20xI")

Answer = bytes | bytearray | memoryview
"""The answer to a request, without its header."""

LATER: Answer = bytearray()
"""This object itself in place of an answer: the request is answered by `reply`, sooner or later."""


class Request(NamedTuple):
    """Request number `unique`, about the inode `node`, for user `uid` and group `gid`, with arguments in `body`."""

    opcode: int
    node: int
    uid: int
    gid: int
    body: memoryview
    unique: int = 0

    def unpack(self, layout: str) -> tuple[int, ...]:
        """The numbers at the start of the arguments."""
        return struct.unpack_from("=" + layout, self.body)

    def written(self) -> tuple[int, int, memoryview]:
        """The arguments of a WRITE: the file's handle, the offset, and the data, which is valid until the next request."""
        handle, offset, length = _WRITE.unpack_from(self.body)
        return handle, offset, self.body[_WRITE.size : _WRITE.size + length]

    @property
    def takes_privileges(self) -> bool:
        """Whether a WRITE has the file lose set-user-ID bits and capabilities."""
        return bool(_WRITE_FLAGS.unpack_from(self.body)[0] & _WRITE_TAKES_PRIVILEGES)

    def names(self, start: int = 0) -> list[bytes]:
        """The names, each ended by a NUL, from byte `start` of the arguments on."""
        return bytes(self.body[start:]).split(b"\0")[:-1]


class Attributes(NamedTuple):
    """The answer to stat(2). Times in nanoseconds."""

    inode: int
    mode: int
    size: int
    links: int
    uid: int
    gid: int
    device: int
    changed_ns: int
    modified_ns: int
    accessed_ns: int


@dataclass(frozen=True)
class Setattr:
    """The attributes to set; None leaves an attribute alone. Times are in nanoseconds, -1 for now."""

    mode: int | None
    uid: int | None
    gid: int | None
    size: int | None
    accessed_ns: int | None
    modified_ns: int | None
    takes_privileges: bool = False

    @classmethod
    def of(cls, request: Request) -> "Setattr":
        """Parse the arguments of a SETATTR."""
        (
            valid, _, _, size, _, accessed, modified, _,
            accessed_nsec, modified_nsec, _, mode, _, uid, gid, _,
        ) = _SETATTR.unpack_from(request.body)  # fmt: skip

        def given(bit: int, value: int) -> int | None:
            return value if valid >> bit & 1 else None

        accessed_ns = -1 if valid >> 7 & 1 else accessed * 10**9 + accessed_nsec
        modified_ns = -1 if valid >> 8 & 1 else modified * 10**9 + modified_nsec
        return cls(
            given(0, mode), given(1, uid), given(2, gid), given(3, size), given(4, accessed_ns), given(5, modified_ns),
            bool(valid >> _SETATTR_TAKES_PRIVILEGES & 1),
        )  # fmt: skip


def serve(device: int, handlers: Mapping[int, Callable[[Request], Answer]], stall_seconds: float) -> None:
    """Answer requests from the open /dev/fuse until the filesystem is unmounted.

    A request that takes longer than the limit, at most twice as long, ends the process by SIGALRM. A handler returns the
    answer, or raises OSError with the error number for the client. Raises OSError if the device fails.
    """
    buffer = bytearray(_BUFFER_BYTES)
    view = memoryview(buffer)
    watchdog = _Watchdog(stall_seconds)
    while True:
        watchdog.under_way = 0
        try:
            length = os.readv(device, [buffer])
        except OSError as error:
            if error.errno in (errno.EINTR, errno.ENOENT, errno.EAGAIN):  # ENOENT: a request that was interrupted.
                continue
            if error.errno == errno.ENODEV:
                return
            raise
        _, opcode, unique, node, uid, gid, _, _, _ = _IN.unpack_from(buffer)
        request = Request(opcode, node, uid, gid, view[_IN.size : length], unique)
        if opcode in _UNANSWERED:
            if opcode in handlers:
                handlers[opcode](request)
            continue
        watchdog.under_way = unique
        code, answer = _answer(handlers, request)
        if answer is not LATER:
            reply(device, unique, answer, code)


def reply(device: int, unique: int, answer: Answer, code: int = 0) -> None:
    """Answer the request of this number, with an error number unless that is 0. Raises OSError if the device fails."""
    try:
        os.writev(device, [_OUT.pack(_OUT.size + len(answer), -code, unique), answer])
    except OSError as error:
        if error.errno != errno.ENOENT:  # The client is gone.
            raise


class _Watchdog:
    """Ends the process by SIGALRM when one request is under way at two looks in a row.

    It checks from a signal handler, which also interrupts a system call that hangs. Setting a timer at every request would cost
    as much as answering it.
    """

    def __init__(self, seconds: float) -> None:
        self.under_way = 0
        """The request's number; 0 between requests."""
        self._seen = 0
        signal.signal(signal.SIGALRM, self._look)
        signal.setitimer(signal.ITIMER_REAL, seconds, seconds)

    def _look(self, *_: object) -> None:
        if self.under_way and self.under_way == self._seen:
            signal.signal(signal.SIGALRM, signal.SIG_DFL)
            signal.raise_signal(signal.SIGALRM)
        self._seen = self.under_way


def _answer(handlers: Mapping[int, Callable[[Request], Answer]], request: Request) -> tuple[int, Answer]:
    handler = handlers.get(request.opcode)
    if handler is None:
        return errno.ENOSYS, b""
    try:
        return 0, handler(request)
    except OSError as error:
        return error.errno or errno.EIO, b""


def initial_reply(request: Request, wanted: int = 0) -> bytes:
    """The answer to INIT: the protocol's version, and writes in one request of up to 1 MiB, which the kernel does not delay.

    ``wanted`` are further flags, granted if the kernel offers them.
    """
    _, _, readahead, offered = request.unpack("4I")
    flags = offered & (_BIG_WRITES | _MAX_PAGES | wanted)
    return _INITIAL.pack(_MAJOR, _MINOR, readahead, flags, 0, 0, _WRITE_BYTES_MOST, 1, _WRITE_BYTES_MOST // _PAGE, 0, 0)


def attributes_reply(attributes: Attributes) -> bytes:
    """The answer to GETATTR and SETATTR."""
    return _ATTRIBUTES_OUT.pack(_FOR_EVER_SECONDS, 0, 0) + _packed(attributes)


def entry_reply(attributes: Attributes) -> bytes:
    """The answer to a request that finds or makes an inode."""
    return _ENTRY.pack(attributes.inode, 0, _FOR_EVER_SECONDS, _FOR_EVER_SECONDS, 0, 0) + _packed(attributes)


def open_reply(handle: int, flags: int) -> bytes:
    """The answer to OPEN and OPENDIR, and the end of the one to CREATE."""
    return _OPENED.pack(handle, flags, 0)


def write_reply(length: int) -> bytes:
    """The answer to WRITE."""
    return _WRITTEN.pack(length, 0)


def statfs_reply() -> bytes:
    """The answer to STATFS: there is room."""
    blocks = 1 << 26
    return _STATFS.pack(blocks, blocks, blocks, blocks, blocks, _PAGE, 255, _PAGE, 0)


def attribute_reply(value: bytes, length: int) -> bytes:
    """The answer to GETXATTR and LISTXATTR: the value, or its size if no room is given. Raises OSError: too little room."""
    if not length:
        return _ATTRIBUTE_SIZE.pack(len(value), 0)
    if len(value) > length:
        raise OSError(errno.ERANGE, "extended attribute")
    return value


def directory_entries(entries: list[tuple[bytes, int, int]], offset: int, length: int) -> bytes:
    """The answer to READDIR: the entries (name, inode, mode) from number `offset` on that fit into `length` bytes."""
    answer = bytearray()
    for number, (name, inode, mode) in enumerate(entries[offset:], offset + 1):
        entry = _DIRENT.pack(inode, number, len(name), mode >> 12) + name
        entry += bytes(-len(entry) % 8)
        if len(answer) + len(entry) > length:
            break
        answer += entry
    return bytes(answer)


def _packed(it: Attributes) -> bytes:
    accessed, accessed_nsec = divmod(it.accessed_ns, 10**9)
    modified, modified_nsec = divmod(it.modified_ns, 10**9)
    changed, changed_nsec = divmod(it.changed_ns, 10**9)
    return _ATTRIBUTES.pack(
        it.inode, it.size, -(-it.size // 512), accessed, modified, changed, accessed_nsec, modified_nsec, changed_nsec,
        it.mode, it.links, it.uid, it.gid, it.device, _PAGE, 0,
    )  # fmt: skip
