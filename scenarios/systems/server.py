"""A server of a target: started on a folder, waited for, used by clients, and stopped in order; it dies with the crash.

    with Server(["redis-server", "--port", "{port}", "--dir", str(root)], stop="redis-cli -p {port} shutdown") as server:
        client = connect(server.port)

1. A port that is free is chosen. The server finds it as ``{port}`` in its arguments, and in $CRASHMATRIX_PORT.
2. The server starts, in a process tree of its own, in the foreground: everything it starts ends with it.
3. It is ready once everything holds that was demanded: a socket file answers, a line was printed, a command succeeds. If
   nothing was demanded: once its port answers.
4. At the end of the block it is stopped: by the command `stop`, else by SIGTERM; after ten seconds by SIGKILL.

A cell has a network of its own, so the port is the same in every run, and a server may write it down. Where there are no cells,
an abstract socket is the lock that keeps the servers of parallel jobs apart.

A server that ends before it is ready, or while it is used, is a `ServerFailed`, which quotes the first and the last lines of
its output. In recovery this is ``cannot-open``. One that is not ready in time is ``hangs``. How long starts take is noted in
the target's workspace (`server_times`), apart for the start on what a crash left.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from crashmatrix.scenarios.errors import PromiseBroken, ScenarioError
from crashmatrix.scenarios.last_words import first_and_last
from crashmatrix.scenarios.processes.process_tree import ProcessTree
from crashmatrix.scenarios.systems.programs import (
    CommandFailed,
    arguments_of,
    ending,
    execute,
    filled,
    run_program,
    words_of,
)
from crashmatrix.scenarios.systems.server_times import note_start
from crashmatrix.scenarios.target.lives import current

__all__ = ["PORT_VARIABLE", "Server", "ServerFailed", "printed_last"]

PORT_VARIABLE: Final = "CRASHMATRIX_PORT"
"""Environment variable that holds the server's port."""

_HOST = "127.0.0.1"
_PORTS = range(7300, 7400)
"""Below those that the kernel hands out to clients, so that no client has one of them."""

_POLL_SECONDS, _COMMAND_POLL_SECONDS = 0.002, 0.05
_ANSWER_SECONDS_MAX = 1.0
_STEP_SECONDS_MAX = 0.1
"""How much each look at the server counts for its time limit, at most."""


_last = b""
"""The output of the server that this process stopped last."""


def printed_last() -> str:
    """Return the first and the last lines of the server that this process ran last; empty if there was none."""
    return first_and_last(_last.decode(errors="replace"))


class ServerFailed(ScenarioError):
    """The server ended before it was ready, or while it was used. One line, with its first and last lines of output."""


