"""Receiving tables: where a URI leads, which tables take rows, and what a receiving commit that was torn becomes."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable, write_deltalake
from deltalake.exceptions import DeltaError

from crashmatrix.reference_wal import InvalidInput, ParquetDamaged, TransferFailed
from crashmatrix.reference_wal.delta import receiver as receiver_module
from crashmatrix.reference_wal.delta.parquet_file import read_rows
from crashmatrix.reference_wal.delta.receiver import LocalReceiver, Receiver, receiver_at, refuse_unfit
from tests.reference_wal.delta.stores import json_of, store
from tests.reference_wal.support import SCHEMA, at_each_sync, contents, flipped

SENDER = "log/t/transfer"
PLACES = [
    ("there", "/base/there"),
    ("a b/ü", "/base/a b/ü"),
    ("/plain/there", "/plain/there"),
    ("file:///plain/there", "/plain/there"),
    ("file:///with%20space", "/with space"),
    ("file://localhost/there", "/there"),
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


@pytest.mark.parametrize("uri", ["file://there", "file://there/deep", "file://another.machine/plain/there"])
def test_a_file_of_another_machine(uri: str) -> None:
    """Two slashes are one too few: the first name would be lost, and the rows would move to another place."""
    with pytest.raises(InvalidInput, match="three slashes"):
        receiver_at(uri, None, base=Path("/base"))


def sent(root: Path, commits: int = 2) -> dict[Path, int]:
    """Return files of a table of ours, with their sizes."""
    return {file: file.stat().st_size for file in store(root, commits).files()}


def rows(path: Path) -> int:
    return sum(pa.table(DeltaTable(str(path)).get_add_actions(flatten=True))["num_records"].to_pylist())


def test_received_once(tmp_path: Path) -> None:
    """A new table is made, takes the files in one commit, and says up to which number it has them."""
    files, receiver = sent(tmp_path), LocalReceiver(tmp_path / "below" / "there")
    assert (receiver.version(), receiver.received(SENDER)) == (-1, -1)
    assert receiver.check(SCHEMA) == -1
    receiver.create(SCHEMA)
    assert (receiver.check(SCHEMA), receiver.version(), receiver.received(SENDER)) == (0, 0, -1)

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


@pytest.mark.parametrize("number", [0, 1, 2])
def test_a_file_that_the_table_names(number: int, tmp_path: Path) -> None:
    """A file that is in the receiving table is not written anew, whichever of them it is; nor is any other."""
    files, receiver = sent(tmp_path, 3), LocalReceiver(tmp_path / "there")
    receiver.create(SCHEMA)
    named = sorted(files)[number]
    receiver.receive({named: files[named]}, SENDER, 5, 1, SCHEMA)
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


def test_each_file_is_looked_at(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """One that fits does not speak for the next. Rows are decoded only of files whose types are others."""
    decoded = list[Path]()

    def noted(file: Path) -> pa.Table:
        decoded.append(file)
        return read_rows(file)

    monkeypatch.setattr(receiver_module, "read_rows", noted)
    schema = pa.schema([("x", pa.int8())])
    files = [tmp_path / "fits.parquet", tmp_path / "other.parquet"]
    for file, array in zip(files, (pa.array([1], pa.int8()), pa.array([200], pa.uint8())), strict=True):
        pq.write_table(pa.table({"x": array}), file)
    refuse_unfit("t", files[:1], schema)
    with pytest.raises(InvalidInput, match="column 'x' has values that t cannot hold"):
        refuse_unfit("t", files, schema)
    assert decoded == files[1:]


def test_a_file_that_nobody_can_check(tmp_path: Path) -> None:
    """A file without a checksum in its name is named, or it fits, whichever byte changed: no error of Arrow's comes out."""
    (file,) = sent(tmp_path, 1)
    data, unchecked, refused = file.read_bytes(), file.with_name(f"{file.name[:41]}.parquet"), 0
    for position in range(len(data)):
        unchecked.write_bytes(flipped(data, position))
        try:
            refuse_unfit("t", [unchecked], SCHEMA)
        except ParquetDamaged as error:
            refused += 1
            assert error.path == unchecked
    assert refused > len(data) // 4


# --- what is durable, and in which order


def of_a_receiver(root: Path) -> LocalReceiver:
    receiver = LocalReceiver(root / "there")
    receiver.create(SCHEMA)
    return receiver


def commit_of(receiver: LocalReceiver) -> Path:
    return receiver.path / "_delta_log" / f"{1:020d}.json"


def test_folders_above_a_new_table(synced: list[str], tmp_path: Path) -> None:
    """A table's name is durable once it is made, and so are the names of the folders made above it."""
    LocalReceiver(tmp_path / "a" / "b" / "there").create(SCHEMA)
    assert {str(tmp_path), str(tmp_path / "a"), str(tmp_path / "a" / "b")} <= set(synced)


