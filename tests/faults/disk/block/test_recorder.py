"""The recorder of a disk: every write and flush in one order, planned faults, and what a disk refuses."""

import errno
import os
import random
import subprocess
from pathlib import Path

import pytest

from crashmatrix.faults.disk import Failure, Flush, Mark, Note, Write
from crashmatrix.faults.disk.block.recorder import PlannedFault
from tests.faults.disk.block.support import BareStage, error_of, with_recorder

disk = pytest.mark.usefixtures("disk")


@pytest.mark.parametrize(
    ("fault", "fails"),
    [
        (PlannedFault("write", 1, 5, always=False), [True, False, False, False]),
        (PlannedFault("write", 2, 5, always=False), [False, True, False, False]),
        (PlannedFault("write", 2, 5, always=True), [False, True, True, True]),
        (PlannedFault("flush", 1, 5, always=True), [False, False, False, False]),
        (PlannedFault("write", 9, 5, always=True), [False, False, False, False]),
    ],
)
def test_which_requests_fail(fault: PlannedFault, fails: list[bool]) -> None:
    """The n-th of its kind, counted from 1, and with `always` each one after it."""
    assert [fault.hit("write") for _ in range(4)] == fails
    assert fault.fired == sum(fails)


@disk
def test_all_requests_in_one_order() -> None:
    def act(folder: Path, bare: BareStage) -> None:
        bare.command("mark start")
        disk = os.open(folder / "disk", os.O_RDWR)
        os.pwrite(disk, b"a" * 4096, 8192)
        (folder / "notes").write_bytes(b"first\nsecond")
        os.fsync(disk)
        os.pwrite(disk, b"b" * 512, 512)
        assert os.pread(disk, 512, 8192) == b"a" * 512
        os.close(disk)
        bare.command("mark finish")
        state = bare.state()
        assert [state[name] for name in ("writes", "flushes", "notes", "failed")] == [2, 1, 2, 0]

    trace, raised = with_recorder(act)
    assert not raised
    assert trace.operations == (
        Mark("start"),
        Write(8192, b"a" * 4096),
        Note(b"first"),
        Note(b"second"),
        Flush(),
        Write(512, b"b" * 512),
        Mark("finish"),
    )


@disk
def test_what_was_written_before_the_start_is_the_base() -> None:
    def act(folder: Path, bare: BareStage) -> None:
        disk = os.open(folder / "disk", os.O_RDWR)
        os.pwrite(disk, b"a" * 4096, 8192)
        os.pwrite(disk, bytes(4096) + b"c" * 512, 65536)
        bare.command("mark start")
        os.close(disk)

    trace, raised = with_recorder(act)
    assert not raised
    assert trace.base == ((8192, b"a" * 4096), (65536 + 4096, b"c" * 512 + bytes(3584)))
    assert trace.operations == (Mark("start"),)


@disk
def test_planned_faults_fire_where_they_should() -> None:
    def act(folder: Path, bare: BareStage) -> None:
        disk = os.open(folder / "disk", os.O_RDWR)
        bare.command("fail write 2 ENOSPC once")
        bare.command("fail flush 1 EIO always")
        results = [error_of(lambda n=n: os.pwrite(disk, b"%d" % n * 512, n * 512)) for n in range(4)]  # type: ignore[misc]
        assert results == [None, errno.ENOSPC, None, None]
        assert [error_of(lambda: os.fsync(disk)) for _ in range(3)] == [errno.EIO] * 3
        assert bare.state()["fired"] == 4
        bare.command("heal")
        assert error_of(lambda: os.fsync(disk)) is None
        os.close(disk)

    trace, raised = with_recorder(act)
    assert not raised
    assert [op for op in trace.operations if isinstance(op, Failure)] == [
        Failure("write", 512, 512, errno.ENOSPC),
        *[Failure("flush", 0, 0, errno.EIO)] * 3,
    ]
    assert [op.offset for op in trace.operations if isinstance(op, Write)] == [0, 1024, 1536]
    assert trace.operations[-1] == Flush()


@disk
@pytest.mark.parametrize(
    "command", ["", "nonsense", "fail write 0 EIO once", "fail write 1 ENOSUCH once", "fail trim 1 EIO once"]
)
def test_unknown_commands_are_refused(command: str) -> None:
    _, raised = with_recorder(lambda folder, bare: bare.command(command or " "))
    assert len(raised) == 1
    assert "did not take" in raised[0]


@disk
def test_what_a_disk_does_not_do_is_refused() -> None:
    def act(folder: Path, bare: BareStage) -> None:
        disk = os.open(folder / "disk", os.O_RDWR)
        # The program, since libc's function writes zeros itself where the file cannot.
        for how in ("--zero-range", "--punch-hole"):
            done = subprocess.run(["fallocate", how, "-o", "0", "-l", "4096", folder / "disk"], capture_output=True)
            assert b"supported" in done.stderr
        assert error_of(lambda: os.ftruncate(disk, 10)) == errno.EPERM
        assert error_of(lambda: os.pwrite(disk, b"x" * 512, 1 << 20)) == errno.ENOSPC
        assert error_of(lambda: os.open(folder / "other", os.O_RDONLY)) == errno.ENOENT
        assert error_of(lambda: (folder / "control").write_bytes(b"\xff")) == errno.EINVAL
        assert error_of((folder / "notes").unlink) == errno.EPERM
        assert error_of(lambda: (folder / "notes").rename(folder / "other")) == errno.EPERM
        assert error_of((folder / "other").touch) == errno.EPERM
        assert error_of((folder / "other").mkdir) == errno.EPERM
        assert sorted(path.name for path in folder.iterdir()) == ["control", "disk", "notes"]
        os.close(disk)

    trace, raised = with_recorder(act)
    assert (trace.operations, raised) == ((), [])


@disk
def test_what_the_kernel_has_let_go_of_is_read_back() -> None:
    """The disk is what was written last, sector by sector, also where the page cache no longer has it."""

    def act(folder: Path, bare: BareStage) -> None:
        chance, expected = random.Random(1), bytearray(1 << 20)
        for round_ in range(5):
            disk = os.open(folder / "disk", os.O_RDWR)
            for _ in range(40):
                offset, data = 512 * chance.randrange(1024), chance.randbytes(512 * chance.randint(1, 64))
                os.pwrite(disk, data, offset)
                expected[offset : offset + len(data)] = data
            os.posix_fadvise(disk, 0, 0, os.POSIX_FADV_DONTNEED)
            assert os.pread(disk, 1 << 20, 0) == expected, round_
            os.close(disk)

    _, raised = with_recorder(act)
    assert not raised
