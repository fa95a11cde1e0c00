"""Cells: namespaces in which a job of a target runs, and with which everything dies that the job leaves behind.

    the maker ── fork ──> init, process 1 of a PID namespace, with a network of its own and a read-only view of the files
        └────── fork ──> the job: in that PID namespace from its start; `enter` moves it into the rest

A cell is made once and used for one job after the other. Between two jobs, init kills every process of its namespace; the kernel
does that in one step, so no process escapes by forking. A new PID namespace for each job would cost another fork of a large
process, a new network as much again. The mount namespace with its temporary files is made new for each job, because no job may
see those of the one before. Process numbers go on from job to job: a lock file of a crashed job names no process of the next.

Init dies with its maker (parent-death signal), and with init its namespace. So nothing outlives a killed run.

The job must not be process 1 itself: signals that it sends to itself would then be ignored.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import NoReturn

from crashmatrix.faults.disk import die_with_parent
from crashmatrix.faults.disk.linux.containment import run_forked
from crashmatrix.scenarios.processes.sandbox import calls
from crashmatrix.scenarios.processes.sandbox.init import (
    BEGUN,
    ENDED,
    NUMBER_BYTES,
    READY,
    close_all_but,
    guard,
    number_in,
    numbered,
)
from crashmatrix.scenarios.processes.sandbox.view import OpenedView, View

__all__ = [
    "CELLS_VARIABLE",
    "NOT_COVERED",
    "Cell",
    "CellInUse",
    "CellMaker",
    "available",
    "become_user_of_cells",
    "hand_over_none",
    "lacking",
    "receive_cell",
]

_ANSWER_BYTES_MAX = 4096
_END_SECONDS_MAX = 10.0


NOT_COVERED = (
    "Without it a target sees its folder at another path in each run, writes wherever its user may, and leaves behind what "
    "hides well enough"
)
"""The faults that a machine without cells does not find, in a sentence without its full stop."""

CELLS_VARIABLE = "CRASHMATRIX_CELLS"
"""Environment variable that says whether there are cells here: empty if not."""

_forks = 0


def _count_fork() -> None:
    global _forks  # a fact about the process
    _forks += 1


os.register_at_fork(after_in_child=_count_fork)


class Cell:
    """One cell, made by `made`; ``control`` is the way to its first process, and ``init`` a pidfd of that."""

    def __init__(self, control: socket.socket, init: int) -> None:
        self._control, self._init = control, init

    @classmethod
    def made(cls, number: int = 0, freed: int = -1) -> Cell:
        """Make a cell; it dies with the calling process, which must have one thread. Raises OSError.

        Args:
            number: cells of different numbers begin with different process numbers.
            freed: a descriptor to which init writes the number (`init.numbered`) whenever the cell is empty again.
        """
        control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with _forking_elsewhere(), theirs:
            calls.leave_namespaces(calls.PROCESSES)
            pid = os.fork()
            if not pid:
                guard(theirs, number, freed)
        cell = cls(control, os.pidfd_open(pid))
        if (answer := control.recv(_ANSWER_BYTES_MAX)) != READY:
            raise OSError(0, answer.decode(errors="replace") or "its first process died")
        return cell

    def fork_into(self) -> None:
        """From here on, processes are forked into the cell."""
        calls.enter_namespaces(self._init, calls.PROCESSES)

    def enter(self, view: View, opened: OpenedView | None = None) -> None:
        """In a job: see only what the target is to see, and have only the cell's network. Raises OSError.

        Args:
            opened: the view, if the process that this one was forked from has opened it.
        """
        self._control.send(BEGUN)
        opened = opened or view.open()
        folder = os.getcwd()  # noqa: PTH109  # as it is
        calls.enter_namespaces(self._init, calls.MOUNTS | calls.NETWORK)
        calls.leave_namespaces(calls.MOUNTS)
        opened.show()
        with contextlib.suppress(OSError):
            os.chdir(folder)
        calls.drop_capabilities()

    def enter_outside(self) -> None:
        """In a job that works for us on the machine itself: only /proc is the cell's. Raises OSError."""
        calls.leave_namespaces(calls.MOUNTS)
        calls.make_private()
        calls.mount("proc", Path("/proc"), source="proc")

    def start(self, function: Callable[[], object], view: View) -> int:
        """In the maker: run a function in the cell, in a process that dies with this thread; returns the process's id at once.

        As `start_forked`. The caller has to wait for the process, and to call `empty` then.
        """
        with _forking_elsewhere():
            self.fork_into()
            before, status, opened = _forks, 1, None
            with contextlib.suppress(OSError):  # The child then meets the same error, and ends by it.
                opened = view.open()  # Here: the child would first copy the pages that this writes to.
            try:
                if pid := os.fork():
                    return pid
                die_with_parent(0)
                os.setsid()  # A signal to its parent, whose number is 0 here, goes to its process group.
                self.enter(view, opened)
                function()
                status = 0
            finally:
                if _forks != before:  # Its process number may be the maker's, in another namespace.
                    os._exit(status)
                if opened:
                    opened.close()
        raise AssertionError("the child has ended above")

    def hand_over(self, to: socket.socket) -> None:
        """Pass the cell to another process, and let go of it: in a job, to the driver, which takes it by `receive_cell`."""
        socket.send_fds(to, [READY], [self._control.fileno(), self._init])
        self.close_copy()

    def empty(self) -> str:
        """In the maker: as `CellInUse.empty`."""
        return _emptied(self._control, self._init)

    def close_copy(self) -> None:
        """In another process than the maker: let go of it."""
        self._control.close()
        os.close(self._init)

    def close(self) -> None:
        """In the maker: end the cell and everything in it."""
        signal.pidfd_send_signal(self._init, signal.SIGKILL)
        os.waitid(os.P_PIDFD, self._init, os.WEXITED)
        self.close_copy()


