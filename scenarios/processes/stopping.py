"""Stopping a process with all its threads, so that its folder can be copied as a SIGKILL would leave it.

The process stops itself (`stop_here`); its driver waits until every thread has stopped, and lets it go on (`frozen`).
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager

from crashmatrix.scenarios.errors import ScenarioError
from crashmatrix.scenarios.processes.held import HeldProcess, children_of

__all__ = ["STOP_SECONDS_MAX", "frozen", "is_stopped", "running_below", "stop_here"]

STOP_SECONDS_MAX = 10.0
_STOP_POLL_SECONDS = 0.00005
_STAT_BYTES_MAX = 4096


@contextmanager
def frozen(process: HeldProcess) -> Iterator[None]:
    """Wait until a process, which is stopping itself, has stopped, every thread of it; let it go on after the block.

    Raises:
        ScenarioError: it does not stop.
        ProcessLookupError: it is gone.
    """
    try:
        deadline = time.monotonic() + STOP_SECONDS_MAX
        while not is_stopped(process.pid):
            if time.monotonic() > deadline:
                raise ScenarioError(f"process {process.pid} did not stop within {STOP_SECONDS_MAX:.0f} s")
            time.sleep(_STOP_POLL_SECONDS)
        if not process.runs():  # Its number was looked at, which another process may have by now.
            raise ProcessLookupError(process.pid)
        yield
    finally:
        process.send(signal.SIGCONT)


def stop_here() -> None:
    """Stop this process, with all its threads, until somebody lets it go on."""
    # Sent to this very thread: of a signal to the process it would hear later, and go on for a moment.
    signal.pthread_kill(threading.get_ident(), signal.SIGSTOP)


def is_stopped(pid: int, *, but: Collection[int] = ()) -> bool:
    """Return whether every thread of a process has stopped, but for some perhaps. Raises ProcessLookupError if it is gone."""
    try:
        threads = _threads(pid)
    except FileNotFoundError:
        raise ProcessLookupError(pid) from None
    try:
        others = [thread for thread in threads if int(thread) not in but]
        if not others:
            return True
        states = {_state(f"/proc/{pid}/task/{thread}/stat") for thread in others}
        if states <= set("ZX"):  # Dead, though its parent has not looked yet.
            raise ProcessLookupError(pid)
        return states <= set("TtZX") and _threads(pid) == threads
    except FileNotFoundError:
        return False  # A thread ended meanwhile.


def running_below(pid: int, *, but: Collection[int]) -> set[int]:
    """Return the threads of all processes below one that run, or wait for a disk, but for some. They are only looked at."""
    found = set[int]()
    for child in children_of(pid):
        found |= _running(child, but) | running_below(child, but=but)
    return found


def _running(pid: int, but: Collection[int]) -> set[int]:
    found = set[int]()
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        for thread in map(int, _threads(pid)):
            with contextlib.suppress(FileNotFoundError):  # A thread ended meanwhile; there may be more.
                if thread not in but and _state(f"/proc/{pid}/task/{thread}/stat") in "RD":
                    found.add(thread)
    return found


def _threads(pid: int) -> list[str]:
    return os.listdir(f"/proc/{pid}/task")  # noqa: PTH208  # names only


def _state(stat_path: str) -> str:
    """Return the letter of a thread's state. Raises FileNotFoundError if the thread is gone."""
    descriptor = os.open(stat_path, os.O_RDONLY | os.O_CLOEXEC)  # A file object would take twice as long.
    try:
        return os.read(descriptor, _STAT_BYTES_MAX).rpartition(b") ")[2][:1].decode()
    except ProcessLookupError:  # gone between opening and reading
        raise FileNotFoundError(stat_path) from None
    finally:
        os.close(descriptor)
