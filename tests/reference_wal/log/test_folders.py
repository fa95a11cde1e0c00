"""The folder of a table's log: which names it takes, and how it is removed."""

from __future__ import annotations

from pathlib import Path

import pytest

from crashmatrix import faults
from crashmatrix.reference_wal import (
    InvalidInput,
)
from crashmatrix.reference_wal.log.folders import delete_leftover, is_leftover
from tests.reference_wal.log.wals import opened, rows
from tests.reference_wal.support import SCHEMA, batch, contents


@pytest.mark.parametrize("name", ["t", "T_1-x", "_t", "0", "a" * 100])
def test_names_taken(name: str, tmp_path: Path) -> None:
    """A name that can name a folder on any system names a table."""
    with opened(tmp_path) as wal:
        wal.create_table_log(name, SCHEMA)
    with opened(tmp_path) as wal:
        assert wal.tables == [name]


@pytest.mark.parametrize(
    "name", ["", ".", "..", "a/b", "/t", "-t", ".removed-t", "t.x", "a b", "t\n", "\u00e4", "a\0b", "a" * 101]
)
def test_names_refused(name: str, tmp_path: Path) -> None:
    """A name that could leave the folder, hide in it or break a tool is refused, and nothing is created."""
    with opened(tmp_path) as wal:
        with pytest.raises(InvalidInput, match="table name"):
            wal.create_table_log(name, SCHEMA)
        assert list(tmp_path.iterdir()) == []


REMOVAL = ["rename.before", "rename.after", "sync.before", "sync.after", "delete.before", "delete.after"]


@pytest.mark.parametrize("step", REMOVAL)
def test_removal_cut_short(step: str, tmp_path: Path) -> None:
    """A removal that stopped half-way leaves the whole log or none of it, and what it hid is cleaned up."""
    verb, side = step.split(".")
    with opened(tmp_path, segment_bytes_max=1) as wal:
        wal.create_table_log("t", SCHEMA)
        for number in range(3):
            wal.append("t", batch(float(number)))
        with faults.scenario(f"wal.remove_table.{side}_{verb}=panic"), pytest.raises(faults.Panic):
            wal.remove_table_log("t")
    with opened(tmp_path) as wal:
        if step == "rename.before":
            assert rows(wal, "t") == [(0, [0.0]), (1, [1.0]), (2, [2.0])]
        else:
            assert wal.tables == [] and list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("name", "is_one"), [(".removed-t", True), ("t", False)])
def test_leftovers(name: str, is_one: bool, tmp_path: Path) -> None:
    """A removal cut short is known by its name, and finished."""
    folder = tmp_path / name
    folder.mkdir()
    (folder / "0-.arrows").touch()
    assert is_leftover(folder) is is_one
    delete_leftover(folder)
    assert list(tmp_path.iterdir()) == []


def test_removal_hides_before_it_deletes(tmp_path: Path) -> None:
    """No file of the log is removed before the hidden name exists."""
    with opened(tmp_path) as wal:
        wal.create_table_log("t", SCHEMA)
        wal.append("t", batch(0.0))
        before = contents(tmp_path / "t")
        with faults.scenario("wal.remove_table.before_delete=panic"), pytest.raises(faults.Panic):
            wal.remove_table_log("t")
        assert contents(tmp_path / ".removed-t") == before
