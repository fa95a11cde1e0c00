"""The stage: where a workload is recorded, in this process's private namespace; and the machine that the workload sees.

Common to all stages; `block.stage` has a real filesystem on a recorded disk, `posix.stage` a tree of files.

Invariant: every mount is checked. If a mount were missing, the plain directory there would silently accept every write.
So the control file must answer, with the recorder's pid, before anything is recorded.
"""

import contextlib
import errno
import json
import os
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import TracebackType
from typing import Self

from crashmatrix.faults.disk.block.fault_switch import FaultSwitch
from crashmatrix.faults.disk.block.neighbour import Neighbour
from crashmatrix.faults.disk.errors import InvalidOption, RecorderFailed, RecordingFailed, SystemCallFailed
from crashmatrix.faults.disk.filesystem import Filesystem
from crashmatrix.faults.disk.linux.containment import start_forked
from crashmatrix.faults.disk.linux.kernel import end_child, sync_filesystem, unmount, unmount_when_free
from crashmatrix.faults.disk.linux.namespace import enter_private_namespace
from crashmatrix.faults.disk.nudges import ASYNCHRONOUS, Nudger, nudge_for_ever
from crashmatrix.faults.disk.recorder import CONTROL_NAME, GREETING, NOTES_NAME, Recorder, serve
from crashmatrix.faults.disk.state import CrashState
from crashmatrix.faults.disk.trace.trace import Trace

__all__ = ["DATA", "UNRELATED", "DiskFault", "Machine", "Stage"]

DATA = "data"
"""The directory on the recorded filesystem that the system under test gets."""

UNRELATED = "unrelated"
"""A file beside it that only nudges write to."""

_NEIGHBOUR = "neighbour"
_UNMOUNT_SECONDS = 10.0


@dataclass(frozen=True, kw_only=True)
class DiskFault:
    """The disk fails its `nth` `request` (`write`, `flush` or `read`) of the workload with `error` (`EIO`, `ENOSPC`, ...).

    The first is 1; with `always`, every later one fails too. These are requests for blocks, which the kernel makes when it
    chooses, not calls of write(2) or read(2).
    """

    request: str
    nth: int
    error: str = "EIO"
    always: bool = False

    def __post_init__(self) -> None:
        if self.request not in ("write", "flush", "read") or self.nth < 1 or not hasattr(errno, self.error):
            raise InvalidOption(
                f"{self!r} is not a disk fault",
                "fail `write`, `flush` or `read`, from the 1st on, with an error such as EIO",
            )

    def __str__(self) -> str:
        return f"{self.request} {self.nth} {self.error} {'always' if self.always else 'once'}"


@dataclass(frozen=True, kw_only=True)
class Machine:
    """The machine whose power will be cut, as the workload sees it.

    `root` is its directory. `notes` is a file in which each line written becomes a note, for programs in any
    language; in Python, call `note`, which then also nudges.
    """

    root: Path
    notes: Path
    nudger: Nudger = field(repr=False)
    descriptor: int = field(repr=False)

    def opened_here(self) -> "Machine":
        """The machine for a process that has another view of the files: its open files are known by the paths there."""
        return replace(self, descriptor=os.open(self.notes, os.O_WRONLY | os.O_CLOEXEC))

    def note(self, text: bytes) -> None:
        """Record a line at this point; then perhaps nudge. Raises OSError once the recorder is gone."""
        if b"\n" in text:
            raise InvalidOption(f"a note is one line, not {text[:80]!r}", "escape the line breaks")
        os.write(self.descriptor, text + b"\n")
        self.nudge()

    def nudge(self) -> None:
        """Perhaps make the kernel write something, if the kind of nudge is a synchronous one."""
        self.nudger.nudge()


