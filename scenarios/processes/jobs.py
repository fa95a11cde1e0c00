"""Run a function in a fresh process, and get its result or its death.

Processes come from multiprocessing's fork server, which has everything imported (see `fork_server`): 10 ms each, where a
new interpreter takes 150. A child ends by `os._exit` right after sending its result, so nothing runs at its exit; that
message, not the exit code, says that the function returned.

Every child leads a session of its own, and what leaves that session is adopted, so that ending a job ends whatever it started;
its output goes to a file. Processes are held, never known by their number alone (`processes`). If the fork server dies, how
its jobs ended says nothing, and a call that starts a job or waits for one raises ForkServerDied. After `Jobs.stop_all` it is
RunStopped: an interrupted run must not take the death of its jobs for a result, nor remember it for the run that resumes it.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import socket
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from multiprocessing.connection import Connection, wait
from pathlib import Path
from types import TracebackType
from typing import Any, Generic, TypeVar, TypeVarTuple, cast

from crashmatrix.scenarios.errors import EnvironmentLacks, ForkServerDied, RunStopped
from crashmatrix.scenarios.processes.held import HeldProcess, end_strangers
from crashmatrix.scenarios.processes.job_child import Channel, live
from crashmatrix.scenarios.processes.job_process import JobProcess
from crashmatrix.scenarios.processes.job_server import SERVER, death
from crashmatrix.scenarios.processes.result import Died, JobResult, Raised, Returned, TimedOut
from crashmatrix.scenarios.processes.sandbox.cell import CellInUse, receive_cell
from crashmatrix.scenarios.processes.sandbox.view import View
from crashmatrix.scenarios.processes.scratch import OwnFolder, own_folder

__all__ = ["Channel", "Job", "Jobs"]

_OUTPUT_TAIL_BYTES = 2000
_OVER_LIMIT = "OverLimit"
"""The kind of error of a job that was killed because it used too much memory, or too many processes."""
_LOCK = threading.Lock()  # Shared by all objects here: multiprocessing has one fork server for the whole process.
_END_SECONDS_MAX = 10.0
"""How long to wait for a killed process to end."""

R = TypeVar("R")
Ts = TypeVarTuple("Ts")

_SECONDS_MAX = 1e6
"""No job needs longer, and poll(2) takes no more than twice that."""


class Job(Generic[R]):
    """One running child. Drive it with `next_message` and `answer`, or just `wait` for its end."""

    def __init__(
        self,
        jobs: Jobs,
        process: JobProcess,
        held: HeldProcess | None,
        connection: Connection,
        output: Path,
        seconds_max: float,
    ) -> None:
        self._jobs, self._process, self._connection, self._output = jobs, process, connection, output
        self._held, self.server = held, SERVER.process
        self._deadline = time.monotonic() + min(seconds_max, _SECONDS_MAX)
        self.pid: int = process.pid
        self._cell: CellInUse | None = None
        self._heard = False
        """Whether it has handed over its cell."""
        self.result: JobResult[R] | None = None
        self._stopped = False

    @property
    def in_block_left(self) -> bool:
        """Whether its block of `Jobs` was left."""
        return self._jobs._left

    def next_message(self) -> Any | None:
        """Return the child's next message, or None once it has ended (see ``result``). Raises as `wait`."""
        self._check_stopped()
        if self.result is not None:
            return None
        message = self._receive()
        return None if message is None else message[0]

    def _receive(self) -> tuple[Any] | None:
        """Return the next message in a tuple, or note the end."""
        if not self._ready(self._connection, self._process.sentinel):
            self._time_out()
            return None
        if not self._heard and self._connection.poll():
            self._take_cell()
            return self._receive()
        match self._read():
            case ("message", content):
                return (content,)
            case ("value", content):
                self._finish(lambda _, output: Returned(cast("R", content), output))
            case ("raised", content):
                self._finish(lambda _, output: replace(cast(Raised, content), output=output))
            case ("unready", why):
                self._finish(Died)
                raise EnvironmentLacks(f"no process could be made ready for the target: {why}")
            case _:
                if self._ready(self._process.sentinel):
                    self._finish(Died)
                else:  # It has closed its end and lives on.
                    self._time_out()
        return None

    def _ready(self, *what: Any) -> bool:
        return bool(wait(what, max(0.0, self._deadline - time.monotonic())))

    def _take_cell(self) -> None:
        self._heard = True
        with socket.socket(fileno=os.dup(self._connection.fileno())) as sender, contextlib.suppress(OSError):
            self._cell = receive_cell(sender)

    def _read(self) -> tuple[str, Any]:
        try:
            if self._connection.poll():
                kind, content = self._connection.recv()
                if kind in ("message", "value", "raised", "unready"):
                    return kind, content
        except Exception:  # No end of file only: what it writes into a descriptor that is not its own is anything.
            return "died", None
        return "died", None  # Without an end of file, too: a process it started may hold the pipe open.

    def grant(self, seconds: float) -> None:
        """Put off the job's time limit."""
        self._deadline += seconds

    def answer(self, message: Any = None) -> None:
        """Answer the child; it may be gone by now."""
        if self.result is not None:
            return
        with contextlib.suppress(BrokenPipeError, ConnectionError):
            self._connection.send(message)

    def wait(self) -> JobResult[R]:
        """Wait for the end; messages are dropped. Raises ForkServerDied, RunStopped, EnvironmentLacks (not begun)."""
        self._check_stopped()
        while self.result is None:
            self._receive()
        return self.result

    def _check_stopped(self) -> None:
        if self._stopped:
            raise RunStopped

    def stop(self) -> None:
        """SIGKILL the child and everything it started."""
        if self._held is not None:
            self._held.kill_all()

    def process(self) -> HeldProcess:
        """Return the child. Raises ProcessLookupError if it has ended."""
        if self._held is None or not self._held.runs():
            raise ProcessLookupError(self.pid)
        return self._held

    def wait_for_death(self) -> None:
        """Wait until a child that was stopped is gone."""
        _ = self._held and self._held.wait(_END_SECONDS_MAX)

    def _time_out(self) -> None:
        self.stop()
        self._finish(lambda _, output: TimedOut(output))

    def _finish(self, result_of: Callable[[int, str], JobResult[R]]) -> None:
        """Note the result, which ``result_of`` makes of exit code and output."""
        wait([self._process.sentinel])
        exit_code, server_died = self._jobs.reap(self, self._process)
        broken = self._empty_cell()
        output = self._read_output()
        self.result = Raised((_OVER_LIMIT,), broken, "", output=output) if broken else result_of(exit_code, output)
        self._connection.close()
        if server_died:
            self.stop()
            raise server_died
        self._stopped = self._jobs.stopped
        self._check_stopped()

    def _empty_cell(self) -> str:
        """Wait until everything it left has ended; returns the limit that it broke, if any."""
        if not self._heard and self._connection.poll():
            self._take_cell()
        return self._cell.empty() if self._cell else ""

    def _read_output(self) -> str:
        """Return the end of what it printed, which may be gigabytes."""
        try:
            with self._output.open("rb") as file:
                file.seek(max(0, os.fstat(file.fileno()).st_size - _OUTPUT_TAIL_BYTES))
                data = file.read(_OUTPUT_TAIL_BYTES)
        except FileNotFoundError:
            return ""
        self._output.unlink(missing_ok=True)
        return data.decode(errors="replace")


