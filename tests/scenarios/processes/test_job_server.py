"""The fork server: whatever happens to it, no foreign process is signalled, nothing hangs, and the run says so in one line."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from crashmatrix.scenarios.errors import EnvironmentLacks, ForkServerDied
from crashmatrix.scenarios.processes.job_server import SERVER
from crashmatrix.scenarios.processes.jobs import Jobs
from crashmatrix.scenarios.processes.result import Died, Returned, TimedOut
from crashmatrix.scenarios.processes.sandbox.cell import lacking
from tests import ROOT
from tests.scenarios import job_functions as do
from tests.scenarios.namespaces import INNOCENTS, run_apart

SECONDS = 30.0

TARGETS = """
import os, signal
from crashmatrix import SystemUnderTest

class Store(SystemUnderTest):
    seconds_max = 5.0

    def workload(self, root, journal):
        for i in range(3):
            with journal.attempt(i):
                (root / str(i)).write_text("x")

    def recover(self, root):
        return sorted(int(path.name) for path in root.iterdir())

def server():
    pid = os.getpid()
    while True:
        with open(f"/proc/{pid}/stat") as file:
            parent = int(file.read().rpartition(") ")[2].split()[1])
        with open(f"/proc/{parent}/cmdline") as file:
            if "forkserver" not in file.read():
                return pid
        pid = parent

class KillsItsParent(Store):
    def recover(self, root):
        os.kill(os.getppid(), signal.SIGKILL)
        return super().recover(root)

class KillsTheServer(Store):
    def verify(self, root, promises):
        os.kill(server(), signal.SIGKILL)

class StopsTheServer(Store):
    def recover(self, root):
        os.kill(server(), signal.SIGSTOP)
        return super().recover(root)
"""

KILLED_BETWEEN = """
import os, signal, sys, time
from multiprocessing import forkserver
from multiprocessing.connection import wait
from pathlib import Path

from crashmatrix.scenarios.errors import ScenarioError
from crashmatrix.scenarios.processes.jobs import Jobs
from crashmatrix.scenarios.processes.sandbox import cell
from tests.scenarios import job_functions as do

cell.lacking = lambda: "as on a machine without namespaces"
original = forkserver.connect_to_new_process

def link(path):
    try:
        return os.readlink(path)
    except OSError:
        return ""

def killed_between(fds):
    '''The job is there and waits to hear what to do; the server dies; the job has another parent and stays as it is.'''
    connection = original(fds)
    server = forkserver._forkserver._forkserver_pid
    children = Path(f"/proc/{server}/task/{server}/children")
    while not children.read_text():
        time.sleep(0.001)
    job = int(children.read_text().split()[0])
    wait([connection[0]])  # The server has sent the job's number,
    pipe = os.readlink(f"/proc/self/fd/{connection[0]}")
    while pipe in map(link, Path(f"/proc/{job}/fd").iterdir()):  # and the job has closed the server's files.
        time.sleep(0.001)
    os.kill(job, signal.SIGSTOP)
    os.kill(server, signal.SIGKILL)
    while Path(f"/proc/{job}/stat").read_text().rpartition(") ")[2].split()[1] != "1":
        time.sleep(0.001)
    return connection

try:
    with Jobs() as jobs:
        forkserver.connect_to_new_process = killed_between
        print(jobs.run(do.give, 1, seconds_max=10))
except ScenarioError as error:
    print(type(error).__name__)
"""

NUMBER_USED_AGAIN = """
import os, signal, subprocess, sys, time
from pathlib import Path

from crashmatrix.scenarios.processes.jobs import Jobs
from crashmatrix.scenarios.processes.result import Returned
from tests.scenarios import job_functions as do

def with_number(pid):
    Path("/proc/sys/kernel/ns_last_pid").write_text(str(pid - 1))
    process = subprocess.Popen(["sleep", "1000"], start_new_session=True)
    assert process.pid == pid
    return process

