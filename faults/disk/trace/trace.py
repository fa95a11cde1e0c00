"""A trace: everything that reached a recorded disk or tree, in order, and the content it started from.

Invariants: offsets and lengths of writes are multiples of 512 and inside the disk. The base is the disk's content when the
mark `start` was recorded, so mkfs and preparation are not operations. A tree starts empty, and its preparation is
the operations before the mark. The order of operations is the order in which the recorder answered them.
"""

import mmap
import os
from bisect import bisect_left
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from hashlib import blake2b
from typing import Any

from crashmatrix.faults.disk.errors import InvalidTrace
from crashmatrix.faults.disk.trace.durability import START, Durability
from crashmatrix.faults.disk.trace.log import read_log
from crashmatrix.faults.disk.trace.operations import (
    CLOCK,
    Flush,
    Mark,
    Note,
    Operation,
    Row,
    Write,
    operation_from_row,
    operation_row,
)

__all__ = ["ENDED", "FINISH", "START", "Trace", "data_extents"]

ENDED = "ended"
"""The mark between the workload and the write-back of what it left, if that is recorded."""

FINISH = "finish"
"""The mark after the workload. The orderly unmount follows it."""

_PAGE = 4096


@dataclass(frozen=True, kw_only=True)
class Trace:
    """The result of one recording.

    `filesystem` is a specification (see crashmatrix.faults.disk.filesystem), `size_bytes` the disk's size (a tree's is 0),
    `base` its first content as (offset, bytes) runs, the rest zeros. `exit_status` is the workload's, negative for a signal;
    `error` is the traceback with which it ended, or empty. `clock` has the times of a tree's changes: pairs of a position and
    the time there, in nanoseconds since 1970 (see `time_at`). The identity leaves it out: times are not part of what happened.
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
    clock: tuple[tuple[int, int], ...] = field(default=(), repr=False)

    @cached_property
    def start(self) -> int:
        """The position of the first operation after the mark START; 0 without one."""
        return self._position_after(START, 0)

    @cached_property
    def finish(self) -> int:
        """The position of the mark FINISH; the trace's end without one."""
        return self._position_after(FINISH, len(self.operations) + 1) - 1

    @cached_property
    def ended(self) -> int:
        """The position of the mark ENDED, else that of FINISH."""
        return self._position_after(ENDED, self.finish + 1) - 1

    @cached_property
    def identity(self) -> str:
        """16 hexadecimal digits that identify this trace."""
        digest = blake2b(f"{self.filesystem} {self.size_bytes}".encode(), digest_size=8)
        for offset, data in self.base:
            digest.update(b"base %d %d " % (offset, len(data)))
            digest.update(data)
        for operation in self.operations:
            kind, offset, data, number = operation_row(operation)
            digest.update(b"%d %d %d %d " % (kind, offset, len(data), number))
            digest.update(data)
        return digest.hexdigest()

    @cached_property
    def durability(self) -> Durability:
        """The position at which each change became durable."""
        return Durability(self.operations)

    def pending(self, cut: int) -> tuple[int, ...]:
        """The positions of the changes before position `cut` that are not durable there, in order."""
        if cut not in self._pending:
            at, oldest = self.durability.at, self.durability.oldest[cut]
            self._pending[cut] = tuple(position for position in range(oldest, cut) if at[position] >= cut)
        return self._pending[cut]

    @cached_property
    def _pending(self) -> dict[int, tuple[int, ...]]:
        return {}

    def epoch_start(self, cut: int) -> int:
        """The position after the last flush before position `cut`: writes before it are durable at the cut."""
        return self._flushes[bisect_left(self._flushes, cut + 1) - 1]

    @cached_property
    def _flushes(self) -> list[int]:
        return [0, *(i for i, operation in enumerate(self.operations, 1) if isinstance(operation, Flush))]

    def time_at(self, position: int) -> int:
        """The time of the change at a position, in nanoseconds since 1970; 0 if it is not known, as in older traces.

        Each operation is a nanosecond later than the one before, until the clock moves on.
        """
        number = bisect_left(self.clock, (position + 1,))
        if not number:
            return 0
        at, time = self.clock[number - 1]
        return time + position - at

    def notes_before(self, cut: int) -> tuple[bytes, ...]:
        """The notes recorded before position `cut`, in order."""
        places, texts = self._notes
        return texts[: bisect_left(places, cut)]

    @cached_property
    def _notes(self) -> tuple[list[int], tuple[bytes, ...]]:
        """The positions of all notes, and their texts."""
        notes = [(at, operation.text) for at, operation in enumerate(self.operations) if isinstance(operation, Note)]
        return [at for at, _ in notes], tuple(text for _, text in notes)

    @classmethod
    def from_log(cls, image: int, log: int, **about: Any) -> "Trace":
        """Read the recorder's image and log, given as open files; `about` are the other fields.

        Writes to a disk before the mark START are folded into the base. Raises InvalidTrace.
        """
        data = os.pread(log, os.fstat(log).st_size, 0)
        try:
            operations, clock = _from_rows(read_log(memoryview(data)))
        except (ValueError, KeyError) as error:
            raise InvalidTrace(f"the recorder's log is damaged: {error}", "record anew") from error
        marks = [index for index, operation in enumerate(operations) if operation == Mark(START)]
        start = marks[0] if marks else 0
        before = operations[:start]
        base = tuple(_base(image, [operation for operation in before if isinstance(operation, Write)]))
        kept = [operation for operation in before if not isinstance(operation, Write | Flush)]
        size = os.fstat(image).st_size
        return cls(size_bytes=size, base=base, operations=(*kept, *operations[start:]), clock=clock, **about)

    def _position_after(self, name: str, otherwise: int) -> int:
        for position, operation in enumerate(self.operations):
            if isinstance(operation, Mark) and operation.name == name:
                return position + 1
        return otherwise


def _from_rows(rows: Iterable[Row]) -> tuple[list[Operation], tuple[tuple[int, int], ...]]:
    operations, clock = list[Operation](), list[tuple[int, int]]()
    for row in rows:
        if row[0] == CLOCK:
            clock.append((len(operations), row[3]))
        else:
            operations.append(operation_from_row(*row))
    return operations, tuple(clock)


def _base(image: int, writes: list[Write]) -> Iterator[tuple[int, bytes]]:
    """The runs of pages that are not all zeros after `writes` on top of `image`."""
    size = os.fstat(image).st_size
    if not size:
        return
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
