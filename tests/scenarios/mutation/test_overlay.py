"""Other text for some modules, in real processes."""

import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.mutation.pytest_judge import PYTEST_ARGUMENTS
from crashmatrix.scenarios.mutation import results
from crashmatrix.scenarios.mutation.overlay import Overlay

STORE = "def answer(x):\n    if x:\n        return 1\n    return 2\n"


def run(overlay: Overlay, folder: Path, code: str) -> str:
    """Run Python in the folder with the overlay."""
    command = [sys.executable, "-c", code]
    return subprocess.run(
        command, cwd=folder, env=overlay.environment(), capture_output=True, text=True, check=True
    ).stdout


def test_every_process_loads_the_other_text(tmp_path: Path) -> None:
    """A process of the process, and one that imports by a link, loads it; the file stays as it is."""
    store, place = tmp_path / "store.py", tmp_path / "overlay"
    store.write_text(STORE)
    place.mkdir()
    (tmp_path / "linked.py").symlink_to(store)
    overlay = Overlay(place, {store: STORE.replace("1", "7")})
    assert not overlay.was_loaded()
    child = "import linked; print(linked.answer(1))"
    parent = f"import subprocess, sys; print(subprocess.check_output([sys.executable, '-c', {child!r}]))"
    assert "7" in run(overlay, tmp_path, parent)
    assert run(overlay, tmp_path, "import store; print(store.answer(1))") == "7\n"
    assert overlay.was_loaded() and store.read_text() == STORE
    assert run(Overlay(_empty(tmp_path), {}), tmp_path, "import store; print(store.answer(1))") == "1\n"


def test_executed_lines_are_noted(tmp_path: Path) -> None:
    """Statements of functions are noted, in forked processes, too; a file that nobody imports has no lines at all."""
    store, other = tmp_path / "store.py", tmp_path / "other.py"
    store.write_text(STORE)
    other.write_text(STORE)
    overlay = Overlay(_empty(tmp_path), {}, [store, other])
    run(overlay, tmp_path, "import store")
    assert overlay.lines(store) == frozenset()
    run(overlay, tmp_path, "import os, store\nif os.fork() == 0: store.answer(0); os._exit(0)\nos.wait()")
    assert overlay.lines(store) == frozenset({2, 4})
    assert overlay.lines(other) is None


def test_a_sitecustomize_that_is_there_already_is_run(tmp_path: Path) -> None:
    """An installation's own start-up code is not lost."""
    (tmp_path / "sitecustomize.py").write_text("print('own')\n")
    overlay = Overlay(_empty(tmp_path), {})
    environment = overlay.environment()
    environment["PYTHONPATH"] += f":{tmp_path}"
    assert b"own" in subprocess.check_output([sys.executable, "-c", ""], env=environment)


def _empty(tmp_path: Path) -> Path:
    folder = tmp_path / f"overlay-{len(list(tmp_path.iterdir()))}"
    folder.mkdir()
    return folder


@pytest.mark.slow
def test_tests_run_by_pytest_load_it(tmp_path: Path) -> None:
    """pytest loads the modules of packages that have a plugin, as ours has, by itself, unless asserts are left plain."""
    (tmp_path / "test_one.py").write_text("def test_one():\n    import crashmatrix.scenarios.mutation.results\n")
    overlay = Overlay(_empty(tmp_path), {Path(results.__file__): "raise SystemError\n"})
    command = [sys.executable, "-m", "pytest", *PYTEST_ARGUMENTS, "test_one.py"]
    assert subprocess.run(command, cwd=tmp_path, env=overlay.environment(), check=False).returncode == 1
    assert overlay.was_loaded()
