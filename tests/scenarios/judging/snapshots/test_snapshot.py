"""Snapshots: a folder comes back as it was, and equal folders are known as equal."""

import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st

from crashmatrix.scenarios.judging.snapshots.snapshot import SnapshotStore

Folder = dict[str, Any]
"""A folder written down: name to (mode, bytes), (mode, folder) or the target of a link."""

names = st.text(alphabet="a.-é\n \udcff", min_size=1, max_size=3).filter(lambda name: name not in (".", ".."))
files = st.tuples(st.sampled_from([0o600, 0o644, 0o755, 0o400]), st.sampled_from([b"", b"x", b"y" * 5000]))
folders = st.recursive(
    st.dictionaries(names, st.one_of(files, st.sampled_from(["a", "/nowhere", "../a"])), max_size=3),
    lambda inner: st.dictionaries(
        names, st.one_of(files, st.tuples(st.sampled_from([0o700, 0o755, 0o500, 0o1755]), inner)), max_size=3
    ),
    max_leaves=6,
)


def lay_out(place: Path, folder: Folder) -> Path:
    place.mkdir()
    for name, what in folder.items():
        if isinstance(what, str):
            (place / name).symlink_to(what)
        elif isinstance(what[1], bytes):
            (place / name).write_bytes(what[1])
            (place / name).chmod(what[0])
        else:
            lay_out(place / name, what[1]).chmod(what[0])
    return place


def read_back(place: Path) -> Folder:
    found: Folder = {}
    for item in place.iterdir():
        mode = stat.S_IMODE(item.lstat().st_mode)
        if item.is_symlink():
            found[item.name] = str(item.readlink())
        else:
            found[item.name] = mode, read_back(item) if item.is_dir() else item.read_bytes()
    return found


@contextmanager
def workshop() -> Iterator[tuple[Path, SnapshotStore]]:
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        yield place, SnapshotStore(place)


@settings(deadline=None, max_examples=60)
@given(folders)
def test_round_trip(folder: Folder) -> None:
    """A folder restored from its snapshot has the same files, directories, links and permissions, under the same names."""
    with workshop() as (place, store):
        tree = store.capture(lay_out(place / "one", folder))
        store.restore(tree, place / "new" / "other")
        assert read_back(place / "new" / "other") == folder
        assert store.capture(place / "new" / "other") == tree
        assert [path for path, _ in tree.entries] == sorted(path for path, _ in tree.entries)


@settings(deadline=None, max_examples=60)
@given(folders, folders)
def test_digest(one: Folder, other: Folder) -> None:
    """Two snapshots have the same digest exactly if the folders are equal."""
    with workshop() as (place, store):
        trees = [store.capture(lay_out(place / name, folder)) for name, folder in (("1", one), ("2", other))]
        again = store.capture(lay_out(place / "3", one))
        assert (trees[0].digest == trees[1].digest) is (one == other)
        assert (trees[0].difference(trees[1]) == []) is (one == other)
        assert again.digest == trees[0].digest


BASE: Folder = {"a": (0o644, b"x"), "d": (0o755, {"b": (0o644, b"x"), "link": "b", "e": (0o755, {})})}


@pytest.mark.parametrize(
    ("change", "difference"),
    [
        ({}, []),
        ({"a": (0o644, b"y")}, ["a"]),
        ({"a": (0o644, b"")}, ["a"]),
        ({"a": (0o600, b"x")}, ["a"]),
        ({"a": "b"}, ["a"]),
        ({"a": (0o755, {})}, ["a"]),
        ({"a": None, "b": BASE["a"]}, ["a", "b"]),
        ({"z": (0o644, b"x"), "c": (0o755, {})}, ["c", "z"]),
        ({"d": (0o700, BASE["d"][1])}, ["d"]),
        ({"d": (0o755, {**BASE["d"][1], "link": "a"})}, ["d/link"]),
        ({"d": (0o755, {**BASE["d"][1], "e": (0o755, {"new": (0o644, b"")})})}, ["d/e/new"]),
        ({"d": (0o755, {})}, ["d/b", "d/e", "d/link"]),
    ],
)
def test_difference(tmp_path: Path, change: Folder, difference: list[str]) -> None:
    """The difference of two folders names each path at which they differ, in order, whichever way one looks."""
    store = SnapshotStore(tmp_path)
    one = store.capture(lay_out(tmp_path / "one", BASE))
    other = store.capture(
        lay_out(tmp_path / "other", {name: what for name, what in {**BASE, **change}.items() if what})
    )
    assert one.difference(other) == other.difference(one) == difference
    assert (one.digest == other.digest) is (difference == [])


def test_contents_are_kept_once(tmp_path: Path) -> None:
    """A hundred snapshots of one content take the room of one, and outlive the folder they show."""
    store = SnapshotStore(tmp_path)
    root = lay_out(tmp_path / "root", {"a": (0o644, b"x" * 1000), "b": (0o644, b"x" * 1000)})
    trees = [store.capture(root) for _ in range(100)]
    (root / "a").write_bytes(b"changed since")
    assert len(list((tmp_path / "blobs").iterdir())) == 1
    store.restore(trees[50], tmp_path / "restored")
    assert read_back(tmp_path / "restored") == {"a": (0o644, b"x" * 1000), "b": (0o644, b"x" * 1000)}


def test_restoring_onto_something(tmp_path: Path) -> None:
    """A folder that is not empty is not mixed with a snapshot."""
    store = SnapshotStore(tmp_path)
    tree = store.capture(lay_out(tmp_path / "root", BASE))
    with pytest.raises(FileExistsError):
        store.restore(tree, lay_out(tmp_path / "other", {"d": (0o755, {})}))
