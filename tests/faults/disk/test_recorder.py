"""The recorder's files: notes, commands, refusals, and what happens when it is not there."""

import contextlib
import errno
import os
import random
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from crashmatrix.faults.disk import Failure, Flush, Mark, Note, RecorderFailed, SystemCallFailed, Trace, Write
from crashmatrix.faults.disk.block.recorder import DiskRecorder
from crashmatrix.faults.disk.block.stage import DiskStage
from crashmatrix.faults.disk.filesystem import Filesystem
from crashmatrix.faults.disk.linux import fuse
from crashmatrix.faults.disk.linux.kernel import unmount
from crashmatrix.faults.disk.linux.namespace import enter_private_namespace
from crashmatrix.faults.disk.recorder import serve
from tests.faults.disk.support import in_child, wait_dead
from tests.processes import alive, descendants

pytestmark = pytest.mark.usefixtures("disk")


@contextlib.contextmanager
def files(size_bytes: int) -> Iterator[tuple[int, int]]:
    image, log = os.memfd_create("image"), os.memfd_create("log")
    os.ftruncate(image, size_bytes)
    try:
        yield image, log
    finally:
        os.close(image)
        os.close(log)


def with_recorder(act: Callable[[Path, DiskStage], None]) -> tuple[Trace, list[str]]:
    """Start a bare recorder of 1 MiB, without any filesystem; the trace and what `act` raised."""

    def run() -> tuple[Trace, list[str]]:
        raised = []
        with files(1 << 20) as (image, log):
            with DiskStage(image, log, filesystem=Filesystem.parse("ext4")) as bare:
                bare._start(DiskRecorder(image, log))
                try:
                    act(bare._files, bare)
                except (OSError, RecorderFailed) as error:
                    raised.append(str(error))
            return Trace.from_log(image, log, filesystem="ext4"), raised

    return in_child(run)


def error_of(action: Callable[[], object]) -> int | None:
    try:
        action()
    except OSError as error:
        return error.errno
    return None


@pytest.mark.skipif(not os.access("/dev/cpu_dma_latency", os.W_OK), reason="no say in how processors idle here")
def test_processors_do_not_halt_while_a_recorder_lives() -> None:
    held: list[str] = []

    def act(folder: Path, bare: DiskStage) -> None:
        recorder = bare.state()["pid"]
        held.extend(str(entry.readlink()) for entry in Path(f"/proc/{recorder}/fd").iterdir())
        # The kernel's present limit, in microseconds, as a 32-bit number.
        assert Path("/dev/cpu_dma_latency").read_bytes() == bytes(4)
        assert "/dev/cpu_dma_latency" in held

    assert with_recorder(act)[1] == []


def test_all_requests_in_one_order() -> None:
    def act(folder: Path, bare: DiskStage) -> None:
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


def test_what_was_written_before_the_start_is_the_base() -> None:
    def act(folder: Path, bare: DiskStage) -> None:
        disk = os.open(folder / "disk", os.O_RDWR)
        os.pwrite(disk, b"a" * 4096, 8192)
        os.pwrite(disk, bytes(4096) + b"c" * 512, 65536)
        bare.command("mark start")
        os.close(disk)

    trace, raised = with_recorder(act)
    assert not raised
    assert trace.base == ((8192, b"a" * 4096), (65536 + 4096, b"c" * 512 + bytes(3584)))
    assert trace.operations == (Mark("start"),)


def test_planned_faults_fire_where_they_should() -> None:
    def act(folder: Path, bare: DiskStage) -> None:
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


@pytest.mark.parametrize(
    "command", ["", "nonsense", "fail write 0 EIO once", "fail write 1 ENOSUCH once", "fail read 1 EIO once"]
)
def test_unknown_commands_are_refused(command: str) -> None:
    _, raised = with_recorder(lambda folder, bare: bare.command(command or " "))
    assert len(raised) == 1
    assert "did not take" in raised[0]


def test_what_a_disk_does_not_do_is_refused() -> None:
    def act(folder: Path, bare: DiskStage) -> None:
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


