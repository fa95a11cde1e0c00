"""crashmatrix installed beside somebody's project: their tests run as before, and their packages are theirs."""

import json
import os
import subprocess
import sys
import venv
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import pytest

from tests import ROOT

pytestmark = pytest.mark.experiment  # whole runs of pytest

IMPORT_NAME = "crashmatrix"
PLUGIN = "crashmatrix.pytest_plugin"
OURS = ("crashmatrix", "faults", "reference_wal", "scenarios", "reports")
"""The top-level packages that are installed."""

PACKAGES = ("scenarios", "reports", "faults", "reference_wal")
"""Names that somebody else may well use."""

THEIR_TEST = """
import importlib
import sys
import pytest


@pytest.mark.parametrize("name", ["{names}"])
def test_is_ours(name):
    assert importlib.import_module(name).OWNER == "the project"
    assert importlib.import_module(name + ".part").OWNER == "the project"
"""
CONFTEST = """
import json
import os
import sys


def pytest_unconfigure():
    if "SEEN" in os.environ:
        with open(os.environ["SEEN"], "w") as file:
            json.dump(sorted(sys.modules), file)
"""
UNRELATED = "def test_unrelated(): pass\ndef test_with_a_fixture(tmp_path, request): assert tmp_path\n"
BUILT_MAX_SECONDS = 300


