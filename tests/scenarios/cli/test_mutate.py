"""The command that plants bugs in a user's store."""

from pathlib import Path

import pytest

from tests.scenarios.command_line import crashmatrix

TARGET = """
import files
from crashmatrix import SystemUnderTest
from crashmatrix.faults import declare

STORED = declare("store.stored", "not acknowledged")

class Mine(SystemUnderTest):
    contract = "latest"

    def workload(self, root, journal):
        for number in range(2):
            with journal.attempt(["a", number]):
                files.put(root / "store", str(number))
                STORED.hit()

    def recover(self, root):
        return [["a", int(text)] for text in files.get(root / "store")]
"""
FILES = """
import os

def put(path, text):
    new = path.with_suffix(".new")
    new.write_text(text)
    os.replace(new, path)
    forget(path)

def get(path):
    return [path.read_text()] if path.exists() else []

def forget(path):
    for old in path.parent.glob("*.old"):
        old.unlink()
"""
MISSED = "files.py:forget:drop-call:1"


@pytest.fixture
def store(tmp_path: Path) -> Path:
    (tmp_path / "mine.py").write_text(TARGET)
    (tmp_path / "files.py").write_text(FILES)
    return tmp_path


@pytest.mark.experiment
def test_a_store_with_bugs(store: Path) -> None:
    """A bug that a kill shows is noticed, a line that is never executed is missed and leads the report; results are kept."""
    options = ("--experiments", "kill", "--budget", "20", "--sample", "6", "--seed", "1", "--jobs", "1")
    done = crashmatrix("mutate", "mine.py:Mine", *options, cwd=store)
    assert done.returncode == 1, done.stdout + done.stderr
    report = (store / "crashmatrix-mutants" / "survivors.md").read_text()
    assert "reach forget in files.py" in done.stdout.splitlines()[1]
    assert report.startswith("# The harness of mine.py:Mine misses ")
    lines = (store / "crashmatrix-mutants" / "results.jsonl").read_text().splitlines()
    assert len(lines) == 6
    assert any('"kind":"refused"' in line or '"kind":"broken"' in line for line in lines), lines
    assert (store / "files.py").read_text() == FILES
    again = crashmatrix("mutate", "mine.py:Mine", *options, cwd=store)
    assert again.stdout == done.stdout
    assert len((store / "crashmatrix-mutants" / "results.jsonl").read_text().splitlines()) == 6


def test_a_list_of_bugs(store: Path) -> None:
    """The list names each bug by its id, and in words."""
    done = crashmatrix("mutate", "mine.py:Mine", "--list", cwd=store)
    assert done.returncode == 0, done.stderr
    assert f"{MISSED}  line 15: without old.unlink()" in done.stdout.splitlines()
    assert not (store / "crashmatrix-mutants").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["sqlite:wal-full"], "comes with crashmatrix"),
        (["mine.py:Mine", "--source", "lost.py"], "lost.py: "),
        (["mine.py:Mine", "--equivalent", "lost.toml"], "name a TOML file"),
        (["mine.py:Mine", "--experiments", "flood"], "no experiment 'flood'"),
        (["mine.py:Mine", "--fs", "fat"], "fat"),
    ],
)
def test_bad_input(store: Path, arguments: list[str], message: str) -> None:
    """Bad input costs one line, and no run."""
    done = crashmatrix("mutate", *arguments, cwd=store)
    assert done.returncode == 2
    assert message in done.stderr and done.stderr.count("\n") == 1
