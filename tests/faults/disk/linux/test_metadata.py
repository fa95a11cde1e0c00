"""No step of setting a file's metadata undoes another, by a path of bytes or by a name in an open folder."""

import os
import stat
from pathlib import Path

import pytest

from crashmatrix.faults.disk.linux.metadata import set_metadata

NEEDS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="only root may do that")
OURS = os.geteuid(), os.getegid()


@pytest.mark.parametrize("in_folder", [False, True])
@pytest.mark.parametrize(
    ("mode", "owner"),
    [(0o444, OURS), pytest.param(0o6755, (1000, 1001), marks=NEEDS_ROOT)],
    ids=["read-only", "set-user-ID"],
)
def test_none_undoes_another(mode: int, owner: tuple[int, int], in_folder: bool, tmp_path: Path) -> None:
    path = tmp_path / "é"
    path.touch(0o600)
    folder = os.open(tmp_path, os.O_RDONLY) if in_folder else None
    name = "é" if in_folder else os.fsencode(path)
    set_metadata(name, owner=owner, attributes=[("user.a", b"1")], mode=mode, times_ns=(2, 3), folder=folder)
    if folder is not None:
        os.close(folder)
    state = path.stat()
    assert (stat.S_IMODE(state.st_mode), (state.st_uid, state.st_gid)) == (mode, owner)
    assert (state.st_atime_ns, state.st_mtime_ns) == (2, 3)
    assert os.getxattr(path, "user.a") == b"1"


def test_a_link_and_times_to_be_left_alone(tmp_path: Path) -> None:
    """The file that a link leads to stays as it was; so do times if none are given."""
    target, link = tmp_path / "target", tmp_path / "link"
    target.touch()
    link.symlink_to(target)
    before, times = target.stat(), link.lstat().st_mtime_ns
    set_metadata(os.fsencode(link), owner=OURS, attributes=(), mode=None, times_ns=None)
    assert link.lstat().st_mtime_ns == times
    set_metadata(os.fsencode(link), owner=OURS, attributes=(), mode=None, times_ns=(5, 5))
    assert link.lstat().st_mtime_ns == 5
    assert target.stat() == before
