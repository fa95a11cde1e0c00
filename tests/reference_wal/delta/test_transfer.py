"""Moving rows to another Delta table: there or here, once, whatever fails and wherever it is cut short."""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable, write_deltalake

from crashmatrix import faults
from crashmatrix.reference_wal import (
    EngineOptions,
    InvalidInput,
    LogPoisoned,
    StorageEngine,
    TableCorrupted,
    TransferFailed,
)
from crashmatrix.reference_wal.delta import receiver as receiver_module, transfer as transfer_module
from crashmatrix.reference_wal.delta.commit import DeltaStore
from crashmatrix.reference_wal.delta.receiver import LocalReceiver, Receiver
from crashmatrix.reference_wal.delta.transfer import Transfer
from tests.reference_wal.delta.stores import APPLICATION, commit, store as store_of
from tests.reference_wal.support import SCHEMA, batch, contents, each_with_one_a_day, flipped, numbers, opened_as


def opened(root: Path, *, options: EngineOptions | None = None) -> StorageEngine:
    engine = StorageEngine.open(root / "engine", options=options)
    if "t" not in engine.tables:
        engine.create_table("t", SCHEMA, timestamp="timestamp", tags=["station"])
    return engine


def store(engine: StorageEngine, *values: float) -> None:
    """Commit one row each, in a file each."""
    for value in values:
        engine.ingest("t", batch(value))
        engine.flush()


def received(path: Path) -> list[float]:
    """Return the values that a Delta reader finds in the receiving table."""
    if not (path / "_delta_log").exists():
        return []
    names = pa.table(DeltaTable(path).get_add_actions())["path"].to_pylist()
    return sorted(value for name in names for value in numbers(pq.read_table(path / name, partitioning=None)))


def test_rows_move(tmp_path: Path) -> None:
    """Committed rows are there and no longer here; those that wait stay; both go on from there."""
    there = tmp_path / "deep" / "there"
    with opened(tmp_path, options=EngineOptions(checkpoint_commits=2)) as engine:
        store(engine, 0.0, 1.0)
        engine.ingest("t", batch(2.0))
        assert engine.transfer("t", there) == 2
        assert (received(there), numbers(engine.read("t"))) == ([0.0, 1.0], [2.0])
        assert list((tmp_path / "engine" / "tables" / "t").glob("*.parquet")) == []
        engine.flush()
        assert engine.transfer("t", f"file://{there}") == 1
        assert engine.transfer("t", there) == 0
        assert engine.counters.transferred == 3
    with opened(tmp_path) as engine:
        assert (received(there), engine.read("t").num_rows) == ([0.0, 1.0, 2.0], 0)
        assert engine.ingest("t", batch(3.0)) == 3


def test_beside_other_rows(tmp_path: Path) -> None:
    """A table that others write to receives as well; tables made anew under a name do not count as the old one."""
    there = tmp_path / "there"
    write_deltalake(there, pa.Table.from_batches([batch(100.0)]))
    with opened(tmp_path) as engine:
        store(engine, 0.0)
        engine.transfer("t", there)
        write_deltalake(there, pa.Table.from_batches([batch(101.0)]), mode="append")
        engine.drop_table("t")
        engine.create_table("t", SCHEMA, timestamp="timestamp", tags=["station"])
        store(engine, 1.0)
        assert engine.transfer("t", there) == 1
    assert received(there) == [0.0, 1.0, 100.0, 101.0]


OWN = (
    "engine", "engine/tables", "engine/tables/u", "engine/wal/r", "engine/spill", "engine/spill/t", "engine/options.json/r",
    "engine/options.json.tmp", "engine/.lock", "engine/archive/../wal/r", "link/r",
)  # fmt: skip
"""Places of the engine's own; ``link`` leads to its logs."""


