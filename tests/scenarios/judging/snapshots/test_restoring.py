"""A folder laid out again looks to a program as it looked before, whatever is in it."""

from __future__ import annotations

import os
import socket
import stat
import struct
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from crashmatrix.faults.disk.linux.containment import run_forked
from crashmatrix.faults.disk.linux.removal import remove_tree
from crashmatrix.scenarios.errors import ScenarioError
from crashmatrix.scenarios.judging.snapshots import restoring
from crashmatrix.scenarios.judging.snapshots.snapshot import SnapshotStore
from crashmatrix.scenarios.judging.snapshots.sparse import chunks
from crashmatrix.scenarios.judging.snapshots.tree import Tree

NEEDS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="only root may do that")
HOUR = 3600 * 10**9


def paths(root: Path) -> list[str]:
    return [str(root), *sorted(str(path) for path in root.rglob("*"))]


def seen(root: Path) -> dict[str, Any]:
    """Everything a program can see of a folder, but for what no program can set."""
    found, first = dict[str, Any](), dict[int, str]()
    for path in paths(root):
        state, name = os.lstat(path), os.path.relpath(path, root)
        attributes = {
            each: os.getxattr(path, each, follow_symlinks=False) for each in os.listxattr(path, follow_symlinks=False)
        }
        found[name] = [
            state.st_mode, state.st_uid, state.st_gid, state.st_mtime_ns, state.st_atime_ns, state.st_rdev, attributes,
            first.setdefault(state.st_ino, name), content(path, state),
        ]  # fmt: skip
    return found


def content(path: str, state: os.stat_result) -> Any:
    """A link's target, or a file's content and the ranges that are no holes."""
    if stat.S_ISLNK(state.st_mode):
        return str(Path(path).readlink())
    if not stat.S_ISREG(state.st_mode):
        return None
    file = os.open(path, os.O_RDONLY | os.O_NOATIME)
    try:
        return state.st_nlink, state.st_size, ranges(file), list(chunks(file))
    finally:
        os.close(file)


def ranges(file: int) -> list[tuple[int, int]]:
    found, at = list[tuple[int, int]](), 0
    while True:
        try:
            start = os.lseek(file, at, os.SEEK_DATA)
        except OSError:
            return found
        at = os.lseek(file, start, os.SEEK_HOLE)
        found.append((start, at))


def hard_links(root: Path) -> None:
    (root / "b").mkdir()
    (root / "b/two").write_text("x")
    for name in ("a", "b/three", "z"):
        os.link(root / "b/two", root / name)
    (root / "alike").write_text("x")


def links_to_a_link(root: Path) -> None:
    (root / "one").symlink_to("nowhere")
    os.link(root / "one", root / "two", follow_symlinks=False)


def times(root: Path) -> None:
    (root / "d/e").mkdir(parents=True)
    for number, name in enumerate(("d/e/f", "d/g", "h")):
        (root / name).write_text("x")
        os.utime(root / name, ns=(0, 5 * HOUR - 10 * number))
    (root / "link").symlink_to("h")
    os.utime(root / "link", ns=(0, 12), follow_symlinks=False)
    for number, folder in enumerate(("d/e", "d", ".")):
        os.utime(root / folder, ns=(0, 2 * HOUR + 1 + number))


def modes(root: Path) -> None:
    for number, mode in enumerate((0o000, 0o400, 0o4755, 0o2755, 0o666)):
        (root / f"f{number}").write_text("x")
        (root / f"f{number}").chmod(mode)
    (root / "d").mkdir()
    (root / "d/in").write_text("x")
    (root / "d").chmod(0o1777)
    root.chmod(0o2700)


def mode_of_an_empty_root(root: Path) -> None:
    root.chmod(0o750)


