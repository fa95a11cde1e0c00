"""The program's end: the right exit status, one line that says what went wrong, and nothing left behind."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests import ROOT
from tests.processes import alive, descendants
from tests.scenarios.cli.test_commands import ALL_KILLS, KILL, TOYS, start_long_run
from tests.scenarios.command_line import CRASHMATRIX, crashmatrix

PATH = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
ENVIRONMENT = {**os.environ, "PYTHONPATH": PATH}
LONG = "sqlite:delete-full"  # Half a minute at least, and found out something in the first second.
SIGNALS = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]

SLOW = """
import time
from pathlib import Path
from crashmatrix import SystemUnderTest


class Slow(SystemUnderTest):
    def setup(self):
        Path(__file__).with_name("begun").touch()
        return ()

    def prepare(self, root):
        time.sleep(600)

    def workload(self, root, journal): ...

    def recover(self, root):
        return []
"""


def one_line(text: str) -> str:
    """The only line on stderr."""
    (line,) = text.splitlines()
    assert line.startswith("crashmatrix: ")
    return line


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the reports of a broken store: one, and one of each of two shards."""
    name = tmp_path_factory.mktemp("reports")
    for report, *more in (["whole"], ["1", "--shard", "1/2"], ["2", "--shard", "2/2"]):
        crashmatrix("run", f"{TOYS}:Buffered", *KILL, "--report", report, *more, cwd=name)
    return name


FULL = "os.dup2(os.open('/dev/full', os.O_WRONLY), 1)"
CLOSED = "read, write = os.pipe(); os.close(read); os.dup2(write, 1)"
SPEAKING = [
    ["--help"],
    ["--version"],
    ["init", "new"],
    ["run", f"{TOYS}:Store", *KILL, "--report", "another"],
    ["replay", "kill:toy.put.after_write@1", "--report", "whole"],
    ["targets"],
    ["failpoints", f"{TOYS}:Store"],
    ["mutants", "--list"],
    ["doctor"],
    ["report", "whole"],
    ["diff", "whole", "whole"],
    ["merge", "merged", "1", "2"],
]


@pytest.mark.daily(2)
@pytest.mark.parametrize("arguments", SPEAKING, ids=lambda arguments: arguments[0])
@pytest.mark.parametrize("full", [True, False], ids=["full", "closed"])
def test_output_that_cannot_be_written(full: bool, arguments: list[str], folder: Path, tmp_path: Path) -> None:
    """A full device, or a pipe that nobody reads, never makes a command end with the status of a broken promise."""
    shutil.copytree(folder, tmp_path / "in")
    run = crashmatrix(*arguments, cwd=tmp_path / "in", first=FULL if full else CLOSED)
    assert run.returncode == 2
    assert "standard output cannot be written" in one_line(run.stderr)


def test_output_and_errors_that_cannot_be_written(tmp_path: Path) -> None:
    """If neither output nor errors can be written, the exit status still reports the failure."""
    run = subprocess.run(
        [*CRASHMATRIX, "nosuch"], cwd=tmp_path, env=ENVIRONMENT, stderr=os.open("/dev/full", os.O_WRONLY)
    )
    assert run.returncode == 2


@pytest.mark.skipif(os.geteuid() != 0, reason="root is needed to mount a small disk")
def test_a_report_on_a_full_disk(tmp_path: Path) -> None:
    """A disk that fills up during the run is named, with what to do."""
    (tmp_path / "small").mkdir()
    script = f'mount -t tmpfs -o size=16k none small && exec {sys.executable} -c "$0" "$@"'
    program = ["unshare", "-m", "sh", "-c", script, CRASHMATRIX[2]]
    run = subprocess.run(
        [*program, "run", f"{TOYS}:Buffered", *ALL_KILLS, "--report", "small/report"],
        cwd=tmp_path, env=ENVIRONMENT, capture_output=True, text=True,
    )  # fmt: skip
    assert run.returncode == 2
    line = one_line(run.stderr)
    assert line == "crashmatrix: small/report: No space left on device; make room there, or name another with --report"