def test_refusals(tmp_path: Path) -> None:
    """A place that cannot receive the rows is refused before anything changes, and the engine goes on."""
    other = pa.table({"x": [1]})
    write_deltalake(tmp_path / "other", other)
    write_deltalake(tmp_path / "parts", pa.Table.from_batches([batch(1.0)]), partition_by=["station"])
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "notes.txt").write_text("mine")
    (tmp_path / "link").symlink_to("engine/wal")
    with opened(tmp_path) as engine:
        store(engine, 0.0)
        before = contents(tmp_path)
        for place, problem in {
            "other": "has columns",
            "parts": "partitioned by",
            "full": "not a Delta table",
            "a%20b": "takes for another path",
            **dict.fromkeys(OWN, "one of this engine's own files"),
        }.items():
            with pytest.raises(InvalidInput, match=problem):
                engine.transfer("t", tmp_path / place)
        with pytest.raises(InvalidInput, match="no table 'u'"):
            engine.transfer("u", tmp_path / "there")
        assert contents(tmp_path) == before
        assert engine.transfer("t", tmp_path / "engine" / "archive") == 1


STEPS = [point.name for area in ("transfer.", "delta.create") for point in faults.catalogue(area)]


@pytest.mark.lengthy
@pytest.mark.daily(10)
@pytest.mark.parametrize(("point", "fault"), each_with_one_a_day(STEPS, ["panic", "raise(EIO)"]))
def test_cut_short(point: str, fault: str, tmp_path: Path) -> None:
    """Wherever a transfer fails, after reopening each row is in one of the two tables, and the next transfer moves the rest."""
    there = tmp_path / "there"
    with opened(tmp_path) as engine:
        store(engine, 0.0, 1.0)
        with faults.scenario(f"{point}={fault}"), pytest.raises((faults.Panic, OSError)):
            engine.transfer("t", there)
        with pytest.raises(LogPoisoned):
            engine.read("t")
    for _ in range(2):
        with opened(tmp_path) as engine:
            here = numbers(engine.read("t"))
            assert sorted([*here, *received(there)]) == [0.0, 1.0]
            assert not (tmp_path / "engine" / "tables" / "t" / "_transfer.json").exists()
    with opened(tmp_path) as engine:
        store(engine, 2.0)
        assert engine.transfer("t", there) == len(here) + 1
    assert received(there) == [0.0, 1.0, 2.0]


@pytest.mark.parametrize("length", [0, 30, -30])
def test_a_torn_commit_there(length: int, tmp_path: Path) -> None:
    """A power cut that tore the receiving commit costs nothing: it is removed, the rows are here, and move again."""
    there = tmp_path / "there"
    with opened(tmp_path) as engine:
        store(engine, 0.0)
        with faults.scenario("transfer.receive.after_transact=panic"), pytest.raises(faults.Panic):
            engine.transfer("t", there)
    commit = there / "_delta_log" / f"{1:020d}.json"
    commit.write_bytes(commit.read_bytes()[:length])
    with opened(tmp_path) as engine:
        assert (received(there), numbers(engine.read("t"))) == ([], [0.0])
        assert engine.transfer("t", there) == 1
    assert received(there) == [0.0]


def cut_after_receiving(root: Path, there: Path) -> None:
    with opened(root) as engine:
        store(engine, 0.0)
        with faults.scenario("transfer.receive.after_sync_folder=panic"), pytest.raises(faults.Panic):
            engine.transfer("t", there)


