"""The changes that a crashed folder lacks, found by comparison with the calls of another run."""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from pathlib import Path

import pytest

from crashmatrix.faults.disk import Operation, Trace
from crashmatrix.faults.disk.trace.named import in_words
from crashmatrix.faults.disk.trace.operations import MODE, MODIFIED, ROOT, Attribute, Data, Names, Size, Sync
from crashmatrix.scenarios.power.explain.comparison import missing_from, names_here
from crashmatrix.scenarios.power.explain.unsynced import Lost, Missing
from tests.scenarios.power.explain.traces import LOG, acknowledged, attempted, made, posix_trace, written

NAME, SIZE, DATA = "the store's folder: log made", "log, its size: 2 bytes", "log, bytes 0 to 1"
PUT = posix_trace(*attempted(0), *made(b"log"), *written(b"0\n"), *acknowledged(0), *attempted(1))
NOTES = (b"attempt 0", b"ack 0")


def words(missing: Sequence[Missing]) -> list[str]:
    return in_words(each.named for each in missing)


FOLDERS = [
    ({}, [NAME, SIZE, DATA]),
    ({"log": b""}, [SIZE, DATA]),
    ({"log": b"\0\0"}, [DATA]),
    ({"log": b"0"}, [SIZE, DATA]),
    ({"log": b"0\n"}, []),
    ({"log": b"0\n1\n"}, []),
]


@pytest.mark.parametrize(("files", "lost"), FOLDERS)
def test_missing_from(files: dict[str, bytes], lost: list[str], tmp_path: Path) -> None:
    """A folder lacks what is not there, byte for byte; a longer file lacks nothing."""
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    found = missing_from(tmp_path, PUT, NOTES)
    assert found is not None
    assert words(found.missing) == lost
    assert words(found.unsynced) == [NAME, SIZE, DATA]


def test_a_removed_name(tmp_path: Path) -> None:
    """A name that came back is missing its removal; what was written to the file before that is missed by nobody."""
    trace = posix_trace(*made(b"log"), Sync(ROOT), *written(b"0\n"), Names(((ROOT, b"log", 0),)), *acknowledged(0))
    (tmp_path / "log").write_bytes(b"")
    found = missing_from(tmp_path, trace, (b"ack 0",))
    assert found is not None
    assert words(found[0]) == ["the store's folder: log removed"]
    (tmp_path / "log").unlink()
    found = missing_from(tmp_path, trace, (b"ack 0",))
    assert found is not None
    assert words(found[0]) == []


def test_a_name_that_changed_again(tmp_path: Path) -> None:
    """Only the last change of a name is looked for."""
    removed = Names(((ROOT, b"log", 0),))
    trace = posix_trace(*made(b"log"), removed, *made(b"log", 11), *acknowledged(0))
    (tmp_path / "log").touch()
    found = missing_from(tmp_path, trace, (b"ack 0",))
    assert found is not None
    assert words(found[0]) == []


ATTRIBUTES = [
    (Attribute(LOG, MODE, b"%d" % (stat.S_IFREG | 0o601)), "log: permissions become 601"),
    (Attribute(LOG, MODIFIED, b"%d" % (1_000 * 10**9)), "log: time set at which it was modified"),
    (Attribute(LOG, b"user.mark", b"2"), "log: attribute user.mark set"),
]


@pytest.mark.parametrize(("change", "lost"), ATTRIBUTES)
def test_an_attribute(change: Attribute, lost: str, tmp_path: Path) -> None:
    """Permissions, times and extended attributes that a file does not have were lost; those that it has were not."""
    trace = posix_trace(*made(b"log"), Sync(ROOT), Sync(LOG), *attempted(0), change, *acknowledged(0))
    (tmp_path / "log").touch()
    found = missing_from(tmp_path, trace, NOTES)
    assert found is not None
    assert words(found.missing) == [lost]
    (tmp_path / "log").chmod(0o601)
    os.utime(tmp_path / "log", (1_000, 1_000))
    os.setxattr(tmp_path / "log", "user.mark", b"2")
    found = missing_from(tmp_path, trace, NOTES)
    assert found is not None
    assert words(found.missing) == []


@pytest.mark.parametrize("notes", [(b"attempt 1",), (b"attempt 0", b"ack 1"), (*NOTES, b"attempt 1", b"ack 1")])
def test_another_order_of_notes(notes: tuple[bytes, ...], tmp_path: Path) -> None:
    """A run with other notes, or more of them, says nothing about memory."""
    assert missing_from(tmp_path, PUT, notes) is None


def test_no_notes(tmp_path: Path) -> None:
    """Before the first note, nothing had to be durable."""
    assert missing_from(tmp_path, PUT, ()) == Lost(cut=PUT.start)