def patched(patch: str, *arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run the program with something changed in it."""
    return crashmatrix(*arguments, cwd=cwd, first=patch, TMPDIR=str(cwd))


WRONG = "def wrong(): raise ZeroDivisionError('by\\n\\x1b[31mzero')\ncli.examine = wrong"


def test_internal_error(tmp_path: Path) -> None:
    """An error of ours is one line that says where to report it; the traceback is in the file that it names."""
    run = patched(WRONG, "doctor", cwd=tmp_path)
    assert (run.returncode, run.stdout) == (2, "")
    line = one_line(run.stderr)
    assert line.startswith("crashmatrix: internal error, no verdict (ZeroDivisionError: by \\x1b[31mzero); report it ")
    named = re.search(r"with the file (.*)$", line)
    assert named is not None
    assert "Traceback" in Path(named[1]).read_text()


def test_internal_error_with_debug(tmp_path: Path) -> None:
    """With --debug, anywhere on the command line, the traceback is printed and no file written."""
    for arguments in (["--debug", "doctor"], ["doctor", "--debug"]):
        run = patched(WRONG, *arguments, cwd=tmp_path)
        assert run.returncode == 2
        assert "Traceback" in run.stderr
        assert run.stderr.splitlines()[-1].endswith("with the traceback above")
    assert [*tmp_path.glob("crashmatrix-error*")] == []


@pytest.mark.parametrize(
    ("error", "said"),
    [
        ("MemoryError()", "out of memory or processes; use fewer --jobs"),
        ("OSError(24, 'Too many open files')", "Too many open files; raise the limit of open files (ulimit -n)"),
        ("OSError(28, 'No space left on device', 'x/y')", "x/y: No space left on device; make room there"),
        ("SystemExit(1)", ""),
    ],
)
def test_the_machine_is_at_fault(error: str, said: str, tmp_path: Path) -> None:
    """Lack of memory, files or disk space is neither an internal error nor a broken promise."""
    run = patched(f"def wrong(): raise {error}\ncli.examine = wrong", "doctor", cwd=tmp_path)
    assert run.returncode == 2
    assert run.stderr.startswith(f"crashmatrix: {said}" if said else "")


def test_a_current_folder_that_is_gone(tmp_path: Path) -> None:
    """A deleted current folder is said to be that."""
    script = f'mkdir gone; cd gone; rmdir ../gone; exec {sys.executable} -c "$0" "$@"'
    run = subprocess.run(
        ["sh", "-c", script, CRASHMATRIX[2], "targets"], cwd=tmp_path, env=ENVIRONMENT, capture_output=True, text=True
    )
    assert (run.returncode, run.stdout) == (2, "")
    assert "the current folder is gone" in one_line(run.stderr)


def scratch_of(run: subprocess.Popen[str]) -> list[Path]:
    return [
        path for parent in ("/dev/shm", tempfile.gettempdir()) for path in Path(parent).glob(f"crashmatrix-{run.pid}-*")
    ]


def end(run: subprocess.Popen[str], number: int, send: Callable[[int], None]) -> None:
    """End a run by a signal, and see that it ends as it should."""
    children = descendants(run.pid)
    assert children
    send(number)
    output, errors = run.communicate(timeout=60)
    assert run.returncode == 128 + number, output + errors
    assert "interrupted" in output
    assert errors == "crashmatrix: interrupted\n"
    assert alive(children) == []
    assert scratch_of(run) == []


@pytest.mark.daily(1)
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_signals_keep_what_was_found(number: int, tmp_path: Path) -> None:
    """Ctrl-C, SIGTERM and SIGHUP: what was found is reported, and nothing is left, neither processes nor files."""
    run = start_long_run(tmp_path, target=LONG)
    end(run, number, run.send_signal)
    summary = json.loads((tmp_path / "report" / "summary.json").read_text())
    lines = (tmp_path / "report" / "results.jsonl").read_text().splitlines()
    assert (summary["interrupted"], summary["verdict"]) == (True, "unknown")
    assert summary["experiments"]["kill"]["scenarios"] == len(lines) > 0
    assert "interrupted" in (tmp_path / "report" / "index.html").read_text()


@pytest.mark.parametrize("number", [signal.SIGTERM, pytest.param(signal.SIGHUP, marks=pytest.mark.slow)])
def test_more_signals_do_not_disturb_the_clean_up(number: int, tmp_path: Path) -> None:
    """Who loses patience gets the same: a report, and nothing left."""

    def send(number: int) -> None:
        for _ in range(40):
            if run.poll() is None:
                run.send_signal(number)
                time.sleep(0.01)

    run = start_long_run(tmp_path, target=LONG)
    end(run, number, send)
    assert json.loads((tmp_path / "report" / "summary.json").read_text())["interrupted"]
    assert [path.name for path in (tmp_path / "report").iterdir() if path.name.endswith(".tmp")] == []


@pytest.mark.parametrize("number", [pytest.param(signal.SIGTERM, marks=pytest.mark.slow), signal.SIGHUP])
def test_a_signal_to_the_whole_group(number: int, tmp_path: Path) -> None:
    """A closed terminal and a CI server's time limit signal all processes at once; none of ours complains."""
    run = start_long_run(tmp_path, target=LONG, start_new_session=True)
    end(run, number, lambda number: os.killpg(run.pid, number))
    assert json.loads((tmp_path / "report" / "summary.json").read_text())["interrupted"]


def test_nohup(tmp_path: Path) -> None:
    """A SIGHUP that was ignored when the program began stays ignored."""
    run = start_long_run(tmp_path, target=LONG, preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN))
    run.send_signal(signal.SIGHUP)
    results = tmp_path / "report" / "results.jsonl"
    size, deadline = results.stat().st_size, time.monotonic() + 60
    while results.stat().st_size == size and run.poll() is None and time.monotonic() < deadline:
        time.sleep(0.05)
    assert run.poll() is None
    end(run, signal.SIGTERM, run.send_signal)


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_during_imports(number: int, tmp_path: Path) -> None:
    """In its first second the program ends at once: one line, no traceback."""
    code = f"""
import os, sys
from crashmatrix.scenarios.cli.main import main
class Finder:
    def find_spec(self, name, *_):
        if name == "crashmatrix.scenarios.campaign.plan":
            os.kill(os.getpid(), {int(number)})
sys.meta_path.insert(0, Finder())
main()"""
    command = [sys.executable, "-c", code, "targets"]
    run = subprocess.run(command, cwd=tmp_path, env=ENVIRONMENT, capture_output=True, text=True)
    assert (run.returncode, run.stdout, run.stderr) == (128 + number, "", "crashmatrix: interrupted\n")


