"""How the folder of a Delta table comes and goes: wherever it stops, the table is there or it is not."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pyarrow as pa
import pytest
from deltalake import DeltaTable, write_deltalake

from crashmatrix import faults
from crashmatrix.reference_wal import TableCorrupted
from crashmatrix.reference_wal.delta import folder
from crashmatrix.reference_wal.delta.sealed_commit import check_commit
from tests.reference_wal.support import SCHEMA, flipped, opened_as

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


def content_of(path: Path) -> bytes | list[str]:
    return sorted(os.listdir(path)) if path.is_dir() else path.read_bytes()  # noqa: PTH208  # names only


def test_all_of_it_is_durable_before_it_has_its_name(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """When the last change is synced, so is each file as it is then, and each name in each folder."""
    synced, fsync = dict[Path, bytes | list[str]](), os.fsync

    def noted(fd: int) -> None:
        fsync(fd)
        synced[opened_as(fd)] = content_of(opened_as(fd))

    monkeypatch.setattr(os, "fsync", noted)
    folder.make_unfinished(tmp_path / "t", SCHEMA, {})
    unfinished = tmp_path / f"{folder.CREATING}t"
    made = [tmp_path, unfinished, *unfinished.rglob("*")]
    assert len(made) == 4
    assert synced == {path: content_of(path) for path in made}


def test_the_first_commit_has_a_checksum(tmp_path: Path) -> None:
    """A changed byte of a new table's only commit shows, wherever it is."""
    create(tmp_path / "t")
    commit = folder.commit_path(tmp_path / "t", 0)
    data = commit.read_bytes()
    check_commit(commit)
    for place in range(0, len(data), 29):
        commit.write_bytes(flipped(data, place, 0x01))
        with pytest.raises(TableCorrupted):
            check_commit(commit)


def test_the_history_begins(tmp_path: Path) -> None:
    """The commit still says what was done and when, for people."""
    before = time.time_ns()
    create(tmp_path / "t")
    (first,) = DeltaTable(tmp_path / "t").history()
    assert first["operation"] == "CREATE TABLE"
    assert before // 10**6 <= first["timestamp"] <= time.time_ns() // 10**6


MAPS = pa.map_(pa.string(), pa.timestamp("ns"))


@pytest.mark.parametrize(
    "kind", [pa.duration("us"), MAPS, pa.list_(MAPS), pa.timestamp("us", "Europe/Berlin")], ids=str
)
def test_a_schema_that_no_table_has(kind: pa.DataType, tmp_path: Path) -> None:
    """It is refused exactly if no table could be made of it, and the check leaves nothing behind."""
    schema = SCHEMA.append(pa.field("x", kind))
    with pytest.raises(Exception, match=r"Invalid data type|Unsupported"):
        folder.check_schema(schema)
    with pytest.raises(Exception, match=r"Invalid data type|Unsupported"):
        folder.make_unfinished(tmp_path / "t", schema, {})
    folder.check_schema(SCHEMA)
    folder.check_schema(SCHEMA)


def test_nothing_follows_a_commit(tmp_path: Path) -> None:
    """With no hooks, a commit of deltalake adds its own file, though old ones have expired and a checkpoint is due."""
    rows, log = pa.table({"x": [1]}), tmp_path / "_delta_log"
    settings = {"delta.checkpointInterval": "1", "delta.logRetentionDuration": "interval 1 seconds"}
    DeltaTable.create(tmp_path, rows.schema, configuration=settings, post_commithook_properties=folder.NO_HOOKS)
    names = {folder.commit_path(tmp_path, 0).name, f"{2:020d}.checkpoint.parquet", "_last_checkpoint"}
    for version in (1, 2, 3, 4):
        write_deltalake(tmp_path, rows, mode="append", post_commithook_properties=folder.NO_HOOKS)
        names.add(folder.commit_path(tmp_path, version).name)
        if version == 2:
            DeltaTable(tmp_path).create_checkpoint()
            for file in log.iterdir():
                os.utime(file, (10**9, 10**9))
    assert {path.name for path in log.iterdir()} == names


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
