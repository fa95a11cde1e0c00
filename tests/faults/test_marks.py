"""Marks count; each has one declaration."""

from __future__ import annotations

import subprocess
import sys
import threading

import pytest

from crashmatrix import faults


def test_a_mark_counts() -> None:
    """Entered never, once, twice; listed by name."""
    found = faults.mark("tests.marks.counted", "a branch")
    assert faults.entered()["tests.marks.counted"] == 0
    found.enter()
    found.enter()
    assert faults.entered()["tests.marks.counted"] == found.count == 2


def test_uncounted() -> None:
    """A mark entered in the block has the count of before; so has one declared there, if the block fails."""
    found = faults.mark("tests.marks.uncounted", "a branch")
    found.enter()
    with pytest.raises(ZeroDivisionError), faults.uncounted():
        found.enter()
        late = faults.mark("tests.marks.late", "another")
        late.enter()
        raise ZeroDivisionError
    assert (found.count, late.count) == (1, 0)


def test_one_declaration() -> None:
    """A name stands for one branch: another place, or another description, is refused, and both places are named."""
    found = faults.mark("tests.marks.once", "a branch")
    with pytest.raises(faults.AlreadyDeclared) as caught:
        faults.mark("tests.marks.once", "a branch")
    file, line = found.location.rsplit(":", 1)
    assert (file, caught.value.first, caught.value.second) == (__file__, found.location, f"{file}:{int(line) + 2}")
    assert str(caught.value).startswith(
        f"'tests.marks.once' is declared at {file}:{line} and again, differently, at {file}:"
    )


def test_a_module_is_loaded_again() -> None:
    """A module that is reloaded declares its marks again, and has those that there are."""
    first, second = (faults.mark("tests.marks.again", "a branch") for _ in range(2))
    assert first is second
    with pytest.raises(faults.AlreadyDeclared):
        for description in ("one", "other"):
            faults.mark("tests.marks.described", description)


def test_threads_lose_no_entry() -> None:
    """Each entry is counted once, whatever the threads do."""
    found = faults.mark("tests.marks.threads", "a branch")

    def work() -> None:
        for _ in range(50_000):
            found.enter()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found.count == 200_000


FORK = """
import os, signal, threading
from crashmatrix import faults
found = faults.mark("m", "a branch")
inside, leave = threading.Event(), threading.Event()

class Held(int):
    def __add__(self, more):
        inside.set()
        leave.wait()
        return int(self) + more

found.count = Held(0)
thread = threading.Thread(target=found.enter)
thread.start()
inside.wait()
pid = os.fork()
if pid == 0:
    signal.alarm(5)
    found.count = 0
    found.enter()
    os._exit(found.count)
leave.set()
thread.join()
print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), found.count)
"""


def test_a_child_forked_while_a_thread_enters() -> None:
    """It can enter the same mark, though that thread is not there to leave it."""
    process = subprocess.run([sys.executable, "-c", FORK], capture_output=True, text=True, timeout=60, check=False)
    assert (process.returncode, process.stdout, process.stderr) == (0, "1 1\n", "")
