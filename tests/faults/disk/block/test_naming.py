"""Each write of a recording is named by the file, directory or metadata it is about, and none is named wrongly."""

import os
import random
from pathlib import Path

import pytest

from crashmatrix.faults.disk import CrashImages, Machine, RecordOptions, Trace, Write, record
from crashmatrix.faults.disk.change_names import changes_named
from crashmatrix.faults.disk.trace.named import DATA, JOURNAL, UNKNOWN, Named
from crashmatrix.faults.disk.trace.operations import Data
from tests.faults.disk.support import in_child
from tests.kept import kept

pytestmark = pytest.mark.usefixtures("disk")

FILES = {f"sub/f{number}": random.Random(number).randbytes(6000 + number) for number in range(3)}
LOG = random.Random("log").randbytes(20_000)


def sync(path: Path) -> None:
    file = os.open(path, os.O_RDONLY)
    os.fsync(file)
    os.close(file)


def work(machine: Machine) -> None:
    """New files renamed into place, and a log that grows; everything synced."""
    (machine.root / "sub").mkdir()
    for number, (name, content) in enumerate(FILES.items()):
        new = machine.root / f"{name}.new"
        new.write_bytes(content)
        sync(new)
        new.rename(machine.root / name)
        sync(machine.root / "sub")
        with (machine.root / "log").open("ab") as log:
            log.write(LOG[number * 5000 : (number + 1) * 5000])
        sync(machine.root / "log")
        machine.note(b"ack %d" % number)


def named(trace: Trace) -> tuple[Trace, dict[int, tuple[Named, ...]]]:
    def look() -> tuple[Trace, dict[int, tuple[Named, ...]]]:
        with CrashImages(trace) as images:
            return trace, dict(changes_named(trace, trace.finish, images))

    return in_child(look)


def recorded(filesystem: str) -> Trace:
    return record(work, options=RecordOptions(filesystem=filesystem, seed=1))


def expected(path: str) -> bytes:
    return LOG if path == "log" else FILES[path.removesuffix(".new")]


@pytest.mark.parametrize("filesystem", ["ext4", "ext4:data=journal", "ext2", "xfs", "btrfs", "posix"])
def test_data_is_named_by_file_and_bytes(filesystem: str) -> None:
    """A write that is named as bytes of a file holds those bytes, and every byte of each file is in a named write."""
    trace, names = named(recorded(filesystem))
    covered: dict[str, set[int]] = {}
    for at, about in names.items():
        operation = trace.operations[at]
        assert isinstance(operation, Write | Data) or filesystem == "posix"
        for part in about:
            if part.kind == DATA:
                content = expected(part.path)[part.start : part.stop]
                assert content[:1000] in operation.data  # type: ignore[union-attr]
                covered.setdefault(part.path.removesuffix(".new"), set()).update(range(part.start, part.stop))
    if filesystem == "ext4:data=journal":
        return  # There the data is in the journal first.
    assert covered.keys() == {*FILES, "log"}
    assert all(len(covered[name]) == len(content) for name, content in FILES.items())
    assert not [at for at, about in names.items() if any(part.kind == UNKNOWN for part in about)]


def test_journal_of_ext4_is_read() -> None:
    """A commit of ext4's journal is named by what it commits: the rename, in its directory."""
    trace, names = named(kept("named"))
    commits = [part for about in names.values() for part in about if "commit" in part.what]
    assert all(part.kind == JOURNAL for part in commits)
    renames = [part.what for part in commits if "f1.new becomes f1" in part.what]
    words = "the commit of directory sub: f1.new becomes f1; the inode of sub"
    assert renames in ([words], [f"{words}, sub/f1"])  # A rename dates the file, too, if the clock has ticked since.
    notes = [
        at for at, operation in enumerate(trace.operations) if at in names and "f1.new becomes f1" in names[at][0].text
    ]
    assert len(notes) == 2  # The blocks, then, after a flush, the commit.


def reuse(machine: Machine) -> None:
    """A table is removed and a log made, which usually gets its inode; a rename over a name, and an exchange by three renames."""
    root = machine.root
    for number in range(4):
        (root / f"00000{number}.sst").write_bytes(b"table")
        sync(root)
        (root / f"00000{number}.sst").unlink()
        (root / f"wal.{number}").write_bytes(b"log")
        sync(root)
    (root / "db.tmp").write_bytes(b"new")
    (root / "db.json").write_bytes(b"old")
    sync(root)
    (root / "db.tmp").replace(root / "db.json")
    sync(root)
    os.link(root / "wal.0", root / "wal.link")
    sync(root)


@pytest.mark.parametrize("filesystem", ["ext4", pytest.param("ext2", marks=pytest.mark.slow), "posix"])
def test_names_that_change(filesystem: str) -> None:
    """A rename over an existing file is named as one; a new file with the inode of a removed one is not."""
    _, names = named(record(reuse, options=RecordOptions(filesystem=filesystem, seed=1)))
    words = "; ".join(part.text for about in names.values() for part in about if part.kind != DATA)
    assert "sst becomes" not in words
    assert "wal.3 made" in words
    assert "000003.sst removed" in words
    assert "db.tmp becomes db.json, in place of the one before" in words
    assert "wal.link linked to wal.0" in words
    assert "inode of ." not in words
