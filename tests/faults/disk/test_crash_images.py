"""Mounting crash images: undoing what was done to them, refusals, busy images, and leaving nothing behind."""

import contextlib
import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from crashmatrix.faults.disk import (
    FILESYSTEMS,
    CrashImages,
    CrashState,
    CrashStates,
    Machine,
    MountRefused,
    RecordOptions,
    Trace,
    Write,
    die_with_parent,
    record,
)
from tests.faults.disk.support import in_child, tree, wait_dead, write_durably

pytestmark = pytest.mark.usefixtures("disk")


def program(machine: Machine) -> None:
    for number in range(6):
        (machine.root / f"loose{number}").write_bytes(b"%d" % number * 6000)
        write_durably(machine.root / f"file{number}", b"%d" % number * 3000)
        machine.note(b"%d" % number)


@pytest.fixture(scope="module")
def trace() -> Trace:
    return record(program, options=RecordOptions(nudge="mixed"))


@pytest.mark.parametrize("filesystem", FILESYSTEMS)
def test_two_workers_mount_the_same_trace_at_once(filesystem: str) -> None:
    """Images of one filesystem, with one UUID, do not get into each other's way."""
    recorded = record(program, options=RecordOptions(filesystem=filesystem))
    clean = CrashStates(recorded).clean

    def outer() -> None:
        with CrashImages(recorded) as images, images.mounted(clean) as root:
            mine = tree(root)

            def inner() -> None:
                with CrashImages(recorded) as others, others.mounted(clean) as other:
                    assert tree(other) == mine
                    (other / "mine").write_bytes(b"m")

            in_child(inner)
            assert tree(root) == mine

    in_child(outer)


def test_an_image_without_a_filesystem_is_refused_with_a_typed_error(trace: Trace) -> None:
    """The refusal is the filesystem's verdict, and does not affect the next image."""
    wiped = Trace(
        filesystem="ext4", size_bytes=trace.size_bytes, base=trace.base, operations=(Write(0, bytes(1 << 20)),)
    )

    def run() -> str:
        with CrashImages(wiped) as images:
            try:
                with images.mounted(CrashState(1, 1, (), 1)):
                    return "mounted"
            except MountRefused as error:
                with images.mounted(CrashState(0, 0)) as root:
                    assert root.is_dir()
                return str(error)

    assert "as ext4 with nobarrier: EINVAL" in in_child(run)


def left_of_session(session: int) -> list[str]:
    """Processes that belong to a session, by what they are."""
    left = []
    for folder in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if folder.name.isdigit():
                state, _, _, number = (folder / "stat").read_text().rpartition(")")[2].split()[:4]
                if int(number) == session and state != "Z":
                    left.append((folder / "cmdline").read_text())
    return left


def ours() -> set[str]:
    """Files and mounts by the names this library gives; others may come and go while tests run in parallel."""
    folders = [tempfile.gettempdir(), "/dev/shm", "/media", "/mnt", "/srv"]
    names = ("stage-", "images-")
    files = {str(path) for folder in folders for path in Path(folder).glob("*") if path.name.startswith(names)}
    mounts = Path("/proc/self/mountinfo").read_text().splitlines()
    return files | {line for line in mounts if " tmpfs crashmatrix-" in line or "/stage-" in line or "/images-" in line}


@contextlib.contextmanager
def killed_in_the_middle(act: Callable[[Callable[[Path], None]], None]) -> Iterator[str]:
    """Run `act` in a session of its own, kill its first process when it reports a path; yields the loop device below."""
    reader, writer = os.pipe()
    parent = os.getpid()
    pid = os.fork()
    if not pid:
        try:
            os.setsid()
            os.close(reader)
            die_with_parent(parent)

            def report(path: Path) -> None:
                lines = Path("/proc/self/mounts").read_text().splitlines()
                device = next(line.split()[0] for line in lines if line.split()[1] == str(path.parent))
                os.write(writer, device.encode())
                time.sleep(60)

            act(report)
        finally:
            os._exit(1)
    os.close(writer)
    device = os.read(reader, 100).decode()
    os.close(reader)
    backing = Path(f"/sys/block/{Path(device).name}/loop/backing_file")
    used = backing.read_text()
    assert left_of_session(pid)
    wait_dead(pid)
    deadline = time.monotonic() + 100
    while left_of_session(pid) or (backing.exists() and backing.read_text() == used):
        assert time.monotonic() < deadline, (left_of_session(pid), device)
        time.sleep(0.01)
    yield device


def test_a_killed_recording_leaves_nothing(trace: Trace) -> None:
    """No mount, loop device, process or file survives SIGKILL, in the middle of a workload with nudges."""

    def act(report: Callable[[Path], None]) -> None:
        def work(machine: Machine) -> None:
            program(machine)
            # Daemons of daemons, out of reach of any parent's care.
            subprocess.run(["sh", "-c", "setsid sh -c 'sleep 60 > held & sleep 60' &"], cwd=machine.root, check=True)
            report(machine.root)

        record(work, options=RecordOptions(nudge="async"))

    with killed_in_the_middle(act):
        assert not ours()


def test_a_killed_exploration_leaves_nothing(trace: Trace) -> None:
    def act(report: Callable[[Path], None]) -> None:
        with CrashImages(trace) as images, images.mounted(CrashStates(trace).clean) as root:
            parent = os.getpid()
            pid = os.fork()
            if not pid:
                die_with_parent(parent)
                with (root / "open").open("wb"):
                    signal.pause()
            report(root)

    with killed_in_the_middle(act):
        assert not ours()


def test_the_caller_stays_in_its_namespace(trace: Trace) -> None:
    """Recording moves no one but its own processes; exploring moves the process that does it."""
    home = str(Path("/proc/self/ns/mnt").readlink())
    record(program)
    assert str(Path("/proc/self/ns/mnt").readlink()) == home

    def run() -> str:
        with CrashImages(trace):
            return str(Path("/proc/self/ns/mnt").readlink())

    assert in_child(run) != home
