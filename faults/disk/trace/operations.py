"""The operations of a trace, and the form in which each is stored.

Common to all media: `Note` and `Mark`. On a disk (a block device): `Write`, `Flush`, `Failure`. On a tree of files (the
requests to a filesystem, see `crashmatrix.faults.disk.posix`): `Node`, `Names`, `Data`, `Size`, `Attribute`, `Sync`.

Stored form: a row (kind, offset, data, number). `number` is the error of a Failure, or the inode of an operation on a tree.
"""

from collections.abc import Callable
from dataclasses import dataclass

from crashmatrix.faults.disk.trace.log import FAILED, FLUSH, MARK, NOTE, WRITE

__all__ = [
    "ACCESSED",
    "ATTRIBUTE",
    "CLOCK",
    "DATA",
    "MODE",
    "MODIFIED",
    "NAMES",
    "NODE",
    "OWNER",
    "ROOT",
    "SECTOR_BYTES",
    "SIZE",
    "SYNC",
    "Attribute",
    "Change",
    "Data",
    "Entry",
    "Failure",
    "Flush",
    "Mark",
    "Names",
    "Node",
    "Note",
    "Operation",
    "Row",
    "Size",
    "Sync",
    "Write",
    "operation_from_row",
    "operation_row",
    "sectors_of",
]

SECTOR_BYTES = 512
"""The unit that a disk writes whole or not at all."""

NODE, NAMES, DATA, SIZE, SYNC, ATTRIBUTE, CLOCK = range(16, 23)  # beside the log's kinds, which start at 1
"""Kinds of rows. CLOCK is not an operation: it gives the time of the changes after it (`Trace.clock`)."""

MODE, OWNER, MODIFIED, ACCESSED = b"mode", b"owner", b"modified", b"accessed"
"""Names of an `Attribute` that is none of the extended attributes, whose names all hold a dot."""

ROOT = 2
"""The inode of a tree's own directory."""

Row = tuple[int, int, bytes, int]
"""(kind, offset, data, number)."""


@dataclass(frozen=True, slots=True)
class Write:
    """Some sectors got new content. `offset` is in bytes."""

    offset: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Flush:
    """Every write before it is durable from here on."""


@dataclass(frozen=True, slots=True)
class Note:
    """A line written to the notes file, such as a promise or a hit of a failpoint. Without the line break."""

    text: bytes


@dataclass(frozen=True, slots=True)
class Mark:
    """A position with a name: START, FINISH, or the user's own."""

    name: str


@dataclass(frozen=True, slots=True)
class Failure:
    """A planned fault fired: this `request` (`write`, `flush` or `read`) got `errno` and changed nothing. Bytes."""

    request: str
    offset: int
    length: int
    errno: int


@dataclass(frozen=True, slots=True)
class Node:
    """An inode as it was made. A power cut cannot take this, only the inode's name.

    `mode` is its type and permissions (stat.st_mode), `target` a symbolic link's, `owner` user and group. In older traces,
    another one follows when permissions change.
    """

    inode: int
    mode: int
    target: bytes = b""
    owner: tuple[int, int] = (0, 0)
    device: int = 0


Entry = tuple[int, bytes, int]
"""A name in a directory and its inode: (directory, name, inode), inodes by number; inode 0 means that the name is removed."""


@dataclass(frozen=True, slots=True)
class Names:
    """Names that change, all at once: one for a creation, link or removal, two for a rename."""

    entries: tuple[Entry, ...]


@dataclass(frozen=True, slots=True)
class Data:
    """Bytes of a file got new content. None lies beyond the file's size, which changes by a `Size` of its own before."""

    inode: int
    offset: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Size:
    """A file was cut off, or grew by zeros. Bytes."""

    inode: int
    size: int


@dataclass(frozen=True, slots=True)
class Attribute:
    """Permissions, owner, a time, or an extended attribute of an inode got this value; None: the attribute was removed.

    `name` is MODE (the value is st_mode), OWNER (user and group), MODIFIED or ACCESSED (nanoseconds), each as text; or that of
    an extended attribute.
    """

    inode: int
    name: bytes
    value: bytes | None


