"""How the folder of a Delta table comes and goes: wherever it stops, the table is there or it is not."""

from __future__ import annotations

from pathlib import Path

import pytest
from deltalake import DeltaTable

from crashmatrix import faults
from crashmatrix.reference_wal.delta import folder
from tests.reference_wal.support import SCHEMA

CREATE = [
    f"delta.create.{side}_{step}" for step in ("write", "sync", "rename", "sync_folder") for side in ("before", "after")
]
DROP = [f"drop.table.{side}_{step}" for step in ("rename", "sync", "delete") for side in ("before", "after")]


def create(table: Path) -> None:
    folder.make_unfinished(table, SCHEMA, {"crashmatrix.test": "yes"})
    folder.give_name(table)


@pytest.mark.parametrize("point", CREATE)
def test_creation_cut_short(point: str, tmp_path: Path) -> None:
    """Before the rename there is no table, after it the whole one; a creation tried again succeeds."""
    table = tmp_path / "t"
    with faults.scenario(f"{point}=panic"), pytest.raises(faults.Panic):
        create(table)
    assert table.exists() is (CREATE.index(point) >= CREATE.index("delta.create.after_rename"))
    if not table.exists():
        create(table)
    made = DeltaTable(str(table))
    assert (made.version(), made.metadata().configuration) == (0, {"crashmatrix.test": "yes"})
    assert [path.name for path in tmp_path.iterdir()] == ["t"]


@pytest.mark.parametrize("point", DROP)
def test_drop_cut_short(point: str, tmp_path: Path) -> None:
    """After the rename the table is gone, and finishing the drop leaves nothing, however often it is cut short."""
    table, cleaned = tmp_path / "t", list[str]()
    create(table)

    def finish() -> None:
        folder.finish_drop(table, lambda: cleaned.append("spills"), lambda: cleaned.append("log"))

    with faults.scenario(f"{point}=panic"), pytest.raises(faults.Panic):
        folder.hide(table)
        finish()
    assert table.exists() is (point == "drop.table.before_rename")
    if table.exists():
        folder.hide(table)
    if any(tmp_path.iterdir()):
        finish()
    assert list(tmp_path.iterdir()) == []
    assert cleaned[-2:] == ["spills", "log"]


def test_the_hidden_folder_goes_last(tmp_path: Path) -> None:
    """A clean-up that fails leaves the hidden folder, which says that the drop must be finished."""
    create(tmp_path / "t")
    folder.hide(tmp_path / "t")

    def refuse() -> None:
        raise OSError

    with pytest.raises(OSError):  # ours
        folder.finish_drop(tmp_path / "t", refuse)
    assert [path.name for path in tmp_path.iterdir()] == [f"{folder.DROPPED}t"]


def test_an_unfinished_table_is_removed(tmp_path: Path) -> None:
    """A table that never got its name is removed without a trace."""
    folder.make_unfinished(tmp_path / "t", SCHEMA, {})
    assert [path.name for path in tmp_path.iterdir()] == [f"{folder.CREATING}t"]
    folder.remove_unfinished(tmp_path / "t")
    assert list(tmp_path.iterdir()) == []
