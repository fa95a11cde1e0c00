"""A campaign runs what this machine can run; what it cannot stands beside the verdict, as a user without root sees it."""

from __future__ import annotations

import functools
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import ROOT
from tests.scenarios.cli.test_commands import TOYS
from tests.scenarios.command_line import CRASHMATRIX

NOBODY = "65534"
DROP = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"]
OPEN_FUSE = "mount -t tmpfs none /mnt && mknod -m 666 /mnt/fuse c 10 229 && mount --bind /mnt/fuse /dev/fuse"
CLOSED_FUSE = "mount -t tmpfs none /mnt && mknod -m 600 /mnt/fuse c 10 229 && mount --bind /mnt/fuse /dev/fuse"
ENVIRONMENT = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path]), "COLUMNS": "400", "HOME": "/"}


@functools.cache
def interpreter() -> str:
    """A Python that somebody without rights can run, with everything in it."""
    for program in (sys.executable, f"/usr/bin/python{sys.version_info.major}.{sys.version_info.minor}"):
        if Path(program).exists():
            tried = subprocess.run(
                [
                    *DROP,
                    program,
                    "-c",
                    "import pyarrow, scenarios, subprocess, sys; subprocess.run([sys.executable, '-c', ''], check=True)",
                ],
                cwd="/",
                env=ENVIRONMENT,
                capture_output=True,
            )
            if not tried.returncode:
                return program
    pytest.skip("no Python here can be run by a user without rights")


pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="root is needed to give it up")


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder of that user's, whom pytest's would not let in."""
    with tempfile.TemporaryDirectory(dir="/tmp") as name:  # the only place that anybody can reach
        os.chown(name, int(NOBODY), int(NOBODY))
        yield Path(name)


def crashmatrix(device: str, *arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run the program without rights, in mounts of its own in which /dev/fuse is as wanted."""
    program = [*DROP, interpreter(), *CRASHMATRIX[1:]]
    return subprocess.run(
        ["unshare", "-m", "sh", "-c", f'{device} && exec "$@"', "-", *program, *arguments],
        cwd=cwd, env={**ENVIRONMENT, "TMPDIR": str(cwd)}, capture_output=True, text=True,
    )  # fmt: skip


STORE = ("run", f"{TOYS}:Store", "--budget", "12")


def test_power_not_run(folder: Path) -> None:
    """If only kill can be run, every form of the report says so, and a run that required power is unknown."""
    run = crashmatrix(CLOSED_FUSE, *STORE, cwd=folder)
    assert run.returncode == 0, run.stdout + run.stderr
    said = f"safe under kill; power not run: CAP_SYS_ADMIN: user {NOBODY} may not mount filesystems; run as root (sudo)"
    assert said in run.stdout.splitlines()[-1]
    report = folder / "crashmatrix-report"
    assert "safe under `kill`; `power` not run" in (report / "summary.md").read_text().splitlines()[0]
    assert "safe under kill; power not run" in (report / "index.html").read_text()
    assert "not run: CAP_SYS_ADMIN" in (report / "junit.xml").read_text()
    required = crashmatrix(CLOSED_FUSE, *STORE, "--require", "kill,power", cwd=folder)
    assert required.returncode == 3
    assert "unknown; power not run: CAP_SYS_ADMIN" in required.stdout.splitlines()[-1]
    assert "power was required" in required.stdout.splitlines()[-1]
    assert crashmatrix(CLOSED_FUSE, "report", cwd=folder).returncode == 3


def test_power_on_posix_instead(folder: Path) -> None:
    """A user who may open /dev/fuse gets power cuts on posix instead, and the verdict says so."""
    run = crashmatrix(OPEN_FUSE, *STORE, "--require", "kill,power", cwd=folder)
    last = run.stdout.splitlines()[-1]
    assert "power on posix" in last or "under kill" in last
    assert "power on ext4 not run: CAP_SYS_ADMIN" in last
    summary = json.loads((folder / "crashmatrix-report" / "summary.json").read_text())
    assert summary["options"]["filesystems"] == ["posix"]
    assert summary["experiments"].keys() == {"kill", "power"}


@pytest.mark.parametrize("experiment", ["power", "io-error"])
def test_crashed_folders_are_laid_out_again(experiment: str, folder: Path) -> None:
    """On `posix`, second lives and failing calls start from a crashed folder, whose owner may be unknown where nobody is root."""
    options = ("--experiments", experiment, "--fs", "posix", "--budget", "60")
    run = crashmatrix(OPEN_FUSE, "run", f"{ROOT / 'docs' / 'examples' / 'log_store.py'}:LogStore", *options, cwd=folder)
    assert run.returncode == 0, run.stdout + run.stderr
    assert "LogStore: safe  " in run.stdout.splitlines()[-1]


@pytest.mark.parametrize("options", [["--fs", "ext4"], ["--experiments", "kill,power"]])
def test_what_was_asked_for_is_an_error(options: list[str], folder: Path) -> None:
    """An experiment or filesystem that was named and cannot be run is refused before anything is crashed."""
    run = crashmatrix(CLOSED_FUSE, *STORE, *options, cwd=folder)
    assert (run.returncode, run.stdout) == (2, "")
    assert run.stderr.startswith("crashmatrix: power on ext4: CAP_SYS_ADMIN")
    assert len(run.stderr.splitlines()) == 1


def test_doctor_names_the_permission(folder: Path) -> None:
    """A device that is there and closed to the user needs a permission, not a driver."""
    run = crashmatrix(CLOSED_FUSE, "doctor", cwd=folder)
    assert f"/dev/fuse: permission denied; let user {NOBODY} open it (sudo chmod 666 /dev/fuse" in run.stdout
    assert "modprobe fuse" not in run.stdout
