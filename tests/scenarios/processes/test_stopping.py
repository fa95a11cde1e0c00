"""Stopping a process: every thread of it stops, nothing happens meanwhile, and it goes on afterwards.

Each process here says a line when it is about to stop, and ends when its input does.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from crashmatrix.scenarios.errors import ScenarioError
from crashmatrix.scenarios.processes import stopping
from crashmatrix.scenarios.processes.held import HeldProcess, child_of_ours
from crashmatrix.scenarios.processes.stopping import frozen
from tests import ROOT

WRITERS = """
import os, sys, threading
from crashmatrix.scenarios.processes.stopping import stop_here
fds = [os.open(f"{sys.argv[1]}/{n}", os.O_CREAT | os.O_WRONLY | os.O_APPEND) for n in range(3)]
def write(fd):
    while True:
        os.ftruncate(fd, 0)
        os.write(fd, bytes(2**22))  # long enough that the stop comes in the middle of it
for fd in fds:
    threading.Thread(target=write, args=(fd,), daemon=True).start()
for line in sys.stdin:
    print("stopping", flush=True)
    stop_here()
"""

RUNNER_AHEAD = """
import os, sys, threading
from crashmatrix.scenarios.processes.stopping import stop_here
fd = os.open(f"{sys.argv[1]}/passed", os.O_CREAT | os.O_WRONLY | os.O_APPEND)
def work():
    for line in sys.stdin:
        os.write(1, b"stopping\\n")
        stop_here()
        os.write(fd, b"x")
thread = threading.Thread(target=work)
thread.start()
thread.join()
"""

SHORT_THREADS = """
import sys, threading
from crashmatrix.scenarios.processes.stopping import stop_here
def spawn():
    while True:
        threads = [threading.Thread(target=int) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
for _ in range(2):
    threading.Thread(target=spawn, daemon=True).start()
for line in sys.stdin:
    print("stopping", flush=True)
    stop_here()
"""


@contextmanager
def child(script: str, place: Path) -> Iterator["subprocess.Popen[str]"]:
    process = subprocess.Popen(
        [sys.executable, "-c", script, place], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def ask_to_stop(process: "subprocess.Popen[str]") -> None:
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write("\n")
    process.stdin.flush()
    assert process.stdout.readline() == "stopping\n"


def held(process: "subprocess.Popen[str]") -> HeldProcess:
    found = child_of_ours(process.pid)
    assert found is not None
    return found


def sizes(place: Path) -> list[int]:
    return [(place / name).stat().st_size if (place / name).exists() else 0 for name in "012"]


@pytest.mark.lengthy
def test_frozen_stops_every_thread(tmp_path: Path) -> None:
    """While a process is frozen none of its threads changes a file; afterwards all of them go on."""
    with child(WRITERS, tmp_path) as process:
        for _ in range(20):
            ask_to_stop(process)
            with frozen(held(process)):
                before = sizes(tmp_path)
                assert all(sizes(tmp_path) == before for _ in range(500))
            deadline = time.monotonic() + 30
            still = set(range(3))
            while still:
                assert time.monotonic() < deadline, "a thread did not go on"
                still -= {n for n, size in enumerate(sizes(tmp_path)) if size != before[n]}


def test_stop_here_stops_here(tmp_path: Path) -> None:
    """The thread that stops its process does not take one step beyond, though other threads are idle."""
    with child(RUNNER_AHEAD, tmp_path) as process:
        for number in range(300):
            ask_to_stop(process)
            with frozen(held(process)):
                assert (tmp_path / "passed").stat().st_size == number


def test_threads_that_end_meanwhile(tmp_path: Path) -> None:
    """A process whose threads come and go is frozen like any other, and goes on."""
    with child(SHORT_THREADS, tmp_path) as process:
        for _ in range(100):
            ask_to_stop(process)
            with frozen(held(process)):
                assert all(state(process.pid) == "T" for _ in range(20))


def state(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0]


def test_process_that_does_not_stop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that does not stop is given up after a while, with its number."""
    monkeypatch.setattr(stopping, "STOP_SECONDS_MAX", 0.05)
    with child("input()", tmp_path) as process:
        with pytest.raises(ScenarioError, match=f"process {process.pid} did not stop"), frozen(held(process)):
            raise AssertionError("not frozen")
        assert process.poll() is None


@pytest.mark.parametrize("reaped", [False, True])
def test_process_that_is_gone(tmp_path: Path, reaped: bool) -> None:
    """A process that died before it stopped is reported as gone at once, whether or not its parent has reaped it."""
    with child("", tmp_path) as process:
        gone = held(process)
        os.waitid(os.P_PID, process.pid, os.WEXITED | (0 if reaped else os.WNOWAIT))
        started = time.monotonic()
        with pytest.raises(ProcessLookupError), frozen(gone):
            raise AssertionError("not frozen")
        assert time.monotonic() - started < stopping.STOP_SECONDS_MAX / 2


def test_goes_on_after_an_exception(tmp_path: Path) -> None:
    """A snapshot that fails does not leave the process standing."""
    with child(WRITERS, tmp_path) as process:
        ask_to_stop(process)
        with pytest.raises(ZeroDivisionError), frozen(held(process)):
            raise ZeroDivisionError
        ask_to_stop(process)
        os.kill(process.pid, signal.SIGCONT)