with Jobs() as jobs:
    job = jobs.start(do.give, 1, seconds_max=30)
    assert job.wait() == Returned(1)
    innocent = with_number(job.pid)
    job.stop()
    time.sleep(0.1)
    print(innocent.poll())
"""


@pytest.fixture
def jobs() -> Iterator[Jobs]:
    with Jobs(preload=["tests.scenarios.job_functions"]) as jobs:
        yield jobs


@pytest.mark.lengthy
def test_death_between_fork_and_look(tmp_path: Path) -> None:
    """If the server dies while a job starts, the job's parent is init. Its children are not taken for what jobs left behind."""
    done = run_apart(sys.executable, "-c", KILLED_BETWEEN, cwd=tmp_path)
    assert (done.status, done.output, done.alive) == (0, "ForkServerDied\n", INNOCENTS), done.errors


@pytest.mark.lengthy
def test_number_that_another_process_has(tmp_path: Path) -> None:
    """Stopping a job that has ended leaves alone the process that has its number by now."""
    done = run_apart(sys.executable, "-c", NUMBER_USED_AGAIN, cwd=tmp_path)
    if "ns_last_pid" in done.errors:
        pytest.skip("the next process id cannot be chosen here")
    assert (done.status, done.output) == (0, "None\n"), done.errors


MAIN = """
import sys
from crashmatrix.scenarios.cli.main import main
from crashmatrix.scenarios.processes.sandbox import cell

if sys.argv.pop(1) == "without":
    cell.lacking = lambda: "as on a machine without namespaces"
main()
"""


@pytest.mark.daily(1)
@pytest.mark.experiment
@pytest.mark.parametrize(("target", "status"), [("KillsItsParent", 1), ("KillsTheServer", 3), ("StopsTheServer", 1)])
def test_a_target_reaches_nothing_outside_its_cell(tmp_path: Path, target: str, status: int) -> None:
    """The fork server does not exist for it: it gets a verdict."""
    (tmp_path / "targets.py").write_text(TARGETS)
    run = ("run", f"targets.py:{target}", "--experiments", "kill", "--budget", "20")
    done = run_apart(sys.executable, "-c", MAIN, "with", *run, cwd=tmp_path)
    assert (done.status, done.alive) == (status, INNOCENTS), done.errors
    assert "Traceback" not in done.output + done.errors


@pytest.mark.daily(1)
@pytest.mark.experiment
@pytest.mark.parametrize("target", ["KillsItsParent", "KillsTheServer", "StopsTheServer"])
def test_a_target_that_reaches_out(tmp_path: Path, target: str) -> None:
    """Without cells, a target that kills or stops what it runs under harms nobody else: a verdict, or one line."""
    (tmp_path / "targets.py").write_text(TARGETS)
    run = ("run", f"targets.py:{target}", "--experiments", "kill", "--budget", "20")
    done = run_apart(sys.executable, "-c", MAIN, "without", *run, cwd=tmp_path)
    assert done.alive == INNOCENTS
    assert "Traceback" not in done.output + done.errors
    if target == "StopsTheServer":
        assert done.status == 0, done.errors
    else:
        assert done.status == 2, done.output
        assert done.errors.startswith("crashmatrix: multiprocessing's fork server (process ")
        assert done.errors.count("\n") == 1


def test_another_namespaces_proc(tmp_path: Path) -> None:
    """If /proc shows the processes of another namespace, no process is started or ended."""
    program = (
        "import os; os.path.ismount('/proc'); from crashmatrix.scenarios.processes.jobs import Jobs\nwith Jobs(): pass"
    )
    hidden = ["unshare", "--pid", "--fork", sys.executable, "-c", program]
    done = run_apart(*hidden, cwd=tmp_path)
    if "unshare" in done.errors and "EnvironmentLacks" not in done.errors:
        pytest.skip("no namespace within the namespace")
    assert done.errors.splitlines()[-1].startswith(
        "crashmatrix.scenarios.errors.EnvironmentLacks: /proc is not that of this PID namespace"
    )


