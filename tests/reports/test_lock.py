"""The lock on a report directory: one run at a time, released by death, and a run that was cut short is known."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from crashmatrix.reports.lock import LOCK, RunLock, unfinished
from tests import ROOT

HOLDER = """
import sys
from pathlib import Path
from crashmatrix.reports.lock import RunLock
lock = RunLock(Path(sys.argv[1]))
if sys.argv[2] == "finished":
    lock.finished()
print("held", flush=True)
sys.stdin.read()
"""


def holder(directory: Path, how: str = "") -> subprocess.Popen[str]:
    """A process that holds the lock until its standard input ends."""
    program = [sys.executable, "-c", HOLDER, str(directory), how]
    process = subprocess.Popen(program, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


@pytest.mark.parametrize(("how", "afterwards"), [("", "cut short"), ("finished", "")])
def test_one_run_at_a_time(how: str, afterwards: str, tmp_path: Path) -> None:
    """A second run is refused while the first lives; when it has died, another may run, and knows whether it finished."""
    with holder(tmp_path, how) as process:
        with pytest.raises(BlockingIOError):
            RunLock(tmp_path)
        assert ("a run is writing its report there now" in unfinished(tmp_path)) is (how == "")
        process.kill()
    assert afterwards in unfinished(tmp_path)
    assert bool(unfinished(tmp_path)) is bool(afterwards)
    lock = RunLock(tmp_path)
    lock.finished()
    lock.release()
    assert unfinished(tmp_path) == ""


def test_no_lock_is_no_run(tmp_path: Path) -> None:
    """A directory without the file, such as an older report, can be read."""
    assert unfinished(tmp_path) == ""
    assert unfinished(tmp_path / "missing") == ""


@pytest.mark.parametrize("what", ["a link", "a second name", "a FIFO", "a directory"])
def test_only_a_file_of_its_own(what: str, tmp_path: Path) -> None:
    """A lock that leads elsewhere is refused, and nothing is written where it leads."""
    (tmp_path / "precious").write_text("precious")
    match what:
        case "a link":
            (tmp_path / LOCK).symlink_to("precious")
        case "a second name":
            (tmp_path / LOCK).hardlink_to(tmp_path / "precious")
        case "a FIFO":
            os.mkfifo(tmp_path / LOCK)
        case "a directory":
            (tmp_path / LOCK).mkdir()
    with pytest.raises(OSError):
        RunLock(tmp_path)
    assert (tmp_path / "precious").read_text() == "precious"


def test_the_note(tmp_path: Path) -> None:
    """While a run lasts, the file says since when and by which process."""
    lock = RunLock(tmp_path)
    try:
        assert (tmp_path / LOCK).read_text().endswith(f" by process {os.getpid()}\n")
    finally:
        lock.release()
