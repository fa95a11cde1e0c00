"""Recording: run a workload on a real filesystem over the recorder, and return the trace.

    caller ── fork ──> stage ──┬── recorder (own interpreter)
                               ├── preparation, then workload (contained: neither leaves a process behind)
                               └── nudger (forked; asynchronous kinds only)

The stage lives in a mount namespace of its own and dies with the caller; the rest dies with the stage. Image and log
are anonymous memory that the caller owns, so the trace needs no file, and a killed run leaves none.

Many recordings from one crash state (`Recordings`) share image, recorder and mount point; then the stage is the caller itself.

Order of a recording, on which the trace's meaning depends:
(1) mkfs on the plain image; (2) recorder, loop device, mount; (3) the directory `data` is made and `prepare` runs in it;
(4) everything is synced; (5) mark START; (6) the workload; (7) mark FINISH; (8) unmount, which the trace keeps as the
orderly end. A recording that continues from a crash state starts with that image instead of (1); the filesystem recovers in
(2), and `data` exists in (3). The system under test sees only `data`, and so neither the filesystem's own entries
(lost+found) nor the nudges' unrelated file.
"""

import contextlib
import os
import pickle
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Protocol, Self

from crashmatrix.faults.disk.block.fault_switch import FaultSwitch
from crashmatrix.faults.disk.capabilities import check_requirements
from crashmatrix.faults.disk.errors import DiskError, InvalidOption, RecordingFailed, SystemCallFailed, WorkloadFailed
from crashmatrix.faults.disk.filesystem import Filesystem
from crashmatrix.faults.disk.linux.containment import anonymous_file, run_contained, run_forked
from crashmatrix.faults.disk.media import medium_of
from crashmatrix.faults.disk.nudges import check_nudge
from crashmatrix.faults.disk.stage import DiskFault, Machine, Stage
from crashmatrix.faults.disk.state import CrashState
from crashmatrix.faults.disk.trace.trace import Trace

__all__ = ["Confine", "Confined", "RecordOptions", "Recordings", "record"]


class Confined(Protocol):
    """Where and how the workload's processes run."""

    def inside(self, path: Path) -> Path:
        """The path at which such a process has a path of ours."""

    def run(self, function: Callable[[], None], *, time_limit_seconds: float) -> tuple[int, str]:
        """Run a function in such a process; returns status and error as `run_contained` does."""


class _Unconfined:
    """The workload sees the machine as it is."""

    def __init__(self, _: Path, __: Path) -> None:
        pass

    def inside(self, path: Path) -> Path:
        return path

    def run(self, function: Callable[[], None], *, time_limit_seconds: float) -> tuple[int, str]:
        return run_contained(function, time_limit_seconds=time_limit_seconds)


Confine = Callable[[Path, Path], Confined]
"""Gets the directory that holds the one of the system under test, and the file for notes."""


@dataclass(frozen=True, kw_only=True)
class RecordOptions:
    """How to record.

    `filesystem` is a specification such as `ext4:data=writeback`; `size_bytes` the disk's size (None: its
    filesystem's default). `nudge` is one of faults.disk.NUDGES. `seed` drives mkfs and nudges; another
    `draw` has other nudges on the same filesystem. `disk_faults` are planned for
    the time of the workload; `switch` tells of them and of reads, and ends them. With `cold`, the first use of what is there is a
    read of the disk. `room_bytes` is the room that a neighbour leaves there, until the first note that begins with the word
    `room_until`, or to the end; a new filesystem that is to have room again once files are removed needs `gives_room_back`.
    With `write_back`, everything is written back once the workload has ended, before the faults end. `time_limit_seconds` bounds
    the workload, after which it is killed. `cpu` pins the recorder (None: one is chosen). `tolerant` takes a workload's error for
    an end like any other, as disk faults do.
    """

    filesystem: str = "ext4"
    size_bytes: int | None = None
    nudge: str = "none"
    seed: int = 0
    draw: int = 1
    disk_faults: tuple[DiskFault, ...] = ()
    switch: FaultSwitch | None = None
    cold: bool = False
    room_bytes: int | None = None
    room_until: str = ""
    gives_room_back: bool = False
    write_back: bool = False
    time_limit_seconds: float = 60.0
    cpu: int | None = None
    tolerant: bool = False

    @property
    def nudge_seed(self) -> str:
        """The seed of the nudges."""
        return str(self.seed) if self.draw == 1 else f"{self.seed} {self.draw}"