@pytest.mark.lengthy
def test_death_while_a_job_runs(jobs: Jobs) -> None:
    """If the server dies, a caller that waits for a job gets an error, and no other caller starts a new server."""
    job = jobs.start(do.hang_alone, seconds_max=SECONDS)
    assert job.next_message() == "here"
    SERVER.process.send(signal.SIGKILL)
    with pytest.raises(ForkServerDied, match="died by SIGKILL"):
        job.wait()
    with pytest.raises(ForkServerDied):
        jobs.start(do.give, 1, seconds_max=SECONDS)
    with Jobs() as others:
        assert others.run(do.give, 1, seconds_max=SECONDS) == Returned(1)


def test_death_while_nothing_runs(jobs: Jobs) -> None:
    """A server that died between two jobs is not replaced unnoticed."""
    assert jobs.run(do.give, 1, seconds_max=SECONDS) == Returned(1)
    SERVER.process.send(signal.SIGKILL)
    with pytest.raises(ForkServerDied):
        jobs.run(do.give, 1, seconds_max=SECONDS)


@pytest.mark.skipif(bool(lacking()), reason=lacking())
def test_a_cell_that_cannot_be_made(capfd: pytest.CaptureFixture[str]) -> None:
    """A job that gets no cell gets no result either: the server says why and ends, and so does the run."""
    with Jobs(preload=["tests.scenarios.job_functions", "tests.scenarios.one_cell"]) as jobs:
        held = jobs.start(do.hang_alone, seconds_max=SECONDS)
        assert held.next_message() == "here"
        with pytest.raises(ForkServerDied, match=r"exited with status 1, .* it has printed why, above: run again"):
            jobs.run(do.give, 1, seconds_max=SECONDS)
    printed = "crashmatrix: the fork server could not make a cell for a job: [Errno 28] No space left on device\n"
    assert capfd.readouterr().err == printed


@pytest.mark.parametrize("status", [255, -1 & 0xFF, 0])
def test_a_status_that_looks_like_death(jobs: Jobs, status: int) -> None:
    """A job that exits with 255, which multiprocessing says of processes whose server died, has just exited with 255."""
    assert jobs.run(do.leave, status, seconds_max=SECONDS) == Died(status)


def test_stopped_server_goes_on(jobs: Jobs) -> None:
    """Jobs start and return, though somebody stops the server again and again."""
    for number in range(3):
        SERVER.process.send(signal.SIGSTOP)
        assert jobs.run(do.give, number, seconds_max=SECONDS) == Returned(number)
    assert jobs.run(do.give, 1, seconds_max=SECONDS) == Returned(1)


def test_stopped_job_goes_on_if_asked(jobs: Jobs) -> None:
    """A job that never stops itself is let go on; any other hangs, which is an answer."""
    assert jobs.run(do.stop_itself, seconds_max=SECONDS, keep_going=True) == Returned("went on")
    assert jobs.run(do.stop_itself, seconds_max=0.5) == TimedOut()


def test_ignored_ends_of_children(tmp_path: Path) -> None:
    """A program started with SIGCHLD ignored can run jobs all the same."""
    program = "from crashmatrix.scenarios.processes.jobs import Jobs\nfrom tests.scenarios import job_functions as do\n"
    program += "with Jobs() as jobs: print(jobs.run(do.give, 5, seconds_max=30).value)"
    done = subprocess.run(
        [sys.executable, "-c", program], env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True,
        preexec_fn=lambda: signal.signal(signal.SIGCHLD, signal.SIG_IGN), timeout=120,
    )  # fmt: skip
    assert (done.stdout, done.returncode) == ("5\n", 0), done.stderr


def test_error_is_one_that_the_command_line_shows() -> None:
    """The error is a line and exit status 2, like any other thing that a machine lacks."""
    assert issubclass(ForkServerDied, EnvironmentLacks)
