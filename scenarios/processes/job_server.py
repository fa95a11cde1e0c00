"""The process that jobs are forked from: multiprocessing's fork server, held by a descriptor, and watched.

The server is our own child, known by a pidfd from its start. If it dies, multiprocessing would start another one. Here the run
ends, because the way in which the jobs of a dead server ended says nothing about the system.

A thread looks at the server ten times a second, and continues it if somebody stopped it (SIGSTOP). It does the same for jobs
that never stop themselves. A server that is stopped again and again is killed, which ends the run with ForkServerDied. So
neither the start of a job nor a wait for one hangs for ever.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import forkserver, resource_tracker
from types import ModuleType

from crashmatrix.scenarios.errors import EnvironmentLacks, ForkServerDied
from crashmatrix.scenarios.processes.held import HeldProcess, check_proc, child_of_ours
from crashmatrix.scenarios.processes.interruption import signals_held_back
from crashmatrix.scenarios.processes.job_process import JobProcess
from crashmatrix.scenarios.processes.result import signal_name
from crashmatrix.scenarios.processes.sandbox import cell as sandbox
from crashmatrix.scenarios.processes.scratch import own_sockets

__all__ = ["PRELOAD_VARIABLE", "SAFE_PATH", "SERVER", "SYS_PATH", "JobServer", "death"]

_PRELOAD = (
    "crashmatrix.scenarios.judging.worker",
    "multiprocessing.popen_forkserver",
    "multiprocessing.connection",
)
PRELOAD_VARIABLE = "CRASHMATRIX_PRELOAD"
"""Environment variable naming the modules and Python files to import, a line each."""
SYS_PATH = "CRASHMATRIX_SYS_PATH"
"""Environment variable for the server alone: where to import from, a folder each line."""
SAFE_PATH = "crashmatrix"
"""Value of PYTHONSAFEPATH for the server alone: it must not take modules of the current folder for the standard library's."""
_LOOK_SECONDS = 0.1
_LOOKS_STOPPED_MAX = 100


class JobServer:
    """The one fork server that a process has. Not thread-safe: `jobs` has a lock."""

    def __init__(self) -> None:
        self._process: HeldProcess | None = None
        self._users = 0
        self._watch = _Watch()

    @property
    def process(self) -> HeldProcess:
        """The server as it is now."""
        assert self._process is not None, "use it first"
        return self._process

    @property
    def has_cells(self) -> bool:
        """Whether nothing that a job leaves outlives it, since each job has a cell."""
        return sandbox.available()

    def use(self, preload: tuple[str, ...], *, busy: bool) -> None:
        """Start a server that has loaded exactly these modules; keep the present one if it has, or if it is ``busy``.

        A module loaded here costs no child any time; each child loads the others itself. The failpoints that the loaded
        modules declare are those reported for a system. Raises EnvironmentLacks.
        """
        check_proc()
        if signal.getsignal(signal.SIGCHLD) is signal.SIG_IGN:  # Inherited; nobody can wait for a child then.
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        own_sockets()
        settings = {
            PRELOAD_VARIABLE: "\n".join((*_PRELOAD, *preload)),
            sandbox.CELLS_VARIABLE: "" if sandbox.lacking() else "yes",
        }
        if not busy and any(os.environ.get(name) != value for name, value in settings.items()):
            os.environ.update(settings)
            _end_server()
        with _without_main():
            _ensure_running()
        process = _server()
        if process is None:
            raise EnvironmentLacks(
                "multiprocessing's fork server has gone; does another part of this program wait for its processes?"
            )
        if self._process is None or not self._process.runs() or self._process.pid != process.pid:
            self._process = process
        self._users += 1
        self._watch.look_at(self._process)

    def keep_going(self, process: HeldProcess) -> None:
        """Let this process go on, too, whenever it is stopped."""
        self._watch.look_at(process)

    def let_go(self) -> None:
        """End one use. The server itself stays for the next one."""
        self._users -= 1
        if not self._users:
            self._watch.end()

    def start(self, process: JobProcess) -> HeldProcess | None:
        """Start a job's process; returns it, or None if it has ended already.

        Raises ForkServerDied, EnvironmentLacks.
        """
        _check(self.process)
        try:
            process.start()
        except (OSError, EOFError) as error:
            _check(self.process)
            raise EnvironmentLacks(
                f"multiprocessing's fork server cannot be reached ({error}); can {sys.executable} be run here?"
            ) from error
        finally:
            self._end_another()
        _check(self.process)
        return self.process.child(process.pid)

    def _end_another(self) -> None:
        """End the server that multiprocessing has put in the place of a dead one, if it has."""
        another = _server()
        if another is not None and another.pid != self.process.pid:
            _end_server()


