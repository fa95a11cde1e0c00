"""A file is replaced whole or not at all, wherever the replacement stops."""

from __future__ import annotations

from pathlib import Path

import pytest

from crashmatrix import faults
from crashmatrix.reference_wal.log.persisted import PERSIST

FILE = PERSIST
STEPS = ["write", "sync", "rename", "sync_folder"]
POINTS = [f"wal.persist.{side}_{step}" for step in STEPS for side in ("before", "after")]
NEW_FROM = POINTS.index("wal.persist.after_rename")


@pytest.mark.parametrize("old", [None, b"", b"a longer old content"])
@pytest.mark.parametrize("fault", ["panic", "raise(EIO)"])
@pytest.mark.parametrize("number", range(len(POINTS)))
def test_cut_short(number: int, fault: str, old: bytes | None, tmp_path: Path) -> None:
    """Before the rename the old content is there, after it the new one; trying again succeeds."""
    path = tmp_path / "file"
    if old is not None:
        path.write_bytes(old)
    with faults.scenario(f"{POINTS[number]}={fault}"), pytest.raises((faults.Panic, OSError)):
        FILE.put(path, b"new", temporary="file.tmp")
    found = path.read_bytes() if path.exists() else None
    assert found == (b"new" if number >= NEW_FROM else old)

    FILE.put(path, b"n", temporary="file.tmp")  # Shorter: nothing of the first attempt may show behind it.
    assert path.read_bytes() == b"n"
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]


def test_the_order_of_the_steps(tmp_path: Path) -> None:
    """The steps come in order: write, sync, rename, sync of the folder; the promise comes last."""
    seen: list[str] = []
    faults.observe(lambda point, _: seen.append(point.name))
    try:
        FILE.put(tmp_path / "file", b"new", temporary="file.tmp")
    finally:
        faults.observe(None)
    assert seen == POINTS