class Server:
    """One server, for a ``with`` block.

    Args:
        command: a list of arguments, or a string that is split as a shell would split it; no shell runs it. It must stay in the
            foreground. ``{port}`` stands for the port, here and in the other arguments.
        ready: a command that succeeds once the server is ready.
        ready_line: part of a line that the server prints once it is ready.
        ready_socket: the path of a socket on which the server answers once it is ready.
        stop: a command that stops the server; SIGTERM without one.
        environment: further variables.
        folder: the server's current folder.
        seconds_max: how long it may take to be ready.
        stop_seconds_max: how long it may take to stop in order, before SIGKILL.

    Attributes:
        port: its port on 127.0.0.1.
    """

    def __init__(
        self,
        command: str | Sequence[str],
        *,
        ready: str | Sequence[str] = (),
        ready_line: str = "",
        ready_socket: str | Path = "",
        stop: str | Sequence[str] = (),
        environment: Mapping[str, str] | None = None,
        folder: Path | str = ".",
        seconds_max: float = 24.0,
        stop_seconds_max: float = 10.0,
    ) -> None:
        self._command, self._ready, self._stop = map(arguments_of, (command, ready, stop))
        self._ready_line, self._ready_socket = ready_line.encode(), str(ready_socket)
        self._environment, self._folder = environment or {}, Path(folder)
        self._seconds_max, self._stop_seconds_max = seconds_max, stop_seconds_max
        self._tree: ProcessTree | None = None
        self.port = 0

    @property
    def variables(self) -> dict[str, str]:
        """The environment of the server, and of the programs that use it."""
        return {**os.environ, **self._environment, PORT_VARIABLE: str(self.port)}

    def __enter__(self) -> Self:
        """Start it, and wait until it is ready. Raises ServerFailed; PromiseBroken (``hangs``) if it is not ready in time."""
        begun = time.monotonic()
        self.port, self._lock = _free_port()
        self._output = tempfile.TemporaryFile()  # closed by __exit__
        arguments = [filled(argument, self._values) for argument in self._command]
        streams = (self._output.fileno(), self._output.fileno())
        variables = self.variables
        self._tree = ProcessTree(lambda: execute(self._folder, arguments, variables, streams))
        try:
            self._wait_until_ready()
        except BaseException:
            self._close()
            raise
        note_start(current.get(), time.monotonic() - begun)
        return self

    def __exit__(self, kind: type[BaseException] | None, _: BaseException | None, __: TracebackType | None) -> None:
        """Stop it. Raises ServerFailed if it had ended before, and the block was left without an exception."""
        gone = self.gone()
        try:
            if gone and kind is None:
                raise ServerFailed(gone)
            if not gone:
                self._stop_in_order()
        finally:
            self._close()

    def gone(self) -> str:
        """Say how the server ended and what it printed, if it has ended; else return nothing."""
        tree = self._tree
        if tree is None or not select.select([tree], [], [], 0)[0]:
            return ""
        return f"the server {ending(tree.wait())}{words_of(self.output())}"

    def output(self) -> bytes:
        """Return everything that the server has printed so far, on standard output and standard error."""
        return os.pread(self._output.fileno(), os.fstat(self._output.fileno()).st_size, 0)

    @property
    def _values(self) -> dict[str, str]:
        return {"{port}": str(self.port)}

    def _wait_until_ready(self) -> None:
        """Wait. Time in which we and the server were stopped, as for a snapshot, hardly counts: it is one long step."""
        checks, waited, before = self._checks(), 0.0, time.monotonic()
        while checks:
            if gone := self.gone():
                raise ServerFailed(f"{gone.replace('the server', 'before it was ready, the server', 1)}{_hint(gone)}")
            checks = [(lacks, holds) for lacks, holds in checks if not holds()]
            waited, before = waited + min(_STEP_SECONDS_MAX, time.monotonic() - before), time.monotonic()
            if checks and waited > self._seconds_max:
                raise PromiseBroken(
                    "hangs",
                    f"the server was not ready after {self._seconds_max:g} s: {checks[0][0]}{words_of(self.output())}",
                )
            if checks:
                time.sleep(_COMMAND_POLL_SECONDS if self._ready else _POLL_SECONDS)

    def _checks(self) -> list[tuple[str, Callable[[], bool]]]:
        """Return what must hold for the server to be ready: in words what is not so until then, and the test."""
        checks: list[tuple[str, Callable[[], bool]]] = []
        if self._ready_socket:
            path = filled(self._ready_socket, self._values)
            checks.append((f"no socket answered at {path}", lambda: _answers(socket.AF_UNIX, path)))
        if self._ready_line:
            line = self._ready_line.decode(errors="replace")
            checks.append((f"it did not print {line!r}", lambda: self._ready_line in self.output()))
        if self._ready:
            checks.append((f"the command {self._ready[0]!r} did not succeed", lambda: self._succeeds(self._ready)))
        port = (
            f"nothing answered at port {self.port} of {_HOST}, which it finds as {{port}} and in ${PORT_VARIABLE}. If it "
            "listens elsewhere, say how it is known to be ready: ready, ready_line or ready_socket"
        )
        return checks or [(port, lambda: _answers(socket.AF_INET, (_HOST, self.port)))]

    def _succeeds(self, command: Sequence[str]) -> bool:
        try:
            run_program("ready", [filled(argument, self._values) for argument in command], self._folder, self.variables)
        except CommandFailed:
            return False
        return True

    def _stop_in_order(self) -> None:
        assert self._tree is not None
        if self._stop:
            self._succeeds(self._stop)
        else:
            self._tree.signal(signal.SIGTERM)
        select.select([self._tree], [], [], self._stop_seconds_max)  # `_close` kills what is left.

    def _close(self) -> None:
        global _last  # a fact about the process
        _last = self.output()
        if self._tree is not None:
            self._tree.__exit__(None, None, None)
            self._tree = None
        self._output.close()
        self._lock.close()


def _hint(gone: str) -> str:
    if "exited with status 0" not in gone:
        return ""
    return "; a server must stay in the foreground, so have it neither fork nor become a daemon"


def _answers(family: socket.AddressFamily, address: str | tuple[str, int]) -> bool:
    """Whether somebody accepts connections there."""
    with socket.socket(family, socket.SOCK_STREAM | socket.SOCK_CLOEXEC) as client, contextlib.suppress(OSError):
        client.settimeout(_ANSWER_SECONDS_MAX)
        client.connect(address)
        return True
    return False


def _free_port() -> tuple[int, socket.socket]:
    """Return a port on which nobody listens, and a lock that keeps it for us. Raises ScenarioError."""
    for port in _PORTS:
        lock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        with contextlib.suppress(OSError), socket.socket() as probe:
            lock.bind(f"\0crashmatrix-port-{port}")  # Held until we, and the keepers that we fork, have closed it.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((_HOST, port))
            return port, lock
        lock.close()
    raise ScenarioError(f"no port between {_PORTS[0]} and {_PORTS[-1]} is free for a server; end what listens there")
