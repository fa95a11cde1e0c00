"""The core stands by itself: without the packages of the extras, everything runs but the targets that need one."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from crashmatrix.faults.disk import requirements
from crashmatrix.scenarios.extras import EXTRAS
from crashmatrix.scenarios.systems import BUILT_IN
from tests import ROOT
from tests.scenarios.command_line import CRASHMATRIX

PACKAGES = sorted(package for packages in EXTRAS.values() for package in packages)
NEEDED = {"reference": "reference", "modelardb": "reference", "deltalake": "reference", "lmdb": "lmdb"}
"""The extra that a built-in target needs, by the first part of its name."""


@pytest.fixture
def bare(tmp_path: Path) -> dict[str, str]:
    """An environment in which Python finds none of the extras' packages."""
    (tmp_path / "path").mkdir()
    shutil.copy(ROOT / "tests" / "scenarios" / "hidden.py", tmp_path / "path" / "sitecustomize.py")
    return {
        **os.environ, "PYTHONPATH": str(tmp_path / "path"), "HIDDEN_PACKAGES": " ".join(PACKAGES), "COLUMNS": "200",
    }  # fmt: skip


def call(environment: dict[str, str], folder: Path, *command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=200)


def test_the_packages_are_hidden(bare: dict[str, str], tmp_path: Path) -> None:
    """The packages have no import, no specification and no version here; otherwise the tests below would prove nothing."""
    program = (
        "import importlib, importlib.util, sys\nfrom importlib import metadata\n"
        "for name in sys.argv[1:]:\n"
        "    assert importlib.util.find_spec(name) is None\n"
        "    for find in (importlib.import_module, metadata.version):\n"
        "        try: find(name)\n"
        "        except ImportError: continue\n"
        "        raise SystemExit(f'{find} finds {name}')\n"
    )
    ended = call(bare, tmp_path, sys.executable, "-c", program, *PACKAGES)
    assert (ended.returncode, ended.stderr) == (0, "")


@pytest.mark.daily(1)
@pytest.mark.parametrize(
    "options",
    [("--experiments", "kill"), ("--experiments", "power", "--fs", "posix")],
    ids=["kill", "power"],
)
def test_experiments(options: tuple[str, ...], bare: dict[str, str], tmp_path: Path) -> None:
    """A target that needs no extra is crashed, and the report is whole."""
    if "power" in options and (missing := requirements(("posix",))):
        pytest.skip("; ".join(map(str, missing)))
    ended = call(bare, tmp_path, *CRASHMATRIX, "run", "replace:fsync-dir", "--budget", "20", *options)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    versions = json.loads((tmp_path / "crashmatrix-report" / "summary.json").read_text())["versions"]
    assert versions["pyarrow"] == "not installed"
    assert (tmp_path / "crashmatrix-report" / "index.html").exists()


PROJECT = """
import os
from crashmatrix import SystemUnderTest
from crashmatrix.scenarios.systems.replace import Replace

def test_it(crash_matrix):
    crash_matrix(Replace("fsync-dir"), experiments=["kill"], budget=12).assert_safe()
"""


def test_pytest_fixture(bare: dict[str, str], tmp_path: Path) -> None:
    """A project's tests crash its store with the plugin."""
    (tmp_path / "test_project.py").write_text(PROJECT)
    plugins = ("-p", "no:cacheprovider", "-p", "no:hypothesispytest")
    ended = call(bare, tmp_path, sys.executable, "-m", "pytest", "-q", *plugins, "test_project.py")
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "1 passed" in ended.stdout


@pytest.mark.daily(1)
@pytest.mark.parametrize("command", ["targets", "doctor"])
def test_informative_commands(command: str, bare: dict[str, str], tmp_path: Path) -> None:
    """Each answers; the doctor says how to install what is missing, and that nobody must have it."""
    ended = call(bare, tmp_path, *CRASHMATRIX, command)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    if command == "doctor":
        lines = [line for line in ended.stdout.splitlines() if "crashmatrix[reference]" in line]
        assert [line.split()[:2] for line in lines] == [["no", package] for package in EXTRAS["reference"]]


@pytest.mark.daily(1)
@pytest.mark.parametrize(("first", "extra"), sorted(NEEDED.items()))
def test_what_needs_an_extra_says_so(first: str, extra: str, bare: dict[str, str], tmp_path: Path) -> None:
    """A target without its extra is refused in one line: the target, the package, and the command that installs it."""
    target = next(name for name in BUILT_IN if name.partition(":")[0] == first)
    ended = call(bare, tmp_path, *CRASHMATRIX, "run", target, "--experiments", "kill")
    assert (ended.returncode, ended.stdout) == (2, "")
    (line,) = ended.stderr.splitlines()
    assert line.startswith(f"crashmatrix: target {target} needs the package ")
    assert line.endswith(
        f"run: pip install 'crashmatrix[{extra}]', or in a clone of the repository: pip install '.[{extra}]'"
    )


@pytest.mark.daily(1)
@pytest.mark.parametrize(
    "command", [("run",), ("failpoints",), ("mutants", "--list"), ("run", "reference+no-sync-record")]
)
def test_so_do_commands_about_the_reference_engine(
    command: tuple[str, ...], bare: dict[str, str], tmp_path: Path
) -> None:
    """The default target is one of them."""
    ended = call(bare, tmp_path, *CRASHMATRIX, *command)
    assert (ended.returncode, ended.stdout) == (2, "")
    (line,) = ended.stderr.splitlines()
    assert "pip install 'crashmatrix[reference]'" in line


def test_extras_are_declared() -> None:
    """`pyproject.toml` and the code agree on which package an extra installs; `all` installs all of them."""
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    names = {extra: tuple(sorted(line.partition(">")[0] for line in lines)) for extra, lines in extras.items()}
    assert names.pop("all") == (f"crashmatrix[{','.join(EXTRAS)}]",)
    assert names == EXTRAS
