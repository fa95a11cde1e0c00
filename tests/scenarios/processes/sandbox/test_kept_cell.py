"""A cell that is kept for many recordings: each workload has it for itself, and nothing is left for the next one."""

import os
import signal
import subprocess
from contextlib import closing
from pathlib import Path

import pytest

from crashmatrix.scenarios.processes.sandbox.cell import Cell, lacking
from crashmatrix.scenarios.processes.sandbox.kept_cell import ConfinedInCell
from crashmatrix.scenarios.processes.sandbox.view import View, needed_folders
from tests.faults.disk.support import in_child

pytestmark = [
    pytest.mark.skipif(bool(lacking()), reason=lacking()),
    pytest.mark.skipif(os.geteuid() != 0, reason="root makes cells of its own; others have a maker"),
]


def outcomes(folder: Path) -> list[tuple[int, str]]:
    """The outcomes of a workload that leaves a process behind, of those that look for it, and of two that do not return."""
    root = folder / "data"
    root.mkdir()

    def leaves() -> None:
        subprocess.Popen(["sleep", "1000000"], start_new_session=True)
        (inside / "number").write_text(str(os.getpid()))

    def looks() -> None:
        others = [name for name in os.listdir("/proc") if name.isdigit() and int(name) not in (1, os.getpid())]  # noqa: PTH208
        Path("/tmp/mine").touch(exist_ok=False)  # its own
        assert not others, others
        assert int((inside / "number").read_text()) < os.getpid()

    def raises() -> None:
        raise KeyError("why")

    with closing(Cell.made()) as cell:
        confined = ConfinedInCell(cell, View(folder, visible=needed_folders()))
        inside = confined.inside(root)
        runs = [(leaves, 60.0), (looks, 60.0), (looks, 60.0), (raises, 60.0), (signal.pause, 0.2)]
        return [confined.run(function, time_limit_seconds=limit) for function, limit in runs]


def test_a_cell_is_kept(tmp_path: Path) -> None:
    """Each workload finds an empty cell, and endings are distinguished."""
    *returned, raised, hung = in_child(lambda: outcomes(tmp_path))
    assert returned == [(0, "")] * 3
    assert raised[0] == 1
    assert "KeyError: 'why'" in raised[1]
    assert hung == (-9, "it was still running after 0.2 s")
