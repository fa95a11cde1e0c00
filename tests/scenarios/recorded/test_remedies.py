"""Syncs made in a system's stead: of what, when, and how many."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from crashmatrix.scenarios.processes.calls.seccomp import lacking
from crashmatrix.scenarios.recorded.remedies import (
    BEFORE_ACK,
    BEFORE_CHANGE,
    BEFORE_RECOVERY,
    BEFORE_REMOVAL,
    BEFORE_RENAME,
    Remedy,
    Syncing,
    pattern_of,
    syncs_made,
)

NEEDS_CALLS = pytest.mark.skipif(bool(lacking()), reason=lacking())


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "root" / "wal").mkdir(parents=True)
    (tmp_path / "root" / "wal" / "1.log").touch()
    (tmp_path / "root" / "wal" / "22.log").touch()
    (tmp_path / "root" / "db").touch()
    return tmp_path / "root"


@pytest.fixture(autouse=True)
def calls_as_before() -> Iterator[None]:
    """A remedy before renames is at work in its process for ever: here, until the test is over."""
    calls = {name: getattr(os, name) for name in ("rename", "replace", "link", "unlink", "remove")}
    yield
    for name, call in calls.items():
        setattr(os, name, call)


def test_patterns() -> None:
    """A pattern is a path with its numbers left out; what is special to patterns is meant as it is."""
    assert pattern_of("wal/t/4-4.arrows") == pattern_of("wal/t/17-.arrows") == "wal/t/*.arrows"
    assert pattern_of("wal/tmp0qpowh5k") == pattern_of("wal/tmpabcdefgh") == "wal/tmp*"
    assert pattern_of("part-00000-1c2d3e4f-1111-2222-3333-444455556666.parquet") == "part-*-*.parquet"
    digest = "1b86886d99487f98715d6eb55d2d23c7e230ce"
    assert pattern_of(f".git/objects/74/{digest}") == pattern_of(f".git/objects/fa/{digest}") == ".git/objects/*/*"
    assert pattern_of("objects/ca/tmp_obj_dd1cLW") == pattern_of("objects/74/tmp_obj_QAW26M") == "objects/*/tmp_obj_*"
    assert pattern_of("blobs/0x05/0x040d5f38185ecfbb.blob") == "blobs/*x*/*x*.blob"
    assert pattern_of("db/tmp0qpowh5k") == "db/tmp*"
    assert pattern_of("ca/log") == "ca/log"
    remedy = Remedy(BEFORE_ACK, ("./", "a[[]1].*", pattern_of("b[*]")))
    assert [path for path in ("./", "a[1].x", "b[*]", "b*", "c/") if remedy.matches(path)] == ["./", "a[1].x", "b[*]"]


@pytest.mark.parametrize(
    ("remedy", "text"),
    [
        (Remedy(BEFORE_ACK, ("log", "./")), "fsync of log and ./ before each acknowledgement"),
        (Remedy(BEFORE_RENAME, ("db.new",)), "fsync of db.new before each rename or link of it"),
        (Remedy(BEFORE_REMOVAL, ("sst",)), "fsync of sst before a file is removed or replaced"),
        (Remedy(BEFORE_CHANGE, ("*.log",), "db"), "fsync of *.log before each change of db"),
        (Remedy(BEFORE_RECOVERY, ("*",)), "fsync of everything before recovery reads it, after a restart"),
        (Remedy(BEFORE_ACK, tuple("abcdef")), "fsync of a and b and c and d and 2 more before each acknowledgement"),
    ],
)
def test_text(remedy: Remedy, text: str) -> None:
    """A remedy says what to sync, and when."""
    assert remedy.text == text


LINE, RECOVERY = "line", "recovery"


@pytest.mark.parametrize(
    ("before", "paths", "when", "count"),
    [
        (BEFORE_ACK, ("wal/*.log",), b"ack 0", 2),
        (BEFORE_ACK, ("wal/*.log", "wal/", "./"), b"ack 0", 4),
        (BEFORE_ACK, ("*",), b"ack 0", 5),
        (BEFORE_ACK, ("none",), b"ack 0", 0),
        (BEFORE_ACK, ("*",), b"attempt 0", 0),
        (BEFORE_ACK, ("*",), None, 0),
        (BEFORE_RECOVERY, ("*",), None, 5),
        (BEFORE_RECOVERY, ("*",), b"ack 0", 0),
        (BEFORE_RENAME, ("*",), b"ack 0", 0),
    ],
)
def test_syncs(before: str, paths: tuple[str, ...], when: bytes | None, count: int, root: Path) -> None:
    """A remedy syncs the files that exist at its moment, and only then. ``when`` is a journal line, or recovery."""
    counted = root.parent / "count"
    syncing = Syncing(Remedy(before, paths), root, os.open(counted, os.O_CREAT | os.O_WRONLY | os.O_APPEND))
    if when is None:
        syncing.before_recovery()
    else:
        syncing.before_line(when)
    assert syncs_made(counted) == count


@pytest.mark.parametrize("how", ["rename", "replace"])
def test_syncs_before_a_rename(how: str, root: Path) -> None:
    """A file that is meant is synced, then renamed; another is renamed without; one that is not there fails as ever."""
    counted = root.parent / "count"
    remedy = Remedy(BEFORE_RENAME, ("db",))
    Syncing(remedy, root, os.open(counted, os.O_CREAT | os.O_WRONLY | os.O_APPEND)).hook()
    getattr(os, how)(root / "wal" / "1.log", root / "wal" / "3.log")
    assert syncs_made(counted) == 0
    getattr(os, how)(root / "db", root / "db2")
    assert syncs_made(counted) == 1
    assert (root / "db2").exists()
    with pytest.raises(FileNotFoundError):
        getattr(os, how)(root / "db", root / "db3")
    assert syncs_made(counted) == 1


def test_syncs_before_a_link(root: Path) -> None:
    """A link is a name, too: the files that are meant are synced before."""
    counted = root.parent / "count"
    remedy = Remedy(BEFORE_RENAME, ("db",))
    Syncing(remedy, root, os.open(counted, os.O_CREAT | os.O_WRONLY | os.O_APPEND)).hook()
    (root / "db2").hardlink_to(root / "db")
    assert syncs_made(counted) == 1


@pytest.mark.parametrize(("folder", "count"), [("wal", 1), ("wal2", 0)])
def test_syncs_before_a_rename_of_the_folder(folder: str, count: int, root: Path) -> None:
    """A file that gets another name with its folder is synced before, and none with a name that begins alike."""
    (root / "wal2").mkdir()
    counted = root.parent / "count"
    remedy = Remedy(BEFORE_RENAME, ("wal/1.log",))
    Syncing(remedy, root, os.open(counted, os.O_CREAT | os.O_WRONLY | os.O_APPEND)).hook()
    (root / folder).rename(root / "new")
    assert syncs_made(counted) == count


@pytest.mark.parametrize(
    ("change", "count"),
    [
        (lambda root: (root / "db").unlink(), 2),
        (lambda root: os.remove(root / "db"), 2),  # noqa: PTH107  # the call that is watched, too
        (lambda root: (root / "wal" / "1.log").replace(root / "db"), 2),
        (lambda root: (root / "wal" / "1.log").rename(root / "new"), 0),
        (lambda root: (root.parent / "other").unlink(), 0),
        (lambda root: (root / "none").unlink(missing_ok=True), 0),
    ],
)
def test_syncs_before_a_removal(change: Callable[[Path], object], count: int, root: Path) -> None:
    """Before a file of the store is removed or replaced, what is meant is synced; the call itself is made as ever."""
    (root.parent / "other").touch()
    counted = root.parent / "count"
    remedy = Remedy(BEFORE_REMOVAL, ("wal/*.log",))
    Syncing(remedy, root, os.open(counted, os.O_CREAT | os.O_WRONLY | os.O_APPEND)).hook()
    change(root)
    assert syncs_made(counted) == count


@pytest.mark.parametrize(
    ("remedy", "count"),
    [
        (Remedy(BEFORE_RECOVERY, ("*",)), 5),
        (Remedy(BEFORE_RENAME, ("db",)), 1),
        (Remedy(BEFORE_REMOVAL, ("wal/*.log",)), 2),
        pytest.param(Remedy(BEFORE_RENAME, ("wal/22.log",)), 1, marks=NEEDS_CALLS, id="link"),
        pytest.param(Remedy(BEFORE_CHANGE, ("wal/*.log",), "db"), 3 * 2, marks=NEEDS_CALLS, id="open, write, rename"),
        pytest.param(Remedy(BEFORE_CHANGE, ("db2",), "wal/1.log"), 1, marks=NEEDS_CALLS, id="unlink"),
        (Remedy(BEFORE_ACK, ("*",)), 0),
    ],
)
def test_syncs_in_recovery(remedy: Remedy, count: int, root: Path) -> None:
    """After a restart, syncs are made before recovery, or before what it changes, renames and takes away."""
    counted, journal = root.parent / "count", root.parent / "journal"
    journal.touch()
    syncing = Syncing(remedy, root, os.open(counted, os.O_CREAT | os.O_WRONLY | os.O_APPEND))

    def recovery() -> None:
        (root / "db").write_text("1")
        (root / "db").replace(root / "db2")
        (root / "wal" / "1.log").unlink()
        (root / "linked").hardlink_to(root / "wal" / "22.log")

    syncing.recover(recovery, journal)
    assert syncs_made(counted) == count
    assert not (root / "db").exists()


def test_none_were_made(tmp_path: Path) -> None:
    """A remedy that never came to work has no count."""
    assert syncs_made(tmp_path / "none") == 0