@pytest.mark.parametrize("busy", [False, True])
def test_a_signal_in_a_destructor(busy: bool, tmp_path: Path) -> None:
    """A signal that comes where Python drops exceptions is not lost; on a busy machine it may come again at once."""
    patch = f"""
if {busy}:
    import _thread
    start = _thread.start_new_thread
    _thread.start_new_thread = lambda *arguments: (start(*arguments), time.sleep(0.2))
class Last:
    def __del__(self):
        os.kill(os.getpid(), signal.SIGTERM)
def wait():
    Last()
    time.sleep(60)
cli.examine = wait"""
    run = patched(patch, "doctor", cwd=tmp_path)
    assert (run.returncode, run.stdout, run.stderr) == (143, "", "crashmatrix: interrupted\n")


def start_slow_run(tmp_path: Path) -> subprocess.Popen[str]:
    """In a directory with a safe report, begin a run that never comes to its first result."""
    (tmp_path / "slow.py").write_text(SLOW)
    assert crashmatrix("run", f"{TOYS}:Store", *KILL, cwd=tmp_path).returncode == 0
    run = subprocess.Popen(
        [*CRASHMATRIX, "run", "slow.py:Slow", *KILL], cwd=tmp_path, env=ENVIRONMENT, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    deadline = time.monotonic() + 60
    while not (tmp_path / "begun").exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    return run


READERS = [["report"], ["diff", "crashmatrix-report", "crashmatrix-report"], ["replay", "kill:toy.put.after_write@1"]]


def test_a_run_killed_before_its_first_result(tmp_path: Path) -> None:
    """The report of the run before is not taken for that of the one cut short."""
    run = start_slow_run(tmp_path)
    run.kill()
    run.communicate()
    for reader in READERS:
        read = crashmatrix(*reader, cwd=tmp_path)
        assert (read.returncode, read.stdout) == (2, "")
        assert "crashmatrix-report: the last run there was cut short" in one_line(read.stderr)
    assert crashmatrix("run", f"{TOYS}:Store", *KILL, cwd=tmp_path).returncode == 0
    assert crashmatrix("report", cwd=tmp_path).returncode == 0


@pytest.mark.slow
def test_a_run_ended_before_its_first_result(tmp_path: Path) -> None:
    """A run that a signal ended is cut short, too."""
    run = start_slow_run(tmp_path)
    run.terminate()
    run.communicate(timeout=60)
    assert run.returncode == 143
    assert "safe" not in crashmatrix("report", cwd=tmp_path).stdout


def test_two_runs_in_one_report_directory(tmp_path: Path) -> None:
    """The second is refused while the first lives, changes nothing, and nobody reads what is half-written."""
    run = start_slow_run(tmp_path)
    try:
        second = crashmatrix("run", f"{TOYS}:Store", *KILL, cwd=tmp_path)
        assert (second.returncode, second.stdout) == (2, "")
        assert "crashmatrix-report: another run is writing its report there" in one_line(second.stderr)
        assert "a run is writing its report there now" in one_line(crashmatrix("report", cwd=tmp_path).stderr)
        assert run.poll() is None
    finally:
        run.terminate()
        run.communicate()
