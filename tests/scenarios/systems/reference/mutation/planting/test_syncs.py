"""Bugs in what is synced: syncs are left out of one step and of no other, or come later."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from crashmatrix import faults
from crashmatrix.reference_wal.durable_io import settle
from crashmatrix.reference_wal.log.persisted import PERSIST
from crashmatrix.reference_wal.log.segments.active_segment import SYNC_RECORD
from crashmatrix.scenarios.systems.reference.mutation.planting import syncs


@pytest.fixture
def synced(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Return which descriptors are synced, by the file's name."""
    names: list[str] = []

    def noted(fd: int) -> None:
        names.append(Path(f"/proc/self/fd/{fd}").readlink().name)

    monkeypatch.setattr(os, "fsync", noted)
    monkeypatch.setattr(os, "fdatasync", noted)
    yield names


@pytest.mark.parametrize("fails", [False, True])
def test_a_step_without_its_syncs(fails: bool, synced: list[str], tmp_path: Path) -> None:
    """Within the step nothing is synced; its failpoints are hit as ever; after it, even if it failed, syncs work again."""
    hits: list[str] = []
    faults.observe(lambda point, _: hits.append(point.name))
    try:
        with (tmp_path / "file").open("w") as file:
            try:
                with syncs.Unsynced(SYNC_RECORD):
                    os.fsync(file.fileno())
                    os.fdatasync(file.fileno())
                    if fails:
                        raise OSError
            except OSError:
                assert fails
            assert synced == []
            os.fsync(file.fileno())
            os.fdatasync(file.fileno())
    finally:
        faults.observe(None)
    assert synced == ["file", "file"]
    assert hits == [SYNC_RECORD.before.name, *([] if fails else [SYNC_RECORD.after.name])]


def test_syncs_that_come_later(synced: list[str], tmp_path: Path) -> None:
    """A later step makes the syncs that a postponed step left out, in order, though the file is closed by then."""
    for name in ("a", "b"):
        with (tmp_path / name).open("w") as file, syncs.Postponed(SYNC_RECORD):
            os.fsync(file.fileno())
    assert synced == []
    syncs.sync_postponed(lambda _: synced.append("the later step"))(None)
    assert synced == ["the later step", "a", "b"]


def test_a_file_named_before_it_is_synced(synced: list[str], tmp_path: Path) -> None:
    """The file is written and named all the same, and its folder is synced."""
    syncs.unsynced_file(PERSIST).put(tmp_path / "file", b"content", temporary="file.tmp")
    assert (tmp_path / "file").read_bytes() == b"content"
    assert synced == [tmp_path.name]


def test_nothing_is_dropped_either(synced: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A step that drops the page cache once a file is synced leaves it alone: to drop it would begin to write it."""
    dropped: list[int] = []
    monkeypatch.setattr(os, "posix_fadvise", lambda *arguments: dropped.append(arguments[3]))
    (tmp_path / "file").write_bytes(b"content")
    with syncs.Unsynced(SYNC_RECORD):
        settle(tmp_path / "file")
    assert (synced, dropped) == ([], [])
    settle(tmp_path / "file")
    assert (synced, dropped) == (["file"], [os.POSIX_FADV_DONTNEED])
