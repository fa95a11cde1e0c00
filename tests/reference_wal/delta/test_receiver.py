"""Receiving tables: where a URI leads, which tables take rows, and what a receiving commit that was torn becomes."""

from __future__ import annotations

import shutil
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable, write_deltalake

from crashmatrix.reference_wal import InvalidInput, ParquetDamaged, TransferFailed
from crashmatrix.reference_wal.delta.receiver import LocalReceiver, Receiver, receiver_at, refuse_unfit
from tests.reference_wal.delta.stores import json_of, store
from tests.reference_wal.support import SCHEMA, contents

SENDER = "log/t/transfer"
PLACES = [
    ("there", "/base/there"),
    ("a b/ü", "/base/a b/ü"),
    ("/plain/there", "/plain/there"),
    ("file:///plain/there", "/plain/there"),
    ("file:///with%20space", "/with space"),
    ("s3://bucket/there", None),
    ("gs://bucket/there", None),
]


@pytest.mark.parametrize(("uri", "path"), PLACES)
def test_where_a_uri_leads(uri: str, path: str | None) -> None:
    """A path, absolute or not, and a file URI are local; any other URI is left to deltalake as it is."""
    found = receiver_at(uri, None, base=Path("/base"))
    if path is None:
        assert (type(found).__name__, found.uri) == ("Receiver", uri)
    else:
        assert isinstance(found, LocalReceiver) and found.path == Path(path)


def sent(root: Path, commits: int = 2) -> dict[Path, int]:
    """Return files of a table of ours, with their sizes."""
    return {file: file.stat().st_size for file in store(root, commits).files()}


def rows(path: Path) -> int:
    return sum(pa.table(DeltaTable(str(path)).get_add_actions(flatten=True))["num_records"].to_pylist())


def test_received_once(tmp_path: Path) -> None:
    """A new table is made, takes the files in one commit, and says up to which number it has them."""
    files, receiver = sent(tmp_path), LocalReceiver(tmp_path / "below" / "there")
    assert (receiver.version(), receiver.received(SENDER)) == (-1, -1)
    receiver.check(SCHEMA)
    receiver.create(SCHEMA)
    assert (receiver.version(), receiver.received(SENDER)) == (0, -1)

    receiver.receive(files, SENDER, 5, 1, SCHEMA)

    assert (receiver.version(), receiver.received(SENDER), receiver.received("another")) == (1, 5, -1)
    assert rows(receiver.path) == 2
    assert set(files) <= set(tmp_path.rglob("*.parquet"))


def test_at_the_noted_version_only(tmp_path: Path) -> None:
    """Somebody else's commit at that version refuses ours, and nothing of it is in the table."""
    files, receiver = sent(tmp_path), LocalReceiver(tmp_path / "there")
    receiver.create(SCHEMA)
    write_deltalake(str(receiver.path), SCHEMA.empty_table(), mode="overwrite", schema_mode="overwrite")
    with pytest.raises(TransferFailed):
        receiver.receive(files, SENDER, 5, 1, SCHEMA)
    assert (receiver.version(), receiver.received(SENDER), rows(receiver.path)) == (1, -1, 0)


UNFIT = {
    "other columns": lambda path: write_deltalake(str(path), pa.table({"x": [1]})),
    "a column less": lambda path: write_deltalake(str(path), SCHEMA.empty_table().drop_columns(["value"])),
    "partitioned": lambda path: write_deltalake(str(path), SCHEMA.empty_table(), partition_by=["station"]),
    "another folder": lambda path: (path.mkdir(), (path / "notes.txt").write_text("mine")),
    "a file": lambda path: path.write_text("mine"),
}


@pytest.mark.parametrize("make", UNFIT.values(), ids=UNFIT)
def test_tables_that_take_no_rows(make: object, tmp_path: Path) -> None:
    """A receiving table that does not fit is refused, and left as it is."""
    make(tmp_path / "there")  # type: ignore[operator]
    before = contents(tmp_path)
    with pytest.raises((InvalidInput, TransferFailed)):
        LocalReceiver(tmp_path / "there").check(SCHEMA)
    assert contents(tmp_path) == before


