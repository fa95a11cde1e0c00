"""Scratch space: what killed runs left is removed, nothing else is, whatever it is named."""

import fcntl
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

from crashmatrix.scenarios.processes.scratch import OwnFolder, own_folder, scratch_folder
from tests import ROOT

LOCK = ".crashmatrix-lock"


def sweep(place: Path) -> None:
    """Do what any run does first, with temporary files in ``place``."""
    program = "from crashmatrix.scenarios.processes.scratch import scratch_folder\nwith scratch_folder(): pass"
    environment = {**os.environ, "TMPDIR": str(place), "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", program], env=environment, cwd=place, capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stderr) == (0, "")


def dead_pid() -> int:
    process = subprocess.Popen(["true"])
    process.wait()
    return process.pid


def folder(path: Path) -> None:
    path.mkdir()
    (path / "report").write_text("keep me")


def unreadable(path: Path) -> None:
    folder(path)
    path.chmod(0)


def another_users(path: Path) -> None:
    copy_of_one_left(path)
    for each in (path, *path.iterdir()):
        os.chown(each, 12345, 12345)


def with_fifo(path: Path) -> None:
    folder(path)
    os.mkfifo(path / LOCK)


def with_link(path: Path) -> None:
    folder(path)
    (path.parent / "elsewhere").write_text("x")
    (path / LOCK).symlink_to(path.parent / "elsewhere")


def with_folder(path: Path) -> None:
    folder(path)
    (path / LOCK).mkdir()


def with_other_content(path: Path) -> None:
    folder(path)
    (path / LOCK).write_text("somebody else's lock\n")


def copy_of_one_left(path: Path) -> None:
    left = leave(path.parent)
    shutil.copytree(left, path)
    shutil.rmtree(left)


def renamed(path: Path) -> None:
    leave(path.parent).rename(path)


def link_to_one_left(path: Path) -> None:
    kept = path.parent / "kept"
    kept.mkdir()
    path.symlink_to(leave(kept))


NOT_OURS: dict[str, tuple[str, Callable[[Path], object]]] = {
    "wheel": ("crashmatrix-0.1.0-py3-none-any.whl", lambda path: path.write_text("wheel")),
    "no number": ("crashmatrix-1a-b", folder),
    "report": ("crashmatrix-2026-11-27", folder),
    "dead process": (f"crashmatrix-{dead_pid()}-abcdefgh", folder),
    "long number": ("crashmatrix-" + "9" * 100 + "-x", folder),
    "bare": ("crashmatrix-", folder),
    "dangling link": ("crashmatrix-99999999-link", lambda path: path.symlink_to(path.parent / "nowhere")),
    "link to itself": ("crashmatrix-99999999-loop", lambda path: path.symlink_to(path)),
    "link to one left": ("crashmatrix-99999999-left", link_to_one_left),
    "unreadable": ("crashmatrix-99999999-unreadable", unreadable),
    "FIFO": ("crashmatrix-99999999-fifo", os.mkfifo),
    "lock is a FIFO": ("crashmatrix-99999999-a", with_fifo),
    "lock is a link": ("crashmatrix-99999999-b", with_link),
    "lock is a folder": ("crashmatrix-99999999-c", with_folder),
    "lock of others": ("crashmatrix-99999999-d", with_other_content),
    "copy": ("crashmatrix-99999999-e", copy_of_one_left),
    "renamed": ("crashmatrix-99999999-f", renamed),
    "another user's": ("crashmatrix-99999999-g", another_users),
    "name that is not Unicode": ("crashmatrix-99999999-\udcff", folder),
}


