"""A trace: everything that reached a recorded disk, in order, and the content it started from.

Invariants: offsets and lengths of writes are multiples of 512 and inside the disk; the base holds what the disk had
when the mark `start` was recorded, so mkfs and preparation are no operations; the order of operations is the order in
which the recorder answered them.
"""

import json
import mmap
import os
from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from hashlib import blake2b
from pathlib import Path
from typing import Any

from faults.disk.errors import InvalidTrace
from faults.disk.recorder import FAILED, FLUSH, MARK, NOTE, WRITE, read_log

__all__ = [
    "FINISH",
    "SECTOR_BYTES",
    "START",
    "Failure",
    "Flush",
    "Mark",
    "Note",
    "Operation",
    "Trace",
    "Write",
    "data_extents",
    "operation_from_row",
    "operation_row",
]

SECTOR_BYTES = 512
"""What a disk writes whole or not at all."""

START, FINISH = "start", "finish"
"""The marks around the workload. What follows `finish` is the orderly unmount."""

_PAGE = 4096


@dataclass(frozen=True, slots=True)
class Write:
    """Some sectors got new content. `offset` in bytes."""

    offset: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Flush:
    """Every write before it is durable from here on."""


@dataclass(frozen=True, slots=True)
class Note:
    """A line somebody wrote to the notes file: a promise, a hit of a failpoint. Without the line break."""

    text: bytes


@dataclass(frozen=True, slots=True)
class Mark:
    """A position with a name: START, FINISH, or the user's own."""

    name: str


@dataclass(frozen=True, slots=True)
class Failure:
    """A planned fault fired: this `request` (`write` or `flush`) got `errno` and changed nothing. Bytes."""

    request: str
    offset: int
    length: int
    errno: int


Operation = Write | Flush | Note | Mark | Failure


@dataclass(frozen=True, kw_only=True)
class Trace:
    """What one recording saw.

    `filesystem` is a specification (see faults.disk.filesystem), `size_bytes` the disk's size, `base` its first
    content as (offset, bytes) runs, the rest zeros. `exit_status` is the workload's, negative for a signal, and
    `error` the traceback it ended with, if it did.
    """

    filesystem: str
    size_bytes: int
    base: tuple[tuple[int, bytes], ...] = field(repr=False)
    operations: tuple[Operation, ...] = field(repr=False)
    seed: int = 0
    nudge: str = "none"
    exit_status: int = 0
    error: str = ""
    kernel: str = field(default_factory=lambda: os.uname().release)

    @cached_property
    def start(self) -> int:
        """The position of the first operation after the mark START; 0 without one."""
        return self._position_after(START, 0)

    @cached_property
    def finish(self) -> int:
        """The position of the mark FINISH; the trace's end without one."""
        return self._position_after(FINISH, len(self.operations) + 1) - 1

    @cached_property
    def identity(self) -> str:
        """16 hexadecimal digits that tell this trace from any other."""
        digest = blake2b(f"{self.filesystem} {self.size_bytes}".encode(), digest_size=8)
        for offset, data in self.base:
            digest.update(b"base %d %d " % (offset, len(data)))
            digest.update(data)
        for operation in self.operations:
            kind, offset, data, error = operation_row(operation)
            digest.update(b"%d %d %d %d " % (kind, offset, len(data), error))
            digest.update(data)
        return digest.hexdigest()

    def epoch_start(self, cut: int) -> int:
        """The position after the last flush before position `cut`: writes before it are durable at the cut."""
        return self._flushes[bisect_left(self._flushes, cut + 1) - 1]

    @cached_property
    def _flushes(self) -> list[int]:
        return [0, *(i for i, operation in enumerate(self.operations, 1) if isinstance(operation, Flush))]

    def notes_before(self, cut: int) -> tuple[bytes, ...]:
        """The notes recorded before position `cut`, in order."""
        return tuple(operation.text for operation in self.operations[:cut] if isinstance(operation, Note))

    def save(self, path: Path) -> None:
        """Write the trace to a file, durably; the format is in faults.disk.trace_file. Raises OSError."""
        from faults.disk.trace_file import save  # Here: importing pyarrow costs as much as making a recording.

        save(self, path)

    @classmethod
    def load(cls, path: Path) -> "Trace":
        """Read a trace that `save` wrote. Raises InvalidTrace, OSError."""
        from faults.disk.trace_file import load

        return load(path)

    @classmethod
    def from_log(cls, image: int, log: int, **about: Any) -> "Trace":
        """From the recorder's image and log, given as open files; `about` are the other fields.

        Writes before the mark START are folded into the base. Raises InvalidTrace.
        """
        data = os.pread(log, os.fstat(log).st_size, 0)
        try:
            operations = [_from_log(*entry) for entry in read_log(memoryview(data))]
        except (ValueError, KeyError) as error:
            raise InvalidTrace(f"the recorder's log is damaged: {error}", "record anew") from error
        marks = [index for index, operation in enumerate(operations) if operation == Mark(START)]
        start = marks[0] if marks else 0
        folded = [operation for operation in operations[:start] if isinstance(operation, Write)]
        base = tuple(_base(image, folded))
        return cls(size_bytes=os.fstat(image).st_size, base=base, operations=tuple(operations[start:]), **about)

    def _position_after(self, name: str, otherwise: int) -> int:
        for position, operation in enumerate(self.operations):
            if isinstance(operation, Mark) and operation.name == name:
                return position + 1
        return otherwise


