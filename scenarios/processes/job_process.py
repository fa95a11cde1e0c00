"""A job's process as its driver sees it, and its first steps in the fork server's child.

multiprocessing's fork server forks it, hands over descriptors, and passes on its exit code. multiprocessing's own `Process` is
not used: its start in the child takes 2 ms, most of them for copies of pages that it writes to, and a job needs nothing of it.

Beside its arguments, a job takes over the current folder, ``sys.path`` and ``sys.argv`` from its driver.
"""

from __future__ import annotations

import os
import pickle
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from multiprocessing import forkserver, process as multiprocessing_process, resource_tracker
from multiprocessing.connection import Connection
from multiprocessing.reduction import ForkingPickler
from typing import Any, BinaryIO

from crashmatrix.scenarios.processes.interruption import signals_held_back, uninterrupted

__all__ = ["JobProcess", "serve_jobs"]

_NO_CODE = 255
"""multiprocessing's exit code of a process whose fork server died before it said another."""


class JobProcess:
    """Calls ``function(connection, *arguments)`` in a process of the fork server; the function ends the process."""

    def __init__(self, function: Callable[..., None], connection: Connection, *arguments: Any) -> None:
        self._function, self._connection, self._arguments = function, connection, arguments
        self._owner = os.getpid()
        self.pid = self.sentinel = -1
        """Its number, and a descriptor that is readable once its exit code is known."""
        self.exitcode = _NO_CODE
        self._file: BinaryIO | None = None

    def start(self) -> None:
        """Have it forked. Raises OSError, EOFError, and whatever arguments raise that cannot be pickled."""
        path = [folder or multiprocessing_process.ORIGINAL_DIR or "" for folder in sys.path]  # type: ignore[attr-defined]  # typeshed lacks it
        state = {"dir": os.getcwd(), "sys_path": path, "sys_argv": sys.argv}  # noqa: PTH109  # a string
        message = pickle.dumps(state) + ForkingPickler.dumps(_Call(self._function, self._arguments))
        self._connect()
        assert self._file is not None
        with self._file:
            self._file.write(message)
        self.pid = forkserver.read_signed(self.sentinel)

    @uninterrupted  # An interrupt between these steps would leave a pipe open.
    def _connect(self) -> None:
        forkserver.ensure_running()  # Here: it would inherit that they are held back.
        with signals_held_back():  # For those who have handlers of their own, such as pytest.
            self.sentinel, writer = forkserver.connect_to_new_process([self._connection.fileno()])
            self._file = open(writer, "wb")  # noqa: SIM115  # closed by `start` or `close`

    def join(self) -> None:
        """Wait for its end; then ``exitcode`` is known."""
        try:
            self.exitcode = forkserver.read_signed(self.sentinel)
        except (OSError, EOFError):
            self.exitcode = _NO_CODE

    def close(self) -> None:
        """Let go of it."""
        if self._file is not None:
            self._file.close()
        sentinel, self.sentinel = self.sentinel, -1  # First: an error of close(2) leaves the number free.
        if sentinel >= 0 and os.getpid() == self._owner:  # A forked copy may have closed and reused it, too.
            os.close(sentinel)

    def __del__(self) -> None:
        self.close()


@dataclass
class _Call:
    """The function that a job calls, and its arguments."""

    function: Callable[..., None]
    arguments: tuple[Any, ...]

    def _bootstrap(self, _: object) -> int:
        """Called in a child of a server that multiprocessing has put in the place of a dead one, and that is ended: no job."""
        return 1


def serve_jobs() -> None:
    """Make this fork server's children jobs."""
    forkserver._serve_one = _live  # type: ignore[attr-defined]  # the one function that its children call


def _live(
    reader: int, descriptors: Sequence[int], unused: Sequence[int], handlers: Mapping[signal.Signals, Any]
) -> None:
    """Be a job: the arguments are those of `multiprocessing.forkserver._serve_one`."""
    signal.set_wakeup_fd(-1)
    for number, handler in handlers.items():
        signal.signal(number, handler)
    for descriptor in unused:
        os.close(descriptor)
    alive, tracker, connection = descriptors
    forkserver._forkserver._forkserver_alive_fd = alive  # type: ignore[attr-defined]  # as in the function replaced
    resource_tracker._resource_tracker._fd = tracker  # type: ignore[attr-defined]  # as above
    with open(reader, "rb") as file:
        state = _read(file)
        os.chdir(state["dir"])
        if sys.path != state["sys_path"]:  # Set before the rest is read, which imports what it names.
            sys.path[:] = state["sys_path"]
        sys.argv[:] = state["sys_argv"]
        call = _read(file)
    call.function(Connection(connection), *call.arguments)


def _read(file: BinaryIO) -> Any:
    """Read what the driver sends. If an interrupt has ended it amid that, nobody waits for this job."""
    try:
        return pickle.load(file)  # noqa: S301  # from our own parent
    except (EOFError, pickle.UnpicklingError):
        os._exit(1)
