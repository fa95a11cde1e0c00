"""The stage: one recorder process, its loop device and its mounted filesystem, in this process's private namespace.

Invariant: nothing is believed to be mounted that was not looked at. A FUSE mount that failed leaves a plain directory
behind which would take every write silently, so the control file must answer, with the recorder's pid, before the
disk is used.
"""

import contextlib
import errno
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

from faults.disk import recorder
from faults.disk.errors import InvalidOption, RecorderFailed, RecordingFailed, SystemCallFailed
from faults.disk.filesystem import Filesystem
from faults.disk.kernel import die_with_parent, sync_filesystem, unmount, unmount_when_free
from faults.disk.loop import LoopDevice
from faults.disk.namespace import enter_private_namespace
from faults.disk.nudges import ASYNCHRONOUS, Nudger, nudge_for_ever

__all__ = ["DATA", "DiskFault", "Machine", "Stage"]

DATA = "data"
"""The directory on the recorded filesystem that the system under test gets."""

_UNRELATED = "unrelated"
_START_SECONDS = 15.0
_UNMOUNT_SECONDS = 10.0


@dataclass(frozen=True, kw_only=True)
class DiskFault:
    """The disk fails its `nth` `request` (`write` or `flush`) of the workload with `error` (`EIO`, `ENOSPC`, ...).

    The first is 1; with `always`, every later one fails too. Block writes are meant, which the kernel makes when it
    sees fit, not calls of write(2).
    """

    request: str
    nth: int
    error: str = "EIO"
    always: bool = False

    def __post_init__(self) -> None:
        if self.request not in ("write", "flush") or self.nth < 1 or not hasattr(errno, self.error):
            raise InvalidOption(f"{self!r} is not a disk fault", "fail `write` or `flush`, from the 1st on, say EIO")

    def __str__(self) -> str:
        return f"{self.request} {self.nth} {self.error} {'always' if self.always else 'once'}"


@dataclass(frozen=True, kw_only=True)
class Machine:
    """What a workload sees of the machine whose power will be cut.

    `root` is its directory. `notes` is a file in which each line written becomes a note, for programs in any
    language; within Python, `note` does it and then nudges.
    """

    root: Path
    notes: Path
    nudger: Nudger = field(repr=False)
    descriptor: int = field(repr=False)

    def note(self, text: bytes) -> None:
        """Record a line at this point of the order; then perhaps nudge. Raises OSError once the recorder is gone."""
        if b"\n" in text:
            raise InvalidOption(f"a note is one line, not {text[:80]!r}", "escape the line breaks")
        os.write(self.descriptor, text + b"\n")
        self.nudge()

    def nudge(self) -> None:
        """Perhaps make the kernel write something, if the kind of nudge is a synchronous one."""
        self.nudger.nudge()