@pytest.fixture(scope="session")
def wheel_python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of a fresh environment with the built wheel and pytest, and nothing else."""
    folder = tmp_path_factory.mktemp("installed")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
    built = subprocess.run(
        [*pip, "wheel", "--quiet", "--no-deps", "--wheel-dir", folder, ROOT],
        capture_output=True, text=True, timeout=BUILT_MAX_SECONDS,
    )  # fmt: skip
    if "No matching distribution found for hatchling" in built.stderr:
        pytest.skip("the build backend, hatchling, cannot be had here")
    assert built.returncode == 0, built.stderr
    (wheel,) = folder.glob("crashmatrix-*.whl")
    venv.create(folder / "venv", symlinks=True)
    python = folder / "venv" / "bin" / "python"
    subprocess.run(
        [*pip, "--python", python, "install", "--quiet", "--no-deps", "--no-index", wheel], check=True, timeout=120
    )
    (site,) = (folder / "venv" / "lib").glob("python*/site-packages")
    for path in _pytest_itself():
        (site / path.name).symlink_to(path)
    return python


def _pytest_itself() -> Iterator[Path]:
    """The files and folders that pytest consists of, where it is installed here."""
    for name in ("pytest", "pluggy", "iniconfig", "packaging", "pygments"):
        distribution = metadata.distribution(name)
        tops = {file.parts[0] for file in distribution.files or () if file.parts[0] not in ("..", "__pycache__")}
        yield from (Path(str(distribution.locate_file(top))) for top in sorted(tops))


@pytest.fixture(params=["editable", pytest.param("wheel", marks=pytest.mark.slow)])
def python(request: pytest.FixtureRequest) -> Path:
    """A Python with crashmatrix installed: as here, and from a wheel."""
    return Path(sys.executable) if request.param == "editable" else request.getfixturevalue("wheel_python")


def project(folder: Path, names: tuple[str, ...] = PACKAGES) -> Path:
    """A project with packages of its own."""
    for name in names:
        (folder / name).mkdir(parents=True)
        for module in ("__init__", "part"):
            (folder / name / f"{module}.py").write_text('OWNER = "the project"\n')
    (folder / "tests").mkdir()
    (folder / "tests" / "test_ours.py").write_text(THEIR_TEST.replace("{names}", '", "'.join(names)))
    (folder / "conftest.py").write_text(CONFTEST)  # puts this folder on the path, as most projects do
    return folder


WITHOUT = ("-p", "no:cacheprovider", "-p", "no:hypothesispytest")
"""Plugins that take time, and make no difference here."""


def run_pytest(
    python: Path, folder: Path, *options: str, by: tuple[str, ...] = ("-P",), environment: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run pytest as its script does, with no current folder on the path when plugins are loaded."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST", "PYTHONPATH"))}
    return subprocess.run(
        [python, *by, "-W", "error::DeprecationWarning", "-m", "pytest", "-q", *WITHOUT, *options],
        cwd=folder, env={**inherited, **(environment or {})}, capture_output=True, text=True, timeout=120,
    )  # fmt: skip


@pytest.mark.daily(1)
@pytest.mark.parametrize(
    ("options", "environment"),
    [
        ([], {}),
        (["-p", "no:crashmatrix"], {}),
        ([], {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}),
        (["-p", PLUGIN], {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}),
        (["--import-mode=importlib", "-c", "own.ini"], {}),
        (["--crash-seed", "3", "--strict-markers"], {}),
    ],
    ids=["on", "off", "no plugins", "by name", "importlib", "options"],
)
def test_their_packages_are_theirs(
    python: Path, options: list[str], environment: dict[str, str], tmp_path: Path
) -> None:
    """A project with packages of our names has its own ones imported, with the plugin on and off."""
    folder = project(tmp_path)
    (folder / "own.ini").write_text("[pytest]\npythonpath = .\n")
    run = run_pytest(python, folder, *options, environment=environment)
    assert run.returncode == 0, run.stdout + run.stderr
    assert f"{len(PACKAGES)} passed" in run.stdout
    assert run.stderr == ""


@pytest.mark.daily(1)
@pytest.mark.parametrize("name", PACKAGES)
def test_one_name_is_enough(python: Path, name: str, tmp_path: Path) -> None:
    """The same with only one such package: the others of ours do not bring it in. And by ``python -m pytest``."""
    folder = project(tmp_path, (name,))
    for by in ((), ("-P",)):
        run = run_pytest(python, folder, by=by)
        assert run.returncode == 0, run.stdout + run.stderr


@pytest.mark.daily(1)
@pytest.mark.parametrize(
    "options", [[], ["--collect-only"], ["--fixtures"], ["--markers"], ["--fixtures-per-test"], ["--help"]]
)
def test_unused_it_imports_nothing(python: Path, options: list[str], tmp_path: Path) -> None:
    """Tests that do not use `crash_matrix` run with none of our modules but the plugin's."""
    (tmp_path / "conftest.py").write_text(CONFTEST)
    (tmp_path / "test_unrelated.py").write_text(UNRELATED)
    seen = tmp_path / "seen.json"
    run = run_pytest(python, tmp_path, *options, environment={"SEEN": str(seen)})
    assert run.returncode == 0, run.stdout + run.stderr
    modules: list[str] = json.loads(seen.read_text())
    assert [name for name in modules if name.partition(".")[0] in OURS] == [IMPORT_NAME, PLUGIN]


def test_used_it_is_there(tmp_path: Path) -> None:
    """The fixture and the classes that its annotations name are imported when they are used."""
    (tmp_path / "test_used.py").write_text(
        "from crashmatrix import CrashMatrix, Outcome\n"
        "def test_it(crash_matrix: CrashMatrix): assert type(crash_matrix) is CrashMatrix and Outcome.assert_safe\n"
    )
    run = run_pytest(Path(sys.executable), tmp_path)
    assert run.returncode == 0, run.stdout + run.stderr


@pytest.mark.slow
def test_the_wheel_has_it_all(wheel_python: Path) -> None:
    """The wheel holds every package of ours, each with its marker for type checkers."""
    program = (
        "import importlib.util, sys, pathlib\n"
        "for name in sys.argv[1:]:\n"
        "    assert (pathlib.Path(importlib.util.find_spec(name).origin).parent / 'py.typed').is_file(), name\n"
    )
    run = subprocess.run([wheel_python, "-I", "-c", program, *OURS], capture_output=True, text=True, timeout=60)
    assert run.returncode == 0, run.stderr