@pytest.mark.parametrize("share", [0, 1, 2, 3])
def test_a_torn_commit_is_removed(share: int, tmp_path: Path) -> None:
    """A receiving commit that lost its end is removed; a whole one stays."""
    files, receiver = sent(tmp_path), LocalReceiver(tmp_path / "there")
    receiver.create(SCHEMA)
    receiver.receive(files, SENDER, 5, 1, SCHEMA)
    commit = receiver.path / "_delta_log" / f"{1:020d}.json"
    data = commit.read_bytes()
    commit.write_bytes(data[: len(data) * share // 3])
    receiver.settle(1)
    assert commit.exists() is (share == 3)
    assert (receiver.version(), receiver.received(SENDER)) == ((1, 5) if share == 3 else (0, -1))


def test_a_commit_that_others_built_upon(tmp_path: Path) -> None:
    """A commit that is not the newest, or not there, is left as it is."""
    table = store(tmp_path, 2)
    before = contents(tmp_path)
    receiver = LocalReceiver(table.path)
    receiver.settle(1)
    receiver.settle(7)
    assert contents(tmp_path) == before and json_of(tmp_path, 1).exists()


@pytest.mark.parametrize("local", [True, False])
def test_columns_at_the_version_before(local: bool, tmp_path: Path) -> None:
    """Rows are added only to the columns that they have, as they are at the version before; nothing is copied otherwise."""
    files, path = sent(tmp_path), tmp_path / "there"
    receiver = LocalReceiver(path) if local else Receiver(str(path))
    receiver.create(SCHEMA)
    write_deltalake(str(path), pa.table({"x": [1]}), mode="overwrite", schema_mode="overwrite")
    before = contents(path)
    with pytest.raises(InvalidInput, match="has columns"):
        receiver.receive(files, SENDER, 5, 2, SCHEMA)
    assert contents(path) == before


def test_a_file_that_the_table_names(tmp_path: Path) -> None:
    """A file that is in the receiving table is not written anew."""
    files, receiver = sent(tmp_path), LocalReceiver(tmp_path / "there")
    receiver.create(SCHEMA)
    receiver.receive(files, SENDER, 5, 1, SCHEMA)
    before = contents(receiver.path)
    with pytest.raises(InvalidInput, match="in the receiving table already"):
        receiver.receive(files, SENDER, 6, 2, SCHEMA)
    assert contents(receiver.path) == before


def test_a_sender_file_that_changed(tmp_path: Path) -> None:
    """A file that is not what was committed is never copied."""
    files, receiver = sent(tmp_path, 1), LocalReceiver(tmp_path / "there")
    receiver.create(SCHEMA)
    (file,) = files
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)
    with pytest.raises(ParquetDamaged, match="has the checksum"):
        receiver.receive(files, SENDER, 5, 1, SCHEMA)
    assert list(receiver.path.glob("*.parquet")) == []


def test_a_table_that_vanishes_is_refused(tmp_path: Path) -> None:
    """If the receiving table stops being one while rows are sent, the transfer fails as any other, and nothing is received."""
    files, receiver = sent(tmp_path), LocalReceiver(tmp_path / "there")
    receiver.create(SCHEMA)
    shutil.rmtree(receiver.path / "_delta_log")
    with pytest.raises(TransferFailed, match="the table is gone"):
        receiver.receive(files, SENDER, 5, 1, SCHEMA)


def test_a_place_that_cannot_be_reached(tmp_path: Path) -> None:
    """A table that cannot be made elsewhere, or takes no rows, is an error."""
    receiver = Receiver("nowhere://bucket/there")
    with pytest.raises(TransferFailed, match="nowhere://bucket/there"):
        receiver.create(SCHEMA)
    with pytest.raises(TransferFailed, match="nowhere://bucket/there"):
        receiver.receive(sent(tmp_path), SENDER, 3, 1, SCHEMA)


def test_a_table_elsewhere(tmp_path: Path) -> None:
    """It is made, takes the files once at the noted version, and says up to which number it has them."""
    files, receiver = sent(tmp_path), Receiver(str(tmp_path / "there"))
    assert (receiver.version(), receiver.received(SENDER)) == (-1, -1)
    receiver.create(SCHEMA)
    assert receiver.version() == 0
    receiver.receive(files, SENDER, 3, 1, SCHEMA)
    assert (receiver.version(), receiver.received(SENDER), receiver.received("another")) == (1, 3, -1)
    assert rows(tmp_path / "there") == rows(tmp_path / "t")
    with pytest.raises(TransferFailed):
        receiver.receive(files, SENDER, 3, 1, SCHEMA)
    with pytest.raises(TransferFailed):
        receiver.receive(files, SENDER, 4, 3, SCHEMA)
    assert (receiver.version(), receiver.received(SENDER)) == (1, 3)


def test_each_file_is_looked_at(tmp_path: Path) -> None:
    """One that fits does not speak for the next."""
    schema = pa.schema([("x", pa.int8())])
    files = [tmp_path / "fits.parquet", tmp_path / "other.parquet"]
    for file, array in zip(files, (pa.array([1], pa.int8()), pa.array([200], pa.uint8())), strict=True):
        pq.write_table(pa.table({"x": array}), file)
    refuse_unfit("t", files[:1], schema)
    with pytest.raises(InvalidInput, match="column 'x' has values that t cannot hold"):
        refuse_unfit("t", files, schema)
