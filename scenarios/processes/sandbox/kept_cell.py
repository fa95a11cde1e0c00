"""Workloads of many recordings, each in the same cell: a cell is made once, where a new PID namespace takes three processes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from crashmatrix.faults.disk.linux.containment import run_started
from crashmatrix.scenarios.processes.sandbox.cell import Cell
from crashmatrix.scenarios.processes.sandbox.view import View

__all__ = ["ConfinedInCell"]


@dataclass(frozen=True)
class ConfinedInCell:
    """Processes that run in a cell, one after the other, with a view of the files; see `crashmatrix.faults.disk.recording`."""

    cell: Cell
    view: View

    def inside(self, path: Path) -> Path:
        """The path at which such a process has a path of ours."""
        return cast("Path", self.view.inside(path))

    def run(self, function: Callable[[], None], *, time_limit_seconds: float) -> tuple[int, str]:
        """Run a function there; whatever it leaves has ended when this returns."""
        return run_started(
            lambda body: self.cell.start(body, self.view),
            function,
            self.cell.empty,
            time_limit_seconds=time_limit_seconds,
        )
