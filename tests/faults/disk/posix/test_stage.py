"""The stage of a tree: without root, with errors instead of a plain directory, and nothing left of it after a kill."""

import ctypes
import os
import signal
import stat
import time
from pathlib import Path

import pytest

from crashmatrix.faults.disk import (
    CrashImages,
    CrashStates,
    DiskFault,
    Filesystem,
    InvalidOption,
    Machine,
    Missing,
    RecorderFailed,
    RecordOptions,
    record,
    requirements,
)
from crashmatrix.faults.disk.linux.containment import anonymous_file, start_forked
from crashmatrix.faults.disk.linux.kernel import mount
from crashmatrix.faults.disk.linux.namespace import enter_private_namespace
from crashmatrix.faults.disk.posix.stage import TreeStage
from tests.faults.disk.posix.support import POSIX, Files, files, small
from tests.faults.disk.support import in_child, tree, wait_dead

pytestmark = pytest.mark.usefixtures("fuse")

_MS_BIND, _PR_SET_DUMPABLE = 0x1000, 4  # linux/mount.h, linux/prctl.h


def test_what_does_not_apply_is_refused() -> None:
    """A tree has no disk with a size or faults, and no mount options."""
    for options in (
        RecordOptions(filesystem="posix:noatime"),
        RecordOptions(filesystem="posix", size_bytes=1 << 20),
        RecordOptions(filesystem="posix", disk_faults=(DiskFault(request="write", nth=1),)),
    ):
        with pytest.raises(InvalidOption, match=r"; (use|give) "):
            record(small, options=options)


def test_a_dead_server_is_an_error_and_not_a_plain_directory() -> None:
    """Writers to a filesystem whose server is gone get errors."""

    def run() -> None:
        with anonymous_file("log") as log, TreeStage(-1, log, filesystem=Filesystem.parse("posix")) as stage:
            stage.open_disk()
            (stage.mount_point / "data" / "file").write_bytes(b"x")
            pid = stage.state()["pid"]
            assert isinstance(pid, int)
            os.kill(pid, signal.SIGKILL)
            for path in ("data/file", "data/other", "notes"):
                with pytest.raises(OSError, match=r"Errno (103|107)"):
                    (stage.mount_point / path).write_bytes(b"y")
            with pytest.raises(RecorderFailed, match="did not take 'mark start'"):
                stage.command("mark start")

    in_child(run)


def connections() -> set[Path]:
    """The FUSE filesystems of this machine."""
    return set(Path("/sys/fs/fuse/connections").iterdir())


def test_killing_a_recording_leaves_nothing() -> None:
    """A SIGKILL in the middle leaves no mount and no process."""
    reader, writer = os.pipe()
    before = connections()

    def waits(machine: Machine) -> None:
        number = os.minor(machine.root.stat().st_dev)  # The name of the connection.
        os.write(writer, b"%d" % number)
        signal.pause()

    pid = start_forked(lambda: record(waits, options=POSIX))
    os.close(writer)
    ours = Path("/sys/fs/fuse/connections", os.read(reader, 20).decode())
    assert ours not in before
    wait_dead(pid)
    assert os.read(reader, 1) == b""  # Every process that could hold it is gone.
    os.close(reader)
    deadline = time.monotonic() + 30
    while ours in connections():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_it_takes_no_root() -> None:
    """A user who may open /dev/fuse can record and explore, in a user namespace."""

    def as_nobody() -> tuple[list[Missing], Files]:
        scratch = enter_private_namespace()
        os.mknod(scratch / "fuse", stat.S_IFCHR | 0o666, Path("/dev/fuse").stat().st_rdev)
        (scratch / "fuse").chmod(0o666)
        mount(str(scratch / "fuse"), Path("/dev/fuse"), "none", _MS_BIND)  # Open to every user, as on most machines.
        os.setgroups([])
        os.setresgid(65534, 65534, 65534)
        os.setresuid(65534, 65534, 65534)
        ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 1)  # Giving up root took the right to its own /proc/self.

        def explore() -> tuple[list[Missing], Files]:
            missing = requirements(("posix",))
            trace = record(small, options=POSIX)
            with CrashImages(trace) as images, images.mounted(CrashStates(trace).clean) as root:
                return missing, frozenset(tree(root).items())

        return in_child(explore)

    if os.geteuid():
        pytest.skip("root is needed to give it up")
    assert in_child(as_nobody) == ([], files(loose=b"l" * 6000, synced=b"s" * 3000))
