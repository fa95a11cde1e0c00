"""The calls that reach the disk: every byte is written, every name made durable, both sides of a step are hit."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from crashmatrix import faults
from crashmatrix.reference_wal import durable_io
from crashmatrix.reference_wal.log.segments.active_segment import SYNC_RECORD


@pytest.fixture
def hits() -> Iterator[list[str]]:
    seen: list[str] = []
    faults.observe(lambda point, _: seen.append(point.name))
    yield seen
    faults.observe(None)


BEFORE, AFTER = SYNC_RECORD.before.name, SYNC_RECORD.after.name


def test_both_sides_of_a_step(hits: list[str]) -> None:
    """The second failpoint is hit only when the step succeeded."""
    with SYNC_RECORD:
        assert hits == [BEFORE]
    assert hits == [BEFORE, AFTER]
    with pytest.raises(OSError), SYNC_RECORD:  # ours
        raise OSError
    assert hits == [BEFORE, AFTER, BEFORE]


@pytest.mark.parametrize("limit", [1, 3, 1000])
@pytest.mark.parametrize("parts", [[b""], [b"abc"], [b"a", b"bcd", b"", b"ef"], [bytes(100), b"x" * 77]])
def test_short_writes_go_on(parts: list[bytes], limit: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every byte is written at its place, however little the kernel takes at once."""
    write, pwrite = os.write, os.pwrite
    monkeypatch.setattr(os, "write", lambda fd, data: write(fd, bytes(data)[:limit]))
    monkeypatch.setattr(os, "pwrite", lambda fd, data, at: pwrite(fd, bytes(data)[:limit], at))
    monkeypatch.setattr(os, "pwritev", lambda fd, data, at: pwrite(fd, b"".join(data)[:limit], at))
    fd = os.open(tmp_path / "file", os.O_CREAT | os.O_RDWR)
    durable_io.write_all(fd, b"head")
    durable_io.write_at(fd, parts, 4)
    os.close(fd)
    assert (tmp_path / "file").read_bytes() == b"head" + b"".join(parts)


@pytest.mark.parametrize("depth", [0, 1, 3])
def test_made_folders_are_durable(depth: int, tmp_path: Path, synced: list[str]) -> None:
    """Each folder that holds a new name is synced; so is the one above a folder that may have been made just before a kill."""
    made = tmp_path.joinpath(*"abc"[:depth])
    durable_io.make_folder(made)
    assert made.is_dir()
    parents = {
        str(folder.parent) for folder in (made, *made.parents) if folder != tmp_path and folder.is_relative_to(tmp_path)
    }
    assert set(synced) == (parents or {str(tmp_path.parent)})
    synced.clear()
    durable_io.make_folder(made)
    assert synced == [str(made.parent)]


def test_removed_trees_are_durable(tmp_path: Path, synced: list[str]) -> None:
    """The folder above is synced once the tree is gone."""
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "b" / "file").write_bytes(b"x")
    durable_io.remove_tree(tmp_path / "a")
    assert list(tmp_path.iterdir()) == []
    assert synced == [str(tmp_path)]


@pytest.mark.parametrize("call", [durable_io.settle, durable_io.sync_path])
def test_files_are_synced(call: object, tmp_path: Path, synced: list[str]) -> None:
    """A file is synced by its path, and keeps its content."""
    (tmp_path / "file").write_bytes(b"x" * 10_000)
    call(tmp_path / "file")  # type: ignore[operator]
    assert synced == [str(tmp_path / "file")]
    assert (tmp_path / "file").read_bytes() == b"x" * 10_000


@pytest.mark.parametrize("call", [durable_io.settle, durable_io.sync_path, durable_io.sync_directory])
def test_errors_come_through(call: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A refused sync is raised, never tried again, and no descriptor is left open."""
    tries: list[int] = []

    def refuse(fd: int) -> None:
        tries.append(fd)
        raise OSError(errno.EIO, "refused")

    monkeypatch.setattr(os, "fsync", refuse)
    path = tmp_path if call is durable_io.sync_directory else tmp_path / "file"
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="refused"):
        call(path)  # type: ignore[operator]
    assert len(tries) == 1
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(tries[0])


def test_names(tmp_path: Path) -> None:
    """Names come sorted; a folder that is not there has none."""
    for name in "bca":
        (tmp_path / name).touch()
    assert durable_io.names_in(tmp_path) == ["a", "b", "c"]
    assert durable_io.names_in(tmp_path / "nothing") == []
    assert durable_io.names_in(tmp_path / "a") == []
