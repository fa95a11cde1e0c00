"""A tree becomes real files, with everything that a crash state leaves of them."""

import os
import stat
from pathlib import Path

import pytest

from crashmatrix.faults.disk import CrashState, Node, Operation, Size, Trace
from crashmatrix.faults.disk.posix.layout import lay_out
from crashmatrix.faults.disk.posix.tree import Trees
from crashmatrix.faults.disk.trace.operations import ACCESSED, MODE, MODIFIED, OWNER, ROOT, Attribute
from tests.faults.disk.posix.support import TWO, A, B, C, made_up, name
from tests.faults.disk.support import tree

NEEDS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="only root may do that")


def laid_out(trace: Trace, place: Path) -> None:
    lay_out(Trees(trace).of(CrashState.whole(trace, trace.finish)), place)


def test_what_is_laid_out_is_the_tree(tmp_path: Path) -> None:
    """Files, holes, links of both kinds and permissions become real ones."""
    trace = made_up(
        *(*TWO, Size(A, 10_000), name(ROOT, b"same", A), Node(B, stat.S_IFDIR | 0o750), name(ROOT, b"d", B)),
        *(Node(C, stat.S_IFLNK | 0o777, b"../a"), name(B, b"l", C), Node(C + 1, stat.S_IFIFO | 0o600)),
        *(name(B, b"p", C + 1), Node(C + 2, stat.S_IFREG | 0o400), name(B, b"f", C + 2)),
    )
    laid_out(trace, tmp_path)
    assert stat.S_ISFIFO((tmp_path / "d/p").stat().st_mode)
    (tmp_path / "d/p").unlink()  # Reading it would block.
    content = b"1" + bytes(9999)
    assert tree(tmp_path) == {"a": content, "same": content, "d": None, "d/l": content, "d/f": b""}
    assert (tmp_path / "a").samefile(tmp_path / "same")
    assert (tmp_path / "d/l").readlink() == Path("../a")
    modes = {path: stat.S_IMODE((tmp_path / path).stat().st_mode) for path in ("a", "d", "d/f")}
    assert modes == {"a": 0o644, "d": 0o750, "d/f": 0o400}


def test_attributes_of_files_and_folders(tmp_path: Path) -> None:
    """Permissions, attributes and times come along, those of a read-only file and of the folder itself, too."""
    sealed, closed = b"%d" % (stat.S_IFREG | 0o400), b"%d" % (stat.S_IFDIR | 0o500)
    changes: list[Operation] = [
        Attribute(A, b"user.x", b"1"), Attribute(A, MODE, sealed), Attribute(A, MODIFIED, b"77"), Attribute(A, ACCESSED, b"88"),
        Node(B, stat.S_IFDIR | 0o755), name(ROOT, b"d", B), Node(C, stat.S_IFREG | 0o600), name(B, b"f", C),
        Attribute(B, MODE, closed), Attribute(B, MODIFIED, b"55"), Attribute(ROOT, MODE, b"%d" % (stat.S_IFDIR | 0o700)),
        Attribute(ROOT, b"user.y", b"2"), Attribute(ROOT, MODIFIED, b"33"),
    ]  # fmt: skip
    try:
        laid_out(made_up(*TWO, *changes), tmp_path)
    except OSError as error:
        pytest.skip(f"this filesystem takes no attributes: {error}")
    states = [(tmp_path / path).stat() for path in ("a", "d", ".", "d/f")]
    assert [(stat.S_IMODE(state.st_mode), state.st_mtime_ns) for state in states[:3]] == [
        (0o400, 77),
        (0o500, 55),
        (0o700, 33),
    ]
    assert states[0].st_atime_ns == 88
    assert os.getxattr(tmp_path / "a", "user.x") == b"1"
    assert os.getxattr(tmp_path, "user.y") == b"2"


@NEEDS_ROOT
def test_owners_and_devices(tmp_path: Path) -> None:
    """So do owners, from the start or given later, without taking set-user-ID bits away, and the numbers of devices."""
    device = Node(C, stat.S_IFCHR | 0o600, b"", (0, 0), os.makedev(1, 3))
    trace = made_up(
        *(Node(A, stat.S_IFREG | 0o4755, b"", (5, 6)), name(ROOT, b"a", A)),
        *(Node(B, stat.S_IFLNK | 0o777, b"a"), name(ROOT, b"l", B), Attribute(B, OWNER, b"7 8")),
        *(device, name(ROOT, b"null", C)),
    )
    laid_out(trace, tmp_path)
    found = {path: os.lstat(tmp_path / path) for path in ("a", "l", "null")}
    assert [(found[path].st_uid, found[path].st_gid) for path in ("a", "l")] == [(5, 6), (7, 8)]
    assert stat.S_IMODE(found["a"].st_mode) == 0o4755
    assert found["null"].st_rdev == os.makedev(1, 3)
