"""Folders that a hostile program may have changed: neither a link nor a mount is passed, wherever it is in the path."""

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from crashmatrix.faults.disk import enter_private_namespace
from crashmatrix.faults.disk.linux.folders import Cursor, NotAFolder, kind_of, open_below, opened_folder, read_file
from crashmatrix.faults.disk.linux.kernel import mount
from tests.faults.disk.support import in_child

IN_THE_PLACE: list[tuple[Callable[[Path], object], str]] = [
    (lambda place: place.symlink_to("/"), "a symbolic link"),
    (lambda place: place.symlink_to("absent"), "a symbolic link"),
    (lambda place: place.write_bytes(b""), "a file"),
    (os.mkfifo, "a FIFO"),
]


@pytest.mark.parametrize(("make", "what"), IN_THE_PLACE)
def test_anything_else_in_the_place_of_a_folder(make: Callable[[Path], object], what: str, tmp_path: Path) -> None:
    """Anything but a folder is refused, by a path and by a cursor, and the error says what it is."""
    make(tmp_path / "place")
    with pytest.raises(NotAFolder) as refused, opened_folder(tmp_path / "place"):
        pass
    assert (refused.value.what, refused.value.errno) == (what, errno.ENOTDIR)
    with opened_folder(tmp_path) as folder, Cursor(folder) as cursor:
        assert kind_of(folder, "place/below") == what
        with pytest.raises(NotAFolder):
            cursor.down("place")
        assert (cursor.names, cursor.descriptor) == ([], folder)


@pytest.mark.parametrize("names", [0, 1, 2])
def test_a_link_above_is_not_passed(names: int, tmp_path: Path) -> None:
    """A path through a link is refused, whether the link is in our part of the path or above it."""
    (tmp_path / "real/deep/deeper").mkdir(parents=True)
    (tmp_path / "link").symlink_to("real")
    with opened_folder(tmp_path / "real/deep/deeper", names) as folder:
        assert os.path.samestat(os.fstat(folder), (tmp_path / "real/deep/deeper").stat())
    with pytest.raises(NotAFolder), opened_folder(tmp_path / "link/deep/deeper", names):
        pass
    with opened_folder(tmp_path) as folder, pytest.raises(NotAFolder):
        open_below(folder, "link/deep")


def test_a_missing_folder_is_missing(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), opened_folder(tmp_path / "absent"):
        pass


def test_a_file_is_read_only_if_it_is_one(tmp_path: Path) -> None:
    """A link, a FIFO (which would block) or nothing in its place reads as empty."""
    (tmp_path / "file").write_bytes(b"content")
    (tmp_path / "link").symlink_to("file")
    os.mkfifo(tmp_path / "fifo")
    found = {name: read_file(tmp_path / name) for name in ("file", "link", "fifo", "absent", "absent/file")}
    assert found == {"file": b"content", "link": b"", "fifo": b"", "absent": b"", "absent/file": b""}


def test_a_cursor_goes_deeper_than_a_path_can(tmp_path: Path) -> None:
    """A cursor uses one descriptor at any depth, and finds the way back."""
    name, depth = "d" * 200, 40
    with opened_folder(tmp_path) as folder, Cursor(folder) as cursor:
        for _ in range(depth):
            os.mkdir(name, dir_fd=cursor.descriptor)
            cursor.down(name)
        assert cursor.names == [name] * depth
        cursor.go([name] * 3)
        assert len(cursor.names) == 3
        cursor.go([name] * depth)
        assert len(cursor.names) == depth
        while cursor.names:
            assert cursor.up() == name
        assert cursor.descriptor == folder


def test_a_folder_that_was_moved_is_not_gone_up_from(tmp_path: Path) -> None:
    """A cursor refuses to go up from a moved folder, whose parent is now another folder."""
    (tmp_path / "a/b/c").mkdir(parents=True)
    with opened_folder(tmp_path) as folder, Cursor(folder) as cursor:
        cursor.go(["a", "b", "c"])
        (tmp_path / "a/b/c").rename(tmp_path / "c")
        with pytest.raises(OSError, match="moved away meanwhile"):
            cursor.up()
        assert cursor.names == ["a", "b", "c"]


@pytest.mark.usefixtures("disk")
def test_a_mount_is_not_entered() -> None:
    """A mount is not entered, not even a bind mount of the same filesystem, whose device number is the same."""

    def run() -> list[str]:
        scratch, refused = enter_private_namespace(), []
        for name in ("ours/mounted", "elsewhere"):
            (scratch / name).mkdir(parents=True)
        mount(str(scratch / "elsewhere"), scratch / "ours/mounted", "none", 0x1000)  # MS_BIND
        with opened_folder(scratch / "ours") as folder:
            try:
                Cursor(folder).down("mounted")
            except NotAFolder as error:
                refused.append(error.what)
        try:
            opened_folder(scratch / "ours/mounted").__enter__()
        except NotAFolder as error:
            refused.append(error.what)
        with opened_folder(scratch / "ours/mounted", 0):
            refused.append("above it may be any mount")
        return refused

    assert in_child(run) == ["a mount", "a mount", "above it may be any mount"]