_running_everywhere: set[Job[Any]] = set()


class Jobs:
    """Starts jobs and sees to it that none outlives this object. Use as a context manager, from the main thread.

    Args:
        preload: modules the children need; imported once, in the fork server.
        scratch: folder for their output, for as long as they run; where temporary files go, if not given.
    """

    def __init__(self, *, preload: Sequence[str] = (), scratch: Path | None = None) -> None:
        self._context = multiprocessing.get_context("forkserver")
        self._preload, self._within = preload, scratch
        self._running: set[Job[Any]] = set()
        self._stopped = self._left = False
        self._scratch: OwnFolder | None = None
        self._count = 0

    def __enter__(self) -> Jobs:
        self._scratch, self._left = own_folder(self._within), False
        os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
        self._context.set_forkserver_preload(["crashmatrix.scenarios.processes.fork_server"])
        with _LOCK:
            # Here, in no worker thread: the server dies with the thread that started it.
            # A job of a block that was left is dead, though nobody may ever wait for it.
            SERVER.use(tuple(self._preload), busy=not all(job.in_block_left for job in _running_everywhere))
        return self

    def __exit__(self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None) -> None:
        self.stop_all()
        assert self._scratch is not None
        self._end_what_nobody_drives()
        with _LOCK:
            self._left = True
            SERVER.let_go()
        self._scratch.cleanup()

    def start(
        self,
        function: Callable[[Channel, *Ts], R],
        *args: *Ts,
        seconds_max: float,
        view: View | None = None,
        keep_going: bool = False,
    ) -> Job[R]:
        """Run ``function(channel, *args)`` in a fresh process, for at most ``seconds_max``. Raises ForkServerDied, RunStopped.

        Args:
            view: what it sees of the machine's files, where processes can be confined; None for all of them, and the network.
                A path in ``args`` that the job sees elsewhere is given to it as it sees it.
            keep_going: it never stops itself, so let it go on if something that it runs has stopped it.
        """
        assert self._scratch is not None, "enter it first"
        ours, theirs = self._context.Pipe()
        with _LOCK:
            if self._stopped:
                raise RunStopped
            self._count += 1
            output = self._scratch.path / str(self._count)
            process = JobProcess(live, theirs, str(output), function, args, view)
            held = SERVER.start(process)
            if held and keep_going:
                SERVER.keep_going(held)
            job: Job[R] = Job(self, process, held, ours, output, seconds_max)
            self._running.add(job)
            _running_everywhere.add(job)
        theirs.close()
        return job

    def run(
        self,
        function: Callable[[Channel, *Ts], R],
        *args: *Ts,
        seconds_max: float,
        view: View | None = None,
        keep_going: bool = False,
    ) -> JobResult[R]:
        """Run ``function(channel, *args)`` in a fresh process to its end. See `start`."""
        return self.start(function, *args, seconds_max=seconds_max, view=view, keep_going=keep_going).wait()

    @property
    def stopped(self) -> bool:
        """Whether `stop_all` was called, and not yet `go_on`."""
        return self._stopped

    def stop_all(self) -> None:
        """SIGKILL every running job; no other will start. A caller who waits for one gets RunStopped."""
        with _LOCK:
            self._stopped = True
            running = list(self._running)
        for job in running:
            job.stop()

    def go_on(self) -> None:
        """Let jobs be started again after `stop_all`, once nothing waits for those that were stopped."""
        self._end_what_nobody_drives()
        with _LOCK:
            self._stopped = False

    def reap(self, job: Job[Any], process: JobProcess) -> tuple[int, ForkServerDied | None]:
        """Called by a job whose process has ended; returns multiprocessing's exit code, and whether its server has died.

        Under the lock that `start` holds, too.
        """
        with _LOCK:
            server_died = None if self._stopped else death(job.server)  # Once stopped, it was we who ended the job.
            self._running.discard(job)
            _running_everywhere.discard(job)
            process.join()
            exit_code = process.exitcode
            process.close()
            if not SERVER.has_cells:
                # The fork server has adopted what jobs left behind; in its own session are only processes that are not ours.
                end_strangers(SERVER.process, but={job.pid for job in _running_everywhere})
        return exit_code, server_died

    def _end_what_nobody_drives(self) -> None:
        """Wait for the stopped jobs' death, which gives all they started to the fork server, and end that."""
        with _LOCK:
            left = list(self._running)
        for job in left:
            job.wait_for_death()
        with _LOCK:
            others = {job.pid for job in _running_everywhere - self._running}
            end_strangers(SERVER.process, but=others)