@contextmanager
def _forking_elsewhere() -> Iterator[None]:
    """After the block, processes are forked where this one is, whatever was done in it."""
    here = os.pidfd_open(os.getpid())
    try:
        yield
    finally:
        calls.enter_namespaces(here, calls.PROCESSES)
        os.close(here)


class CellMaker:
    """A process that makes cells for another one: while that is small, and where it may go into cells, but not back.

    Without root, a process may not fork into the namespace where it is once it has forked into another; the maker, being the
    first process of a namespace of its own, may. Raises OSError.

    Args:
        freed: as of `Cell.made`.
    """

    def __init__(self, freed: int) -> None:
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        calls.leave_namespaces(calls.PROCESSES)
        with theirs:
            if not os.fork():
                _make_cells(theirs, freed)

    def make(self, number: int) -> Cell:
        """Return a new cell; see `Cell.made`. Raises OSError."""
        self._control.send(numbered(number))
        answer, descriptors, _, _ = socket.recv_fds(self._control, _ANSWER_BYTES_MAX, 2)
        if len(descriptors) != 2:
            raise OSError(0, answer.decode(errors="replace"))
        return Cell(socket.socket(fileno=descriptors[0]), descriptors[1])

    def close_copy(self) -> None:
        """In a process forked since: let go of it."""
        self._control.close()


def _make_cells(control: socket.socket, freed: int) -> NoReturn:
    """The life of a maker."""
    try:
        die_with_parent(0)
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)
        close_all_but({0, 1, 2, control.fileno(), freed})
        while message := control.recv(NUMBER_BYTES):
            try:
                cell = Cell.made(number_in(message), freed)
            except OSError as error:
                control.send((error.strerror or str(error)).encode())
            else:
                cell.hand_over(control)
    finally:
        os._exit(1)


class CellInUse:
    """The cell of one job, held by the driver of the job."""

    def __init__(self, control: socket.socket, init: int) -> None:
        self._control, self._init = control, init

    def empty(self) -> str:
        """End everything the job has left, once the job itself has ended; returns the limit that was broken, if any."""
        try:
            return _emptied(self._control, self._init)
        finally:
            self._control.close()
            os.close(self._init)


def _emptied(control: socket.socket, init: int) -> str:
    try:
        control.settimeout(_END_SECONDS_MAX)
        control.send(ENDED)
        return control.recv(_ANSWER_BYTES_MAX).decode().removeprefix(READY.decode())
    except OSError:  # A process that does not die: the cell is given up, and the kernel waits for the process.
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(init, signal.SIGKILL)
        select.select([init], [], [], _END_SECONDS_MAX)
        return ""


def receive_cell(sender: socket.socket) -> CellInUse | None:
    """Return the cell of a job, of which `Cell.hand_over` is the first message; None if it has none, or has died."""
    _, descriptors, _, _ = socket.recv_fds(sender, len(READY), 2)
    return CellInUse(socket.socket(fileno=descriptors[0]), descriptors[1]) if len(descriptors) == 2 else None


def hand_over_none(to: socket.socket) -> None:
    """The message of a job that has no cell."""
    to.send(READY)


def become_user_of_cells() -> None:
    """Without root's rights, move this process into a user namespace where it may make cells; its user stays. Raises OSError.

    Call from a process with one thread, before it makes anything.
    """
    if calls.may_mount():
        return
    user, group = os.geteuid(), os.getegid()
    calls.leave_namespaces(calls.USERS | calls.MOUNTS)
    for name, text in (("setgroups", "deny"), ("uid_map", f"{user} {user} 1"), ("gid_map", f"{group} {group} 1")):
        Path("/proc/self", name).write_text(text)
    calls.make_private()


def available() -> bool:
    """Whether there are cells on this machine: in jobs, which know it from their driver."""
    return bool(os.environ.get(CELLS_VARIABLE))


@cache
def lacking() -> str:
    """Return why processes cannot be confined on this machine, with the remedy; empty if they can."""
    reader, writer = os.pipe()
    try:
        run_forked(lambda: os.write(writer, _refusal().encode()))
        os.close(writer)
        return os.read(reader, _ANSWER_BYTES_MAX).decode().removeprefix(READY.decode())
    finally:
        os.close(reader)


def _refusal() -> str:
    """Try it. Runs in a process of its own."""
    try:
        become_user_of_cells()
        maker = CellMaker(-1)  # Its cells end with it.
        cell = maker.make(0)
        cell.fork_into()
        pid = os.fork()
        if not pid:
            _try_to_enter(cell)
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    except OSError as error:
        return f"{error.strerror}; it takes Linux 5.12 or newer, and root or user namespaces"
    return READY.decode() if not status else f"a process could not enter its namespaces ({os.strerror(status)})"


def _try_to_enter(cell: Cell) -> NoReturn:
    status = 1
    try:
        cell.enter(View())
        status = 0
    except OSError as error:
        status = error.errno or 1
    finally:
        os._exit(status)
