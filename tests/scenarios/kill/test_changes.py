"""Two snapshots of a folder differ by what was made, written, renamed, linked, exchanged and removed."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from crashmatrix.scenarios.judging.snapshots.snapshot import SnapshotStore
from crashmatrix.scenarios.judging.snapshots.tree import ROOT, Entry, Tree
from crashmatrix.scenarios.kill.changes import changes_between, is_loss, is_of_names

_AT_FDCWD, _RENAME_EXCHANGE = -100, 2


@pytest.fixture
def store(tmp_path: Path) -> SnapshotStore:
    (scratch := tmp_path / "scratch").mkdir()
    return SnapshotStore(scratch)


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        ({}, {"a": "1"}, ["a made"]),
        ({"a": "1"}, {}, ["a removed"]),
        ({"a": "1"}, {"b": "1"}, ["a becomes b"]),
        ({"a": "1", "b": "2"}, {"b": "3"}, ["a removed", "b written"]),
        ({"a": "1", "b": "2"}, {"b": "1"}, ["a becomes b, in place of the one before"]),
        ({"a": "1", "b": "1"}, {"b": "1"}, ["a removed"]),
        (
            {"a": "1", "b": "2", "c": "3"},
            {"b": "1", "c": "1"},
            ["a becomes b, in place of the one before", "c written"],
        ),
        ({"a": "1", "b": "1"}, {"c": "1"}, ["a removed", "b removed", "c made"]),
        ({"a": ""}, {"b": ""}, ["a removed", "b made"]),
        ({"a": "1"}, {"a": "1"}, []),
    ],
)
def test_folders_laid_out_anew(
    before: dict[str, str], after: dict[str, str], words: list[str], tmp_path: Path, store: SnapshotStore
) -> None:
    """Where every inode is another one, a file is known by its content, unless that says nothing."""
    trees: list[Tree] = []
    for number, content in enumerate((before, after)):
        folder = tmp_path / str(number)
        folder.mkdir()
        for name, text in content.items():
            (folder / name).write_text(text)
        trees.append(store.capture(folder))
    assert changes_between(*trees) == words


def exchange(one: Path, other: Path) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    paths = os.fsencode(one), _AT_FDCWD, os.fsencode(other)
    if libc.renameat2(_AT_FDCWD, *paths, _RENAME_EXCHANGE) != 0:
        pytest.skip("this filesystem exchanges no names")


def made_again(root: Path) -> None:
    """`a` goes; `c` comes, which may get its inode's number."""
    (root / "a").unlink()
    (root / "c").write_text("3")


def written_and_renamed(root: Path) -> None:
    (root / "a").write_text("more")
    (root / "a").replace(root / "b")


def rotated(root: Path) -> None:
    (root / "a").rename(root / "a.1")
    (root / "a").write_text("new")


def linked_over(root: Path) -> None:
    """As ``ln -f`` does it."""
    os.link(root / "a", root / "t")
    (root / "t").replace(root / "b")


IN_PLACE = "in place of the one before"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda root: (root / "a").rename(root / "c"), ["a becomes c"]),
        (lambda root: (root / "a").replace(root / "b"), [f"a becomes b, {IN_PLACE}"]),
        (lambda root: (root / "empty").rename(root / "free"), ["empty becomes free"]),
        (lambda root: (root / "a").rename(root / "d" / "a"), ["a becomes d/a"]),
        (lambda root: (root / "d").rename(root / "e"), ["d becomes e"]),
        (written_and_renamed, [f"a becomes b, {IN_PLACE}", "b written"]),
        (lambda root: exchange(root / "a", root / "b"), ["a and b exchanged"]),
        (lambda root: os.link(root / "b", root / "0"), ["0 linked to b"]),
        (linked_over, ["b linked to a"]),
        (rotated, ["a made", "a becomes a.1"]),
        (made_again, ["a removed", "c made"]),
        (lambda root: (root / "a").write_text("2"), ["a written"]),
        (lambda root: os.truncate(root / "a", 0), ["a emptied"]),
        (lambda root: os.truncate(root / "long", 3), ["long becomes shorter: 3 bytes, 8 before"]),
        (lambda root: os.truncate(root / "long", 9), ["long written"]),
        (lambda root: ((root / "a").unlink(), (root / "a").write_text("2")), ["a replaced"]),
    ],
)
def test_one_folder(change: Callable[[Path], object], words: list[str], tmp_path: Path, store: SnapshotStore) -> None:
    """A file that stays where it is laid out is known by its inode, whatever its content."""
    (root := tmp_path / "root").mkdir()
    (root / "d").mkdir()
    for name, content in (("a", "1"), ("b", "2"), ("empty", ""), ("long", "12345678"), ("d/f", "4")):
        (root / name).write_text(content)
    before = store.capture(root)
    change(root)
    assert changes_between(before, store.capture(root)) == words


@pytest.mark.parametrize(
    ("born", "content", "modified", "words"),
    [
        ((5, 5), "1", 7, ["a becomes b"]),
        ((5, 5), "2", 8, ["a becomes b", "b written"]),
        ((5, 6), "1", 7, ["a removed", "b made"]),
        ((0, 0), "1", 7, ["a becomes b"]),
        ((0, 0), "1", 8, ["a removed", "b made"]),
        ((0, 0), "2", 7, ["a removed", "b made"]),
    ],
)
def test_a_number_used_again(born: tuple[int, int], content: str, modified: int, words: list[str]) -> None:
    """A file with the number of one that went is another file, unless its birth, or all else, says otherwise."""
    root = (ROOT, Entry("directory", 0o755, inode=(1, 1)))
    before = Entry("file", 0o644, "1", modified_ns=7, inode=(12, born[0]))
    after = replace(before, content=content, modified_ns=modified, inode=(12, born[1]))
    assert changes_between(Tree((root, ("a", before))), Tree((root, ("b", after)))) == words


@pytest.mark.parametrize(
    ("path", "changes", "words"),
    [
        ("f", {"mode": 0o444}, ["permissions of f become 444"]),
        (".", {"mode": 0o700}, ["permissions of the folder become 700"]),
        ("f", {"owner": (5, 6)}, ["owner of f becomes 5:6"]),
        (
            "f",
            {"attributes": (("user.a", b"2"), ("user.b", b""))},
            ["attribute user.a of f set", "attribute user.b of f set"],
        ),
        ("f", {"attributes": ()}, ["attribute user.a of f removed"]),
        ("f", {"content": "2", "mode": 0o444}, ["f written"]),
        ("f", {"modified_ns": 7}, []),
    ],
)
def test_changes_of_attributes(path: str, changes: dict[str, Any], words: list[str]) -> None:
    """Permissions, owner and attributes have words of their own, so that the step to blame is named."""
    entry = Entry("file", 0o644, "1", attributes=(("user.a", b"1"),))
    assert changes_between(Tree(((path, entry),)), Tree(((path, replace(entry, **changes)),))) == words


@pytest.mark.parametrize(
    ("change", "loses", "of_names"),
    [
        ("a made", False, False),
        ("a written", False, False),
        ("a emptied", True, False),
        ("a becomes shorter: 1 bytes, 2 before", True, False),
        ("a removed", True, True),
        ("a becomes b", False, True),
        ("a becomes b, in place of the one before", False, True),
        ("b linked to a", False, True),
        ("a and b exchanged", False, True),
        ("a replaced", False, True),
    ],
)
def test_kinds_of_changes(change: str, *, loses: bool, of_names: bool) -> None:
    """A change takes content away, or is one of names, or both, or neither."""
    assert (is_loss(change), is_of_names(change)) == (loses, of_names)
