"""Forked functions report how they ended; nothing that a contained function started outlives it."""

import atexit
import os
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import FrameType

import pytest

from crashmatrix.faults.disk.errors import RecordingFailed
from crashmatrix.faults.disk.linux.containment import run_contained, run_forked, run_started, start_forked


def raises() -> None:
    raise KeyError("why")


def returns_something() -> str:
    return "anything"


@pytest.mark.parametrize(
    ("function", "status"),
    [
        (returns_something, 0),
        (raises, 1),
        (sys.exit, 1),
        (lambda: os._exit(7), 7),
        (lambda: os.kill(os.getpid(), signal.SIGTERM), -signal.SIGTERM),
    ],
    ids=["returns", "raises", "leaves", "exits", "dies"],
)
def test_a_forked_function_ends_its_process(function: Callable[[], object], status: int) -> None:
    """The caller gets a status, however the function ends, and no second caller comes out of the fork."""
    me = os.getpid()
    assert run_forked(function) == status
    assert os.getpid() == me


def test_a_forked_process_runs_no_exit_handler(tmp_path: Path) -> None:
    """The caller's exit handlers run once, in the caller."""
    handler = (tmp_path / "handled").touch
    atexit.register(handler)
    try:
        assert run_forked(returns_something) == 0
        assert run_forked(raises) == 1
    finally:
        atexit.unregister(handler)
    assert not (tmp_path / "handled").exists()


def forks_and_waits(writer: int) -> None:
    def waits() -> None:
        os.write(writer, b"x")
        signal.pause()

    start_forked(waits)
    signal.pause()


def test_a_forked_process_dies_with_its_caller() -> None:
    """A killed caller ends the process, too: the pipe ends once the last process that holds it is gone."""
    reader, writer = os.pipe()
    caller = start_forked(lambda: forks_and_waits(writer))
    os.close(writer)
    assert os.read(reader, 1) == b"x"
    os.kill(caller, signal.SIGKILL)
    os.waitpid(caller, 0)
    assert select.select([reader], [], [], 30)[0]
    assert os.read(reader, 1) == b""
    os.close(reader)


class Interrupted(Exception):
    pass


def test_an_interrupted_wait_leaves_no_process() -> None:
    """The process that was waited for is killed and reaped before the exception goes on."""
    reader, writer = os.pipe()
    caller = os.getpid()

    def interrupts() -> None:
        os.write(writer, b"%d" % os.getpid())
        while Path(f"/proc/{caller}/stat").read_text().rpartition(")")[2].split()[0] != "S":
            time.sleep(0.001)  # Not before the caller waits.
        while True:  # Until it is killed: the caller may still have been on its way to the wait.
            os.kill(caller, signal.SIGUSR1)
            time.sleep(0.02)

    def handler(_: int, frame: FrameType | None) -> None:
        if frame is not None and frame.f_code is run_forked.__code__:  # Not amid what is called after each fork.
            raise Interrupted

    before = signal.signal(signal.SIGUSR1, handler)
    try:
        with pytest.raises(Interrupted):
            run_forked(interrupts)
    finally:
        signal.signal(signal.SIGUSR1, before)
    os.close(writer)
    pid = int(os.read(reader, 20))
    os.close(reader)
    with pytest.raises(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)


@pytest.mark.usefixtures("disk")
def test_endings_are_told_apart() -> None:
    assert run_contained(lambda: None, time_limit_seconds=10) == (0, "")
    assert run_contained(lambda: sys.exit(), time_limit_seconds=10) == (0, "")
    assert run_contained(lambda: sys.exit(3), time_limit_seconds=10) == (3, "")
    assert run_contained(lambda: sys.exit("words"), time_limit_seconds=10) == (1, "")
    assert run_contained(lambda: os.kill(os.getpid(), signal.SIGTERM), time_limit_seconds=10) == (-signal.SIGTERM, "")
    status, error = run_contained(raises, time_limit_seconds=10)
    assert status == 1
    assert "KeyError: 'why'" in error


@pytest.mark.usefixtures("disk")
def test_the_time_limit_ends_it_and_all_it_started() -> None:
    limit = 0.3
    while not hung_until(limit):
        limit *= 4  # It was ended before it had started anything.


def hung_until(limit: float) -> bool:
    """Run into a time limit, and wait until all is over; whether there was a process left behind to be ended."""
    reader, writer = os.pipe()

    def hangs() -> None:
        os.set_inheritable(writer, True)
        subprocess.Popen(["setsid", "sleep", "1000000"], close_fds=False)
        os.write(writer, b"x")
        threading.Event().wait()

    ended = run_contained(hangs, time_limit_seconds=limit)
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        started = pipe.read()  # It ends when the last process that holds it is gone.
    assert ended == (-signal.SIGKILL, f"it was still running after {limit:g} s")
    return started == b"x"


@pytest.mark.usefixtures("disk")
@pytest.mark.parametrize("orphans", [False, True], ids=["quiet", "with orphans that end all the time"])
def test_a_broken_limit_ends_it(orphans: bool) -> None:
    def works() -> None:
        while True:
            if orphans and not os.fork():
                os.fork()
                os._exit(0)
            time.sleep(0.001)

    def children() -> str:
        return "it was seen" if len(list(Path("/proc").glob("[0-9]*"))) > 1 else ""

    assert run_contained(works, time_limit_seconds=30, breach=children) == (-signal.SIGKILL, "it was seen")


@pytest.mark.usefixtures("disk")
def test_a_kept_limit_changes_nothing() -> None:
    """The function has the signals of its caller, and its own exit status."""

    def works() -> None:
        assert signal.SIGCHLD not in signal.pthread_sigmask(signal.SIG_BLOCK, ())
        time.sleep(0.5)
        sys.exit(3)

    assert run_contained(works, time_limit_seconds=30, breach=lambda: "") == (3, "")


def test_a_process_is_started_elsewhere() -> None:
    """Endings are distinguished as usual. A limit that was broken, which is known after the end, outranks the ending."""

    started = list[int]()

    def start(function: Callable[[], object]) -> int:
        started.append(start_forked(function))
        return started[-1]

    def ended() -> str:
        with pytest.raises(ChildProcessError):
            os.waitpid(started[-1], os.WNOHANG)
        return broken

    broken = ""
    run = partial(run_started, start, end=ended)
    assert run(lambda: sys.exit(3), time_limit_seconds=100) == (3, "")
    assert run(lambda: os.kill(os.getpid(), signal.SIGTERM), time_limit_seconds=100) == (-signal.SIGTERM, "")
    assert "KeyError: 'why'" in run(raises, time_limit_seconds=100)[1]
    assert run(signal.pause, time_limit_seconds=0.05) == (-signal.SIGKILL, "it was still running after 0.05 s")
    broken = "it used too much"
    assert run(lambda: None, time_limit_seconds=100) == (-signal.SIGKILL, broken)


def test_a_process_that_ends_before_it_begins() -> None:
    """How it ended says nothing about a function that was not called."""
    with pytest.raises(RecordingFailed, match="could not enter its cell"):
        run_started(lambda _: start_forked(lambda: os._exit(1)), lambda: None, lambda: "", time_limit_seconds=60.0)
