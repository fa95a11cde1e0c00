"""Forked functions report how they ended, and nothing they started outlives them."""

import os
import pickle
import signal
import subprocess
import sys
import threading

import pytest

from crashmatrix.faults.disk import DiskError, SystemCallFailed, errors
from crashmatrix.faults.disk.linux.containment import run_contained

pytestmark = pytest.mark.usefixtures("disk")


def test_endings_are_told_apart() -> None:
    def fails() -> None:
        raise KeyError("why")

    assert run_contained(lambda: None, time_limit_seconds=10) == (0, "")
    assert run_contained(lambda: sys.exit(), time_limit_seconds=10) == (0, "")
    assert run_contained(lambda: sys.exit(3), time_limit_seconds=10) == (3, "")
    assert run_contained(lambda: sys.exit("words"), time_limit_seconds=10) == (1, "")
    assert run_contained(lambda: os.kill(os.getpid(), signal.SIGTERM), time_limit_seconds=10) == (-signal.SIGTERM, "")
    status, error = run_contained(fails, time_limit_seconds=10)
    assert status == 1
    assert "KeyError: 'why'" in error


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


def test_every_error_survives_pickling_and_gives_cause_and_remedy() -> None:
    """Errors travel from forked children to the caller."""
    for name in errors.__all__:
        kind = getattr(errors, name)
        system = issubclass(kind, SystemCallFailed)
        error = kind("calling", 5, "mend it") if system else kind("this happened", "mend it")
        copy = pickle.loads(pickle.dumps(error))
        assert type(copy) is kind
        assert isinstance(copy, DiskError)
        assert (str(copy), copy.cause, copy.remedy) == (str(error), error.cause, "mend it")
        assert str(error).endswith("; mend it")
