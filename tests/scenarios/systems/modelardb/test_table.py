"""The port's Delta table: what its commits say, and what each change leaves."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest

from crashmatrix.scenarios.systems.modelardb.stream import SCHEMA
from crashmatrix.scenarios.systems.modelardb.table import Table


def rows(*numbers: int) -> pa.Table:
    return pa.Table.from_pylist([{"number": n, "series": "a", "row": 0, "value": b"x"} for n in numbers], SCHEMA)


@pytest.mark.parametrize("durable", [True, False])
def test_changes(durable: bool, tmp_path: Path) -> None:
    """Commits add up and are remembered; removal and truncation take rows and no memory; a dropped table is gone."""
    table = Table(tmp_path, "t", durable=durable)
    table.create()
    table.commit(rows(1), [0], transferred=["x"])
    (first,) = table.files()
    table.commit(rows(2, 3), [2, 1])
    assert (table.history(), table.history("transferred")) == ({0, 1, 2}, {"x"})
    table.remove([first.name])
    again = Table(tmp_path, "t", durable=durable)
    assert sorted(again.rows()["number"].to_pylist()) == [2, 3]
    again.truncate()
    assert (again.rows().num_rows, again.history()) == (0, {0, 1, 2})
    again.drop()
    assert not again.exists and list(tmp_path.iterdir()) == []


def test_a_torn_commit_is_healed(tmp_path: Path) -> None:
    """A last commit of which nothing reached the disk is removed, unless the flaw leaves it."""
    table = Table(tmp_path, "t", durable=True)
    table.create()
    table.commit(rows(1), [0])
    newest = max((tmp_path / "t" / "_delta_log").glob("*.json"))
    newest.write_bytes(b"")
    assert Table(tmp_path, "t", durable=True).rows().num_rows == 0


def test_a_torn_creation_is_healed(tmp_path: Path) -> None:
    """A table whose first commit did not reach the disk whole was promised to nobody: there is none."""
    Table(tmp_path, "t", durable=True).create()
    (commit,) = (tmp_path / "t" / "_delta_log").glob("*.json")
    commit.write_bytes(commit.read_bytes()[:99])
    assert not Table(tmp_path, "t", durable=True).exists
