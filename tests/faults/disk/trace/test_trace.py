"""A trace answers by position: what is pending, what is durable, which notes were made; and it is made from a log."""

import os
from collections.abc import Iterator

import pytest

from crashmatrix.faults.disk import Flush, InvalidTrace, Mark, Note, Operation, Trace, Write
from crashmatrix.faults.disk.linux.containment import anonymous_file
from crashmatrix.faults.disk.trace.log import FLUSH, MARK, NOTE, WRITE, Log
from crashmatrix.faults.disk.trace.trace import data_extents
from tests.faults.disk.support import synthetic_trace

A, B = Write(0, b"a" * 512), Write(512, b"b" * 512)


def test_notes_before_a_cut() -> None:
    trace = synthetic_trace([Note(b"a"), Write(0, bytes(512)), Note(b"b")])
    assert [trace.notes_before(cut) for cut in range(5)] == [(), (), (b"a",), (b"a",), (b"a", b"b")]
    assert (trace.start, trace.finish) == (1, 4)


def test_what_is_pending_at_each_cut() -> None:
    """Writes since the last flush; a flush at the cut itself has not happened yet."""
    trace = synthetic_trace([A, B, Flush(), A, Flush(), Flush(), B])
    assert [trace.pending(cut) for cut in range(10)] == [(), (), (1,), (1, 2), (), (4,), (), (), (7,), (7,)]
    assert [trace.epoch_start(cut) for cut in range(10)] == [0, 0, 0, 0, 4, 4, 6, 7, 7, 7]


def test_without_marks_all_of_it_is_the_workload() -> None:
    trace = Trace(filesystem="ext4", size_bytes=4096, base=(), operations=(A, B))
    assert (trace.start, trace.finish) == (0, 2)


@pytest.mark.parametrize(
    "operations",
    [[A], [A, A], [B, A], [A, B, Flush()], [A, Flush(), B], [Write(1024, A.data), B], [A, Note(B.data)], []],
    ids=lambda operations: " ".join(type(operation).__name__ for operation in operations) or "nothing",
)
def test_an_identity_tells_traces_apart(operations: list[Operation]) -> None:
    """Traces with other operations, or another order of them, have other identities."""
    one = synthetic_trace([A, B])
    assert synthetic_trace([A, B]).identity == one.identity != synthetic_trace(operations).identity
    assert synthetic_trace([A, B], size_bytes=1 << 21).identity != one.identity
    assert synthetic_trace([A, B], filesystem="xfs").identity != one.identity


@pytest.fixture
def image() -> Iterator[int]:
    with anonymous_file("image") as descriptor:
        os.ftruncate(descriptor, 1 << 16)
        yield descriptor


@pytest.fixture
def log() -> Iterator[int]:
    with anonymous_file("log") as descriptor:
        yield descriptor


def test_what_was_written_before_the_start_is_the_base(image: int, log: int) -> None:
    """Writes before the mark are in the first content, above what mkfs left in the image; notes before it are kept."""
    os.pwrite(image, b"m" * 8192, 4096)
    written = Log(log)
    written.append(WRITE, 8192, bytes(4096))
    written.append(WRITE, 20_480, b"w" * 512)
    written.append(FLUSH)
    written.append(NOTE, data=b"prepared")
    written.append(MARK, data=b"start")
    written.append(WRITE, 0, b"x" * 512)
    trace = Trace.from_log(image, log, filesystem="ext4")
    assert trace.base == ((4096, b"m" * 4096), (20_480, b"w" * 512 + bytes(3584)))
    assert trace.operations == (Note(b"prepared"), Mark("start"), Write(0, b"x" * 512))
    assert (trace.size_bytes, trace.start) == (1 << 16, 2)
    assert os.pread(image, 4096, 8192) == b"m" * 4096  # The image itself is not changed.


@pytest.mark.parametrize("damage", [b"\x01", b"\x63" + bytes(20), b"\x01" + (7).to_bytes(4, "little") + bytes(16)])
def test_a_damaged_log_is_refused(image: int, log: int, damage: bytes) -> None:
    """A log with an entry cut short, of an unknown kind, or longer than the log is refused."""
    Log(log).append(FLUSH)
    os.pwrite(log, damage, os.fstat(log).st_size)
    with pytest.raises(InvalidTrace, match="record anew"):
        Trace.from_log(image, log, filesystem="ext4")


def test_holes_are_no_data(image: int) -> None:
    os.pwrite(image, b"x", 20_000)
    ((start, stop),) = data_extents(image)
    assert start <= 20_000 < stop < 1 << 16