def leave(place: Path) -> Path:
    """Have a process make a folder with something in it, and die by SIGKILL."""
    program = """
import os, signal, sys
from pathlib import Path
from crashmatrix.scenarios.processes.scratch import own_folder
own = own_folder(Path(sys.argv[1]))
name = own.path
(name / "deep" / "er").mkdir(parents=True)
(name / "deep" / "file").write_text("x")
print(name, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", program, place], env=environment, capture_output=True, text=True)
    assert done.returncode == -signal.SIGKILL, done.stderr
    return Path(done.stdout.strip())


def shown(path: Path) -> object:
    status = path.lstat()
    names = sorted(each.name for each in path.iterdir()) if path.is_dir() and os.access(path, os.R_OK) else None
    return status.st_ino, status.st_mode, names


@pytest.mark.lengthy
@pytest.mark.daily(5)
@pytest.mark.parametrize(("name", "make"), NOT_OURS.values(), ids=NOT_OURS)
def test_what_is_not_ours(tmp_path: Path, name: str, make: Callable[[Path], object]) -> None:
    """A file or folder that no run of ours has made, or that somebody has moved since, stays, and disturbs nobody."""
    if make is another_users and os.geteuid():
        pytest.skip("only root can give a folder away")
    path = tmp_path / name
    make(path)
    before = shown(path)
    sweep(tmp_path)
    assert shown(path) == before
    if path.is_dir():
        path.chmod(0o700)
        assert list(path.iterdir())


def test_what_a_killed_run_left(tmp_path: Path) -> None:
    """A folder whose maker was killed is removed by the next run, with all in it; links in it are not followed."""
    outside = tmp_path / "outside"
    folder(outside)
    left = leave(tmp_path)
    assert (left / "deep" / "file").exists()
    (left / "link").symlink_to(outside)
    (left / "deep" / "link").symlink_to(outside / "report")
    sweep(tmp_path)
    assert not left.exists()
    assert (outside / "report").read_text() == "keep me"


def test_removal_that_was_cut_short(tmp_path: Path) -> None:
    """The lock file goes last, so what a removal left is removed by the next one."""
    left = leave(tmp_path)
    shutil.rmtree(left / "deep")
    assert [each.name for each in left.iterdir()] == [LOCK]
    sweep(tmp_path)
    assert not left.exists()


@pytest.mark.lengthy
@pytest.mark.parametrize("namespaces", [[], ["--pid"], ["--pid", "--mount"]])
def test_live_run(tmp_path: Path, namespaces: list[str]) -> None:
    """A folder whose maker lives is left alone, in whatever namespace the maker lives; once it ends, the folder goes."""
    program = "import sys\nfrom pathlib import Path\nfrom crashmatrix.scenarios.processes.scratch import own_folder\n"
    program += "with own_folder(Path(sys.argv[1])) as name: print(name, flush=True); sys.stdin.read()"
    apart = ["unshare", "--fork", "--kill-child", *namespaces] if namespaces else []
    if apart and subprocess.run([*apart, "true"], capture_output=True).returncode:
        pytest.skip("no namespaces here")
    with subprocess.Popen(
        [*apart, sys.executable, "-c", program, tmp_path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    ) as process:  # fmt: skip
        assert process.stdout is not None
        name = Path(process.stdout.readline().strip())
        sweep(tmp_path)
        assert (name / LOCK).exists()
        process.communicate("")
    assert not name.exists()


def test_seen_only_when_locked(tmp_path: Path) -> None:
    """A folder that is being made never looks abandoned: the lock file appears locked."""
    seen = []
    original = os.rename

    def rename(self: Path, target: Path) -> Path:
        assert not target.exists()
        original(self, target)
        with target.open() as file, pytest.raises(BlockingIOError):
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        seen.append(target.name)
        return target

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Path, "rename", rename)
        own_folder(tmp_path).cleanup()
    assert seen == [LOCK]
    assert list(tmp_path.iterdir()) == []


def test_fork_server_does_not_keep_the_lock() -> None:
    """A run that is killed leaves folders that the next one can remove, its sockets' among them."""
    program = """
import os, signal, subprocess, sys
from pathlib import Path
from crashmatrix.scenarios.processes.jobs import Jobs
from crashmatrix.scenarios.processes.scratch import scratch_folder
from tests.scenarios import job_functions as do
with scratch_folder() as scratch, Jobs(scratch=scratch) as jobs:
    assert jobs.run(do.give, 1, seconds_max=30).value == 1
    job = jobs.start(do.hang_alone, seconds_max=30)
    job.next_message()
    os.kill(os.getpid(), signal.SIGKILL)
"""
    with tempfile.TemporaryDirectory(prefix="cm", dir="/tmp") as short:  # Sockets are made there if the path is.
        environment = {**os.environ, "TMPDIR": short, "PYTHONPATH": str(ROOT)}
        subprocess.run([sys.executable, "-c", program], env=environment, timeout=60)
        assert len(list(Path(short).iterdir())) == 2
        sweep(Path(short))
        assert list(Path(short).iterdir()) == []


def test_forked_copy_does_not_remove(tmp_path: Path) -> None:
    """A copy of the process that cleans up leaves the folder to its maker."""
    own = OwnFolder(tmp_path)
    pid = os.fork()
    if pid == 0:
        try:
            own.cleanup()
        finally:
            os._exit(0)
    os.waitpid(pid, 0)
    assert (own.path / LOCK).exists()
    own.cleanup()
    assert not own.path.exists()


def test_scratch_folder_goes_with_its_block(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A scratch folder is gone after its block."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    with scratch_folder() as scratch:
        (scratch / "x").mkdir()
        (scratch / "x" / "y").write_text("z")
    assert list(tmp_path.iterdir()) == []
