"""The Delta side: commits that deltalake reads, and what recovery makes of the files a power cut tore."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable

from crashmatrix import faults
from crashmatrix.reference_wal import TableCorrupted
from crashmatrix.reference_wal.delta.commit import DeltaStore, TableProperties
from crashmatrix.reference_wal.delta.folder import give_name
from crashmatrix.reference_wal.delta.parquet_file import last_batch
from crashmatrix.reference_wal.delta.recovery import Leftovers, check, heal
from crashmatrix.reference_wal.models.bound import LOSSLESS, Bound, absolute, relative
from crashmatrix.scenarios.systems.delta_files import delta_files
from tests.reference_wal.delta.stores import APPLICATION, PROPERTIES, commit, json_of, store
from tests.reference_wal.support import SCHEMA, contents, numbers


def test_a_new_table(tmp_path: Path) -> None:
    """A new table is empty, knows its columns, and has no temporary name left."""
    made = store(tmp_path)
    assert made.properties == PROPERTIES
    assert (made.marker(APPLICATION), made.files(), made.commits_since_checkpoint) == (-1, {}, 0)
    assert made.read(SCHEMA).equals(SCHEMA.empty_table())
    assert [path.name for path in tmp_path.iterdir()] == ["t"]
    again = DeltaStore(tmp_path / "t")
    assert again.properties == PROPERTIES


@pytest.mark.parametrize("bounds", [None, {"two": absolute(0.5), "one": relative(1.0)}], ids=["rows", "models"])
def test_properties(bounds: dict[str, Bound] | None, tmp_path: Path) -> None:
    """A table says what it was created with, to the letter: schema, sort order, whose it is, and all bounds."""
    names = ["three", "two", "one"]
    times = pa.field("at", pa.timestamp("us"), nullable=False, metadata={"unit": "none"})
    schema = pa.schema([times, *(pa.field(name, pa.float64(), nullable=False) for name in names)])
    given = TableProperties.made(schema, timestamp="at", tags=[], identity="me", logged=False, bounds=bounds)
    DeltaStore.make_unfinished(tmp_path / "t", given.stored_schema, given)
    give_name(tmp_path / "t")
    found = DeltaStore(tmp_path / "t").properties
    assert (found.timestamp, found.tags, found.identity, found.logged) == ("at", [], "me", False)
    assert found.arrow_schema.equals(schema, check_metadata=True)
    assert (found.shape and found.shape.bounds) == (bounds and {"three": LOSSLESS, **bounds})
    assert found.stored_schema.equals(schema) is (bounds is None)


def test_a_commit(tmp_path: Path) -> None:
    """A commit adds the rows and moves the marker, for us, for deltalake and for who reads its json."""
    made = store(tmp_path)
    commit(made, 0, 2)
    commit(made, 3, 3)

    for table in (made, DeltaStore(tmp_path / "t")):
        assert (table.marker(APPLICATION), table.marker("log/u")) == (3, -1)
        assert numbers(table.read(SCHEMA)) == [0.0, 1.0, 2.0, 3.0]
        assert table.commits_since_checkpoint == 2
    assert [last_batch(file) for file in made.files()] == [2, 3]
    assert [file.name[:41] for file in made.files()] == [f"{0:020d}-{2:020d}", f"{3:020d}-{3:020d}"]
    delta = DeltaTable(str(tmp_path / "t"))
    assert delta.transaction_version(APPLICATION) == 3
    rows = [pq.read_table(file) for file in delta_files(tmp_path / "t")]
    assert numbers(pa.concat_tables(rows)) == [0.0, 1.0, 2.0, 3.0]
    actions = [json.loads(line) for line in json_of(tmp_path, 1).read_text().splitlines()]
    assert json.loads(actions[0]["commitInfo"]["batchIds"]) == [0, 1, 2]
    assert actions[-1] == {"txn": {"appId": APPLICATION, "version": 2}}
    assert json.loads(next(action["add"] for action in actions if "add" in action)["stats"]) == {"numRecords": 3}


def test_the_order_of_a_commit(tmp_path: Path) -> None:
    """File, its sync, its folder's; then the commit, its sync, its name: never a name before its contents."""
    made = store(tmp_path)
    seen: list[str] = []
    faults.observe(lambda point, _: seen.append(point.name))
    try:
        commit(made, 0, 0)
    finally:
        faults.observe(None)
    steps = ["parquet.{}_write", "parquet.{}_sync", "parquet.{}_sync_folder"]
    steps += ["delta.{}_write", "delta.{}_sync", "delta.{}_transact", "delta.{}_sync_folder"]
    expected = [f"commit.{step.format(side)}" for step in steps for side in ("before", "after")]
    assert [name for name in seen if name.startswith("commit.")] == expected


