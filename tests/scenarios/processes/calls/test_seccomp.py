"""Seccomp: a chosen call waits until the watcher answers; other calls do not."""

import os
import platform
import socket
import sys

import pytest

from crashmatrix.faults.disk.linux.containment import start_forked
from crashmatrix.scenarios.processes.calls.seccomp import CallFilter, install, lacking, listener_from

pytestmark = pytest.mark.skipif(bool(lacking()), reason=lacking())

GETPPID = {"x86_64": 110, "aarch64": 173}
SENT = 7


@pytest.mark.parametrize(("skipped", "status"), [(True, 0), (False, 1)])
def test_the_watcher_answers(skipped: bool, status: int) -> None:
    """A skipped call returns 0 without being done; one that is let go returns what the kernel says."""
    ours, theirs = socket.socketpair()

    def body() -> None:
        ours.close()
        install([CallFilter(GETPPID[platform.machine()])], theirs)
        os.getpid()  # Not watched.
        os._exit(0 if os.getppid() == 0 else 1)

    pid = start_forked(body)
    theirs.close()
    with ours:
        listener = listener_from(ours)
        assert listener is not None
        call = listener.receive()
        assert call is not None
        assert (call.pid, call.number) == (pid, GETPPID[platform.machine()])
        listener.answer(call, 0) if skipped else listener.let_go(call)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == status
        listener.close()


def test_a_child_that_dies_before_it_sends() -> None:
    """Without a listener there is nothing to watch, and nothing hangs."""
    ours, theirs = socket.socketpair()
    pid = start_forked(lambda: sys.exit(SENT))
    theirs.close()
    os.waitpid(pid, 0)
    with ours:
        assert listener_from(ours) is None
