"""A process and every process it starts: stopped, killed and waited for together, and never outliving their starter.

    we ── fork ──> keeper ── fork ──> the body, and whatever it starts, daemons and orphans too

The keeper is a subreaper: a process that loses its parent becomes the keeper's child, so the keeper can find, kill and reap
all of them. It does so when the body has ended, and when the pipe to us closes (we close it, or we are dead). It needs no
privilege.
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
from typing import NoReturn, Protocol, Self

from crashmatrix.faults.disk.linux.containment import start_forked
from crashmatrix.scenarios.errors import ScenarioError
from crashmatrix.scenarios.processes.held import HeldProcess, child_of_ours, this_process
from crashmatrix.scenarios.processes.stopping import is_stopped, running_below
from crashmatrix.scenarios.processes.subreaper import adopt_orphans

__all__ = ["ProcessTree", "Waiting"]

_LIBC = ctypes.CDLL(None)
_STATUS = struct.Struct("<i")
_STOP_SECONDS_MAX = 10.0
_POLL_SECONDS = 0.0001
_WAIT_FOR_CHILD = {"56", "58", "435", "220"}
"""clone, vfork and clone3 on x86_64 and aarch64: who started a process by vfork cannot stop before it runs its program."""


class Waiting(Protocol):
    """A thread that waits before a system call."""

    @property
    def thread(self) -> int:
        """Its number."""

    @property
    def place(self) -> int:
        """The address behind the instruction that makes the call."""

    def about(self) -> str:
        """Say what the call is about to do: ``rename db.tmp -> db.json``."""

    def paths(self) -> list[str]:
        """The files that the call is about to change."""

    def text(self) -> bytes:
        """The bytes that the call is about to write."""


class ProcessTree:
    """Starts ``body`` in a process of its own. Use as a context manager; nothing of the tree is left after it.

    Call from a process without threads. ``body`` need not return; what it raises ends its process with status 1.
    """

    def __init__(self, body: Callable[[], None]) -> None:
        self.held: list[int] = []
        """Threads that somebody keeps from doing anything; the last is the one that is looked at."""
        self.waiting: Waiting | None = None
        """The thread that waits before a system call; None if none does, or the call is none that changes files."""
        self.reap: Callable[[], None] = lambda: None
        """Waits for the end of processes that we trace: the keeper sees it only afterwards."""
        ours, self._control = os.pipe()
        self._ended, theirs = os.pipe()
        self._status: int | None = None
        self._keeper = os.fork()  # Not by `start_forked`: the keeper outlives a starter that is killed, and cleans up.
        if self._keeper == 0:
            os.close(self._control)
            os.close(self._ended)
            _keep(body, ours, theirs)
        self._held = child_of_ours(self._keeper)
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
            control, self._control = self._control, -1  # First: an error of close(2) leaves the number free.
            os.close(control)
            self.reap()
        self.wait()

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """For the block, every thread of every process of the tree is stopped. Raises ScenarioError if one does not stop."""
        stopped: dict[int, HeldProcess] = {}
        try:
            deadline = time.monotonic() + _STOP_SECONDS_MAX
            while running := [process for process in self._below() if not _is_quiet(process, self.held)]:
                for process in running:
                    if self.held or process.pid not in stopped or not stopped[process.pid].runs():
                        stopped[process.pid] = process
                        _stop(process, self.held)
                if time.monotonic() > deadline:
                    raise ScenarioError(f"process {running[0].pid} did not stop within {_STOP_SECONDS_MAX:.0f} s")
                time.sleep(_POLL_SECONDS)
            yield
        finally:
            for process in stopped.values():
                process.send(signal.SIGCONT)

    def signal(self, number: int) -> None:
        """Send a signal to the process of the body, if it still runs: the keeper's first child."""
        for process in (self._held.children() if self._held else [])[:1]:
            process.send(number)

    def signal_held(self, number: int) -> bool:
        """Send a signal to the thread that is held and looked at, if its process has a handler for it; returns whether it has."""
        thread = self.held[-1]
        try:
            status = Path(f"/proc/{thread}/status").read_text()
        except OSError:
            return False
        caught = int(status.partition("SigCgt:")[2].split()[0], 16) >> (number - 1) & 1
        ours = caught and any(thread in _threads(process.pid) and process.runs() for process in self._below())
        if ours:
            _LIBC.tgkill(int(status.partition("Tgid:")[2].split()[0]), thread, number)
        return bool(ours)

    def running(self) -> set[int]:
        """Return the threads that run or wait for a disk now, without those that are held."""
        return running_below(self._held.pid, but=self.held) if self._held else set()

    def _below(self) -> list[HeldProcess]:
        return self._held.descendants() if self._held else []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None) -> None:
        self.kill()
        os.close(self._ended)


def _keep(body: Callable[[], None], control: int, ended: int) -> NoReturn:
    """Run the keeper: start the body, wait for its end or ours, then end every process below."""
    os.setsid()  # A signal to our starter's process group must not kill the keeper, which cleans up.
    adopt_orphans()

    def live() -> None:
        os.close(control)
        os.close(ended)
        body()

    pid = start_forked(live)
    process = os.pidfd_open(pid)
    ready, _, _ = select.select([process, control], [], [])
    status = os.waitpid(pid, 0)[1] if process in ready else signal.SIGKILL.value
    _kill_all()
    with contextlib.suppress(BrokenPipeError):
        os.write(ended, _STATUS.pack(os.waitstatus_to_exitcode(status)))
    os._exit(0)


def _kill_all() -> None:
    keeper = this_process()
    while True:
        for process in keeper.descendants():
            process.send(signal.SIGKILL)
        try:
            os.waitpid(-1, 0)  # Its children are now ours.
        except ChildProcessError:
            return


def _is_quiet(process: HeldProcess, held: Collection[int]) -> bool:
    try:
        return is_stopped(process.pid, but=held) or _waits_for_vfork(process.pid) or not process.runs()
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


def _stop(process: HeldProcess, held: Collection[int]) -> None:
    """Stop a process. The kernel hands a signal to one thread; were it one that is held, no other would ever stop."""
    threads = _threads(process.pid)
    if not any(thread in held for thread in threads):
        process.send(signal.SIGSTOP)
        return
    for thread in threads:
        if thread not in held and process.runs():
            # By number, as no pidfd of a thread can be had before Linux 6.9; the kernel checks that it is of this process.
            _LIBC.tgkill(process.pid, thread, signal.SIGSTOP)


def _threads(pid: int) -> list[int]:
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        return [int(thread) for thread in os.listdir(f"/proc/{pid}/task")]  # noqa: PTH208  # names only
    return []