def test_clear(tmp_path: Path) -> None:
    """Clearing removes every row and moves the marker in one commit."""
    made = store(tmp_path, commits=2)
    made.clear(5, application=APPLICATION)
    for table in (made, DeltaStore(tmp_path / "t")):
        assert (table.marker(APPLICATION), table.files()) == (5, {})
        assert table.read(SCHEMA).num_rows == 0
    made.remove_orphans()
    assert list((tmp_path / "t").glob("*.parquet")) == []
    commit(made, 6, 6)
    assert numbers(DeltaStore(tmp_path / "t").read(SCHEMA)) == [6.0]


def test_orphans_are_removed(synced_and_removed: list[str], tmp_path: Path) -> None:
    """Parquet files that no commit names go durably; those that one names, and all else, stay."""
    made = store(tmp_path, commits=2)
    named = set(made.files())
    (tmp_path / "t" / "orphan.parquet").write_bytes(b"half")
    (tmp_path / "t" / "notes.txt").write_bytes(b"mine")

    synced_and_removed.clear()

    made.remove_orphans()

    assert set((tmp_path / "t").glob("*.parquet")) == named and len(named) == 2
    assert synced_and_removed == [f"{tmp_path}/t/orphan.parquet gone", f"{tmp_path}/t"]
    assert (tmp_path / "t" / "notes.txt").exists()


# --- checkpoints


def checkpointed(root: Path) -> DeltaStore:
    """Return a table with a checkpoint at version 3 and a commit after it."""
    made = store(root, commits=3)
    made.checkpoint()
    assert made.commits_since_checkpoint == 0
    commit(made, 3, 3)
    return made


def test_a_checkpoint(tmp_path: Path) -> None:
    """A checkpoint is what a reader without the earlier commits needs: rows, marker and columns."""
    checkpointed(tmp_path)
    for version in range(3):
        json_of(tmp_path, version).unlink()

    again = DeltaStore(tmp_path / "t")

    assert (again.marker(APPLICATION), again.commits_since_checkpoint) == (3, 1)
    assert numbers(again.read(SCHEMA)) == [0.0, 1.0, 2.0, 3.0]
    assert again.properties == PROPERTIES


