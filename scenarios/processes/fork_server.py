"""Preloaded by multiprocessing's fork server, in that process only: it imports what children need and ties it to us.

The server dies with the process that started it, and each child dies with the server, so a SIGKILL of crashmatrix leaves
no job running. Each child is forked into a cell (`sandbox.cell`) that no other job uses; where there are none, the server adopts
the processes that dead jobs leave behind, in any session, so that they can be found and ended. It opens nothing and starts no
work: a process that has run deltalake or has a busy pyarrow thread cannot be forked safely; one that has only imported them can.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import os
import sys
import warnings
from typing import NoReturn

from crashmatrix.faults.disk import die_with_parent
from crashmatrix.scenarios.errors import text_of
from crashmatrix.scenarios.processes.heap import take_what_is_free
from crashmatrix.scenarios.processes.job_process import serve_jobs
from crashmatrix.scenarios.processes.job_server import PRELOAD_VARIABLE, SAFE_PATH, SYS_PATH
from crashmatrix.scenarios.processes.sandbox.cell import Cell, CellMaker, available, become_user_of_cells
from crashmatrix.scenarios.processes.sandbox.init import NUMBER_BYTES, number_in
from crashmatrix.scenarios.processes.subreaper import adopt_orphans

__all__ = ["CELLS", "SERVER_PID"]


class _Cells:
    """The cells of the jobs of this server: as many as have ever run at the same time."""

    def __init__(self) -> None:
        self._cells: list[Cell] = []
        self._freed, free = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._maker = CellMaker(free)
        os.close(free)
        self._in_server = True
        self.mine: Cell | None = None
        """The cell of the next job that is forked, and in a job its own."""

    def begin(self) -> None:
        """Called before each fork. Python would fork after an error here, too: into the cell of another job."""
        if not self._in_server:
            return
        self.mine = None
        try:
            number = self._next()
            self._cells[number].fork_into()
        except BaseException as error:
            _give_up("could not make a cell for a job", error)
        self.mine = self._cells[number]

    def _next(self) -> int:
        with contextlib.suppress(BlockingIOError):
            return number_in(os.read(self._freed, NUMBER_BYTES))
        self._cells.append(self._maker.make(len(self._cells)))
        return len(self._cells) - 1

    def leave(self) -> None:
        """Called after each fork in the child: the cells of others are not its own to use."""
        if self._in_server:
            self._in_server = False  # A job forks into its own namespace.
            for cell in self._cells:
                if cell is not self.mine:
                    cell.close_copy()
            os.close(self._freed)
            self._maker.close_copy()


def _give_up(why: str, error: BaseException) -> NoReturn:
    """End this server, and with it the run, which says where to look (`job_server.death`)."""
    try:
        os.write(2, f"crashmatrix: the fork server {why}: {text_of(error)}\n".encode())
    finally:
        os._exit(1)


def _load(module: str) -> None:
    if module.endswith(".py"):
        importlib.import_module("crashmatrix.scenarios.systems.loading").load_module(module)
    else:
        importlib.import_module(module)


def _serve(folders: str) -> _Cells | None:
    """Make this process the server, which imports from these folders; returns its cells, None if there are none."""
    sys.path[:] = folders.split("\n")
    if os.environ.get("PYTHONSAFEPATH") == SAFE_PATH:
        del os.environ["PYTHONSAFEPATH"]  # Not for what targets start.
    die_with_parent(os.getppid())
    if available():
        become_user_of_cells()  # Before anything is imported that starts threads.
    adopt_orphans()
    serve_jobs()
    # An adopted orphan's pid is unexpected there.
    warnings.filterwarnings("ignore", message="forkserver: waitpid returned unexpected pid")
    gc.disable()  # Imported modules stay: to look through them would take a sixth of the time.
    for module in filter(None, os.environ.get(PRELOAD_VARIABLE, "").split("\n")):
        with contextlib.suppress(
            Exception
        ):  # The child that needs it fails with the same error, where it can be reported.
            _load(module)
    cells = None
    if available():
        cells = _Cells()  # After what starts threads: a process whose children are to be in another namespace cannot.
        os.register_at_fork(before=cells.begin, after_in_child=cells.leave)
    gc.collect()
    take_what_is_free()
    gc.freeze()  # Else a job's first collection would look at, and so copy, everything imported here.
    gc.enable()
    return cells


SERVER_PID = os.getpid()
CELLS: _Cells | None = None
"""None where there are no cells."""
if _folders := os.environ.pop(SYS_PATH, ""):  # Only a server has it. An import elsewhere has no effect.
    try:
        CELLS = _serve(_folders)
    except BaseException as error:  # multiprocessing would go on after some.
        _give_up("could not start", error)
