"""The child's side of a job: its channel to the driver, and its life from the fork to `os._exit`."""

from __future__ import annotations

import contextlib
import errno
import multiprocessing
import os
import signal
import socket
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any, NoReturn

from crashmatrix.faults.disk import die_with_parent
from crashmatrix.scenarios.errors import text_of
from crashmatrix.scenarios.processes.interruption import ENDING_SIGNALS
from crashmatrix.scenarios.processes.result import Relayed, describe
from crashmatrix.scenarios.processes.sandbox.cell import Cell, available, hand_over_none
from crashmatrix.scenarios.processes.sandbox.view import View
from crashmatrix.scenarios.processes.subreaper import adopt_orphans

__all__ = ["Channel", "live"]


class Channel:
    """The child's end: `send` a message to the driver of the job, `receive` its answer.

    A function that forks may return in two processes; the copy ends at the first of these calls, or when the function ends.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection, self._owner = connection, os.getpid()
        self._pipe = os.fstat(connection.fileno())

    def send(self, message: Any) -> None:
        """Send one message (picklable)."""
        self.end_copy()
        self._connection.send(("message", message))

    def receive(self) -> Any:
        """Wait for the answer."""
        self.end_copy()
        return self._connection.recv()

    def taken_over(self) -> Channel:
        """Return the channel for the process that calls this, a child that answers in place of the job's own."""
        return Channel(self._connection)

    def end_copy(self) -> None:
        """End this process if it is a copy of the job's, two of which would answer for one, or if it has closed its channel."""
        if os.getpid() != self._owner:
            os._exit(0)
        with contextlib.suppress(OSError):
            if os.path.samestat(os.fstat(self._connection.fileno()), self._pipe):
                return
        with contextlib.suppress(OSError):
            os.write(2, b"it had closed a descriptor that it had not opened: the channel to crashmatrix\n")
        os._exit(1)


def live(
    connection: Connection, output: str, function: Callable[..., Any], args: tuple[Any, ...], view: View | None
) -> None:
    """Run ``function(channel, *args)`` and send its result; the process ends here.

    Args:
        output: the file it prints to.
        view: what it sees of the machine's files, where jobs have cells; None for everything as it is.
    """
    from crashmatrix.scenarios.processes import fork_server  # only ever imported in the fork server and its children

    cell = fork_server.CELLS.mine if fork_server.CELLS else None
    confined = available()
    die_with_parent(0 if confined else fork_server.SERVER_PID)  # A parent outside the namespace has no number in it.
    adopt_orphans()
    os.setsid()
    for number in ENDING_SIGNALS:
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, ENDING_SIGNALS)
    # Daemonic processes may not start others by multiprocessing; a system may, and what it leaves behind is ended.
    multiprocessing.current_process()._config["daemon"] = False  # type: ignore[attr-defined]  # it has no public setter
    try:
        _get_ready(connection, output, cell, view)
    except Exception as error:  # The function is not called, so this says nothing about a target.
        _end(connection, ("unready", text_of(error)))
    if confined and view is not None:
        args = tuple(map(view.inside, args))
    channel = Channel(connection)
    try:
        result = ("value", function(channel, *args))
    except Relayed as error:
        result = ("raised", error.raised)
    except BaseException as error:  # A panic or an exit is a way to end, too.
        result = ("raised", describe(error))
    channel.end_copy()
    _end(connection, result)


def _end(connection: Connection, message: tuple[str, Any]) -> NoReturn:
    with contextlib.suppress(BrokenPipeError, ConnectionError):
        connection.send(message)
    os._exit(0)


def _get_ready(connection: Connection, output: str, cell: Cell | None, view: View | None) -> None:
    """Have this process print to its file, and move it into its cell. The driver gets the cell in any case. Raises OSError."""
    with socket.socket(fileno=os.dup(connection.fileno())) as driver:
        try:
            _redirect_output(output)
            if cell is None:
                if available():
                    raise OSError(errno.ECHILD, "it has no cell")
            elif view is None:
                cell.enter_outside()
            else:
                cell.enter(view)
        finally:
            if cell:
                cell.hand_over(driver)
            else:
                hand_over_none(driver)


def _redirect_output(path: str) -> None:
    try:
        fd = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC, 0o600)
    except FileNotFoundError:  # An interrupt has ended the run, and this process is on its way.
        os._exit(1)
    os.dup2(fd, 1)
    os.dup2(fd, 2)
    os.close(fd)
