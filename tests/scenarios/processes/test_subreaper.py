"""Orphans become children of the process that adopts them."""

import os

from crashmatrix.faults.disk.linux.containment import run_forked
from crashmatrix.scenarios.processes.subreaper import adopt_orphans


def adopted() -> None:
    """Raises AssertionError unless a grandchild whose parent is dead has this process as its parent."""
    adopt_orphans()
    gate, opened = os.pipe()
    answer, said = os.pipe()
    child = os.fork()
    if child == 0:
        if os.fork() == 0:
            os.read(gate, 1)  # The parent in between is dead by now.
            os.write(said, str(os.getppid()).encode())
        os._exit(0)
    os.waitpid(child, 0)
    os.write(opened, b"x")
    assert int(os.read(answer, 20)) == os.getpid()


def test_orphans_are_adopted() -> None:
    """The subreaper, and not init, becomes the parent of an orphan."""
    assert run_forked(adopted) == 0
