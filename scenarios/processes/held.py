"""Processes known by a descriptor. None of them is signalled by its number.

A number says little: the process may have ended, and another one may have its number by now. In 0 and 1 it means our own
group and init. So a process is held by a pidfd, which stays with the one process, and is taken for ours only if the kernel
says so while the pidfd shows that it still runs:

    child_of_ours(pid)     waitid(2) accepts it as a child of this process that nobody has waited for
    held.children()        /proc names the held process as its parent, and both still run after that was read

`HeldProcess.send` is the way by which this package signals another process. To a process that has ended, it does nothing. Single
threads are the exception: no pidfd of a thread can be had before Linux 6.9, so `process_tree` signals them by tgkill(2), in which
the kernel checks that the thread belongs to the process. The process is a held one, and was seen to run just before.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
from collections.abc import Collection

from crashmatrix.scenarios.errors import EnvironmentLacks

__all__ = ["HeldProcess", "check_proc", "child_of_ours", "children_of", "end_strangers", "this_process"]

_PF_EXITING = 0x4  # linux/sched.h


class HeldProcess:
    """One process. The caller has verified that the descriptor is that of the right process."""

    def __init__(self, pid: int, descriptor: int) -> None:
        self.pid, self._descriptor, self._owner = pid, descriptor, os.getpid()

    def fileno(self) -> int:
        """Readable once the process has ended."""
        return self._descriptor

    def runs(self) -> bool:
        """Return whether it has not ended. Then what was read of its number in /proc before was about it."""
        poll = select.poll()
        poll.register(self._descriptor, select.POLLIN)
        return not poll.poll(0)

    def wait(self, seconds_max: float) -> bool:
        """Wait for its end; returns whether it came."""
        return bool(select.select([self._descriptor], [], [], seconds_max)[0])

    def send(self, number: int) -> None:
        """Signal it, if it still runs and we may."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            signal.pidfd_send_signal(self._descriptor, number)

    def is_exiting(self) -> bool:
        """Return whether it has ended, or has begun to: its files close a moment before its pidfd says that it has."""
        stat = _stat(self.pid)
        return not self.runs() or not stat or bool(int(stat[6]) & _PF_EXITING)

    def is_stopped(self) -> bool:
        """Return whether somebody has stopped it (SIGSTOP); a debugger that looks at it does not count."""
        stat = _stat(self.pid)
        return self.runs() and stat[:1] == ["T"]

    def children(self) -> list[HeldProcess]:
        """Return its children that still run."""
        held = (self._child(pid) for pid in children_of(self.pid))
        return [child for child in held if child is not None]

    def descendants(self) -> list[HeldProcess]:
        """Return every process that runs below it, parents first."""
        return [below for child in self.children() for below in (child, *child.descendants())]

    def _child(self, pid: int) -> HeldProcess | None:
        child = _hold(pid)
        if child is None:
            return None
        stat = _stat(pid)
        ours = stat[1:2] == [str(self.pid)] and child.runs() and self.runs()
        return child if ours else None

    def child(self, pid: int) -> HeldProcess | None:
        """Return the child of this number; None if it has none that still runs."""
        return self._child(pid)

    def kill_all(self) -> None:
        """SIGKILL it and every process that is below it now."""
        for process in (self, *self.descendants()):
            process.send(signal.SIGKILL)

    def close(self) -> None:
        """Let go of it."""
        descriptor, self._descriptor = self._descriptor, -1  # First: an error of close(2) leaves the number free.
        if descriptor >= 0 and os.getpid() == self._owner:  # A forked copy may have closed and reused it, too.
            os.close(descriptor)

    def __del__(self) -> None:
        self.close()


def child_of_ours(pid: int) -> HeldProcess | None:
    """Take hold of a child of this process; None if it is none of ours, or was waited for already."""
    held = _hold(pid)
    if held is None:
        return None
    try:
        os.waitid(os.P_PIDFD, held.fileno(), os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return None
    return held


def this_process() -> HeldProcess:
    """Take hold of the process that calls."""
    held = _hold(os.getpid())
    assert held is not None
    return held


def end_strangers(of: HeldProcess, *, but: Collection[int]) -> None:
    """SIGKILL a process's children in other sessions than its own, with every process below them; spare those in ``but``."""
    for child in of.children():
        if child.pid not in but and not _same_session(child, of):
            child.kill_all()


def check_proc() -> None:
    """Raises EnvironmentLacks if /proc does not show the process ids that this process sees."""
    try:
        seen = os.readlink("/proc/self")  # noqa: PTH115  # a number
    except OSError:
        seen = "nothing"
    if seen != str(os.getpid()):
        raise EnvironmentLacks(
            f"/proc is not that of this PID namespace (it shows {seen} for process {os.getpid()}), so processes cannot be "
            "distinguished; mount it: unshare --mount-proc, or mount -t proc proc /proc"
        )


def _hold(pid: int) -> HeldProcess | None:
    try:
        return HeldProcess(pid, os.pidfd_open(pid))
    except (OSError, ValueError):
        return None


def _stat(pid: int) -> list[str]:
    """Return the fields of /proc/PID/stat from the third on: state, parent, group, session, ...; none if it is gone."""
    try:
        return _content(f"/proc/{pid}/stat").rpartition(b") ")[2].decode().split()
    except OSError:
        return []


def children_of(pid: int) -> list[int]:
    """Return the numbers of a process's children: to look at, not to signal."""
    found: list[int] = []
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # It ended meanwhile.
        for thread in os.listdir(f"/proc/{pid}/task"):  # noqa: PTH208  # names only; Path.glob takes twenty times as long
            found += map(int, _content(f"/proc/{pid}/task/{thread}/children").split())
    return found


def _content(path: str) -> bytes:
    with open(path, "rb", buffering=0) as file:
        return file.read()


def _same_session(one: HeldProcess, other: HeldProcess) -> bool:
    return _stat(one.pid)[3:4] == _stat(other.pid)[3:4] or not one.runs() or not other.runs()