def test_names_here(tmp_path: Path) -> None:
    """Two runs are alike if they end with the same names."""
    assert names_here(tmp_path, PUT) is None
    (tmp_path / "log").touch()
    assert names_here(tmp_path, PUT) == {}
    (tmp_path / "other").touch()
    assert names_here(tmp_path, PUT) is None


OLD, NEW = 11, 12
SETTLED = (*made(b"db", OLD), *written(b"old", inode=OLD), Sync(OLD), Sync(ROOT))


def renamed(new: bytes) -> tuple[Operation, ...]:
    """A new file, synced, takes the place of the old one; the folder is not synced."""
    move = Names(((ROOT, new, 0), (ROOT, b"db", NEW)))
    return (*attempted(0), *made(new, NEW), *written(b"new", inode=NEW), Sync(NEW), move, *acknowledged(0))


@pytest.mark.parametrize("name", [b"tmp0qpowh5k", b"db.new"])
@pytest.mark.parametrize(
    ("files", "lost"),
    [
        ({"db": b"old"}, True),
        ({"db": b"old", "tmpabcdefgh": b"new"}, True),
        ({"db": b"new"}, False),
    ],
)
def test_a_rename_over_a_file(name: bytes, files: dict[str, bytes], lost: bool, tmp_path: Path) -> None:
    """A name that still leads to the old content misses its rename, however the new file was called in this run."""
    for path, content in files.items():
        (tmp_path / path).write_bytes(content)
    found = missing_from(tmp_path, posix_trace(*SETTLED, *renamed(name)), NOTES)
    assert found is not None
    moved = f"the store's folder: {name.decode()} becomes db, in place of the one before"
    assert (moved in words(found.missing)) is lost


def test_a_random_name_that_came_back(tmp_path: Path) -> None:
    """A temporary file whose removal is missing has another name in each run."""
    trace = posix_trace(*made(b"tmp0qpowh5k"), Sync(ROOT), Names(((ROOT, b"tmp0qpowh5k", 0),)), *acknowledged(0))
    (tmp_path / "tmpabcdefgh").touch()
    found = missing_from(tmp_path, trace, (b"ack 0",))
    assert found is not None
    assert words(found.missing) == ["the store's folder: tmp0qpowh5k removed"]


def test_random_names_of_two_files(tmp_path: Path) -> None:
    """A temporary file that is left stands for the one with its content, and not for one that was renamed before."""
    first = Names(((ROOT, b"tmp0qpowh5k", 0), (ROOT, b"db", OLD)))
    moved = (*made(b"tmp0qpowh5k", OLD), *written(b"old", inode=OLD), Sync(OLD), first)
    (tmp_path / "db").write_bytes(b"old")
    (tmp_path / "tmpabcdefgh").write_bytes(b"new")
    found = missing_from(tmp_path, posix_trace(*moved, *renamed(b"tmp1111111a")), NOTES)
    assert found is not None
    assert words(found.missing) == ["the store's folder: tmp1111111a becomes db, in place of the one before"]


def compared(
    files: dict[str, bytes], root: Path, trace: Trace, notes: tuple[bytes, ...]
) -> tuple[list[str], list[str]]:
    """Return in words: the changes that a folder of these files lacks, and those that survived in it."""
    for path, content in files.items():
        (root / path).write_bytes(content)
    found = missing_from(root, trace, notes)
    assert found is not None
    return words(found.missing), words(found.survived)


COMPACTED = posix_trace(
    *made(b"log"), *written(b"0\n"), Sync(LOG), Sync(ROOT), *acknowledged(0),
    *made(b"sst", NEW), *written(b"0\n", inode=NEW), Names(((ROOT, b"log", 0),)), Sync(ROOT), *attempted(1),
)  # fmt: skip


@pytest.mark.parametrize(
    ("files", "missing", "survived"),
    [
        ({"log": b"0\n"}, [], []),
        ({"log": b"0\n", "sst": b""}, [], []),
        ({"sst": b""}, ["sst, its size: 2 bytes", "sst, bytes 0 to 1"], ["the store's folder: log removed"]),
        ({"sst": b"0\n"}, [], []),
    ],
)
def test_work_after_the_last_note(
    files: dict[str, bytes], missing: list[str], survived: list[str], tmp_path: Path
) -> None:
    """The folder itself shows how far the run came after its last note, and what it lacks of that."""
    assert compared(files, tmp_path, COMPACTED, (b"ack 0",)) == (missing, survived)


