"""The published packages: each once, no tests, the same wheel from the tree and from the source distribution."""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
import tomllib
import venv
import zipfile
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests import ROOT
from tests.house import NAME, PACKAGES

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def called(*command: str | Path, cwd: Path) -> str:
    environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTHONHOME")}
    ended = subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=250, env=environment)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the source distribution, the wheel built from it, and in `tree` the wheel built from the tree."""
    if find_spec("build") is None or find_spec("hatchling") is None:
        if os.environ.get("CI") == "true":
            pytest.fail("build and hatchling are missing; the group dist installs them")
        pytest.skip("needs the packages of the group dist; run: pip install --group dist")
    folder = tmp_path_factory.mktemp("dist")
    build = (sys.executable, "-m", "build", "--no-isolation", "--outdir")
    called(*build, folder, ROOT, cwd=folder)
    called(*build, folder / "tree", "--wheel", ROOT, cwd=folder)
    return folder


def wheel(folder: Path) -> Path:
    (found,) = folder.glob("*.whl")
    return found


def contents(path: Path) -> dict[str, bytes]:
    """The files of a wheel or a source distribution, by their names in it."""
    if path.suffix == ".whl":
        with zipfile.ZipFile(path) as archive:
            return {name: archive.read(name) for name in archive.namelist()}
    with tarfile.open(path) as archive:
        assert all(member.isfile() for member in archive), "a link would point out of it"
        files = [(member.name.partition("/")[2], archive.extractfile(member)) for member in archive]
        return {name: file.read() for name, file in files if file is not None}


def expected() -> dict[str, bytes]:
    """Every file of the packages that is under version control, or would be."""
    listed = called("git", "ls-files", "--cached", "--others", "--exclude-standard", *PACKAGES, cwd=ROOT).splitlines()
    files = {f"{NAME}/{name}": (ROOT / name).read_bytes() for name in listed if (ROOT / name).is_file()}
    own = ("__init__.py", "py.typed", "pytest_plugin.py")
    return files | {f"{NAME}/{name}": (ROOT / "src" / NAME / name).read_bytes() for name in own}


@pytest.mark.lengthy
def test_the_wheel_holds_each_module_once(built: Path) -> None:
    """The packages as they stand in the tree, data and templates included, and nothing else: no tests, no second copy."""
    found = {name: data for name, data in contents(wheel(built)).items() if ".dist-info/" not in name}
    assert found.keys() == expected().keys()
    assert found == expected()


@pytest.mark.lengthy
def test_so_does_the_source_distribution(built: Path) -> None:
    """Below `src`, files in place of the tree's links; beside it only what the build and a reader need."""
    (archive,) = built.glob("*.tar.gz")
    found = contents(archive)
    ours = {name.removeprefix("src/"): data for name, data in found.items() if name.startswith("src/")}
    assert ours == expected()
    beside = {name for name in found if not name.startswith("src/")}
    assert beside == {".gitignore", "CHANGELOG.md", "LICENSE", "PKG-INFO", "README.md", "pyproject.toml"}


def test_the_wheel_is_the_same_from_both(built: Path) -> None:
    """A build from the source distribution gives the published wheel, byte for byte."""
    assert wheel(built).read_bytes() == wheel(built / "tree").read_bytes()


@pytest.mark.lengthy
def test_the_index_would_take_it(built: Path) -> None:
    """Names, metadata and the rendered README pass the check that precedes an upload."""
    files = sorted(str(path) for path in built.iterdir() if path.is_file())
    assert called(sys.executable, "-m", "twine", "check", "--strict", *files, cwd=built).count("PASSED") == 2


def test_pythons() -> None:
    """The classifiers name each Python from the oldest required on, and continuous integration tests each."""
    prefix = "Programming Language :: Python :: 3."
    minors = [int(line.removeprefix(prefix)) for line in PROJECT["classifiers"] if line.startswith(prefix)]
    oldest = int(PROJECT["requires-python"].removeprefix(">=3."))
    assert minors == list(range(oldest, oldest + len(minors)))
    workflow = (ROOT / ".github" / "workflows" / "test.yml").read_text()
    tested = ", ".join(f'"3.{minor}"' for minor in minors)
    assert f"python: [{tested}]" in workflow


@pytest.mark.slow  # Downloads the core's dependencies.
def test_installed_alone(built: Path, tmp_path: Path) -> None:
    """In an environment with only the wheel and its dependencies, the core runs; no part of this tree is seen."""
    venv.create(tmp_path / "bare", with_pip=True)
    python, program = tmp_path / "bare" / "bin" / "python", tmp_path / "bare" / "bin" / "crashmatrix"
    called(python, "-m", "pip", "install", "--quiet", wheel(built), cwd=tmp_path)
    whole = "import crashmatrix, crashmatrix.faults.disk, crashmatrix.reports; print(crashmatrix.__file__)"
    assert called(python, "-c", whole, cwd=tmp_path).startswith(str(tmp_path))
    installed = called(python, "-m", "pip", "list", cwd=tmp_path)
    assert not {"pyarrow", "deltalake", "duckdb"} & set(installed.split())
    assert "replace:fsync-dir" in called(program, "targets", cwd=tmp_path)
    assert "replace.before_rename" in called(program, "failpoints", "replace:fsync-dir", cwd=tmp_path)
    called(program, "run", "replace:fsync-dir", "--budget", "20", cwd=tmp_path)
    called(program, "init", "my_store", cwd=tmp_path)
    called(program, "init", "my_store.toml", cwd=tmp_path)
