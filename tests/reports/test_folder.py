"""A report directory's files: replaced whole or not at all, within the directory that was opened, and files only."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from crashmatrix.reports.folder import Folder, NotAFile, copy_file, is_leftover, open_file

KINDS: dict[str, Callable[[Path], object]] = {
    "a symbolic link": lambda path: path.symlink_to("file"),
    "a directory": lambda path: path.mkdir(),
    "a FIFO": lambda path: os.mkfifo(path),
}


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("results.jsonl.0123456789abcdef.tmp", True),
        ("results.jsonl.tmp", False),
        ("0123456789abcdef.tmp", False),
        ("x.0123456789ABCDEF.tmp", False),
        ("x.0123456789abcdef.tmp.gz", False),
    ],
)
def test_leftovers(name: str, expected: bool) -> None:
    """A file that was never renamed to its place is known by its name; nobody else names files so by chance."""
    assert is_leftover(name) is expected


@pytest.mark.parametrize("kind", KINDS)
def test_only_files_are_opened(kind: str, tmp_path: Path) -> None:
    """Anything but a regular file is refused at once, by its kind, whichever way it is opened."""
    (tmp_path / "file").write_text("precious")
    KINDS[kind](tmp_path / "x")
    with Folder.open(tmp_path) as folder:
        assert folder.kind("x") == kind
        assert folder.kind("file") == ""
        for use in (
            lambda: open_file(tmp_path / "x"),
            lambda: folder.open_file("x"),
            lambda: copy_file(tmp_path / "x", tmp_path / "copy"),
        ):
            with pytest.raises(NotAFile) as refused:
                use()
            assert str(refused.value) == f"it is {kind}, not a file"
    assert not (tmp_path / "copy").exists()


def test_written_whole(tmp_path: Path) -> None:
    """A file takes the place of the old one when it is complete; a second name of the old one keeps its content."""
    (tmp_path / "x").write_text("old")
    (tmp_path / "other name").hardlink_to(tmp_path / "x")
    with Folder.open(tmp_path) as folder, folder.replace("x") as file:
        file.write(b"new")
        file.flush()
        assert (tmp_path / "x").read_text() == "old"
    file.close()
    assert ((tmp_path / "x").read_text(), (tmp_path / "other name").read_text()) == ("new", "old")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["other name", "x"]


def test_a_failed_write_changes_nothing(tmp_path: Path) -> None:
    """An error before the end leaves the old file, and no other."""
    (tmp_path / "x").write_text("old")
    with Folder.open(tmp_path) as folder, pytest.raises(RuntimeError), folder.replace("x") as file:
        file.write(b"new")
        raise RuntimeError
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"x": "old"}


@pytest.mark.parametrize("call", [1, 2], ids=["content", "name"])
def test_interrupted_while_it_syncs(call: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C stays Ctrl-C, whether the file has its name by then or not; nothing is left over."""
    calls: list[int] = []

    def interrupted(descriptor: int) -> None:
        calls.append(descriptor)
        if len(calls) == call:
            raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupted)
    with Folder.open(tmp_path) as folder, pytest.raises(KeyboardInterrupt):
        folder.write("a", b"new")
    assert [path.name for path in tmp_path.iterdir()] == ["a"][: call - 1]


def test_a_link_is_replaced_not_followed(tmp_path: Path) -> None:
    """A link is replaced, and its target stays as it is."""
    (tmp_path / "precious").write_text("precious")
    (tmp_path / "x").symlink_to("precious")
    with Folder.open(tmp_path) as folder:
        folder.write("x", b"new")
    assert not (tmp_path / "x").is_symlink()
    assert (tmp_path / "precious").read_text() == "precious"


def test_it_stays_in_the_directory_that_was_opened(tmp_path: Path) -> None:
    """A directory that was moved away is still the one that is written; that it is not in its place is seen."""
    (tmp_path / "report").mkdir()
    with Folder.open(tmp_path / "report") as folder:
        assert folder.is_in_place()
        (tmp_path / "report").rename(tmp_path / "moved")
        assert not folder.is_in_place()
        (tmp_path / "report").mkdir()
        assert not folder.is_in_place()
        folder.write("x", b"new")
    assert (tmp_path / "moved" / "x").read_bytes() == b"new"
    assert list((tmp_path / "report").iterdir()) == []


def test_a_link_to_a_directory_is_not_opened(tmp_path: Path) -> None:
    """The directory itself has to be named."""
    (tmp_path / "link").symlink_to(tmp_path)
    with pytest.raises(NotAFile, match="it is a symbolic link"):
        Folder.open(tmp_path / "link")


def test_removed(tmp_path: Path) -> None:
    """A file, a link or a tree is removed by its name, nothing beyond a link. A missing name is not an error."""
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "precious").touch()
    (tmp_path / "in" / "tree" / "deep").mkdir(parents=True)
    (tmp_path / "in" / "tree" / "link").symlink_to(tmp_path / "outside")
    (tmp_path / "in" / "link").symlink_to(tmp_path / "outside")
    (tmp_path / "in" / "file").touch()
    with Folder.open(tmp_path / "in") as folder:
        for name in ("tree", "link", "missing"):
            folder.remove_tree(name)
        for name in ("file", "missing"):
            folder.remove(name)
        assert folder.names() == []
    assert (tmp_path / "outside" / "precious").exists()


def test_a_directory_within(tmp_path: Path) -> None:
    """A directory in the directory is opened, and made if that is wanted; a link to one is not."""
    (tmp_path / "link").symlink_to(tmp_path)
    with Folder.open(tmp_path) as folder:
        with pytest.raises(FileNotFoundError):
            folder.within("traces")
        with folder.within("traces", make=True) as traces:
            traces.write("x", b"1")
        with pytest.raises(OSError, match=r"Not a directory|symbolic"):
            folder.within("link")
    assert (tmp_path / "traces" / "x").read_bytes() == b"1"