class Stage(ABC):
    """A place to record. `image` and `log` are open files, the first of the disk's size and all zeros. The recording begins
    with a new filesystem or, with `crashed`, with the image that a crash state left.

    Moves the calling thread into a private mount namespace. Raises RecorderFailed, SystemCallFailed.
    """

    def __init__(
        self,
        image: int,
        log: int,
        *,
        filesystem: Filesystem,
        crashed: tuple[Trace, CrashState] | None = None,
        seed: int = 0,
        cpu: int | None = None,
    ) -> None:
        self._image, self._log, self._filesystem, self._seed = image, log, filesystem, seed
        self._crashed = crashed
        self._cpu = _choose_cpu() if cpu is None else cpu
        self.switch: FaultSwitch | None = None
        self.gives_room_back = False
        """Whether a new filesystem has room again once files are removed."""
        self._mounted = False
        self._device = ""
        self._notes = self._held = -1
        self._recorder = 0
        self.is_spent = False
        """Whether the disk cannot be opened again, once it was closed."""

    def __enter__(self) -> Self:
        folder = Path(tempfile.mkdtemp(prefix="stage-", dir=enter_private_namespace()))
        folder.chmod(0o755)  # The workload may give up root.
        self.mount_point = folder / "disk"
        self.mount_point.mkdir()
        self._files = self._place_files(folder)
        return self

    @abstractmethod
    def _place_files(self, folder: Path) -> Path:
        """The directory that will hold the recorder's notes and control file."""

    @abstractmethod
    def _mount(self) -> None:
        """Start the recorder and mount the filesystem at `mount_point`, with the directory `DATA` in it."""

    def _start(self, recorder: Recorder) -> None:
        """Have a process serve its files where they belong. Raises RecorderFailed, MountRefused."""
        self._held, recorder.holding = os.pipe()
        self._recorder = serve(recorder, self._files, cpu=self._cpu)
        os.close(recorder.holding)
        state = self._ask()
        if state is None or state.get("pid") != self._recorder:
            raise RecorderFailed("the recorder's control file is missing", self._advice())

    def open_disk(self) -> None:
        """Have the filesystem mounted and recorded, with the directory `DATA` in it."""
        self._mount()
        self._mounted = True
        self._notes = os.open(self._files / NOTES_NAME, os.O_WRONLY | os.O_CLOEXEC)

    def settle(self) -> None:
        """Make everything on the filesystem durable. Raises SystemCallFailed."""
        descriptor = os.open(self.mount_point, os.O_RDONLY)
        try:
            sync_filesystem(descriptor)
        finally:
            os.close(descriptor)

    def forget_disk(self) -> None:  # noqa: B027  # a tree of files has no disk
        """Have the kernel forget what it read of the disk, or read ahead: the next reads reach the recorder."""

    def command(self, text: str) -> None:
        """Give the recorder one command; see crashmatrix.faults.disk.recorder. Raises RecorderFailed."""
        try:
            # Without O_CREAT: where nothing is mounted, a plain file would swallow the command.
            control = os.open(self._files / CONTROL_NAME, os.O_WRONLY | os.O_CLOEXEC)
            try:
                os.write(control, text.encode())
            finally:
                os.close(control)
        except OSError as error:
            raise RecorderFailed(f"the recorder did not take {text!r}: {error}", self._advice()) from error

    def state(self) -> dict[str, object]:
        """The recorder's counts, as it gives them. Raises RecorderFailed."""
        state = self._ask()
        if state is None:
            raise RecorderFailed("the recorder's control file is missing", self._advice())
        return state

    @property
    def root(self) -> Path:
        """The directory of the system under test."""
        return self.mount_point / DATA

    @property
    def notes(self) -> Path:
        """The file for notes."""
        return self._files / NOTES_NAME

    def machine(self, nudge: str, seed: int | str, inside: Callable[[Path], Path] = lambda path: path) -> Machine:
        """The machine to pass to the workload, which has a path of ours at ``inside(path)``."""
        nudger = self._nudger(nudge, seed, inside)
        return Machine(
            root=inside(self.root), notes=inside(self.notes), nudger=nudger, descriptor=self._notes
        )  # fmt: skip

    @property
    def neighbour(self) -> Neighbour:
        """A file beside the directory under test, which may fill the disk."""
        return Neighbour(self.mount_point / _NEIGHBOUR)

    @contextlib.contextmanager
    def giving_room(self, word: str) -> Iterator[None]:
        """While in the block, the neighbour leaves at the first note with this first word, whose writer waits for that."""
        pid = start_forked(self._give_room)
        self.command(f"hold {word}")
        try:
            yield
        finally:
            end_child(pid)
            os.waitpid(pid, 0)
            self.command("go")  # It may have been killed at the wrong moment.

    def _give_room(self) -> None:
        os.read(self._held, 1)
        self.neighbour.leave()
        self.command("go")

    @contextlib.contextmanager
    def nudging(self, nudge: str, seed: int | str) -> Iterator[None]:
        """While in the block, a process nudges, if the kind is an asynchronous one."""
        if nudge not in ASYNCHRONOUS:
            yield
            return
        nudger = self._nudger(nudge, seed)
        pid = start_forked(lambda: nudge_for_ever(nudger))
        try:
            yield
        finally:
            end_child(pid)
            os.waitpid(pid, 0)

    def _nudger(self, kind: str, seed: int | str, inside: Callable[[Path], Path] = lambda path: path) -> Nudger:
        device = "" if self._filesystem.journaled else self._device
        return Nudger(kind, seed, inside(self.root), inside(self.mount_point / UNRELATED), device)

    def close_disk(self, *, tolerant: bool = False) -> None:
        """Unmount in an orderly way; `tolerant` of a disk that failed. Raises RecordingFailed."""
        if not self._mounted:
            return
        self._mounted = False
        self._close_notes()  # They may lie on what is unmounted.
        if not unmount_when_free(self.mount_point, _UNMOUNT_SECONDS):
            if not tolerant:
                raise RecordingFailed("processes of the workload still use the disk", "have it end what it starts")
            unmount(self.mount_point, detach=True)
            self.is_spent = True  # Somebody may still write to it.

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        if self._mounted:
            with contextlib.suppress(SystemCallFailed):
                unmount(self.mount_point, detach=True)
        self._close_notes()
        if self._recorder:
            end_child(self._recorder)
            os.waitpid(self._recorder, 0)
        held, self._held = self._held, -1
        if held >= 0:
            os.close(held)
        with contextlib.suppress(SystemCallFailed):
            unmount(self._files, detach=True)
        with contextlib.suppress(OSError):  # The rest goes with this process.
            for folder in {self.mount_point, self._files}:
                folder.rmdir()
            self.mount_point.parent.rmdir()

    def _close_notes(self) -> None:
        notes, self._notes = self._notes, -1  # First: an error of close(2) leaves the number free.
        if notes >= 0:
            with contextlib.suppress(OSError):  # The recorder may be gone.
                os.close(notes)

    def _advice(self) -> str:
        return "see its message above, and crashmatrix.faults.disk.requirements() for what it needs"

    def _ask(self) -> dict[str, object] | None:
        """The state in the control file; None if there is no control file of a recorder."""
        try:
            state = json.loads((self._files / CONTROL_NAME).read_bytes())
        except (OSError, ValueError):
            return None
        return state if isinstance(state, dict) and state.get("role") == GREETING else None


def _choose_cpu() -> int:
    usable = sorted(os.sched_getaffinity(0))
    return usable[os.getpid() % len(usable)]