@pytest.mark.parametrize("received_durably", [True, False])
def test_an_error_while_it_is_settled(received_durably: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """If a sync of the receiving table fails, so does the opening. The next sync would succeed, without the pages lost."""
    there, original = tmp_path / "there", tmp_path / "original"
    cut_after_receiving(original, there)
    if not received_durably:
        commit = there / "_delta_log" / f"{1:020d}.json"
        commit.write_bytes(commit.read_bytes()[:-1])
    shutil.copytree(there, tmp_path / "received")
    fsync, left = os.fsync, 0

    def fail(descriptor: int) -> None:
        nonlocal left
        left -= opened_as(descriptor).is_relative_to(there)
        if left == 0:
            raise OSError(errno.EIO, "the disk is gone")
        fsync(descriptor)

    for number in range(1, 9):
        for folder, source in ((tmp_path / "engine", original / "engine"), (there, tmp_path / "received")):
            shutil.rmtree(folder, ignore_errors=True)
            shutil.copytree(source, folder)
        left = number
        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", fail)
            try:
                StorageEngine.open(tmp_path / "engine").close()
            except OSError:
                pass
            else:
                assert left > 0, f"sync {number} failed, and the rows were believed"
                break
        with opened(tmp_path) as engine:
            assert sorted([*numbers(engine.read("t")), *received(there)]) == [0.0]
    assert number == (3 if received_durably else 4)


def test_finished_at_the_same_place_only(tmp_path: Path) -> None:
    """A pending transfer to an unreachable place keeps its rows; once the place is back, the rows are there exactly once."""
    there = tmp_path / "there"
    with opened(tmp_path) as engine:
        store(engine, 9.0)
        engine.transfer("t", there)
    cut_after_receiving(tmp_path, there)
    there.rename(tmp_path / "away")
    with opened(tmp_path) as engine:
        assert numbers(engine.read("t")) == [0.0]
        with pytest.raises(InvalidInput, match="was cut short; transfer there first"):
            engine.transfer("t", tmp_path / "elsewhere")
        (tmp_path / "away").rename(there)
        store(engine, 1.0)
        engine.transfer("t", there)
        assert (engine.read("t").num_rows, received(there)) == (0, [0.0, 1.0, 9.0])


@pytest.mark.parametrize("name", ["there", "a:1/there", "file:/there", "s3:/there"])
def test_moved_together(name: str, tmp_path: Path) -> None:
    """A receiving table inside the engine's folder is found again where both were moved to, and the rows go from here."""
    cut_after_receiving(tmp_path, tmp_path / "engine" / name)
    (tmp_path / "new").mkdir()
    (tmp_path / "engine").rename(tmp_path / "new" / "engine")
    with opened(tmp_path / "new") as engine:
        assert (engine.read("t").num_rows, received(tmp_path / "new" / "engine" / name)) == (0, [0.0])
        assert list((tmp_path / "new" / "engine" / "tables" / "t").glob("*.parquet")) == []


def after_the_note(monkeypatch: pytest.MonkeyPatch, others: Callable[[], None]) -> None:
    """Let others do something right after a transfer's note is written."""
    put = transfer_module.INTENT.put

    def put_and_let(_: object, *args: object, **kwargs: object) -> None:
        put(*args, **kwargs)  # type: ignore[arg-type]
        others()

    monkeypatch.setattr(type(transfer_module.INTENT), "put", put_and_let)


def test_another_writer_came_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A commit of somebody else's at the same moment makes the transfer fail, without loss, and the next one succeed."""
    there = tmp_path / "there"
    write_deltalake(there, pa.Table.from_batches([batch(100.0)]))

    def overtake() -> None:
        write_deltalake(there, pa.Table.from_batches([batch(101.0)]), mode="append")

    with opened(tmp_path) as engine:
        store(engine, 0.0)
        after_the_note(monkeypatch, overtake)
        with pytest.raises(TransferFailed, match="there"):
            engine.transfer("t", there)
        monkeypatch.undo()
        assert numbers(engine.read("t")) == [0.0]
        assert engine.transfer("t", there) == 1
    assert received(there) == [0.0, 100.0, 101.0]


def test_columns_changed_between(tmp_path: Path) -> None:
    """Columns that others change after a transfer was cut short refuse its repetition; the rows stay, and can go elsewhere."""
    there = tmp_path / "there"
    with opened(tmp_path) as engine:
        store(engine, 0.0)
        with faults.scenario("transfer.receive.before_transact=panic"), pytest.raises(faults.Panic):
            engine.transfer("t", there)
    write_deltalake(there, pa.table({"site": ["x"]}), mode="overwrite", schema_mode="overwrite")
    note = tmp_path / "engine" / "tables" / "t" / "_transfer.json"
    noted = {"uri": str(there), "number": 0, "version": 1}
    with opened(tmp_path) as engine:
        note.write_text(json.dumps(noted))  # As if the engine had been open all the time.
        with pytest.raises(TransferFailed, match="has columns"):
            engine.transfer("t", there)
        assert (numbers(engine.read("t")), note.exists()) == ([0.0], False)
        assert engine.transfer("t", tmp_path / "elsewhere") == 1


def test_columns_changed_at_the_last_moment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A table replaced after it was looked at, at the same version, takes no rows, and leaves no note behind."""
    there = tmp_path / "there"
    write_deltalake(there, pa.Table.from_batches([batch(100.0)]))

    def replace_it() -> None:
        shutil.rmtree(there)
        write_deltalake(there, pa.table({"site": ["x"]}))

    with opened(tmp_path) as engine:
        store(engine, 0.0)
        after_the_note(monkeypatch, replace_it)
        with pytest.raises(TransferFailed, match="has columns"):
            engine.transfer("t", there)
        monkeypatch.undo()
        assert [path.name for path in there.glob("*-transfer-*")] == []
        assert engine.transfer("t", tmp_path / "elsewhere") == 1


UNFIT = [
    (pa.uint8(), [200, 1]),
    (pa.uint16(), [2**16 - 1, 1]),
    (pa.uint32(), [2**32 - 1, 1]),
    (pa.uint64(), [2**63, 1]),
    (pa.timestamp("ms"), [2**62, 1]),
    (pa.timestamp("ms", "UTC"), [2**62, 1]),
    (pa.dictionary(pa.int8(), pa.uint8()), [200, 1]),
    (pa.list_(pa.uint8()), [[200], [1]]),
    (pa.struct([("a", pa.uint8())]), [{"a": 200}, {"a": 1}]),
    (pa.map_(pa.string(), pa.uint8()), [[("a", 200)], [("a", 1)]]),
]


@pytest.mark.parametrize(("kind", "values"), UNFIT, ids=[str(kind) for kind, _ in UNFIT])
def test_values_that_delta_cannot_hold(kind: pa.DataType, values: list[object], tmp_path: Path) -> None:
    """A value outside of the type that Delta has for its column stays here; others of that column can be moved and read."""
    schema = pa.schema([("timestamp", pa.timestamp("us")), ("it", kind)])

    def keep(value: object) -> None:
        engine.ingest(
            "u", pa.record_batch([pa.array([1], schema.field(0).type), pa.array([value], kind)], schema=schema)
        )
        engine.flush()

    with opened(tmp_path) as engine:
        engine.create_table("u", schema, timestamp="timestamp")
        for value in values:
            keep(value)
        before = contents(tmp_path)
        with pytest.raises(TransferFailed, match="column 'it' has values"):
            engine.transfer("u", tmp_path / "there")
        assert contents(tmp_path) == before
        engine.truncate("u")
        keep(values[1])
        assert engine.transfer("u", tmp_path / "there") == 1
    assert DeltaTable(tmp_path / "there").to_pyarrow_table().num_rows == 1


def test_copies_of_a_folder(tmp_path: Path) -> None:
    """A copy of the folder cannot send rows to a table that has later ones of the original; no crash can then remove them."""
    there = tmp_path / "there"
    with opened(tmp_path):
        pass
    shutil.copytree(tmp_path / "engine", tmp_path / "copy" / "engine")
    with opened(tmp_path) as engine:
        store(engine, 1.0)
        engine.transfer("t", there)
    with opened(tmp_path / "copy") as engine:
        engine.ingest("t", batch(2.0))
        store(engine, 3.0)  # One file, of which the first batch alone has the number of one received.
        before = contents(tmp_path)
        with pytest.raises(TransferFailed, match="looks like a copy"):
            engine.transfer("t", there)
        assert contents(tmp_path) == before
        assert engine.transfer("t", tmp_path / "elsewhere") == 2


def test_repeated_after_truncation(tmp_path: Path) -> None:
    """Batches that come after a truncation are later ones, and are received."""
    there = tmp_path / "there"
    with opened(tmp_path, options=EngineOptions(identity="mine")) as engine:
        store(engine, 0.0)
        engine.transfer("t", there)
        store(engine, 1.0)
        engine.truncate("t")
        store(engine, 2.0)
        assert engine.transfer("t", there) == 1
    assert received(there) == [0.0, 2.0]


def test_a_new_table_that_is_away(tmp_path: Path) -> None:
    """A table made by a transfer that was cut short, and away since, keeps the rows from being sent elsewhere or anew."""
    (tmp_path / "disk").mkdir()
    there = tmp_path / "disk" / "there"
    cut_after_receiving(tmp_path, there)
    (tmp_path / "disk").rename(tmp_path / "unplugged")
    for _ in range(2):
        with opened(tmp_path) as engine:
            assert numbers(engine.read("t")) == [0.0]
            with pytest.raises(InvalidInput, match="was cut short; transfer there first"):
                engine.transfer("t", tmp_path / "elsewhere")
            with pytest.raises(TransferFailed, match="gone, and may have the rows"):
                engine.transfer("t", there)
        there.mkdir(parents=True, exist_ok=True)  # The mount point, empty.
    shutil.rmtree(tmp_path / "disk")
    (tmp_path / "unplugged").rename(tmp_path / "disk")
    with opened(tmp_path) as engine:
        assert (engine.read("t").num_rows, received(there)) == (0, [0.0])


def test_senders_of_similar_names(tmp_path: Path) -> None:
    """Tables whose names differ in one sign, or in case, send files of different names."""
    with opened(tmp_path, options=EngineOptions(identity="x")) as engine:
        for name in ("a_b", "a-b", "A_b", "a__b"):
            engine.create_table(name, SCHEMA, timestamp="timestamp", tags=["station"])
            engine.ingest(name, batch(1.0))
            engine.flush()
            engine.transfer(name, tmp_path / "there")
    assert received(tmp_path / "there") == [1.0] * 4
    assert len({path.name.lower() for path in (tmp_path / "there").glob("*.parquet")}) == 4


def test_places_where_no_folder_can_be_made(tmp_path: Path) -> None:
    """A link to a folder, a file on the way, and a folder that comes up at the last moment refuse, and change nothing."""
    (tmp_path / "empty").mkdir()
    (tmp_path / "link").symlink_to("empty")
    (tmp_path / "dangling").symlink_to("nowhere")
    (tmp_path / "file").write_text("mine")

    def comes_up() -> None:
        (tmp_path / "late" / "x").mkdir(parents=True)

    with opened(tmp_path) as engine:
        store(engine, 0.0)
        before = contents(tmp_path)
        for place in ("link", "dangling"):
            with pytest.raises(InvalidInput, match="is a link or a mount point"):
                engine.transfer("t", tmp_path / place)
        with pytest.raises((InvalidInput, TransferFailed)):
            engine.transfer("t", tmp_path / "file" / "there")
        faults.configure_callback("delta.create.before_rename", lambda *_: comes_up())
        with pytest.raises(TransferFailed, match="late"):
            engine.transfer("t", tmp_path / "late")
        faults.remove("delta.create.before_rename")
        assert (contents(tmp_path), list(tmp_path.glob(".creating*"))) == (before, [])
        assert engine.transfer("t", tmp_path / "link" / "there") == 1


def test_another_sender_of_the_same_batches(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A copy of the folder may send them between any two looks at the receiving table: they are received once."""
    left = moment = 0

    class Overtaken(DeltaTable):
        """A look at a table, after which the copy sends its rows."""

        def __init__(self, *given: Any, **options: Any) -> None:
            nonlocal left
            super().__init__(*given, **options)
            left -= 1
            if left == 0:
                send("copy")

    def send(name: str) -> None:
        with suppress(TransferFailed):
            Transfer(DeltaStore(root / name / "t"), APPLICATION).send(LocalReceiver(root / "there"), SCHEMA)

    monkeypatch.setattr(receiver_module, "DeltaTable", Overtaken)
    while left <= 0:
        left = moment = moment + 1
        root = tmp_path / f"{moment}"
        store_of(root / "here", 2)
        commit(store_of(root / "copy"), 0, 1)  # In one file: its copies have other names.
        LocalReceiver(root / "there").create(SCHEMA)
        send("here")
        assert received(root / "there") == [0.0, 1.0]
        assert moment < 20
    assert moment > 3


def test_both_tables_have_the_number(tmp_path: Path) -> None:
    """The commit here that removes the rows names their last batch, as the one there does that has them."""
    table, receiver = store_of(tmp_path, 3), LocalReceiver(tmp_path / "there")
    Transfer(table, APPLICATION).send(receiver, SCHEMA)
    sender = f"{APPLICATION}/transfer"
    assert (DeltaStore(table.path).marker(sender), receiver.received(sender)) == (2, 2)


FORGETTING = [
    ("transfer.intent.before_unlink", True, 0),
    ("transfer.intent.after_unlink", False, 0),
    ("transfer.intent.before_sync_unlinked", False, 0),
    ("transfer.intent.after_sync_unlinked", False, 0),
]


def test_when_the_note_goes(tmp_path: Path) -> None:
    """It goes once no row that was received is read here any more: nobody would look there, and the rows would be in both."""
    steps = list[tuple[str, bool, int]]()
    table = tmp_path / "engine" / "tables" / "t"

    def look(point: faults.FailPoint, _: int) -> None:
        if point.name.startswith("transfer.intent.") and "unlink" in point.name:
            steps.append((point.name, (table / "_transfer.json").exists(), len(DeltaStore(table).files())))

    with opened(tmp_path) as engine:
        store(engine, 0.0)
        faults.observe(look)
        try:
            engine.transfer("t", tmp_path / "there")
        finally:
            faults.observe(None)
    assert steps == FORGETTING


def test_a_note_that_was_never_named(tmp_path: Path) -> None:
    """An opening removes what a crash left of it, and nothing was sent: the rows are here, and can go anywhere."""
    with opened(tmp_path) as engine:
        store(engine, 0.0)
        with faults.scenario("transfer.intent.before_rename=panic"), pytest.raises(faults.Panic):
            engine.transfer("t", tmp_path / "there")
    left = tmp_path / "engine" / "tables" / "t" / "_transfer.json.tmp"
    assert left.exists()
    with opened(tmp_path) as engine:
        assert (left.exists(), numbers(engine.read("t"))) == (False, [0.0])
        assert engine.transfer("t", tmp_path / "elsewhere") == 1


def test_a_note_of_a_table_yet_to_be_made(tmp_path: Path) -> None:
    """Older versions noted a table before they made it: one that is not there is made by a transfer to it, and by no other."""
    with opened(tmp_path) as engine:
        store(engine, 0.0)
    note = tmp_path / "engine" / "tables" / "t" / "_transfer.json"
    note.write_text(json.dumps({"uri": str(tmp_path / "there"), "number": 0, "version": -1}))
    with opened(tmp_path) as engine:
        with pytest.raises(InvalidInput, match="was cut short; transfer there first"):
            engine.transfer("t", tmp_path / "elsewhere")
        assert engine.transfer("t", tmp_path / "there") == 1
        assert (engine.read("t").num_rows, received(tmp_path / "there"), note.exists()) == (0, [0.0], False)


# --- receiving tables behind a URI


@pytest.fixture
def remote(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have every receiving table treated as one in an object store."""
    monkeypatch.setattr(transfer_module, "receiver_at", lambda uri, options, base: Receiver(str(uri), options))


@pytest.mark.usefixtures("remote")
def test_to_an_object_store(tmp_path: Path) -> None:
    """deltalake writes rows and number; a second transfer adds to them."""
    there = tmp_path / "there"
    with opened(tmp_path) as engine:
        store(engine, 0.0, 1.0)
        assert engine.transfer("t", f"file://{there}", {"timeout": "5s"}) == 2
        store(engine, 2.0)
        assert engine.transfer("t", f"file://{there}") == 1
        assert (received(there), engine.read("t").num_rows) == ([0.0, 1.0, 2.0], 0)


@pytest.mark.usefixtures("remote")
@pytest.mark.parametrize("step", ["before", "after"])
def test_cut_short_to_an_object_store(step: str, tmp_path: Path) -> None:
    """Opening cannot look there: the rows are read here until the next transfer finds out, and nothing is there twice."""
    there = f"file://{tmp_path / 'there'}"
    with opened(tmp_path) as engine:
        store(engine, 0.0)
        with faults.scenario(f"transfer.receive.{step}_transact=panic"), pytest.raises(faults.Panic):
            engine.transfer("t", there)
    assert received(tmp_path / "there") == ([0.0] if step == "after" else [])
    with opened(tmp_path) as engine:
        assert numbers(engine.read("t")) == [0.0]
        store(engine, 1.0)
        with pytest.raises(InvalidInput, match="was cut short"):
            engine.transfer("t", f"file://{tmp_path / 'elsewhere'}")
        engine.transfer("t", there)
        assert (engine.read("t").num_rows, received(tmp_path / "there")) == (0, [0.0, 1.0])


@pytest.mark.usefixtures("remote")
def test_an_object_store_that_refuses(tmp_path: Path) -> None:
    """An error of the other side leaves the rows here and the engine usable."""
    (tmp_path / "file").write_text("in the way")
    with opened(tmp_path) as engine:
        store(engine, 0.0)
        with pytest.raises(TransferFailed):
            engine.transfer("t", f"file://{tmp_path / 'file' / 'there'}")
        assert numbers(engine.read("t")) == [0.0]
        store(engine, 1.0)


def test_a_damaged_note_is_named(tmp_path: Path) -> None:
    """A note that changed, or was cut, is refused by an error that names it; one of an older version is read."""
    with StorageEngine.open(tmp_path / "e") as engine:
        engine.create_table("t", SCHEMA, timestamp="timestamp", tags=["station"])
        engine.ingest("t", batch(1.0))
        engine.flush()
        with faults.scenario("transfer.receive.before_transact=raise(EIO)"), pytest.raises(OSError, match="Input"):
            engine.transfer("t", tmp_path / "e" / "there")
    note = tmp_path / "e" / "tables" / "t" / "_transfer.json"
    data = note.read_bytes()
    without_checksum = data.index(b"\n")  # As an older version wrote it, and not a byte more.
    cut = [data[:length] for length in range(len(data)) if length != without_checksum]
    for damaged in (*cut, *(flipped(data, position, 1) for position in range(len(data)))):
        note.write_bytes(damaged)
        with pytest.raises(TableCorrupted):
            Transfer(DeltaStore(note.parent), "log/t").pending()
    for damaged in (cut[0], cut[-1], flipped(data, 3, 1)):
        note.write_bytes(damaged)
        with pytest.raises(TableCorrupted) as caught:
            StorageEngine.open(tmp_path / "e")
        assert caught.value.path == note
    note.write_bytes(data.partition(b"\n")[0])
    with StorageEngine.open(tmp_path / "e") as engine:
        assert numbers(engine.read("t")) == [1.0]


@pytest.mark.parametrize("note", [b"", b"[]", b"{}", b"0", b"\xff", b"[" * 100_000])
def test_a_note_that_is_none(note: bytes, tmp_path: Path) -> None:
    """Without a checksum, anything but a note is named as well: other JSON, bytes that are not text, lists in lists."""
    table = store_of(tmp_path)
    (table.path / "_transfer.json").write_bytes(note)
    with pytest.raises(TableCorrupted) as caught:
        Transfer(table, APPLICATION).recover()
    assert caught.value.path == table.path / "_transfer.json"
