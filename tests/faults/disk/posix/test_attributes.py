"""Changes to attributes are recorded, and the recorded filesystem answers as others do."""

import os
import stat
import struct
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from crashmatrix.faults.disk import CrashImages, CrashState, CrashStates, Machine, StateOptions, Sync, Trace, record
from crashmatrix.faults.disk.trace.operations import ACCESSED, MODE, MODIFIED, OWNER, ROOT, Attribute
from tests.faults.disk.posix.support import POSIX
from tests.faults.disk.support import in_child

pytestmark = pytest.mark.usefixtures("fuse")

NOBODY = 2**32 - 1
ACL_ENTRIES = ((1, 6, NOBODY), (2, 4, 1234), (4, 0, NOBODY), (16, 4, NOBODY), (32, 0, NOBODY))
"""The owner, user 1234, the group, the mask, others: what each may do."""

ACL = struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in ACL_ENTRIES)


def changed(trace: Trace) -> list[tuple[bytes, bytes | None]]:
    return [(each.name, each.value) for each in trace.operations if isinstance(each, Attribute)]


def work(machine: Machine) -> None:
    file = machine.root / "f"
    file.write_text("x")
    for name, value in (("user.a", b"1"), ("user.a", b"2"), ("user.b", b""), ("user.c", b"c" * 5000)):
        os.setxattr(file, name, value)
    os.removexattr(file, "user.b")
    assert sorted(os.listxattr(file)) == ["user.a", "user.c"]
    assert os.getxattr(file, "user.a") == b"2"
    assert os.getxattr(file, "user.c") == b"c" * 5000
    for call, number in (
        (lambda: os.getxattr(file, "user.b"), 61), (lambda: os.removexattr(file, "user.b"), 61),
        (lambda: os.setxattr(file, "user.a", b"", os.XATTR_CREATE), 17),
        (lambda: os.setxattr(file, "user.b", b"", os.XATTR_REPLACE), 61),
    ):  # fmt: skip
        assert refused(call) == number
    file.chmod(0o600)
    file.chmod(0o600)  # Nothing changes, so nothing is recorded.
    os.utime(file, ns=(10**18 + 1, 10**18 + 2))
    os.setxattr(machine.root, "user.root", b"r")
    machine.root.chmod(0o700)


def refused(call: Callable[[], object]) -> int:
    try:
        call()
    except OSError as error:
        return error.errno or 0
    return 0


def test_changes_are_recorded_and_come_back() -> None:
    """Each change once, with its value. The orderly end has them all."""
    trace = record(work, options=POSIX)
    assert changed(trace) == [
        (b"user.a", b"1"), (b"user.a", b"2"), (b"user.b", b""), (b"user.c", b"c" * 5000), (b"user.b", None),
        (MODE, b"%d" % (stat.S_IFREG | 0o600)), (ACCESSED, b"%d" % (10**18 + 1)), (MODIFIED, b"%d" % (10**18 + 2)),
        (b"user.root", b"r"), (MODE, b"%d" % (stat.S_IFDIR | 0o700)),
    ]  # fmt: skip

    def look(root: Path) -> list[object]:
        state = (root / "f").stat()
        names = sorted(os.listxattr(root / "f"))
        return [
            state.st_mode,
            state.st_mtime_ns,
            names,
            os.getxattr(root, "user.root"),
            stat.S_IMODE(root.stat().st_mode),
        ]

    expected = [stat.S_IFREG | 0o600, 10**18 + 2, ["user.a", "user.c"], b"r", 0o700]
    assert at_the_end(trace, look) == expected


def at_the_end(trace: Trace, look: Callable[[Path], list[object]]) -> list[object]:
    def run() -> list[object]:
        with CrashImages(trace) as images, images.mounted(CrashState.whole(trace, len(trace.operations))) as root:
            return look(root)

    return in_child(run)


def test_which_sync_keeps_them() -> None:
    """An fdatasync is recorded as one, of a file as of a directory."""

    def syncs(machine: Machine) -> None:
        (machine.root / "f").write_text("x")
        for path in (machine.root / "f", machine.root):
            descriptor = os.open(path, os.O_RDONLY)
            os.fdatasync(descriptor)
            os.fsync(descriptor)
            os.close(descriptor)

    trace = record(syncs, options=POSIX)
    found = [each for each in trace.operations if isinstance(each, Sync)]
    assert [(each.inode == ROOT, each.data_only) for each in found] == [
        (False, True),
        (False, False),
        (True, True),
        (True, False),
    ]


def test_times_of_changes_are_in_the_order_of_changes() -> None:
    """Files written one after the other come back with times in that order, and a program sees the times that come back."""

    def three(machine: Machine) -> None:
        for name in ("c", "a", "b"):
            (machine.root / name).write_text("x")
            seen = (machine.root / name).stat().st_mtime_ns
            machine.note(f"{name} {seen}".encode())
            if name != "c":
                time.sleep(0.003)  # The clock of the recorder moves on every millisecond.

    trace = record(three, options=POSIX)
    noted = {note.split()[0].decode(): int(note.split()[1]) for note in trace.notes_before(len(trace.operations))}
    found = at_the_end(trace, lambda root: [{name: (root / name).stat().st_mtime_ns for name in "abc"}])[0]
    assert found == noted
    assert sorted(noted, key=lambda name: noted[name]) == ["c", "a", "b"]


def test_how_fast_changes_come_makes_no_difference() -> None:
    """A busy machine, or a slow program, has the same crash states become the same trees."""

    def outcomes(seconds: float) -> list[int]:
        def three(machine: Machine) -> None:
            for name in ("c", "a", "b"):
                (machine.root / name).write_text("x")
                time.sleep(seconds)
            os.utime(machine.root / "a")

        states = CrashStates(record(three, options=POSIX), StateOptions(seed=0))
        numbers: dict[int, int] = {}
        return [numbers.setdefault(states.outcomes.of(state), len(numbers)) for state in states]

    assert outcomes(0.003) == outcomes(0)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may do that")
def test_owners_acls_and_privileges() -> None:
    """An owner is recorded; set-user-ID bits go when a file is given away or written by others; permissions follow an ACL."""

    def give(machine: Machine) -> None:
        for name in ("given", "written", "listed"):
            (machine.root / name).write_text("x")
        for name in ("given", "written"):
            (machine.root / name).chmod(0o4777)
        os.chown(machine.root / "given", 5, 6)
        assert (machine.root / "given").stat().st_mode & 0o7777 == 0o777
        machine.root.chmod(0o755)
        in_child(lambda: write_as_nobody(machine.root / "written"))
        assert (machine.root / "written").stat().st_mode & 0o7777 == 0o777
        os.setxattr(machine.root / "listed", "system.posix_acl_access", ACL)
        assert (machine.root / "listed").stat().st_mode & 0o7777 == 0o640

    trace = record(give, options=POSIX)
    assert (OWNER, b"5 6") in changed(trace)
    assert changed(trace).count((MODE, b"%d" % (stat.S_IFREG | 0o777))) == 2

    def look(root: Path) -> list[object]:
        states = [(root / name).stat() for name in ("given", "written", "listed")]
        acl = os.getxattr(root / "listed", "system.posix_acl_access")
        return [*((state.st_uid, state.st_mode & 0o7777) for state in states), acl]

    assert at_the_end(trace, look) == [(5, 0o777), (0, 0o777), (0, 0o640), ACL]


def write_as_nobody(path: Path) -> None:
    os.setuid(65534)
    path.write_text("y")