def attributes(root: Path) -> None:
    (root / "d").mkdir()
    for name in ("d", ".", "f", "sealed"):
        if name in ("f", "sealed"):
            (root / name).write_text("x")
        os.setxattr(root / name, "user.meta", name.encode())
        os.setxattr(root / name, "user.empty", b"")
    (root / "sealed").chmod(0o444)


def attributes_of_root(root: Path) -> None:
    (root / "f").write_text("x")
    os.setxattr(root / "f", "trusted.crashmatrix", b"\0\xff")
    capability = struct.pack("<5I", 0x02000000, 1 << 10, 0, 0, 0)
    os.setxattr(root / "f", "security.capability", capability)


def acl(*entries: tuple[int, int, int]) -> bytes:
    return struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in entries)


NOBODY = 2**32 - 1


def access_lists(root: Path) -> None:
    """One that lets user 1234 read, and one that everything made in a folder inherits."""
    (root / "d").mkdir()
    (root / "d/in").write_text("x")
    (root / "f").write_text("x")
    some = acl((1, 6, NOBODY), (2, 4, 1234), (4, 0, NOBODY), (16, 4, NOBODY), (32, 0, NOBODY))
    os.setxattr(root / "f", "system.posix_acl_access", some)
    os.setxattr(root / "d", "system.posix_acl_default", some)


def special(root: Path) -> None:
    os.mkfifo(root / "fifo", 0o640)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(f"/proc/self/fd/{(folder := os.open(root, os.O_PATH))}/socket")  # The path itself may be too long.
        os.close(folder)


def devices(root: Path) -> None:
    os.mknod(root / "null", stat.S_IFCHR | 0o666, os.makedev(1, 3))
    os.mknod(root / "loop", stat.S_IFBLK | 0o600, os.makedev(7, 200))


def owners(root: Path) -> None:
    (root / "d").mkdir()
    (root / "f").write_text("x")
    (root / "link").symlink_to("f")
    for number, name in enumerate(("f", "d", "link", ".")):
        os.chown(root / name, 1000 + number, 2000 + number, follow_symlinks=False)
    (root / "f").chmod(0o6755)


def sparse(root: Path) -> None:
    for name, pieces in {
        "one": [(300_000, b"x")],
        "zeros": [(8192, bytes(8192))],
        "hole": [],
        "dense": [(0, b"y" * 9000)],
    }.items():
        file = os.open(root / name, os.O_WRONLY | os.O_CREAT)
        os.ftruncate(file, 1_000_001)
        for offset, data in pieces:
            os.pwrite(file, data, offset)
        os.close(file)


def odd_names(root: Path) -> None:
    for name in (b"\xff\x01", b"a\nb", b" ", b"-rf", b"*", "é".encode(), b"x" * 255, b".hidden", b"!"):
        (root / os.fsdecode(name)).touch()
        (root / os.fsdecode(name[:240] + b".link")).symlink_to(os.fsdecode(b"to\xfe"))


LAYOUTS: list[Any] = [
    hard_links, links_to_a_link, times, modes, mode_of_an_empty_root, attributes, access_lists, special, sparse, odd_names,
    pytest.param(attributes_of_root, marks=NEEDS_ROOT), pytest.param(devices, marks=NEEDS_ROOT),
    pytest.param(owners, marks=NEEDS_ROOT),
]  # fmt: skip


@pytest.mark.parametrize("layout", LAYOUTS)
def test_everything_that_a_program_can_see_comes_back(layout: Callable[[Path], None], tmp_path: Path) -> None:
    """The folder laid out again has it all, and taking the snapshot changed nothing, not even a time of access."""
    root, again = tmp_path / "root", tmp_path / "again"
    root.mkdir()
    try:
        layout(root)
    except OSError as error:
        pytest.skip(f"this filesystem refuses it: {error}")
    set_times_of_access(root)
    store, before = SnapshotStore(tmp_path), seen(root)
    tree = store.capture(root)
    assert seen(root) == before
    store.restore(tree, again)
    assert store.capture(again) == tree
    assert seen(again) == before