def test_each_step_is_durable_before_the_next(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No commit names a copy that a power cut may take back, and none is durable by name before it is whole."""
    files, receiver = sent(tmp_path), of_a_receiver(tmp_path)
    commit, order = commit_of(receiver), list[tuple[str, int, bool]]()

    def note(path: Path) -> None:
        order.append((path.name[-28:], len(list(receiver.path.glob("*.parquet"))), commit.exists()))

    at_each_sync(monkeypatch, note)
    receiver.receive(files, SENDER, 5, 1, SCHEMA)
    first, second = sorted(file.name[-28:] for file in files)
    assert order == [
        *((first, 1, False), (second, 2, False), ("there", 2, False), (tmp_path.name[-28:], 2, False)),
        *((commit.name, 2, True), ("_delta_log", 2, True)),
    ]


@pytest.mark.parametrize("torn", [False, True])
def test_what_a_killed_writer_left(torn: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The page cache does not vouch for it: its contents and its name are synced, then it is believed, or removed durably."""
    files, receiver = sent(tmp_path), of_a_receiver(tmp_path)
    receiver.receive(files, SENDER, 5, 1, SCHEMA)
    commit, order = commit_of(receiver), list[tuple[str, bool]]()
    data = commit.read_bytes()

    def lose(path: Path) -> None:
        order.append((path.name, commit.exists()))
        if torn and path == commit:  # The disk has half of it.
            commit.write_bytes(data[: len(data) // 2])

    at_each_sync(monkeypatch, lose)
    receiver.settle(1)
    believed = [(commit.name, True), ("_delta_log", True)]
    assert order == ([*believed, ("_delta_log", False)] if torn else believed)
    assert commit.exists() is not torn


def test_a_copy_that_was_there(tmp_path: Path) -> None:
    """A longer file, which an earlier attempt left under a copy's name, is replaced to its last byte."""
    files, receiver = sent(tmp_path, 1), of_a_receiver(tmp_path)
    receiver.receive(files, SENDER, 5, 1, SCHEMA)
    (copy,) = receiver.path.glob("*.parquet")
    commit_of(receiver).unlink()
    data = copy.read_bytes()
    copy.write_bytes(bytes(2 * len(data)))
    receiver.receive(files, SENDER, 5, 1, SCHEMA)
    assert (copy.read_bytes(), receiver.received(SENDER)) == (data, 5)


@pytest.mark.usefixtures("no_umask")
def test_nobody_else_may_write_a_copy(tmp_path: Path) -> None:
    """Everybody may read it, as the sender's own file."""
    files, receiver = sent(tmp_path, 1), of_a_receiver(tmp_path)
    receiver.receive(files, SENDER, 5, 1, SCHEMA)
    assert [copy.stat().st_mode & 0o777 for copy in receiver.path.glob("*.parquet")] == [0o644]


def test_the_name_of_a_copy(tmp_path: Path) -> None:
    """It has 80 signs of the sender's name at most, so that it fits, and is the same in each version: so copies are found."""
    (file,), receiver, sender = sent(tmp_path, 1), of_a_receiver(tmp_path), f"{'long_' * 50}/t/transfer"
    receiver.receive({file: file.stat().st_size}, sender, 5, 1, SCHEMA)
    exact = sha256(sender.encode()).hexdigest()[:32]
    assert [copy.name for copy in receiver.path.glob("*.parquet")] == [f"{'long-' * 16}-{exact}-{file.name}"]


def shortened(copy: Path) -> None:
    copy.write_bytes(copy.read_bytes()[:-1])


def replaced_by_a_folder(copy: Path) -> None:
    copy.unlink()
    copy.mkdir()


LOST = [
    pytest.param(True, shortened, TransferFailed, id="changed"),
    pytest.param(False, shortened, TransferFailed, id="changed, without a checksum"),
    pytest.param(True, Path.unlink, TransferFailed, id="gone"),
    pytest.param(True, replaced_by_a_folder, OSError, id="not readable"),
]


@pytest.mark.parametrize(("checked", "damage", "error"), LOST)
def test_a_copy_that_the_disk_has_otherwise(
    checked: bool,
    damage: Callable[[Path], None],
    error: type[Exception],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    """A copy is read back from the disk before it is named: the sender's own file is removed next."""
    (file,), receiver = sent(tmp_path, 1), of_a_receiver(tmp_path)
    if not checked:  # A file of an older version.
        file = file.rename(file.with_name(f"{file.name[:41]}.parquet"))
    size = file.stat().st_size
    at_each_sync(monkeypatch, lambda path: damage(path) if path.suffix == ".parquet" else None)
    with pytest.raises(error):
        receiver.receive({file: size}, SENDER, 5, 1, SCHEMA)
    assert (receiver.version(), receiver.received(SENDER)) == (0, -1)


# --- errors that are not the other side's


def test_a_table_that_cannot_be_read(tmp_path: Path) -> None:
    """It is not taken for one that is not there: it may have the rows already."""
    of_a_receiver(tmp_path)
    (tmp_path / "there" / "_delta_log" / f"{0:020d}.json").write_text("nonsense")
    for receiver in (LocalReceiver(tmp_path / "there"), Receiver(str(tmp_path / "there"))):
        for look in (receiver.version, lambda it=receiver: it.received(SENDER), lambda it=receiver: it.check(SCHEMA)):
            with pytest.raises(TransferFailed, match="there"):
                look()


CALLS: dict[str, tuple[object, str, Callable[[LocalReceiver, dict[Path, int]], object]]] = {
    "look": (DeltaTable, "__init__", lambda receiver, _: receiver.version()),
    "create": (DeltaTable, "create", lambda receiver, _: LocalReceiver(receiver.path / "new").create(SCHEMA)),
    "create elsewhere": (DeltaTable, "create", lambda receiver, _: Receiver(f"{receiver.uri}/new").create(SCHEMA)),
    "receive": (
        DeltaTable, "create_write_transaction", lambda receiver, files: receiver.receive(files, SENDER, 5, 1, SCHEMA)
    ),
    "receive elsewhere": (
        receiver_module, "write_deltalake",
        lambda receiver, files: Receiver(receiver.uri).receive(files, SENDER, 5, 1, SCHEMA),
    ),
}  # fmt: skip


@pytest.mark.parametrize(("error", "raised"), [(DeltaError, TransferFailed), (MemoryError, MemoryError)])
@pytest.mark.parametrize("name", CALLS)
def test_whose_error_it_is(
    name: str, error: type[Exception], raised: type[Exception], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The other side's is a refusal. One of this process, such as a lack of memory, is not: nobody knows what was done."""
    owner, called, call = CALLS[name]
    files, receiver = sent(tmp_path), of_a_receiver(tmp_path)

    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(owner, called, fail)
    with pytest.raises(raised):
        call(receiver, files)
    assert list(receiver.path.glob(".creating-*")) == []


REFUSALS = ("EACCES", "EBUSY", "EEXIST", "ELOOP", "ENAMETOOLONG", "ENOTDIR", "ENOTEMPTY", "EPERM", "EROFS", "EXDEV")


@pytest.mark.parametrize("name", [*REFUSALS, "EIO", "ENOSPC", "EDQUOT", "ENOMEM"])
def test_a_folder_that_cannot_be_made(name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A place where no table can be made refuses, and nothing is left there; an error of the disk is not a refusal."""

    def fail(*_: object) -> None:
        raise OSError(getattr(errno, name), os.strerror(getattr(errno, name)))

    monkeypatch.setattr(Path, "rename", fail)
    with pytest.raises(TransferFailed if name in REFUSALS else OSError) as caught:
        LocalReceiver(tmp_path / "there").create(SCHEMA)
    assert isinstance(caught.value, OSError) is (name not in REFUSALS)
    assert name not in REFUSALS or list(tmp_path.glob("*")) == []


def test_a_mount_point(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """One that is empty is refused before anything is made: a new table comes by a rename, which cannot replace it."""
    (tmp_path / "mount").mkdir()
    receiver = LocalReceiver(tmp_path / "mount")
    assert receiver.check(SCHEMA) == -1
    monkeypatch.setattr(Path, "is_mount", lambda path: path == receiver.path)
    with pytest.raises(InvalidInput, match="mount point"):
        receiver.check(SCHEMA)


def test_options_of_a_store(monkeypatch: pytest.MonkeyPatch) -> None:
    """deltalake is given them with each look at the table, and to make it."""
    given = list[object]()

    class Noted(DeltaTable):
        def __init__(self, *names: Any, **options: Any) -> None:
            given.append(options["storage_options"])
            super().__init__(*names, **options)

        @classmethod
        def create(cls, *names: Any, **options: Any) -> DeltaTable:
            given.append(options["storage_options"])
            return super().create(*names, **options)

    monkeypatch.setattr(receiver_module, "DeltaTable", Noted)
    receiver = receiver_at("memory:///there", {"timeout": "5s"}, base=Path("/base"))
    assert receiver.check(SCHEMA) == -1
    with pytest.raises(TransferFailed, match="memory:///there"):  # Each look is at another memory.
        receiver.create(SCHEMA)
    assert len(given) >= 2
    assert all(options == {"timeout": "5s"} for options in given)