MOVED = posix_trace(
    *made(b"index"), *written(b"0"), Sync(LOG), Sync(ROOT), *attempted(0),
    *made(b"values", NEW), Sync(ROOT), *written(b"0\n", inode=NEW), *written(b"1", 1), Sync(LOG), Size(LOG, 0),
    *attempted(1),
)  # fmt: skip
VALUES = ["values, its size: 2 bytes", "values, bytes 0 to 1"]
INDEX = ["index, its size: 2 bytes", "index, byte 1"]


@pytest.mark.parametrize(
    ("files", "missing", "survived"),
    [
        ({"index": b"0"}, [], []),
        ({"index": b"0", "values": b""}, [], []),
        ({"index": b"0", "values": b"\0\0"}, ["values, bytes 0 to 1"], []),
        ({"index": b"01", "values": b""}, VALUES, INDEX),
        ({"index": b"01", "values": b"\0\0"}, VALUES[1:], INDEX),
        ({"index": b"01", "values": b"0\n"}, [], []),
        ({"index": b"", "values": b""}, VALUES, [*INDEX, "index, its size: 0 bytes"]),
    ],
)
def test_content_after_the_last_note(
    files: dict[str, bytes], missing: list[str], survived: list[str], tmp_path: Path
) -> None:
    """Bytes and sizes that no file had before show how far the run came, as names do."""
    assert compared(files, tmp_path, MOVED, (b"attempt 0",)) == (missing, survived)


def test_the_same_bytes_under_another_name(tmp_path: Path) -> None:
    """A file that takes the place of one with the same first bytes is not there if the old one is."""
    renamed = Names(((ROOT, b"db.new", 0), (ROOT, b"db", NEW)))
    trace = posix_trace(
        *made(b"db"), *written(b"head 0"), Sync(LOG), Sync(ROOT), *attempted(0),
        *made(b"db.new", NEW), *written(b"head 1", inode=NEW), Sync(NEW), renamed, Data(NEW, 0, b"head"),
    )  # fmt: skip
    (tmp_path / "db").write_bytes(b"head 0")
    found = missing_from(tmp_path, trace, (b"attempt 0",))
    assert found is not None
    assert words(found.unsynced) == []


def test_same_names_but_for_random_ones(tmp_path: Path) -> None:
    """Names drawn at random are alike; two of them are not one."""
    trace = posix_trace(*made(b"tmp0qpowh5k"))
    (tmp_path / "tmpabcdefgh").touch()
    assert names_here(tmp_path, trace) == {"tmp0qpowh5k": "tmpabcdefgh"}
    (tmp_path / "tmpabcdefgi").touch()
    assert names_here(tmp_path, trace) is None


def delivered(name: bytes, content: bytes, inode: int) -> tuple[Operation, ...]:
    """A message is written under a temporary name, synced, and gets another name."""
    moved = Names(((ROOT, b"tmp-%s" % name, 0), (ROOT, b"new-%s" % name, inode)))
    return (*made(b"tmp-%s" % name, inode), *written(content, inode=inode), Sync(inode), moved)


MAIL = posix_trace(
    *attempted(0), *delivered(b"1764537845.M9P12Q1.vm", b"0", LOG), Sync(ROOT), *acknowledged(0),
    *attempted(1), *delivered(b"1764537845.M8123P12Q2.vm", b"1", OLD), *acknowledged(1),
    *attempted(2), *delivered(b"1764537846.M7P12Q3.vm", b"2", NEW), *acknowledged(2),
)  # fmt: skip
FIRST, SECOND, THIRD = "1796076334.M291876P4Q1.vm", "1796076334.M297447P4Q2.vm", "1796076335.M11P4Q3.vm"


def test_names_with_times(tmp_path: Path) -> None:
    """A file whose name has the time in it is found under its name in this run, and called by that."""
    for number, name in enumerate((FIRST, SECOND, THIRD)):
        (tmp_path / f"new-{name}").write_bytes(b"%d" % number)
    names = names_here(tmp_path, MAIL)
    assert names is not None
    assert names["new-1764537845.M8123P12Q2.vm"] == f"new-{SECOND}"
    for name, ack in ((THIRD, b"ack 2"), (SECOND, b"ack 1")):
        (tmp_path / f"new-{name}").unlink()
        notes = tuple(b"%s %d" % (kind, item) for item in range(3) for kind in (b"attempt", b"ack"))
        found = missing_from(tmp_path, MAIL, notes[: notes.index(ack) + 1], names)
        assert found is not None
        assert words(found.missing)[-1].endswith(f"becomes new-{name}")
        assert f"new-{FIRST}" not in " ".join(words(found.missing))


def test_another_number_of_files(tmp_path: Path) -> None:
    """If one run has more files than the other, nothing is said."""
    (tmp_path / f"new-{FIRST}").write_bytes(b"0")
    assert names_here(tmp_path, MAIL) is None