@dataclass(frozen=True, slots=True)
class Sync:
    """fsync of a file or directory: its data and size so far, or its names so far, are durable from here on.

    So are its attributes, unless it was an fdatasync (`data_only`).
    """

    inode: int
    data_only: bool = False


Change = Write | Names | Data | Size | Attribute
"""The operations that a power cut can take."""

Operation = Change | Flush | Sync | Node | Note | Mark | Failure
"""One entry of a trace."""


def sectors_of(change: Change) -> int:
    """How many sectors a change touches, between which it can tear; 0 for a change that is whole or missing."""
    match change:
        case Write(_, data):
            return len(data) // SECTOR_BYTES
        case Data(_, offset, data):
            return -(-(offset + len(data)) // SECTOR_BYTES) - offset // SECTOR_BYTES
    return 0


def operation_row(operation: Operation) -> Row:
    """An operation in the form it is stored in."""
    match operation:
        case Write(offset, data):
            return WRITE, offset, data, 0
        case Flush():
            return FLUSH, 0, b"", 0
        case Note(text):
            return NOTE, 0, text, 0
        case Mark(name):
            return MARK, 0, name.encode(), 0
        case Failure(request, offset, length, error):
            return FAILED, offset, b"%s %d" % (request.encode(), length), error
        case Node(inode, mode, target, owner, device):
            more = b"\0%d %d %d" % (*owner, device) if any((*owner, device)) else b""
            return NODE, mode, target + more, inode
        case Names(entries):
            # A slash ends a name: none can hold one.
            return NAMES, 0, b"/".join(b"%d %d %s" % (folder, inode, name) for folder, name, inode in entries), 0
        case Data(inode, offset, data):
            return DATA, offset, data, inode
        case Size(inode, size):
            return SIZE, size, b"", inode
        case Attribute(inode, name, value):
            return ATTRIBUTE, int(value is None), name + b"\0" + (value or b""), inode
        case Sync(inode, data_only):
            return SYNC, int(data_only), b"", inode


def operation_from_row(kind: int, offset: int, data: bytes, number: int) -> Operation:
    """The operation of a row made by `operation_row`. Raises ValueError."""
    if kind not in _MAKERS:
        raise ValueError(f"entries of kind {kind} do not exist")
    return _MAKERS[kind](offset, data, number)


def _write(offset: int, data: bytes, _: int) -> Write:
    if offset % SECTOR_BYTES or len(data) % SECTOR_BYTES or not data:
        raise ValueError(f"a write of {len(data)} bytes at {offset} does not consist of whole sectors")
    return Write(offset, data)


def _failure(offset: int, data: bytes, error: int) -> Failure:
    request, length = data.split()
    return Failure(request.decode(), offset, int(length), error)


def _entry(text: bytes) -> Entry:
    folder, inode, name = text.split(b" ", 2)
    return int(folder), name, int(inode)


def _node(mode: int, data: bytes, inode: int) -> Node:
    target, _, more = data.partition(b"\0")
    user, group, device = map(int, more.split()) if more else (0, 0, 0)
    return Node(inode, mode, target, (user, group), device)


def _attribute(removed: int, data: bytes, inode: int) -> Attribute:
    name, _, value = data.partition(b"\0")
    return Attribute(inode, name, None if removed else value)


_MAKERS: dict[int, Callable[[int, bytes, int], Operation]] = {
    WRITE: _write,
    FLUSH: lambda _, __, ___: Flush(),
    NOTE: lambda _, text, __: Note(text),
    MARK: lambda _, name, __: Mark(name.decode()),
    FAILED: _failure,
    NODE: _node,
    NAMES: lambda _, entries, __: Names(tuple(map(_entry, entries.split(b"/")))),
    DATA: lambda offset, data, inode: Data(inode, offset, data),
    SIZE: lambda size, _, inode: Size(inode, size),
    ATTRIBUTE: _attribute,
    SYNC: lambda data_only, _, inode: Sync(inode, bool(data_only)),
}
