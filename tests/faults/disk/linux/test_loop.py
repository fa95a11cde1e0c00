"""A loop device serves its file as a disk, and goes with its last user."""

import os
import time
from pathlib import Path

import pytest

from crashmatrix.faults.disk.linux.containment import anonymous_file, run_forked
from crashmatrix.faults.disk.linux.loop import LoopDevice
from tests.faults.disk.support import in_child

pytestmark = pytest.mark.usefixtures("disk")


def backing(device: str) -> str:
    """The file below a device; empty if it has none, or another's."""
    try:
        text = Path(f"/sys/block/{Path(device).name}/loop/backing_file").read_text()
    except OSError:
        return ""
    return text if "crashmatrix-loop-test" in text else ""


def test_what_is_written_to_the_device_is_in_the_file_and_back() -> None:
    """A change of the file shows on the device once the cached blocks are dropped."""

    def run() -> None:
        with anonymous_file("loop-test") as file:
            os.ftruncate(file, 1 << 20)
            os.pwrite(file, b"f" * 4096, 8192)
            with LoopDevice(file) as loop:
                disk = os.open(loop.path, os.O_RDWR)
                assert os.lseek(disk, 0, os.SEEK_END) == 1 << 20
                assert os.pread(disk, 4096, 8192) == b"f" * 4096
                os.pwrite(disk, b"d" * 512, 512)
                os.fsync(disk)
                assert os.pread(file, 512, 512) == b"d" * 512
                os.pwrite(file, b"x" * 4096, 8192)
                loop.forget_cached_blocks()
                assert os.pread(disk, 4096, 8192) == b"x" * 4096
                os.close(disk)

    in_child(run)


def test_a_device_goes_with_its_user() -> None:
    """A device releases its file when it is closed, or its process is killed; two devices at once are independent."""
    with anonymous_file("loop-test") as file:
        os.ftruncate(file, 1 << 20)
        with LoopDevice(file) as one, LoopDevice(file) as other:
            paths = [one.path, other.path]
            assert one.path != other.path
            assert all(map(backing, paths))
        one.close()  # Closing again does nothing.

        def dies() -> None:
            with LoopDevice(file) as loop:
                os.write(writer, loop.path.encode())
                os.kill(os.getpid(), 9)

        reader, writer = os.pipe()
        assert run_forked(dies) == -9
        paths.append(os.read(reader, 100).decode())
        os.close(reader)
        os.close(writer)
        deadline = time.monotonic() + 30
        while any(map(backing, paths)):  # Some kernels let go of it a moment later.
            assert time.monotonic() < deadline
            time.sleep(0.01)
