"""Removing a folder that a hostile program changed: the whole folder goes, and nothing outside changes."""

import logging
import os
import stat
from pathlib import Path

import pytest

from crashmatrix.faults.disk import enter_private_namespace
from crashmatrix.faults.disk.linux.folders import Cursor, opened_folder
from crashmatrix.faults.disk.linux.kernel import mount
from crashmatrix.faults.disk.linux.removal import remove_tree, say_what_is_left
from tests.faults.disk.support import in_child, tree


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/kept").write_bytes(b"kept")
    (tmp_path / "outside/kept").chmod(0o400)
    return tmp_path / "outside"


def test_links_go_and_their_targets_stay(outside: Path, tmp_path: Path) -> None:
    """Links to files and directories go, hard and symbolic, also a link in the place of the folder itself."""
    place = tmp_path / "place"
    place.mkdir()
    (place / "directory").symlink_to(outside)
    (place / "file").symlink_to(outside / "kept")
    (place / "hard").hardlink_to(outside / "kept")
    assert remove_tree(place) == []
    place.symlink_to(outside)
    assert remove_tree(place) == []
    assert not place.is_symlink()
    assert tree(outside) == {"kept": b"kept"}
    assert stat.S_IMODE((outside / "kept").stat().st_mode) == 0o400


def test_a_link_above_is_not_passed(outside: Path, tmp_path: Path) -> None:
    """The folder is not removed through a link above it, and the removal reports that."""
    (tmp_path / "link").symlink_to(outside)
    assert len(remove_tree(tmp_path / "link/kept")) == 1
    assert tree(outside) == {"kept": b"kept"}


@pytest.mark.parametrize("name", [b"\xff\n", b"-rf", b" ", b"n" * 255])
def test_names_do_not_matter(name: bytes, tmp_path: Path) -> None:
    place = tmp_path / "place"
    (place / os.fsdecode(name)).mkdir(parents=True)
    (place / os.fsdecode(name) / os.fsdecode(name)).touch()
    assert remove_tree(place) == []
    assert not place.exists()


def test_depth_does_not_matter(tmp_path: Path) -> None:
    """A tree deeper than Python's stack, and than a path can be, is removed."""
    (tmp_path / "place").mkdir()
    with opened_folder(tmp_path / "place") as folder, Cursor(folder) as cursor:
        for _ in range(1500):
            os.mkdir("deep", dir_fd=cursor.descriptor)
            cursor.down("deep")
    assert remove_tree(tmp_path / "place") == []
    assert not (tmp_path / "place").exists()


def test_what_is_not_there_is_removed(tmp_path: Path) -> None:
    assert remove_tree(tmp_path / "absent") == []
    assert remove_tree(tmp_path / "absent/below") == []
    (tmp_path / "file").touch()
    assert remove_tree(tmp_path / "file") == []
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("disk")
def test_directories_without_permissions_go() -> None:
    """A user who is not root removes them, too; files keep their modes, since they may have another name."""

    def run() -> tuple[list[str], list[str], int]:
        scratch = enter_private_namespace()
        for name in ("home", "home/place/closed/below"):
            (scratch / name).mkdir(parents=True)
            os.chown(scratch / name, 65534, 65534)
        for path in (scratch / "home").rglob("*"):
            os.chown(path, 65534, 65534)
        os.setresuid(65534, 65534, 65534)
        (scratch / "home/place/closed/file").touch(0o400)
        (scratch / "home/other").hardlink_to(scratch / "home/place/closed/file")
        (scratch / "home/place/closed/below").chmod(0)
        (scratch / "home/place/closed").chmod(0o500)
        left = remove_tree(scratch / "home/place")
        mode = (scratch / "home/other").stat().st_mode
        return left, [path.name for path in (scratch / "home").iterdir()], stat.S_IMODE(mode)

    assert in_child(run) == ([], ["other"], 0o400)


@pytest.mark.usefixtures("disk")
def test_mounts_are_detached_and_their_files_stay() -> None:
    """Mounts of a directory, of a file, one over the other, and over the folder itself."""

    def run() -> tuple[list[str], bool, dict[str, bytes | None]]:
        scratch = enter_private_namespace()
        for name in ("place/mounted", "elsewhere/below"):
            (scratch / name).mkdir(parents=True)
        (scratch / "elsewhere/kept").write_bytes(b"kept")
        (scratch / "place/file").touch()
        bind = 0x1000  # MS_BIND
        for _ in range(2):
            mount(str(scratch / "elsewhere"), scratch / "place/mounted", "none", bind)
        mount(str(scratch / "elsewhere/kept"), scratch / "place/file", "none", bind)
        mount(str(scratch / "elsewhere"), scratch / "place", "none", bind)
        left = remove_tree(scratch / "place")
        return left, (scratch / "place").exists(), tree(scratch / "elsewhere")

    assert in_child(run) == ([], False, {"below": None, "kept": b"kept"})


def test_what_is_left_is_said_in_one_line(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        say_what_is_left([])
        say_what_is_left(["/a (busy)"])
        say_what_is_left(["/a (busy)", "/b (busy)", "/c (busy)"])
    assert caplog.messages == [
        "could not remove /a (busy); remove it by hand",
        "could not remove /a (busy) and 2 more; remove it by hand",
    ]
