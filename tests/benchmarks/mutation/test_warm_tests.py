"""Tests run in forks of one process, each with its own bug."""

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.mutation.places import ROOT
from benchmarks.mutation.pytest_judge import PYTEST_ARGUMENTS
from benchmarks.mutation.warm_tests import WarmTests
from crashmatrix.scenarios.mutation import results
from crashmatrix.scenarios.mutation.bounded import Stopped
from crashmatrix.scenarios.mutation.overlay import Overlay

pytestmark = pytest.mark.lengthy

MODULE = Path(results.__file__)
LOADS = "def test_one():\n    import crashmatrix.scenarios.mutation.results\n"
HANGS = "import time\n\ndef test_one():\n    time.sleep(600)\n"


@pytest.fixture
def warm() -> Iterator[WarmTests]:
    """The process."""
    found = WarmTests(ROOT)
    yield found
    found.close()


def overlay(tmp_path: Path, name: str, texts: dict[Path, str]) -> Overlay:
    """An overlay in a folder of this name."""
    folder = tmp_path / name
    folder.mkdir()
    return Overlay(folder, texts)


def test_each_run_has_its_own_bug(tmp_path: Path, warm: WarmTests) -> None:
    """A bug is loaded, and gone in the next run; a run that takes too long is ended, and the next one is made."""
    tests, hangs, stop = tmp_path / "test_one.py", tmp_path / "test_two.py", threading.Event()
    tests.write_text(LOADS)
    hangs.write_text(HANGS)
    sound, bug = overlay(tmp_path, "sound", {}), overlay(tmp_path, "bug", {MODULE: "raise SystemError('planted')\n"})
    for which, status in ((bug, 1), (sound, 0), (bug, 1)):
        log = tmp_path / "output.txt"
        assert warm.run([*PYTEST_ARGUMENTS, str(tests)], which, log, 60, stop) == status
        assert ("planted" in log.read_text()) is bool(status)
    assert bug.was_loaded() and not sound.was_loaded()
    assert warm.run([*PYTEST_ARGUMENTS, str(hangs)], sound, log, 0.5, stop) is None
    assert warm.run([*PYTEST_ARGUMENTS, str(tests)], sound, log, 60, stop) == 0


def test_a_run_is_stopped(tmp_path: Path) -> None:
    """Once the event is set, the process ends with the test that it runs."""
    hangs, stop, warm = tmp_path / "test_two.py", threading.Event(), WarmTests(ROOT)
    hangs.write_text(HANGS)
    stop.set()
    with pytest.raises(Stopped):
        warm.run([*PYTEST_ARGUMENTS, str(hangs)], overlay(tmp_path, "sound", {}), tmp_path / "output.txt", 60, stop)
    warm.close()
