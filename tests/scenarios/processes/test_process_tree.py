"""Process trees: whatever a program starts, and however it hides it, is stopped and ended with it."""

import signal
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from crashmatrix.scenarios.processes.jobs import Jobs
from tests.processes import alive, value
from tests.scenarios import tree_functions as do
from tests.scenarios.processes.test_jobs import SECONDS, message


@pytest.fixture(scope="module")
def jobs() -> Iterator[Jobs]:
    with Jobs(preload=["tests.scenarios.tree_functions"]) as jobs:
        yield jobs


def mentions(folder: Path) -> list[psutil.Process]:
    """Return the processes that work in a folder."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.cwd() == str(folder) and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except psutil.Error:
            continue
    return found


@pytest.mark.parametrize("how", sorted(do.LEAVING))
def test_nothing_is_left_behind(jobs: Jobs, how: str, tmp_path: Path) -> None:
    """Daemons, processes deaf to signals, orphans of a shell: none outlives the body."""
    assert value(jobs.run(do.leave_behind, how, tmp_path, seconds_max=SECONDS)) == 0
    assert list(tmp_path.glob("*.pid"))
    assert mentions(tmp_path) == []


def test_the_starters_death_ends_the_tree(jobs: Jobs, tmp_path: Path) -> None:
    """The starter of the tree may be killed without warning: the tree ends with it."""
    job = jobs.start(do.leave_and_hang, tmp_path, seconds_max=SECONDS)
    assert message(job) == "ready"
    processes = mentions(tmp_path)
    assert len(processes) >= 3
    job.stop()
    job.wait()
    assert alive(processes) == []


@pytest.mark.parametrize("how", [0, 1, 7, -signal.SIGKILL, -signal.SIGSEGV])
def test_status(jobs: Jobs, how: int) -> None:
    """The body's end is reported as it was."""
    assert value(jobs.run(do.end_by, int(how), seconds_max=SECONDS)) == how


def test_status_of_an_exception(jobs: Jobs) -> None:
    """A body that raises has failed."""
    assert value(jobs.run(do.end_by_exception, seconds_max=SECONDS)) == 1


def test_frozen(jobs: Jobs, tmp_path: Path) -> None:
    """Within the block no process of the tree writes anything; afterwards they go on."""
    first, second, later = value(jobs.run(do.freeze, tmp_path, seconds_max=SECONDS))
    assert first == second < later
