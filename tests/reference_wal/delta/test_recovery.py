"""Commits and checkpoints that a power cut tore: removed where nothing is lost, refused where no power cut explains them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from deltalake import DeltaTable

from crashmatrix.reference_wal import StorageEngine, TableCorrupted
from crashmatrix.reference_wal.delta.commit import DeltaStore
from crashmatrix.reference_wal.delta.recovery import TornTail, remove_torn, torn_tail
from tests.reference_wal.delta.stores import APPLICATION, KEEP_SEGMENTS, commit, json_of, store
from tests.reference_wal.support import SCHEMA, batch, contents, numbers


def test_whole_tables_have_no_torn_tail(tmp_path: Path) -> None:
    """Recovery finds no torn commit in a table at rest: new, with commits, cleared, or with a checkpoint."""
    made = store(tmp_path)
    whole = [torn_tail(tmp_path / "t")]
    commit(made, 0, 0)
    whole.append(torn_tail(tmp_path / "t"))
    made.clear(0, application=APPLICATION)
    whole.append(torn_tail(tmp_path / "t"))
    made.checkpoint()
    whole.append(torn_tail(tmp_path / "t"))
    assert whole == [TornTail(None, version - 1, []) for version in (0, 1, 2, 2)]


@pytest.mark.lengthy
@pytest.mark.parametrize("newest", ["commit", "clear"])
def test_a_commit_torn_at_every_byte(newest: str, tmp_path: Path) -> None:
    """A newest commit that lacks any of its end, or has zeros there, is recognised, and healing removes it."""
    made = store(tmp_path, commits=2)
    before = torn_tail(tmp_path / "t")
    if newest == "clear":
        made.clear(2, application=APPLICATION)
    else:
        commit(made, 2, 2)
    file = json_of(tmp_path, 3)
    data = file.read_bytes()
    assert before == TornTail(None, 1, []) and data[-1:] == b"}"

    for length in range(len(data)):
        for torn in (data[:length], data[:length] + bytes(len(data) - length)):
            file.write_bytes(torn)
            assert torn_tail(tmp_path / "t") == TornTail(file, 2, []), length
    remove_torn(tmp_path / "t", torn_tail(tmp_path / "t"))

    assert not file.exists()
    healed = DeltaStore(tmp_path / "t")
    assert (healed.marker(APPLICATION), numbers(healed.read(SCHEMA))) == (1, [0.0, 1.0])
    healed.remove_orphans()
    commit(healed, 2, 2)
    assert numbers(DeltaStore(tmp_path / "t").read(SCHEMA)) == [0.0, 1.0, 2.0]


def test_leftovers_of_deltalake_are_removed(tmp_path: Path) -> None:
    """The temporary file that deltalake links a commit from does not pile up."""
    store(tmp_path, commits=1)
    leftover = tmp_path / "t" / "_delta_log" / f"{2:020d}.json#1"
    leftover.write_bytes(b"half")
    remove_torn(tmp_path / "t", torn_tail(tmp_path / "t"))
    assert not leftover.exists()
    assert DeltaStore(tmp_path / "t").marker(APPLICATION) == 0


@pytest.mark.parametrize("damage", ["empty", "gone"])
def test_the_first_commit_is_never_torn(damage: str, tmp_path: Path) -> None:
    """A table whose first commit is damaged or gone was damaged afterwards: it is synced before it has its name."""
    store(tmp_path)
    if damage == "empty":
        json_of(tmp_path, 0).write_bytes(b"")
    else:
        json_of(tmp_path, 0).unlink()
    before = contents(tmp_path)
    with pytest.raises(TableCorrupted):
        torn_tail(tmp_path / "t")
    assert contents(tmp_path) == before


DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda data: b"",
    "half": lambda data: data[: len(data) // 2],
    "without its last line": lambda data: data.rpartition(b"\n")[0],
    "first line only": lambda data: data.partition(b"\n")[0],
    "zeros": lambda data: bytes(len(data)),
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_the_engine_heals_a_torn_commit(damage: Callable[[bytes], bytes], tmp_path: Path) -> None:
    """While the log holds the rows of a torn commit, opening removes it and every row is there once."""
    with StorageEngine.open(tmp_path, options=KEEP_SEGMENTS) as engine:
        engine.create_table("t", SCHEMA, timestamp="timestamp", tags=["station"])
        for number in range(3):
            engine.ingest("t", batch(float(number)))
            engine.flush()
    file = json_of(tmp_path / "tables", 3)
    file.write_bytes(damage(file.read_bytes()))

    with StorageEngine.open(tmp_path) as engine:
        assert numbers(engine.read("t")) == [0.0, 1.0, 2.0]
        assert [batch_id for batch_id, _ in engine.unpersisted("t")] == [2]
        assert len(engine.files("t")) == 2
        engine.flush()
        assert numbers(engine.read("t")) == [0.0, 1.0, 2.0]
    assert DeltaTable(str(tmp_path / "tables" / "t")).version() == 3


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_the_engine_refuses_what_the_log_cannot_heal(damage: Callable[[bytes], bytes], tmp_path: Path) -> None:
    """Once the log has let go of the rows, a damaged newest commit is corruption: refused each time, nothing changed."""
    with StorageEngine.open(tmp_path) as engine:
        engine.create_table("t", SCHEMA, timestamp="timestamp", tags=["station"])
        engine.ingest("t", batch(0.0))
        engine.flush()
    with StorageEngine.open(tmp_path) as engine:
        assert engine.unpersisted("t") == []
    file = json_of(tmp_path / "tables", 1)
    file.write_bytes(damage(file.read_bytes()))
    before = contents(tmp_path)

    for _ in range(2):
        with pytest.raises(TableCorrupted, match="the newest commit is damaged") as caught:
            StorageEngine.open(tmp_path)
        assert caught.value.path == file
        assert contents(tmp_path) == before
