"""Every recorder: what happens when it is missing, dead or stuck, and what ends with it."""

import contextlib
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from crashmatrix.faults.disk import SystemCallFailed
from crashmatrix.faults.disk.block.recorder import DiskRecorder
from crashmatrix.faults.disk.linux import fuse
from crashmatrix.faults.disk.linux.kernel import unmount
from crashmatrix.faults.disk.linux.namespace import enter_private_namespace
from crashmatrix.faults.disk.recorder import serve
from tests.faults.disk.block.support import BareStage, error_of, files, with_recorder
from tests.faults.disk.support import in_child

pytestmark = pytest.mark.usefixtures("disk")


@pytest.mark.skipif(not os.access("/dev/cpu_dma_latency", os.W_OK), reason="no say in how processors idle here")
def test_processors_do_not_halt_while_a_recorder_lives() -> None:
    held: list[str] = []

    def act(folder: Path, bare: BareStage) -> None:
        recorder = bare.state()["pid"]
        held.extend(str(entry.readlink()) for entry in Path(f"/proc/{recorder}/fd").iterdir())
        # The kernel's present limit, in microseconds, as a 32-bit number.
        assert Path("/dev/cpu_dma_latency").read_bytes() == bytes(4)
        assert "/dev/cpu_dma_latency" in held

    assert with_recorder(act)[1] == []


def test_a_recorder_that_cannot_start_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fuse, "serve", lambda *_: os._exit(3))
    with pytest.raises(AssertionError, match="the recorder's control file is missing"):
        with_recorder(lambda folder, bare: None)


def test_a_dead_recorder_is_an_error_for_its_clients() -> None:
    """No client hangs: the kernel answers for a daemon that is gone."""

    def act(folder: Path, bare: BareStage) -> None:
        disk = os.open(folder / "disk", os.O_RDWR)
        pid = bare.state()["pid"]
        assert isinstance(pid, int)
        os.kill(pid, signal.SIGKILL)
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
        assert error_of(lambda: os.pwrite(disk, b"x" * 512, 0)) is not None
        bare.command("mark late")

    _, raised = with_recorder(act)
    assert "did not take 'mark late'" in raised[0]


def wait_for_nothing() -> None:
    os.read(os.pipe()[0], 1)


def turn_in_circles() -> None:
    while True:
        pass


@pytest.mark.daily(1)
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