def test_a_recorder_that_is_not_there_is_an_error_and_never_a_plain_file() -> None:
    """Without the control file nothing is written: not after a failed mount, not after an unmount."""

    def run() -> list[str]:
        said = []
        with files(1 << 20) as (image, log), DiskStage(image, log, filesystem=Filesystem.parse("ext4")) as bare:
            for action in (bare.state, lambda: bare.command("mark start")):
                try:
                    action()
                except RecorderFailed as error:
                    said.append(str(error))
            said.extend(path.name for path in bare._files.iterdir())
        return said

    said = in_child(run)
    assert len(said) == 2
    assert all("control file" in text or "did not take" in text for text in said)


def test_a_recorder_that_cannot_start_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fuse, "serve", lambda *_: os._exit(3))
    with pytest.raises(AssertionError, match="the recorder's control file is missing"):
        with_recorder(lambda folder, bare: None)


def test_a_dead_recorder_is_an_error_for_its_clients() -> None:
    """Nobody hangs: the kernel answers for a daemon that is gone."""

    def act(folder: Path, bare: DiskStage) -> None:
        disk = os.open(folder / "disk", os.O_RDWR)
        pid = bare.state()["pid"]
        assert isinstance(pid, int)
        os.kill(pid, signal.SIGKILL)
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
        assert error_of(lambda: os.pwrite(disk, b"x" * 512, 0)) is not None
        bare.command("mark late")

    _, raised = with_recorder(act)
    assert "did not take 'mark late'" in raised[0]


def test_a_recorder_outlives_its_disk_by_nothing() -> None:
    """It is not the one to unmount, when all die together, what only it could serve: it would wait for itself for ever."""
    reader, writer = os.pipe()
    pid = os.fork()
    if not pid:
        try:
            with files(64 << 20) as (image, log), DiskStage(image, log, filesystem=Filesystem.parse("ext4")) as stage:
                stage.open_disk()
                (stage.mount_point / "data" / "dirty").write_bytes(b"x" * 100_000)
                os.write(writer, b"ready")
                signal.pause()
        finally:
            os._exit(1)
    os.close(writer)
    assert os.read(reader, 5) == b"ready"
    os.close(reader)
    recorder = descendants(pid)
    wait_dead(pid)
    assert len(recorder) == 1
    assert alive(recorder) == []


def wait_for_nothing() -> None:
    os.read(os.pipe()[0], 1)


def turn_in_circles() -> None:
    while True:
        pass


@pytest.mark.parametrize("stuck", [wait_for_nothing, turn_in_circles])
def test_the_watchdog_ends_a_recorder_that_is_stuck(stuck: Callable[[], None], monkeypatch: pytest.MonkeyPatch) -> None:
    """A request that takes longer than the limit kills the recorder, and its client gets an error instead of waiting for ever."""
    monkeypatch.setattr(DiskRecorder, "_put", lambda *_: stuck())

    limit = 1.0

    def run() -> tuple[float, int | None, int]:
        folder = enter_private_namespace() / "stuck"
        folder.mkdir()
        with files(4 << 20) as (image, log):
            pid = serve(DiskRecorder(image, log), folder, cpu=0, stall_seconds=limit)
            disk = os.open(folder / "disk", os.O_RDWR)
            time.sleep(1.5 * limit)  # Waiting for a request is not being stuck.
            start = time.monotonic()
            error = error_of(lambda: os.pwrite(disk, b"x" * (1 << 20), 0))
            seconds = time.monotonic() - start
            with contextlib.suppress(SystemCallFailed):
                unmount(folder, detach=True)
            return seconds, error, os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

    seconds, error, status = in_child(run)
    assert error is not None
    assert status == -signal.SIGALRM
    assert seconds >= limit


def test_what_the_kernel_has_let_go_of_is_read_back() -> None:
    """The disk is what was written last, sector by sector, also where the page cache no longer has it."""

    def act(folder: Path, bare: DiskStage) -> None:
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
