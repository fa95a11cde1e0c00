"""`crashmatrix.run` is the command ``crashmatrix run`` as a call: same results, the verdict as a value."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from crashmatrix import Outcome, UsageError, Verdict, run
from crashmatrix.reports import read_report
from crashmatrix.scenarios.target.journal import Item, Journal
from crashmatrix.scenarios.target.system import SystemUnderTest
from tests.scenarios.toy_systems import Buffered, Store

pytestmark = pytest.mark.experiment

MY_STORE = """
import crashmatrix


class MyStore(crashmatrix.SystemUnderTest):
    def __init__(self, name="data"):
        self.name = name

    def workload(self, root, journal):
        for item in range(2):
            with journal.attempt(item):
                with open(root / self.name, "a") as file:
                    file.write(f"{item}\\n")

    def recover(self, root):
        path = root / self.name
        return [int(line) for line in path.read_text().split()] if path.exists() else []
"""


def test_a_safe_system(tmp_path: Path) -> None:
    """The outcome has verdict, results and report; its text says what was run, and what was not."""
    outcome = run(Store(), experiments=["kill"], budget=8, report=tmp_path / "report")
    assert isinstance(outcome, Outcome)
    assert outcome.verdict == "safe"
    outcome.assert_safe()
    assert str(outcome) == f"Store (exactly-once): safe; {len(outcome.results)} crashes; report: {tmp_path / 'report'}"
    assert (outcome.findings, outcome.not_run) == ([], {})
    summary, results = read_report(outcome.report)
    assert (summary.verdict, results) == (outcome.verdict, outcome.results)


def test_a_broken_system(tmp_path: Path) -> None:
    """The assertion's text has verdict, cause and the command that crashes it again."""
    outcome = run(Buffered(), experiments=["kill"], budget=8, report=tmp_path / "report")
    assert outcome.verdict is Verdict.LOSES
    with pytest.raises(AssertionError) as failed:
        outcome.assert_safe()
    head, *lines = str(failed.value).splitlines()
    assert head.startswith("Buffered breaks its promise (exactly-once): loses in ")
    assert lines[0] == "  loses: acknowledged, but gone: 0 (of 1 acknowledged)"
    assert any(line.startswith("    why: ") for line in lines)
    again = next(line for line in lines if line.startswith("    again: "))
    assert f"--report {tmp_path / 'report'}" in again
    assert str(outcome) == str(failed.value)


def test_a_target_by_its_name(tmp_path: Path) -> None:
    """A target's name on the command line names it here, too."""
    outcome = run("tests.scenarios.toy_systems:Store", experiments=["kill"], budget=4, report=tmp_path / "report")
    assert (outcome.verdict, outcome.system) == (Verdict.SAFE, "Store")


@pytest.mark.daily(1)
@pytest.mark.parametrize(
    "program",
    [
        "from my_store import MyStore\noutcome = crashmatrix.run(MyStore('d'), experiments=['kill'], budget=4)",
        "outcome = crashmatrix.run('my_store.py:MyStore', experiments=['kill'], budget=4)",
    ],
)
def test_from_python_c(program: str, tmp_path: Path) -> None:
    """A program without a file of its own may call it, as a notebook does: the system is defined in a file."""
    (tmp_path / "my_store.py").write_text(MY_STORE)
    command = [sys.executable, "-c", f"import crashmatrix\n{program}\nprint(outcome.verdict, outcome.report)"]
    ran = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert ran.stdout == "safe crashmatrix-report\n", ran.stderr
    assert (tmp_path / "crashmatrix-report" / "index.html").exists()


def test_from_a_script(tmp_path: Path) -> None:
    """The script that defines the system may run it."""
    (tmp_path / "my_store.py").write_text(
        f'{MY_STORE}\nif __name__ == "__main__":\n'
        '    crashmatrix.run(MyStore(), experiments=["kill"], budget=4).assert_safe()\n    print("safe")\n'
    )
    ran = subprocess.run([sys.executable, "my_store.py"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert ran.stdout == "safe\n", ran.stderr


def test_what_cannot_be_used_is_refused(tmp_path: Path) -> None:
    """A wrong name, or a class that other processes cannot find, is an error before anything is run."""

    class Local(SystemUnderTest):
        def workload(self, root: Path, journal: Journal) -> None: ...

        def recover(self, root: Path) -> list[Item]:
            return []

    with pytest.raises(UsageError, match="no experiment 'flood'; there are kill, power"):
        run(Store(), experiments=["flood"], report=tmp_path / "report")
    with pytest.raises(UsageError, match="define it at the top of a file"):
        run(Local(), report=tmp_path / "report")
    with pytest.raises(UsageError, match="no target 'nothing'"):
        run("nothing", report=tmp_path / "report")
    assert not (tmp_path / "report").exists()
