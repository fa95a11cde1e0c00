"""Running a function in a process that cannot leave anything running.

    caller ── fork ──> keeper ── fork ──> init ── fork ──> the function, and whatever it starts
                                 └────────── a PID namespace of their own ─────────┘

When init ends, the kernel kills everything in the namespace; init ends when the function's process does, and the
parent-death signal ends it when keeper or caller do. So background processes, daemons that forked twice and orphans
end with the run, also when the run is killed. They would otherwise keep its mounts and loop device alive.

Inside, /proc is mounted anew, in a mount namespace of init's own, so that process ids and /proc agree.
"""

import contextlib
import os
import select
import signal
import struct
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NoReturn

from crashmatrix.faults.disk.linux.kernel import die_with_parent, end_child, mount, unshare_mounts, unshare_processes

__all__ = ["anonymous_file", "run_contained"]

_STATUS = struct.Struct("<i")
_ERROR_BYTES_MOST = 1 << 16


def run_contained(function: Callable[[], None], *, time_limit_seconds: float) -> tuple[int, str]:
    """Run in a forked process; return its exit status, negative for a signal, and the traceback it ended with, or "".

    After the time limit it is killed (status -9), which is said in the traceback's place. Whatever it started is dead when
    this returns, but for the moment the kernel takes over it. Raises SystemCallFailed only in the child, where it shows as
    a traceback.
    """
    with anonymous_file("outcome") as outcome:
        # What stands if nobody lives to write anything else.
        os.pwrite(outcome, _STATUS.pack(-signal.SIGKILL), 0)
        caller = os.getpid()
        pid = os.fork()
        if not pid:
            _guarded(lambda: _keep(function, caller, outcome), outcome)
        if not _wait(pid, time_limit_seconds):
            return -signal.SIGKILL, f"it was still running after {time_limit_seconds:g} s"
        (status,) = _STATUS.unpack(os.pread(outcome, _STATUS.size, 0))
        return status, os.pread(outcome, _ERROR_BYTES_MOST, _STATUS.size).decode(errors="replace")


@contextlib.contextmanager
def anonymous_file(name: str) -> Iterator[int]:
    """A file in memory without a path, open for the block; processes forked meanwhile share it."""
    descriptor = os.memfd_create(f"crashmatrix-{name}")
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _keep(function: Callable[[], None], caller: int, outcome: int) -> None:
    die_with_parent(caller)
    unshare_processes()
    alive, alive_here = os.pipe()
    pid = os.fork()
    if not pid:
        os.close(alive_here)
        _guarded(lambda: _init(function, alive, outcome), outcome)
    os.waitpid(pid, 0)


def _init(function: Callable[[], None], alive: int, outcome: int) -> None:
    die_with_parent(0)  # A parent outside the namespace has no number in it.
    # So its death before the call above shows only here, as the end of the pipe.
    if select.select([alive], [], [], 0)[0]:
        return
    os.close(alive)
    unshare_mounts()
    mount("proc", Path("/proc"), "proc")
    me = os.getpid()
    pid = os.fork()
    if not pid:
        die_with_parent(me)
        _guarded(function, outcome)
    while True:
        # Orphans become init's children: reap them, too.
        ended, status = os.wait()
        if ended == pid:
            os.pwrite(outcome, _STATUS.pack(os.waitstatus_to_exitcode(status)), 0)
            return


def _guarded(function: Callable[[], None], outcome: int) -> NoReturn:
    """Run and end this forked process, without the exit handlers it inherited."""
    try:
        function()
        os._exit(0)
    except SystemExit as leaving:
        os._exit(leaving.code if isinstance(leaving.code, int) else int(leaving.code is not None))
    except BaseException:
        os.pwrite(outcome, traceback.format_exc().encode()[-_ERROR_BYTES_MOST:], _STATUS.size)
        os._exit(1)


def _wait(pid: int, time_limit_seconds: float) -> bool:
    """Wait for its end, and kill it at the limit; whether it ended in time."""
    descriptor = os.pidfd_open(pid)
    try:
        ready, _, _ = select.select([descriptor], [], [], time_limit_seconds)
        if not ready:
            end_child(pid)
        os.waitpid(pid, 0)
        return bool(ready)
    finally:
        os.close(descriptor)
