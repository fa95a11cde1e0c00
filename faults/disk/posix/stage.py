"""A stage with a recorded tree: a forked process that serves it, mounted through FUSE.

Invariant: the mount is there before the process that serves it is asked anything, and the process's end is the mount's:
nobody else holds the device open, so every later request fails instead of reaching a plain directory.
"""

import contextlib
import gc
import os
import signal
from pathlib import Path

from faults.disk.errors import RecorderFailed
from faults.disk.kernel import die_with_parent, mount
from faults.disk.posix.server import TreeRecorder
from faults.disk.posix.tree import Trees, lay_out
from faults.disk.stage import DATA, Stage

__all__ = ["TreeStage"]

_STALL_SECONDS = 30.0


class TreeStage(Stage):
    """A recorded tree."""

    _pid = 0

    def _place_files(self, folder: Path) -> Path:
        return folder / "disk"  # Beside the directory under test, on the same mount.

    def _mount(self) -> None:
        device = os.open("/dev/fuse", os.O_RDWR | os.O_CLOEXEC)
        try:
            options = f"fd={device},rootmode=40000,user_id={os.geteuid()},group_id={os.getegid()}"
            mount("crashmatrix", self.mount_point, "fuse", options=f"{options},default_permissions,allow_other")
            self._mounted = True
            self._start(device)
        finally:
            os.close(device)
        state = self._ask()
        if state is None or state.get("pid") != self._pid:
            raise RecorderFailed("the recorder's control file is missing", self._advice())
        if self._crashed is not None:
            trace, state_left = self._crashed
            lay_out(Trees(trace).of(state_left), self.mount_point / DATA)

    def _start(self, device: int) -> None:
        parent = os.getpid()
        self._pid = os.fork()
        if self._pid:
            return
        try:
            die_with_parent(parent)
            signal.signal(signal.SIGALRM, signal.SIG_DFL)  # The watchdog's signal ends this process.
            signal.signal(signal.SIGINT, signal.SIG_IGN)  # It ends with the recording, not before.
            os.sched_setaffinity(0, {self._cpu})
            gc.disable()
            TreeRecorder(self._log).serve(device, _STALL_SECONDS)
        finally:
            os._exit(1)

    def _end_recorder(self) -> None:
        if self._pid:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._pid, signal.SIGKILL)
            os.waitpid(self._pid, 0)
