"""The folder of an engine belongs to one process at a time."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from crashmatrix.reference_wal import EngineLocked
from crashmatrix.reference_wal.layout import Layout


def test_the_lock(tmp_path: Path) -> None:
    """A folder that is locked is not locked again before that is let go."""
    layout = Layout(tmp_path)
    held = layout.lock()
    with pytest.raises(EngineLocked, match="another process"):
        layout.lock()
    os.close(held)
    os.close(layout.lock())


def test_the_paths(tmp_path: Path) -> None:
    """Each area has a folder of its own, and in it each table."""
    layout = Layout(tmp_path)
    assert (layout.table("t"), layout.spills("t").folder) == (tmp_path / "tables" / "t", tmp_path / "spill" / "t")