def set_times_of_access(root: Path) -> None:
    """Each another time, so late that looking at the folder does not change it."""
    for number, path in enumerate(paths(root)):
        later = time.time_ns() + HOUR + number
        os.utime(path, ns=(later, os.lstat(path).st_mtime_ns), follow_symlinks=False)


def test_a_snapshot_is_no_access(tmp_path: Path) -> None:
    """Taking it changes no time of access, of file or folder, that a program could go by; these come back, too."""
    (tmp_path / "root/d").mkdir(parents=True)
    (tmp_path / "root/d/f").write_text("x")
    names = ["d/f", "d", "."]
    for number, name in enumerate(names):
        os.utime(tmp_path / "root" / name, ns=(number, 2 * HOUR))
    store = SnapshotStore(tmp_path)
    store.restore(store.capture(tmp_path / "root"), tmp_path / "again")
    for folder in ("root", "again"):
        assert [os.lstat(tmp_path / folder / name).st_atime_ns for name in names] == [0, 1, 2]


def test_a_thousand_levels(tmp_path: Path) -> None:
    """Depth does not matter, neither to Python's stack nor to the length of paths; the times of all levels come back."""
    folder = os.open(tmp_path, os.O_RDONLY)
    for level in range(1000):
        name = "root" if level == 0 else f"level-{level}"
        os.mkdir(name, dir_fd=folder)
        below = os.open(name, os.O_RDONLY, dir_fd=folder)
        os.close(folder)
        folder = below
    os.close(os.open("one", os.O_CREAT, dir_fd=folder))
    os.link("one", "two", src_dir_fd=folder, dst_dir_fd=folder)
    os.close(folder)
    store = SnapshotStore(tmp_path)
    tree = store.capture(tmp_path / "root")
    store.restore(tree, tmp_path / "again")
    again = store.capture(tmp_path / "again")
    assert again == tree
    assert len(tree.entries) == 1002
    assert [entry.modified_ns for _, entry in again.entries] == [entry.modified_ns for _, entry in tree.entries]
    assert remove_tree(tmp_path) == []  # pytest cannot remove it.


def test_a_folder_that_is_gone_stays_gone(tmp_path: Path) -> None:
    """A program that removed its folder finds none after the crash, and an empty folder is another state."""
    store = SnapshotStore(tmp_path)
    (tmp_path / "empty").mkdir()
    gone, empty = store.capture(tmp_path / "nowhere"), store.capture(tmp_path / "empty")
    assert gone == Tree(())
    assert gone.digest != empty.digest
    store.restore(gone, tmp_path / "empty")
    assert not (tmp_path / "empty").exists()


def test_onto_a_folder_that_holds_something(tmp_path: Path) -> None:
    """Nothing is mixed with a snapshot, nor removed for one of a folder that was gone."""
    store = SnapshotStore(tmp_path)
    (tmp_path / "root").mkdir()
    (tmp_path / "root/f").write_text("x")
    tree = store.capture(tmp_path / "root")
    for each in (tree, Tree(())):
        with pytest.raises(OSError, match=r"exists|not empty"):
            restoring.lay_out(each, tmp_path / "root", tmp_path / "blobs")
    assert (tmp_path / "root/f").read_text() == "x"


@NEEDS_ROOT
def test_a_device_that_may_not_be_made() -> None:
    """Without the privilege, the state cannot be laid out: the error says so, and what to do."""
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        store = SnapshotStore(place)
        (place / "root").mkdir()
        devices(place / "root")
        tree = store.capture(place / "root")
        place.chmod(0o777)
        assert run_forked(lambda: lay_out_as_nobody(tree, place)) == 3


def lay_out_as_nobody(tree: Tree, place: Path) -> None:
    os.setuid(65534)
    try:
        restoring.lay_out(tree, place / "again", place / "blobs")
    except ScenarioError as error:
        os._exit(3 if "run as root" in str(error) else 4)