def _base(image: int, writes: list[Write]) -> Iterator[tuple[int, bytes]]:
    """The runs of pages that are not all zeros after `writes` on top of `image`."""
    size = os.fstat(image).st_size
    with mmap.mmap(image, size, mmap.MAP_PRIVATE, mmap.PROT_READ | mmap.PROT_WRITE) as disk:
        pages = {page for start, stop in data_extents(image) for page in range(start // _PAGE, -(-stop // _PAGE))}
        for write in writes:
            stop = write.offset + len(write.data)
            disk[write.offset : stop] = write.data
            pages.update(range(write.offset // _PAGE, -(-stop // _PAGE)))
        run_start, run = 0, bytearray()
        for page in sorted(pages):
            data = disk[page * _PAGE : (page + 1) * _PAGE]
            if run and (page * _PAGE != run_start + len(run)):
                yield run_start, bytes(run)
                run = bytearray()
            if data.count(0) == len(data):
                continue
            if not run:
                run_start = page * _PAGE
            run += data
        if run:
            yield run_start, bytes(run)


def data_extents(descriptor: int) -> Iterator[tuple[int, int]]:
    """The ranges of a sparse file that are not holes."""
    position = 0
    while True:
        try:
            start = os.lseek(descriptor, position, os.SEEK_DATA)
        except OSError:
            return
        position = os.lseek(descriptor, start, os.SEEK_HOLE)
        yield start, position


def _from_log(kind: int, offset: int, data: bytes) -> Operation:
    if kind == FAILED:
        what = json.loads(data)
        return Failure(what["request"], offset, what["length"], what["errno"])
    return operation_from_row(kind, offset, data, 0)


def operation_row(operation: Operation) -> tuple[int, int, bytes, int]:
    """An operation as (kind, offset, data, error), the form it is stored in."""
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


def operation_from_row(kind: int, offset: int, data: bytes, error: int) -> Operation:
    """What `operation_row` took apart. Raises ValueError."""
    if kind == WRITE:
        if offset % SECTOR_BYTES or len(data) % SECTOR_BYTES or not data:
            raise ValueError(f"a write of {len(data)} bytes at {offset} is no write of sectors")
        return Write(offset, data)
    if kind == FLUSH:
        return Flush()
    if kind == NOTE:
        return Note(data)
    if kind == MARK:
        return Mark(data.decode())
    if kind == FAILED:
        request, length = data.split()
        return Failure(request.decode(), offset, int(length), error)
    raise ValueError(f"there is no kind of entry {kind}")
