"""A process and all it starts, which can be stopped, killed and waited for as one, and cannot outlive whoever started it.

    we ── fork ──> keeper ── fork ──> the body, and whatever it starts, daemons and orphans too

The keeper is a subreaper: what loses its parent becomes its child, so it can find, kill and reap everything. It does when
the body has ended, and when the pipe to us closes: because we say so, or because we are dead. It needs no privilege.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import select
import signal
import struct
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import NoReturn, Self

from faults.disk import die_with_parent
from scenarios.adoption import adopt_orphans
from scenarios.errors import ScenarioError
from scenarios.photograph import is_stopped

__all__ = ["ProcessTree", "descendants", "end_strangers", "parent"]

_LIBC = ctypes.CDLL(None)
_STATUS = struct.Struct("<i")
_STOP_SECONDS_MAX = 10.0
_POLL_SECONDS = 0.0001
_WAIT_FOR_CHILD = {"56", "58", "435", "220"}
"""clone, vfork and clone3 on x86_64 and aarch64: who started a process by vfork cannot stop before it runs its program."""


class ProcessTree:
    """Starts ``body`` in a process of its own. Use as a context manager; nothing of the tree is left after it.

    Call from a process without threads. ``body`` need not return; what it raises ends its process with status 1.
    """

    def __init__(self, body: Callable[[], None]) -> None:
        self.held = 0
        """A thread that somebody keeps from doing anything; 0 for none."""
        ours, self._control = os.pipe()
        self._ended, theirs = os.pipe()
        self._status: int | None = None
        self._keeper = os.fork()
        if self._keeper == 0:
            os.close(self._control)
            os.close(self._ended)
            _keep(body, ours, theirs)
        os.close(ours)
        os.close(theirs)

    def fileno(self) -> int:
        """Readable once the body has ended."""
        return self._ended

    def wait(self) -> int:
        """Wait for the body's end, and the end of all it started; returns its exit code, negative for a signal."""
        if self._status is None:
            data = os.read(self._ended, _STATUS.size)
            os.waitpid(self._keeper, 0)
            self._status = _STATUS.unpack(data)[0] if data else -signal.SIGKILL
        return self._status

    def kill(self) -> None:
        """SIGKILL everything, and wait until it is gone."""
        if self._control >= 0:
            os.close(self._control)
            self._control = -1
        self.wait()

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """For the block, every thread of every process of the tree is stopped. Raises ScenarioError if one does not stop."""
        stopped: list[int] = []
        try:
            deadline = time.monotonic() + _STOP_SECONDS_MAX
            while running := [pid for pid in descendants(self._keeper) if not _is_quiet(pid, self.held)]:
                for pid in running:
                    if pid not in stopped or self.held:
                        stopped.append(pid)
                        _stop(pid, self.held)
                if time.monotonic() > deadline:
                    raise ScenarioError(f"process {running[0]} did not stop within {_STOP_SECONDS_MAX:.0f} s")
                time.sleep(_POLL_SECONDS)
            yield
        finally:
            for pid in dict.fromkeys(stopped):
                _signal(pid, signal.SIGCONT)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None) -> None:
        self.kill()
        os.close(self._ended)


def _keep(body: Callable[[], None], control: int, ended: int) -> NoReturn:
    """The keeper's life."""
    os.setsid()  # Whoever kills our starter's process group shall not kill the one that cleans up.
    adopt_orphans()
    keeper = os.getpid()
    pid = os.fork()
    if pid == 0:
        os.close(control)
        os.close(ended)
        _live(body, keeper)
    process = os.pidfd_open(pid)
    ready, _, _ = select.select([process, control], [], [])
    status = os.waitpid(pid, 0)[1] if process in ready else signal.SIGKILL.value
    _kill_all(keeper)
    with contextlib.suppress(BrokenPipeError):
        os.write(ended, _STATUS.pack(os.waitstatus_to_exitcode(status)))
    os._exit(0)


def _live(body: Callable[[], None], keeper: int) -> NoReturn:
    try:
        die_with_parent(keeper)
        body()
        os._exit(0)
    finally:
        os._exit(1)


def _kill_all(keeper: int) -> None:
    while True:
        for pid in descendants(keeper):
            _signal(pid, signal.SIGKILL)
        try:
            os.waitpid(-1, 0)  # Its children are now ours.
        except ChildProcessError:
            return


def _children(pid: int) -> list[int]:
    """Return the ids of a process's children."""
    found: list[int] = []
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # It ended meanwhile.
        for thread in Path(f"/proc/{pid}/task").glob("*/children"):
            found += map(int, thread.read_text().split())
    return found


def parent(pid: int) -> int:
    """Return the id of a process's parent, 0 if it is gone."""
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()[1])
    except (FileNotFoundError, ProcessLookupError):
        return 0


def end_strangers(of: int, *, but: Collection[int]) -> None:
    """SIGKILL a process's children in other sessions than its own, and all below them, but for some of the children."""
    for child in _children(of):
        if child not in but and not _same_session(child, of):
            for pid in (child, *descendants(child)):
                _signal(pid, signal.SIGKILL)


def _same_session(one: int, other: int) -> bool:
    try:
        return os.getsid(one) == os.getsid(other)
    except ProcessLookupError:
        return True


def descendants(pid: int) -> list[int]:
    """Return the ids of all processes below ``pid``, parents first."""
    return [below for child in _children(pid) for below in (child, *descendants(child))]


def _is_quiet(pid: int, held: int) -> bool:
    try:
        return is_stopped(pid, but=held) or _waits_for_vfork(pid)
    except ProcessLookupError:
        return True


def _waits_for_vfork(pid: int) -> bool:
    try:
        threads = list(Path(f"/proc/{pid}/task").iterdir())
        states = {(thread / "stat").read_text().rpartition(") ")[2][:1] for thread in threads}
        calls = {(thread / "syscall").read_text().split()[0] for thread in threads}
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return False
    return states == {"D"} and calls <= _WAIT_FOR_CHILD


def _stop(pid: int, held: int) -> None:
    """Stop a process. The kernel hands a signal to one thread; were it the one that is held, no other would ever stop."""
    threads = _threads(pid)
    if held not in threads:
        _signal(pid, signal.SIGSTOP)
        return
    for thread in threads:
        if thread != held:
            _LIBC.tgkill(pid, thread, signal.SIGSTOP)  # It may be gone by now.


def _threads(pid: int) -> list[int]:
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        return [int(path.name) for path in Path(f"/proc/{pid}/task").iterdir()]
    return []


def _signal(pid: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(pid, number)