class _Watch:
    """Lets stopped processes go on, in a thread of its own."""

    def __init__(self) -> None:
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None
        self._stopped: dict[HeldProcess, int] = {}
        """In how many looks in a row each was stopped."""

    def look_at(self, process: HeldProcess) -> None:
        """Look at this process, too, until it ends."""
        self._stopped.setdefault(process, 0)
        if self._thread is None:
            self._ended.clear()
            self._thread = threading.Thread(target=self._look, name="crashmatrix-fork-server", daemon=True)
            self._thread.start()

    def end(self) -> None:
        """Look no longer."""
        if self._thread is not None:
            self._ended.set()
            self._thread.join()
            self._thread = None

    def _look(self) -> None:
        while not self._ended.wait(_LOOK_SECONDS):
            for process, times in list(self._stopped.items()):
                if not process.runs():
                    del self._stopped[process]
                elif not process.is_stopped():
                    self._stopped[process] = 0
                else:
                    self._stopped[process] = times + 1
                    process.send(signal.SIGCONT if times < _LOOKS_STOPPED_MAX else signal.SIGKILL)


def death(server: HeldProcess) -> ForkServerDied | None:
    """Return the error to raise if this server has died."""
    if not server.is_exiting():
        return None
    how = _how(server)
    cause = "the target may have killed or stopped its parent, or the machine ran out of memory (see dmesg)"
    if "exited" in how:  # By itself: `fork_server` says why, and so does multiprocessing.
        cause = "it has printed why, above"
    return ForkServerDied(
        f"multiprocessing's fork server (process {server.pid}) {how}, and its jobs with it; {cause}: run again"
    )


def _check(server: HeldProcess) -> None:
    if died := death(server):
        raise died


def _how(server: HeldProcess) -> str:
    server.wait(1.0)  # It may be about to end only.
    try:
        end = os.waitid(os.P_PIDFD, server.fileno(), os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:  # Waited for already.
        end = None
    if end is None:
        return "died"
    if end.si_code == os.CLD_EXITED:
        return f"exited with status {end.si_status}"
    return f"died by {signal_name(end.si_status)}"


def _ensure_running() -> None:
    """Start a server unless one runs, deaf to what ends us: that may go to the whole process group; it ends when we do."""
    with _environment({"PYTHONSAFEPATH": os.environ.get("PYTHONSAFEPATH", SAFE_PATH), SYS_PATH: "\n".join(sys.path)}):
        with signals_held_back():  # Inherited: else SIGHUP to the whole group ends the tracker.
            resource_tracker.ensure_running()
        with signals_held_back():  # Once more, since the tracker's start unblocks some of these signals.
            forkserver.ensure_running()


@contextmanager
def _without_main() -> Iterator[None]:
    """Keep multiprocessing from importing the program's main module into each child, which costs time and may have
    effects; our jobs need nothing of it."""
    main = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main


@contextmanager
def _environment(variables: dict[str, str]) -> Iterator[None]:
    """Set these variables in the block, for the processes started in it."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _server() -> HeldProcess | None:
    """The server that multiprocessing has now, if any."""
    pid = forkserver._forkserver._forkserver_pid  # type: ignore[attr-defined]  # nothing else tells
    return child_of_ours(pid) if pid is not None else None


def _end_server() -> None:
    """End the server that multiprocessing has now, though it be stopped or still loading."""
    if server := _server():
        server.send(signal.SIGKILL)
    forkserver._forkserver._stop()  # type: ignore[attr-defined]  # CPython's own tests stop it so; nothing else can.


SERVER = JobServer()
