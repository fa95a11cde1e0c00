"""Cells: nothing that a job does reaches the machine, and nothing of it is left for the next job."""

import os
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from crashmatrix.scenarios.errors import EnvironmentLacks
from crashmatrix.scenarios.processes.jobs import Jobs
from crashmatrix.scenarios.processes.result import Died, JobResult, Raised, Returned
from crashmatrix.scenarios.processes.sandbox.cell import lacking
from crashmatrix.scenarios.processes.sandbox.view import View, needed_folders
from tests.processes import value
from tests.scenarios import sandbox_functions as do

SECONDS = 120.0

pytestmark = pytest.mark.skipif(bool(lacking()), reason=lacking())


@pytest.fixture(scope="module")
def jobs() -> Iterator[Jobs]:
    with Jobs(preload=["tests.scenarios.sandbox_functions"]) as jobs:
        yield jobs


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "data"
    root.mkdir()
    return root


def view(root: Path | None = None, *writable: Path) -> View:
    return View(root and root.parent, visible=needed_folders(), writable=writable)


def test_it_sees_its_own_processes_only(jobs: Jobs) -> None:
    """Init, which is not the job itself, and the job. The next job has another number."""
    first, second = (value(jobs.run(do.numbers, seconds_max=SECONDS, view=view())) for _ in range(2))
    for own, parent, seen in (first, second):
        assert (parent, seen) == (0, [1, own])
        assert own > 1
    assert first[0] != second[0]


@pytest.mark.parametrize(("how", "result"), [("kill", Died(-9)), ("return", Returned(1))])
def test_nothing_is_left(jobs: Jobs, root: Path, how: str, result: JobResult[int]) -> None:
    """An orphan in a session of its own, without files, deaf to signals: it has ended when the job's end is known."""
    assert jobs.run(do.leave_one_behind, root, how, seconds_max=SECONDS, view=view(root)) == result
    last = (root / "alive").read_bytes()
    time.sleep(0.05)
    assert (root / "alive").read_bytes() == last


def test_nothing_is_left_of_a_job_that_works_for_us(jobs: Jobs, root: Path) -> None:
    """It sees the machine as it is, and what it leaves dies with it all the same."""
    assert jobs.run(do.leave_one_behind, root, "return", seconds_max=SECONDS) == Returned(1)
    last = (root / "alive").read_bytes()
    time.sleep(0.05)
    assert (root / "alive").read_bytes() == last


def test_a_network_of_its_own(jobs: Jobs) -> None:
    """Loopback works; two jobs use one port at the same time, and one after the other; there is no other device."""
    held = jobs.start(do.serve_for_long, seconds_max=SECONDS, view=view())
    assert held.next_message() == "listening"
    for _ in range(3):
        assert jobs.run(do.serve, seconds_max=SECONDS, view=view()) == Returned(b"heard")
    held.answer()
    assert held.wait() == Returned(None)
    devices = value(jobs.run(do.devices, seconds_max=SECONDS, view=view()))
    assert "lo" in devices
    assert not any(name.startswith(("eth", "en", "wl")) for name in devices)


@pytest.mark.lengthy
def test_too_many_processes(jobs: Jobs) -> None:
    """A job that forks without end is ended with all it started, and its result says why; the next one runs."""
    result = jobs.run(do.bomb, seconds_max=SECONDS, view=view())
    assert isinstance(result, Raised)
    assert result.message == "it had more than 512 processes"
    assert jobs.run(do.devices, seconds_max=SECONDS, view=view())


@pytest.mark.slow
def test_too_much_memory(jobs: Jobs) -> None:
    """A job that uses more memory than it may is ended, and its result says why."""
    if psutil.virtual_memory().available < 8 << 30:
        pytest.skip("needs 8 GiB of free memory")
    result = jobs.run(do.devour, (4 << 30) + (64 << 20), seconds_max=SECONDS, view=view())
    assert isinstance(result, Raised)
    assert result.message == "its processes used more than 4,096 MiB of memory"


def test_it_cannot_undo_its_cell(jobs: Jobs) -> None:
    """Neither mount, nor unmount, nor make its own namespace of mounts; init does not hear of a SIGKILL."""
    attempts = value(jobs.run(do.undo, seconds_max=SECONDS, view=view()))
    assert attempts.pop("kill init") == 0
    assert all(attempts.values()), attempts


def test_a_massacre_is_its_own(jobs: Jobs) -> None:
    """A job that kills whatever it sees ends itself at most; the driver goes on, and so does the next job."""
    result = jobs.run(do.end_everything, seconds_max=SECONDS, view=view())
    assert isinstance(result, Raised)
    assert (result.kinds[0], result.message) == ("SystemExit", "-9")
    assert jobs.run(do.serve, seconds_max=SECONDS, view=view()) == Returned(b"heard")


def test_more_cells_than_a_byte_can_number(jobs: Jobs) -> None:
    """A cell of any number is made, and its number is heard when it is empty."""
    assert jobs.run(do.make_cell_number, 300, seconds_max=SECONDS) == Returned(300)


def test_a_job_that_cannot_enter_its_cell(jobs: Jobs, root: Path, tmp_path: Path) -> None:
    """Nothing of the target has run, so this says nothing about it; the next job has the cell."""
    for _ in range(2):
        with pytest.raises(EnvironmentLacks, match=r"no process could be made ready .*open_tree\(.*/gone\)"):
            jobs.run(do.numbers, seconds_max=SECONDS, view=view(root, tmp_path / "gone"))
    assert jobs.run(do.serve, seconds_max=SECONDS, view=view()) == Returned(b"heard")


def test_a_folder_that_is_gone(jobs: Jobs, root: Path) -> None:
    """A process that is to see it ends with status 1, and its maker is left with the files that it had open before."""
    assert jobs.run(do.check_a_folder_that_is_gone, root, seconds_max=SECONDS) == Returned((1, 0))


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to give it up")
def test_a_job_that_gives_up_root(jobs: Jobs, root: Path, tmp_path: Path) -> None:
    """It still reaches its folder and its workspace, though both lie in a folder that only root may enter."""
    closed = tmp_path / "closed"
    (closed / "state" / "data").mkdir(parents=True)
    (closed / "workspace").mkdir()
    (closed / "workspace" / "file").write_text("there")
    closed.chmod(0o700)
    inside = view(closed / "state" / "data", closed / "workspace")
    result = jobs.run(
        do.become_nobody, closed / "state" / "data", closed / "workspace", seconds_max=SECONDS, view=inside
    )
    assert result == Returned((do.NOBODY, "written", "there"))
