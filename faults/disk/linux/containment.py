"""Running a function in a forked process.

    status = run_forked(function)                                    # the process dies with its caller
    pid = start_forked(function)                                     # the same, without waiting
    status, error = run_contained(function, time_limit_seconds=60)   # and nothing that it started outlives it
    status, error = run_started(start, function, end, time_limit_seconds=60)   # the same, in a place that the caller keeps

Processes of `run_contained`:

    caller ── fork ──> keeper ── fork ──> init ── fork ──> the function, and everything it starts
                                 └────────── a PID namespace of their own ─────────┘

When init ends, the kernel kills every process in the namespace. Init ends when the function's process ends. The
parent-death signal ends init when keeper or caller die. So background processes, daemons that forked twice and orphans
end with the run, even if the run is killed. Otherwise they would keep the run's mounts and loop device alive.

Inside, /proc is mounted again, in a mount namespace of init's own, so that process ids and /proc agree.
"""

import contextlib
import os
import select
import signal
import struct
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NoReturn

from crashmatrix.faults.disk.errors import RecordingFailed
from crashmatrix.faults.disk.linux.kernel import die_with_parent, end_child, mount, unshare_mounts, unshare_processes

__all__ = ["anonymous_file", "run_contained", "run_forked", "run_started", "start_forked"]

_STATUS = struct.Struct("<i")
_NOT_BEGUN = b"-"
_ERROR_BYTES_MOST = 1 << 16
_LOOK_SECONDS = 0.2


def start_forked(function: Callable[[], object]) -> int:
    """Run in a forked process that dies with the calling thread; return the process's id at once.

    The process ends with status 0 when the function returns, and with status 1 when the function raises. An exception
    is not printed. Exit handlers do not run, and no buffer of the caller is flushed. The caller has to wait for the process.
    """
    parent = os.getpid()
    status = 1
    try:
        if pid := os.fork():
            return pid
        die_with_parent(parent)
        function()
        status = 0
    finally:
        if os.getpid() != parent:  # Not even an interrupt right after the fork lets the child go on as a second caller.
            os._exit(status)
    raise AssertionError("the child has ended above")


def run_forked(function: Callable[[], object]) -> int:
    """Call `start_forked` and wait; return the exit status, negative for a signal. If interrupted, kill the process."""
    pid = start_forked(function)
    try:
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    except BaseException:
        end_child(pid)
        os.waitpid(pid, 0)
        raise


def run_contained(
    function: Callable[[], None], *, time_limit_seconds: float, breach: Callable[[], str] | None = None
) -> tuple[int, str]:
    """Run in a forked process; return its exit status, negative for a signal, and the traceback it ended with, or "".

    After the time limit it is killed (status -9), and a message stands in the traceback's place. Everything it started is dead
    when this returns, or dies a moment later. SystemCallFailed is raised only in the child, where it shows as a traceback.

    Args:
        breach: is called several times a second in the PID namespace of the function, with its /proc. It returns a message if
            the processes break a limit: they are killed then, as after the time limit.
    """
    with anonymous_file("outcome") as outcome:
        # The outcome if no process lives to write another.
        os.pwrite(outcome, _STATUS.pack(-signal.SIGKILL), 0)
        pid = start_forked(lambda: _guarded(lambda: _keep(function, breach, outcome), outcome))
        if _wait(pid, time_limit_seconds) is None:
            return _too_slow(time_limit_seconds)
        (status,) = _STATUS.unpack(os.pread(outcome, _STATUS.size, 0))
        return status, _error_in(outcome)


def run_started(
    start: Callable[[Callable[[], None]], int],
    function: Callable[[], None],
    end: Callable[[], str],
    *,
    time_limit_seconds: float,
) -> tuple[int, str]:
    """As `run_contained`, in a process that ``start`` forks; it is given what to run there, and returns the process's id.

    Raises RecordingFailed: the process ended before it ran anything.

    Args:
        end: ends everything that the process has left, and returns the limit that was broken, if any.
    """
    with anonymous_file("outcome") as outcome:
        os.pwrite(outcome, _NOT_BEGUN, 0)

        def begin() -> None:
            os.ftruncate(outcome, 0)
            function()

        pid = start(lambda: _guarded(begin, outcome))
        status = _wait(pid, time_limit_seconds)
        broken = end()
        if os.pread(outcome, len(_NOT_BEGUN), 0) == _NOT_BEGUN:
            raise RecordingFailed(
                "a process could not enter its cell, or ended on the way", "look for the reason in dmesg"
            )
        if broken:
            return -signal.SIGKILL, broken
        return _too_slow(time_limit_seconds) if status is None else (status, _error_in(outcome))


def _too_slow(time_limit_seconds: float) -> tuple[int, str]:
    return -signal.SIGKILL, f"it was still running after {time_limit_seconds:g} s"


def _error_in(outcome: int) -> str:
    return os.pread(outcome, _ERROR_BYTES_MOST, _STATUS.size).decode(errors="replace")


@contextlib.contextmanager
def anonymous_file(name: str) -> Iterator[int]:
    """A file in memory without a path, open for the block; processes forked meanwhile share it."""
    descriptor = os.memfd_create(f"crashmatrix-{name}")
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _keep(function: Callable[[], None], breach: Callable[[], str] | None, outcome: int) -> None:
    unshare_processes()
    alive, alive_here = os.pipe()
    pid = os.fork()  # Not by `start_forked`: in the new namespace, the parent's id is 0.
    if not pid:
        os.close(alive_here)
        _guarded(lambda: _init(function, breach, alive, outcome), outcome)
    os.waitpid(pid, 0)


def _init(function: Callable[[], None], breach: Callable[[], str] | None, alive: int, outcome: int) -> None:
    die_with_parent(0)  # A parent outside the namespace has no number in it.
    # So a death before the call above shows only here, as the end of the pipe.
    if select.select([alive], [], [], 0)[0]:
        return
    os.close(alive)
    unshare_mounts()
    mount("proc", Path("/proc"), "proc")
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD})

    def unblocked() -> None:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        function()

    pid = start_forked(lambda: _guarded(unblocked, outcome))
    looked = time.monotonic()
    while (status := _reaped(pid)) is None:
        signal.sigtimedwait({signal.SIGCHLD}, _LOOK_SECONDS)
        if not breach or time.monotonic() - looked < _LOOK_SECONDS:
            continue
        if broken := breach():
            os.pwrite(outcome, broken.encode(), _STATUS.size)
            return  # The outcome's status says SIGKILL already, and the kernel sends it.
        looked = time.monotonic()
    os.pwrite(outcome, _STATUS.pack(status), 0)


def _reaped(pid: int) -> int | None:
    """Reap children of this process, orphans of others as well; return the exit status of one of them, None if it lives."""
    while True:
        ended, status = os.waitpid(-1, os.WNOHANG)
        if ended == pid:
            return os.waitstatus_to_exitcode(status)
        if not ended:
            return None


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


def _wait(pid: int, time_limit_seconds: float) -> int | None:
    """Wait for the process, and kill it at the limit; return its exit status, None if it did not end in time."""
    descriptor = os.pidfd_open(pid)
    try:
        ready, _, _ = select.select([descriptor], [], [], time_limit_seconds)
        if not ready:
            end_child(pid)
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        return status if ready else None
    finally:
        os.close(descriptor)
