"""System calls are named by what they do, and by the line of the target that makes them."""

from __future__ import annotations

import sysconfig
from pathlib import Path

import pytest

from crashmatrix.scenarios.campaign.plan import Plan
from crashmatrix.scenarios.campaign.workbench import workbench
from crashmatrix.scenarios.judging import source_lines, worker as work
from crashmatrix.scenarios.judging.source_lines import line_of
from crashmatrix.scenarios.kill.profile import prepare
from crashmatrix.scenarios.processes.calls.seccomp import lacking
from crashmatrix.scenarios.processes.result import Returned

STORE = """\
import os
import subprocess

from crashmatrix import SystemUnderTest


class Store(SystemUnderTest):
    def workload(self, root, journal):
        with journal.attempt(1):
            (root / "new").write_text("1")
            os.rename(
                root / "new", root / "old")
            subprocess.run(["chmod", "600", root / "old"], check=True)

    def recover(self, root):
        return [1] if (root / "old").exists() else []
"""

PLACES = {
    ("call.openat", 1): ("openat new", "store.py:10"),
    ("call.write", 1): ("write new", "store.py:10"),
    ("call.rename", 1): ("rename new -> old", "store.py:11"),
    ("call.fchmodat", 1): ("fchmodat old", ""),  # by another program
}


@pytest.mark.skipif(bool(lacking()), reason=lacking())
def test_places(tmp_path: Path) -> None:
    """The call, its paths within the folder, and the innermost line of the target; a program in another language has none."""
    (tmp_path / "store.py").write_text(STORE)
    with workbench(Plan(target=f"{tmp_path / 'store.py'}:Store", report=tmp_path / "report")) as (checker, _):
        prepared = prepare(checker)
        folder = checker.folder()
        checker.store.restore(prepared.tree, folder / "data")
        result = checker.run(work.places, folder / "data", folder / "journal", set(PLACES))
    assert isinstance(result, Returned)
    found = {hit: (about, line.rpartition("/")[2]) for hit, (about, line) in result.value.items()}
    assert found == {hit: place for hit, place in PLACES.items() if hit in found}
    assert set(PLACES) - set(found) <= {("call.fchmodat", 1)}  # Some programs make another call for it.


PACKAGE = Path(source_lines.__file__).parents[2]
LIBRARY = f'File "{sysconfig.get_path("stdlib")}/pathlib.py", line 1 in open'


@pytest.mark.parametrize(
    ("stack", "line"),
    [
        ("", ""),
        (
            'Current thread 0x1 (most recent first):\n  File "/a/b.py", line 7 in put\n  File "/a/c.py", line 9 in x',
            "b.py:7",
        ),
        (f'  {LIBRARY}\n  File "/a/b.py", line 7 in put', "b.py:7"),
        (f"  {LIBRARY}", ""),
        ('  File "<string>", line 1 in <module>\n  File "/a/b.py", line 7 in put', "b.py:7"),
        (f'  File "{source_lines.__file__}", line 1 in at\n  File "/a/b.py", line 7 in put', "b.py:7"),
        (
            f'  File "{PACKAGE}/reference_wal/durable_io.py", line 7 in sync_directory',
            "crashmatrix/reference_wal/durable_io.py:7",
        ),
        (
            f'  File "{PACKAGE}/scenarios/systems/replace.py", line 7 in workload',
            "crashmatrix/scenarios/systems/replace.py:7",
        ),
    ],
)
def test_line_of(stack: str, line: str) -> None:
    """The innermost frame that is neither Python's own nor the harness's. Built-in systems are targets like any other."""
    assert line_of(stack) == line