def record(
    workload: Callable[[Machine], None],
    *,
    prepare: Callable[[Path], None] | None = None,
    crashed: tuple[Trace, CrashState] | None = None,
    confine: Confine | None = None,
    options: RecordOptions | None = None,
) -> Trace:
    """Run `workload` on a recorded disk and return the trace.

    The disk has a new filesystem or, with `crashed`, everything that a crash state of an earlier trace left, filesystem and size
    included: so a power cut can hit a recovery.

    With `confine`, the processes of both callables are confined first, and see directory and notes where it says.

    Both callables run in forked children as root: `prepare` gets the directory, `workload` a Machine. To run another
    program, have the workload exec or start it with `machine.root` and `machine.notes`. Call from a thread that
    outlives the recording: when the thread ends, the recording is killed.

    Raises RequirementsMissing where this machine cannot record, WorkloadFailed (only without disk faults; with them the
    end is in the trace's `exit_status` and `error`), RecordingFailed, RecorderFailed, SystemCallFailed, InvalidOption.
    """
    options = options or RecordOptions()
    filesystem = Filesystem.parse(crashed[0].filesystem if crashed else options.filesystem)
    check_nudge(options.nudge)
    size = crashed[0].size_bytes if crashed else options.size_bytes or filesystem.default_size_bytes
    if filesystem.on_disk and (size <= 0 or size % 4096):
        raise InvalidOption(f"a disk of {size} bytes is not made of blocks", "give a multiple of 4096")
    if not filesystem.on_disk and (size or options.disk_faults):
        raise InvalidOption(f"{filesystem} has no disk", "give neither a size nor faults of a disk")
    with contextlib.ExitStack() as stack:
        image, log, reply = (stack.enter_context(anonymous_file(name)) for name in ("image", "log", "reply"))
        os.ftruncate(image, size)
        stage = _stage(image, log, filesystem, crashed, options, options.switch)
        try:
            _run_stage(lambda: _on_new_stage(stage, workload, prepare, confine or _Unconfined, options), reply)
            status, error = _read_reply(reply)
        except DiskError as failed:
            _check_for(failed, filesystem)
            raise
        if (status or error) and not _may_fail(options):
            said = error.strip() or "it said nothing"
            raise WorkloadFailed(f"the workload ended with status {status}: {said}", WorkloadFailed.REMEDY)
        return _trace(image, log, filesystem, options, status, error)


class Recordings:
    """Recordings from one crash state, one after the other, in this process. A context manager, for one thread.

    Image, recorder and the recorder's mount are made once, where the filesystem is on a disk. The calling thread moves into a
    private mount namespace permanently, so use a worker process. ``switch`` is that of every recording; each resets it.
    """

    def __init__(
        self, crashed: tuple[Trace, CrashState], *, confine: Confine | None = None, switch: FaultSwitch | None = None
    ) -> None:
        self._crashed, self._confine, self._switch = crashed, confine or _Unconfined, switch
        self._filesystem = Filesystem.parse(crashed[0].filesystem)
        self._opened = contextlib.ExitStack()
        self._stage: Stage | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._close()

    def record(self, workload: Callable[[Machine], None], options: RecordOptions) -> Trace:
        """Record, as `record` does with ``crashed``; the workload may end with an error. Raises as it does."""
        try:
            stage = self._stage or self._open(options)
            if self._switch:
                self._switch.reset()
            status, error = _on_stage(stage, workload, None, self._confine, options)
            trace = _trace(self._image, self._log, self._filesystem, options, status, error)
        except BaseException as failed:
            self._close()
            if isinstance(failed, DiskError):
                _check_for(failed, self._filesystem)
            raise
        if stage.is_spent:
            self._close()
        return trace

    def _open(self, options: RecordOptions) -> Stage:
        self._image, self._log = (self._opened.enter_context(anonymous_file(name)) for name in ("image", "log"))
        os.ftruncate(self._image, self._crashed[0].size_bytes)
        stage = _stage(self._image, self._log, self._filesystem, self._crashed, options, self._switch)
        self._stage = self._opened.enter_context(stage)
        return stage

    def _close(self) -> None:
        self._stage = None
        self._opened.close()


