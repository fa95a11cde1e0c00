"""How bugs are planted: a step is replaced for the process, syncs are left out of one step and of no other."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from crashmatrix import faults
from crashmatrix.reference_wal.log.persisted import PERSIST
from crashmatrix.reference_wal.log.segments.active_segment import SYNC_RECORD
from crashmatrix.scenarios.systems.reference.mutation import planting


class Store:
    """Something with a step to replace."""

    def step(self, number: int) -> int:
        return number


@pytest.fixture
def store() -> SimpleNamespace:
    return SimpleNamespace(kind=type("Another", (Store,), {}))


@pytest.fixture
def synced(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Return which descriptors are synced, by the file's name."""
    names: list[str] = []

    def noted(fd: int) -> None:
        names.append(Path(f"/proc/self/fd/{fd}").readlink().name)

    monkeypatch.setattr(os, "fsync", noted)
    monkeypatch.setattr(os, "fdatasync", noted)
    yield names


def test_changes(store: SimpleNamespace) -> None:
    """A change gets the step as it was; nothing is changed before it is planted; several are planted together, in order."""

    def plus_one(original: object) -> object:
        return lambda self, number: original(self, number) + 1  # type: ignore[operator]

    def double(original: object) -> object:
        return lambda self, number: original(self, number) * 2  # type: ignore[operator]

    plant = planting.together(
        planting.change(store.kind, "step", plus_one), planting.change(store.kind, "step", double)
    )
    assert store.kind().step(5) == 5
    plant()
    assert (store.kind().step(5), Store().step(5)) == (12, 5)


def test_before_and_instead(store: SimpleNamespace) -> None:
    """A step may be preceded by another one, or left out."""
    seen: list[object] = []
    planting.change(store.kind, "step", planting.after(seen.append))()
    found = store.kind()
    assert (found.step(3), seen) == (3, [found])
    planting.change(store.kind, "step", planting.nothing)()
    assert found.step(3) is None


@pytest.mark.parametrize("fails", [False, True])
def test_a_step_without_its_syncs(fails: bool, synced: list[str], tmp_path: Path) -> None:
    """Within the step nothing is synced; its failpoints are hit as ever; after it, even if it failed, syncs work again."""
    hits: list[str] = []
    faults.observe(lambda point, _: hits.append(point.name))
    try:
        with (tmp_path / "file").open("w") as file:
            try:
                with planting.Unsynced(SYNC_RECORD):
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
        with (tmp_path / name).open("w") as file, planting.Postponed(SYNC_RECORD):
            os.fsync(file.fileno())
    assert synced == []
    planting.sync_postponed(lambda _: synced.append("the later step"))(None)
    assert synced == ["the later step", "a", "b"]


def test_a_file_named_before_it_is_synced(synced: list[str], tmp_path: Path) -> None:
    """The file is written and named all the same, and its folder is synced."""
    planting.unsynced_file(PERSIST).put(tmp_path / "file", b"content", temporary="file.tmp")
    assert (tmp_path / "file").read_bytes() == b"content"
    assert synced == [tmp_path.name]
