"""Processes known by a descriptor: ours are distinguished from others, and no process is signalled by its number."""

import os
import signal
import subprocess
import sys

from crashmatrix.faults.disk import end_child
from crashmatrix.scenarios.processes.held import HeldProcess, child_of_ours, this_process

TREE = "import subprocess, sys; p = subprocess.Popen(['sleep', '100']); print(p.pid, flush=True); p.wait()"


def test_what_is_not_our_child() -> None:
    """Init, this process and its parent are not children, and are not signalled as such."""
    for pid in (-1, 0, 1, os.getpid(), os.getppid()):
        assert child_of_ours(pid) is None
        end_child(pid)


def test_child_that_was_waited_for() -> None:
    """A child that ended is ours until it was waited for; after that, its number may be another process's."""
    process = subprocess.Popen(["true"])
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    held = child_of_ours(process.pid)
    assert held is not None
    assert not held.runs()
    process.wait()
    assert child_of_ours(process.pid) is None
    held.send(signal.SIGKILL)


def test_end_child() -> None:
    """A child that runs is killed, and still ours to wait for."""
    process = subprocess.Popen(["sleep", "100"])
    end_child(process.pid)
    assert process.wait() == -signal.SIGKILL


def test_children_of_the_dead() -> None:
    """A process that has ended has no children, whatever its number names in /proc by now."""
    with subprocess.Popen([sys.executable, "-c", TREE], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        below = int(process.stdout.readline())
        held = child_of_ours(process.pid)
        assert held is not None
        assert [child.pid for child in held.children()] == [below]
        assert below in [child.pid for child in this_process().descendants()]
        # Its descriptor is of a process that has ended; its number is of one that runs and has a child.
        ended = subprocess.Popen(["true"])
        gone = HeldProcess(process.pid, os.pidfd_open(ended.pid))
        ended.wait()
        assert gone.children() == []
        gone.kill_all()
        assert held.runs()
        (child,) = held.children()
        held.kill_all()
        assert child.wait(10)
