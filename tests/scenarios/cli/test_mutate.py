"""The command that plants bugs in a user's store."""

import json
from pathlib import Path

import pytest

from crashmatrix.scenarios.mutation.mutant import SourceMutant, mutants_of, sampled
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
MISSED, NOTICED = "files.py:forget:drop-call:1", "files.py:get:return-none:1"
SAMPLE = 3


@pytest.fixture
def store(tmp_path: Path) -> Path:
    (tmp_path / "mine.py").write_text(TARGET)
    (tmp_path / "files.py").write_text(FILES)
    return tmp_path


@pytest.mark.experiment
def test_a_store_with_bugs(store: Path) -> None:
    """A bug that the run shows is noticed; a line that is never executed is missed, and the report leads with it."""
    files, shown = store / "files.py", ("--experiments", "kill", "--budget", "20", "--jobs", "1")
    seed = next(seed for seed in range(1000) if {MISSED, NOTICED} <= {each.id for each in drawn(files, seed)})
    options = (*shown, "--sample", str(SAMPLE), "--seed", str(seed))
    done = crashmatrix("mutate", "mine.py:Mine", *options, cwd=store)
    assert done.returncode == 1, done.stdout + done.stderr
    report = store / "crashmatrix-mutants" / "survivors.md"
    assert "  1 bug: reach forget in files.py, line 15: never executed" in done.stdout.splitlines()
    assert report.read_text().startswith("# The harness of mine.py:Mine misses ")
    lines = (store / "crashmatrix-mutants" / "results.jsonl").read_text().splitlines()
    kinds = {row["mutant"]: row["outcomes"]["harness"]["kind"] for row in map(json.loads, lines)}
    assert len(lines) == SAMPLE and kinds[MISSED] == "unreached" and kinds[NOTICED] == "broken", kinds
    assert files.read_text() == FILES
    again = crashmatrix("mutate", "mine.py:Mine", *options, cwd=store)
    assert again.stdout == done.stdout
    assert (store / "crashmatrix-mutants" / "results.jsonl").read_text().splitlines() == lines
    (store / "mine.py").write_text(TARGET.replace("files.put(", '(root / "x.old").touch(); files.put('))
    better = crashmatrix("mutate", "mine.py:Mine", *options, cwd=store)
    assert "never executed" not in better.stdout, better.stdout + better.stderr


@pytest.mark.parametrize("name", ["results.jsonl", "survivors.md"])
def test_a_directory_of_something_else(store: Path, name: str) -> None:
    """It is refused before anything runs, and stays as it is."""
    (store / name).write_text("precious data")
    done = crashmatrix("mutate", "mine.py:Mine", "--report", ".", cwd=store)
    assert done.returncode == 2
    assert name in done.stderr and done.stderr.count("\n") == 1
    assert (store / name).read_text() == "precious data"


def drawn(files: Path, seed: int) -> list[SourceMutant]:
    return sampled(mutants_of(files, "files.py"), SAMPLE, seed)


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