class Stage:
    """A recorded disk. `image` and `log` are open files, the first of the disk's size: all zeros if `blank`, otherwise with
    a filesystem on it that was recorded before.

    Moves the calling thread into a private mount namespace. Raises RecorderFailed, SystemCallFailed.
    """

    def __init__(
        self, image: int, log: int, *, filesystem: Filesystem, blank: bool = True, seed: int = 0, cpu: int | None = None
    ) -> None:
        self._image, self._log, self._filesystem, self._seed = image, log, filesystem, seed
        self._blank = blank
        self._cpu = _choose_cpu() if cpu is None else cpu
        self._process: subprocess.Popen[bytes] | None = None
        self._mounted = False
        self._device = ""
        self._notes = -1

    def __enter__(self) -> Self:
        folder = Path(tempfile.mkdtemp(prefix="stage-", dir=enter_private_namespace()))
        folder.chmod(0o755)  # The workload may give up root.
        self._fuse, self.mount_point = folder / "recorder", folder / "disk"
        self._fuse.mkdir()
        self.mount_point.mkdir()
        return self

    def open_disk(self) -> None:
        """Make the filesystem or repair the one that is there, start the recorder, mount, make the directory `DATA`."""
        if self._blank:
            self._filesystem.make(f"/dev/fd/{self._image}", seed=self._seed, descriptors=(self._image,))
        else:
            self._filesystem.mend(f"/dev/fd/{self._image}", descriptors=(self._image,))
        self._start_recorder()
        disk = os.open(self._fuse / recorder.DISK_NAME, os.O_RDWR | os.O_CLOEXEC)
        try:
            with LoopDevice(disk) as loop:  # The mount keeps it; autoclear ends it.
                self._filesystem.mount(loop.path, self.mount_point)
                self._device = loop.path
                self._mounted = True
        finally:
            os.close(disk)
        self._notes = os.open(self._fuse / recorder.NOTES_NAME, os.O_WRONLY | os.O_CLOEXEC)
        (self.mount_point / DATA).mkdir(exist_ok=not self._blank)

    def settle(self) -> None:
        """Make what is there durable. Raises SystemCallFailed."""
        descriptor = os.open(self.mount_point, os.O_RDONLY)
        try:
            sync_filesystem(descriptor)
        finally:
            os.close(descriptor)

    def command(self, text: str) -> None:
        """Give the recorder one command; see faults.disk.recorder. Raises RecorderFailed."""
        try:
            # Without O_CREAT: where nothing is mounted, a plain file would swallow the command.
            control = os.open(self._fuse / recorder.CONTROL_NAME, os.O_WRONLY | os.O_CLOEXEC)
            try:
                os.write(control, text.encode())
            finally:
                os.close(control)
        except OSError as error:
            raise RecorderFailed(f"the recorder did not take {text!r}: {error}", self._advice()) from error

    def state(self) -> dict[str, object]:
        """The recorder's counts, as it gives them. Raises RecorderFailed."""
        return _ask(self._fuse) or _fail("the recorder's control file is missing", self._advice())

    def machine(self, nudge: str, seed: int) -> Machine:
        """What to hand to the workload."""
        nudger, root = self._nudger(nudge, seed), self.mount_point / DATA
        return Machine(root=root, notes=self._fuse / recorder.NOTES_NAME, nudger=nudger, descriptor=self._notes)

    @contextlib.contextmanager
    def nudging(self, nudge: str, seed: int) -> Iterator[None]:
        """While in the block, a process nudges, if the kind is an asynchronous one."""
        if nudge not in ASYNCHRONOUS:
            yield
            return
        nudger = self._nudger(nudge, seed)
        parent = os.getpid()
        pid = os.fork()
        if not pid:
            try:
                die_with_parent(parent)
                nudge_for_ever(nudger)
            finally:
                os._exit(1)
        try:
            yield
        finally:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)

    def _nudger(self, kind: str, seed: int) -> Nudger:
        device = "" if self._filesystem.journaled else self._device
        return Nudger(kind, seed, self.mount_point / DATA, self.mount_point / _UNRELATED, device)

    def close_disk(self, *, tolerant: bool = False) -> None:
        """Unmount in an orderly way; `tolerant` of a disk that failed. Raises RecordingFailed."""
        if not self._mounted:
            return
        self._mounted = False
        if not unmount_when_free(self.mount_point, _UNMOUNT_SECONDS):
            if not tolerant:
                raise RecordingFailed("processes of the workload still use the disk", "have it end what it starts")
            unmount(self.mount_point, detach=True)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        if self._mounted:
            with contextlib.suppress(SystemCallFailed):
                unmount(self.mount_point, detach=True)
        if self._notes >= 0:
            os.close(self._notes)
        if self._process:
            with contextlib.suppress(SystemCallFailed):
                unmount(self._fuse, detach=True)
            try:
                self._process.wait(timeout=2.0)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()

    def _start_recorder(self) -> None:
        # By its path and not its name: it must start from any directory, and fast.
        command = [sys.executable, "-P", str(Path(recorder.__file__)), str(self._fuse)]
        command += ["--image", f"/dev/fd/{self._image}", "--log", f"/dev/fd/{self._log}"]
        command += ["--parent", str(os.getpid()), "--cpu", str(self._cpu)]
        self._process = subprocess.Popen(command, pass_fds=(self._image, self._log), stdin=subprocess.DEVNULL)
        deadline = time.monotonic() + _START_SECONDS
        while True:
            state = _ask(self._fuse)
            if state and state.get("pid") == self._process.pid:
                return
            if self._process.poll() is not None:
                _fail(f"the recorder ended with status {self._process.returncode}", self._advice())
            if time.monotonic() > deadline:
                _fail(f"the recorder's control file did not appear in {_START_SECONDS:.0f} s", self._advice())
            time.sleep(0.002)

    def _advice(self) -> str:
        return "see its message above, and faults.disk.requirements() for what it needs"


def _ask(folder: Path) -> dict[str, object] | None:
    """The state in the control file; None if there is no such file or it is not a recorder's."""
    try:
        state = json.loads((folder / recorder.CONTROL_NAME).read_bytes())
    except (OSError, ValueError):
        return None
    return state if isinstance(state, dict) and state.get("role") == recorder.GREETING else None


def _fail(cause: str, remedy: str) -> dict[str, object]:
    raise RecorderFailed(cause, remedy)


def _choose_cpu() -> int:
    usable = sorted(os.sched_getaffinity(0))
    return usable[os.getpid() % len(usable)]
