"""A stage with a real filesystem on a recorded disk: one recorder process, its loop device, and the mount.

Invariant: nothing is believed to be mounted that was not looked at. A FUSE mount that failed leaves a plain directory
behind which would take every write silently, so the control file must answer, with the recorder's pid, before the
disk is used.
"""

import contextlib
import os
import subprocess
import sys
import time
from pathlib import Path

from faults.disk import recorder
from faults.disk.errors import RecorderFailed, SystemCallFailed
from faults.disk.kernel import unmount
from faults.disk.loop import LoopDevice
from faults.disk.sectors import content
from faults.disk.stage import DATA, Stage

__all__ = ["DiskStage"]

_START_SECONDS = 15.0


class DiskStage(Stage):
    """A recorded disk."""

    _process: subprocess.Popen[bytes] | None = None

    def _place_files(self, folder: Path) -> Path:
        files = folder / "recorder"
        files.mkdir()
        return files

    def _mount(self) -> None:
        if self._crashed is None:
            self._filesystem.make(f"/dev/fd/{self._image}", seed=self._seed, descriptors=(self._image,))
        else:
            for offset, data in content(*self._crashed):
                os.pwrite(self._image, data, offset)
            self._filesystem.mend(f"/dev/fd/{self._image}", descriptors=(self._image,))
        self._start_recorder()
        disk = os.open(self._files / recorder.DISK_NAME, os.O_RDWR | os.O_CLOEXEC)
        try:
            with LoopDevice(disk) as loop:  # The mount keeps it; autoclear ends it.
                self._filesystem.mount(loop.path, self.mount_point)
                self._device = loop.path
                self._mounted = True
        finally:
            os.close(disk)
        (self.mount_point / DATA).mkdir(exist_ok=self._crashed is not None)

    def _start_recorder(self) -> None:
        # By its path and not its name: it must start from any directory, and fast.
        command = [sys.executable, "-P", str(Path(recorder.__file__)), str(self._files)]
        command += ["--image", f"/dev/fd/{self._image}", "--log", f"/dev/fd/{self._log}"]
        command += ["--parent", str(os.getpid()), "--cpu", str(self._cpu)]
        self._process = subprocess.Popen(command, pass_fds=(self._image, self._log), stdin=subprocess.DEVNULL)
        deadline = time.monotonic() + _START_SECONDS
        while True:
            state = self._ask()
            if state and state.get("pid") == self._process.pid:
                return
            if self._process.poll() is not None:
                raise RecorderFailed(f"the recorder ended with status {self._process.returncode}", self._advice())
            if time.monotonic() > deadline:
                raise RecorderFailed(
                    f"the recorder's control file did not appear in {_START_SECONDS:.0f} s", self._advice()
                )
            time.sleep(0.002)

    def _end_recorder(self) -> None:
        if not self._process:
            return
        with contextlib.suppress(SystemCallFailed):
            unmount(self._files, detach=True)
        try:
            self._process.wait(timeout=2.0)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