def _stage(
    image: int,
    log: int,
    filesystem: Filesystem,
    crashed: tuple[Trace, CrashState] | None,
    options: RecordOptions,
    switch: FaultSwitch | None,
) -> Stage:
    stage = medium_of(str(filesystem)).stage(
        image, log, filesystem=filesystem, crashed=crashed, seed=options.seed, cpu=options.cpu
    )
    stage.switch, stage.gives_room_back = switch, options.gives_room_back
    return stage


def _check_for(failed: DiskError, filesystem: Filesystem) -> None:
    """Raise RequirementsMissing if that may be why something failed."""
    if not isinstance(failed, WorkloadFailed):
        check_requirements((filesystem.name,))


def _trace(image: int, log: int, filesystem: Filesystem, options: RecordOptions, status: int, error: str) -> Trace:
    return Trace.from_log(
        image,
        log,
        filesystem=str(filesystem),
        seed=options.seed,
        nudge=options.nudge,
        exit_status=status,
        error=error,
    )


def _may_fail(options: RecordOptions) -> bool:
    """Whether a workload may end with an error: the disk fails, or is full, or its calls fail."""
    return bool(options.disk_faults) or options.room_bytes is not None or options.tolerant


def _run_stage(on_stage: Callable[[], tuple[int, str]], reply: int) -> None:
    """Run in a forked process; write the answer, or the error it ended with, to the file `reply`."""
    status = run_forked(lambda: os.pwrite(reply, pickle.dumps(_answer(on_stage)), 0))
    if status:
        raise RecordingFailed(f"the recording process died with status {status}", "look for the reason in dmesg")


def _answer(on_stage: Callable[[], tuple[int, str]]) -> tuple[int, str] | DiskError:
    try:
        return on_stage()
    except DiskError as error:
        return error
    except BaseException:
        return RecordingFailed(f"recording raised {traceback.format_exc()}", "report this as a bug")


def _on_new_stage(stage: Stage, *how: Any) -> tuple[int, str]:
    with stage:
        return _on_stage(stage, *how)


def _on_stage(
    stage: Stage,
    workload: Callable[[Machine], None],
    prepare: Callable[[Path], None] | None,
    confine: Confine,
    options: RecordOptions,
) -> tuple[int, str]:
    stage.open_disk()
    confined = confine(stage.mount_point, stage.notes)
    run = partial(confined.run, time_limit_seconds=options.time_limit_seconds)
    if prepare:
        root = confined.inside(stage.root)
        status, error = run(lambda: prepare(root))
        if status:
            raise WorkloadFailed(f"preparation ended with status {status}: {error.strip()}", "fix it")
    if options.room_bytes is not None:
        stage.neighbour.fill(options.room_bytes)
    stage.settle()
    if options.cold:
        stage.forget_disk()
    stage.command("mark start")
    for fault in options.disk_faults:
        stage.command(f"fail {fault}")
    machine = stage.machine(options.nudge, options.nudge_seed, confined.inside)
    with contextlib.ExitStack() as meanwhile:
        meanwhile.enter_context(stage.nudging(options.nudge, options.nudge_seed))
        if options.room_until:
            meanwhile.enter_context(stage.giving_room(options.room_until))
        outcome = run(lambda: workload(machine.opened_here() if confine is not _Unconfined else machine))
    if options.write_back:
        stage.command("mark ended")
        with contextlib.suppress(OSError, SystemCallFailed):  # The disk may fail it.
            stage.settle()
    stage.command("mark finish")
    if options.disk_faults:
        stage.command("heal")
    if options.room_bytes is not None:
        stage.neighbour.leave()
    stage.close_disk(tolerant=_may_fail(options))
    return outcome


def _read_reply(reply: int) -> tuple[int, str]:
    answer = pickle.loads(os.pread(reply, os.fstat(reply).st_size, 0))  # noqa: S301 -- our own child wrote it
    if isinstance(answer, DiskError):
        raise answer
    status, error = answer
    return status, error