Tear = Callable[[bytes], bytes]
TORN: dict[str, tuple[Tear | None, Tear | None]] = {
    "checkpoint empty": (lambda data: b"", lambda data: data),
    "checkpoint half": (lambda data: data[: len(data) // 2], lambda data: data),
    "checkpoint zeros": (lambda data: bytes(len(data)), lambda data: data),
    "checkpoint gone": (None, lambda data: data),
    "pointer empty": (lambda data: data, lambda data: b""),
    "pointer half": (lambda data: data, lambda data: data[: len(data) // 2]),
    "pointer zeros": (lambda data: data, lambda data: bytes(len(data))),
    "both empty": (lambda data: b"", lambda data: b""),
    "both half": (lambda data: data[: len(data) // 2], lambda data: data[: len(data) // 2]),
    "empty without pointer": (lambda data: b"", None),
    "half without pointer": (lambda data: data[: len(data) // 2], None),
}


def tear(file: Path, damage: Tear | None) -> None:
    if damage is None:
        file.unlink()
    else:
        file.write_bytes(damage(file.read_bytes()))


@pytest.mark.lengthy
@pytest.mark.parametrize(("checkpoint", "pointer"), TORN.values(), ids=TORN)
def test_a_torn_checkpoint(checkpoint: Tear | None, pointer: Tear | None, tmp_path: Path) -> None:
    """A checkpoint torn with or without its pointer is removed, and the table is read from its commits."""
    checkpointed(tmp_path)
    log = tmp_path / "t" / "_delta_log"
    tear(log / f"{3:020d}.checkpoint.parquet", checkpoint)
    tear(log / "_last_checkpoint", pointer)

    assert check(tmp_path / "t").checkpoints or checkpoint is None
    heal(tmp_path / "t")

    assert check(tmp_path / "t") == Leftovers([], [])
    healed = DeltaStore(tmp_path / "t")
    assert (healed.marker(APPLICATION), numbers(healed.read(SCHEMA))) == (3, [0.0, 1.0, 2.0, 3.0])
    healed.checkpoint()
    assert DeltaStore(tmp_path / "t").commits_since_checkpoint == 0


def test_a_checkpoint_that_lacks_any_sector(tmp_path: Path) -> None:
    """A checkpoint of which a power cut kept all but one sector is removed."""
    checkpointed(tmp_path)
    file = tmp_path / "t" / "_delta_log" / f"{3:020d}.checkpoint.parquet"
    pointer = file.parent / "_last_checkpoint"
    data, named = file.read_bytes(), pointer.read_bytes()
    removed = 0
    for start in range(0, len(data), 512):
        file.write_bytes((data[:start] + bytes(512) + data[start + 512 :])[: len(data)])
        pointer.write_bytes(named)
        heal(tmp_path / "t")
        removed += not file.exists()
        table = DeltaStore(tmp_path / "t")
        assert (table.marker(APPLICATION), numbers(table.read(SCHEMA))) == (3, [0.0, 1.0, 2.0, 3.0]), start
    assert removed == -(-len(data) // 512)


@pytest.mark.parametrize("tear_newest", [lambda data: b"", lambda data: data[: len(data) // 2]], ids=["empty", "half"])
def test_a_torn_checkpoint_newer_than_the_pointer(tear_newest: Tear, tmp_path: Path) -> None:
    """The pointer may be the older of the two that a power cut left: the newer, torn checkpoint goes, the older stays."""
    made = checkpointed(tmp_path)
    log = tmp_path / "t" / "_delta_log"
    old = (log / "_last_checkpoint").read_bytes()
    made.checkpoint()
    (log / "_last_checkpoint").write_bytes(old)
    newest = log / f"{4:020d}.checkpoint.parquet"
    tear(newest, tear_newest)

    assert check(tmp_path / "t").checkpoints == [newest]
    heal(tmp_path / "t")

    assert (log / f"{3:020d}.checkpoint.parquet").exists()
    assert numbers(DeltaStore(tmp_path / "t").read(SCHEMA)) == [0.0, 1.0, 2.0, 3.0]


# --- damage that no crash explains


@pytest.mark.parametrize("which", [0, 1])
@pytest.mark.parametrize(
    ("damage", "problem"),
    [
        (None, "is gone"),
        (lambda data: b"", r"has 0 bytes, its commit says \d+"),
        (lambda data: data[:-1], r"has \d+ bytes, its commit says \d+"),
        (lambda data: data + b"x", r"has \d+ bytes, its commit says \d+"),
    ],
    ids=["gone", "empty", "short", "long"],
)
def test_a_damaged_file_is_refused(damage: Tear | None, problem: str, which: int, tmp_path: Path) -> None:
    """A committed file that is missing or has another size refuses to open, naming it; nothing is changed."""
    made = store(tmp_path, commits=2)
    file = list(made.files())[which]
    tear(file, damage)
    before = contents(tmp_path)
    with pytest.raises(TableCorrupted, match=problem) as caught:
        DeltaStore(tmp_path / "t")
    assert caught.value.path == file
    assert contents(tmp_path) == before


def test_a_commit_missing_in_the_middle_is_refused(tmp_path: Path) -> None:
    """A table with a hole among its commits is not readable."""
    store(tmp_path, commits=3)
    json_of(tmp_path, 2).unlink()
    with pytest.raises(TableCorrupted, match="not readable"):
        DeltaStore(tmp_path / "t")


def test_a_foreign_delta_table_is_refused(tmp_path: Path) -> None:
    """A Delta table that this engine did not make is not taken for one of its own."""
    DeltaTable.create(str(tmp_path / "t"), SCHEMA)
    with pytest.raises(TableCorrupted, match="not readable as a table of this engine"):
        DeltaStore(tmp_path / "t")


@pytest.mark.parametrize("name", [f"{2:020d}.json", "_last_checkpoint"])
def test_an_error_of_the_disk_is_no_damage(name: str, tmp_path: Path) -> None:
    """If the disk does not let a file be read, the error says so: the table may be whole."""
    store(tmp_path, commits=2)
    file = tmp_path / "t" / "_delta_log" / name
    file.unlink(missing_ok=True)
    file.symlink_to(file.name)  # Too many levels of symbolic links.
    with pytest.raises(OSError, match="LocalFileSystem"):
        DeltaStore(tmp_path / "t")
