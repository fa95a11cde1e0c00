"""Recovery removes what a crash left of commits and checkpoints; a commit that does not fit its checksum is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from deltalake import DeltaTable

from crashmatrix.reference_wal import StorageEngine, TableCorrupted
from crashmatrix.reference_wal.delta.commit import DeltaStore
from crashmatrix.reference_wal.delta.recovery import Leftovers, check, heal
from tests.reference_wal.delta.stores import APPLICATION, KEEP_SEGMENTS, commit, json_of, store, unsealed
from tests.reference_wal.support import SCHEMA, batch, contents, numbers


def test_whole_tables_have_no_leftovers(tmp_path: Path) -> None:
    """Recovery finds nothing to remove in a table at rest: new, with commits, cleared, or with a checkpoint."""
    made = store(tmp_path)
    whole = [check(tmp_path / "t")]
    commit(made, 0, 0)
    whole.append(check(tmp_path / "t"))
    made.clear(0, application=APPLICATION)
    whole.append(check(tmp_path / "t"))
    made.checkpoint()
    whole.append(check(tmp_path / "t"))
    assert whole == [Leftovers([], [])] * 4


def test_commits_that_never_were_are_removed(tmp_path: Path) -> None:
    """A commit that a crash left under its temporary name, ours or deltalake's, goes; the version is free."""
    made = store(tmp_path, commits=1)
    for name in ("1", "unfinished"):
        (tmp_path / "t" / "_delta_log" / f"{2:020d}.json#{name}").write_bytes(b"half")
    heal(tmp_path / "t")
    assert list((tmp_path / "t" / "_delta_log").glob("*#*")) == []
    commit(made, 1, 1)
    assert DeltaStore(tmp_path / "t").marker(APPLICATION) == 1


def test_no_commit_is_refused(tmp_path: Path) -> None:
    """A table without any commit was damaged afterwards: the first one is synced before the table has its name."""
    store(tmp_path)
    json_of(tmp_path, 0).unlink()
    with pytest.raises(TableCorrupted, match="holds no commit"):
        check(tmp_path / "t")


DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda data: b"",
    "half": lambda data: data[: len(data) // 2],
    "without its last line": lambda data: data.rpartition(b"\n")[0],
    "zeros": lambda data: bytes(len(data)),
    "another marker": lambda data: data.replace(b'"version":2', b'"version":1'),
}


@pytest.mark.parametrize("wal", [True, False])
@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_commit_is_refused(damage: Callable[[bytes], bytes], wal: bool, tmp_path: Path) -> None:
    """A newest commit that changed is refused each time, with a log and without, and nothing is changed."""
    with StorageEngine.open(tmp_path, wal, options=KEEP_SEGMENTS) as engine:
        engine.create_table("t", SCHEMA, timestamp="timestamp", tags=["station"])
        for number in range(3):
            engine.ingest("t", batch(float(number)))
            engine.flush()
    file = json_of(tmp_path / "tables", 3)
    file.write_bytes(damage(file.read_bytes()))
    before = contents(tmp_path)
    for _ in range(2):
        with pytest.raises(TableCorrupted, match="does not fit its checksum") as caught:
            StorageEngine.open(tmp_path, wal)
        assert caught.value.path == file
        assert contents(tmp_path) == before


def test_commits_that_a_checkpoint_holds_are_not_needed(tmp_path: Path) -> None:
    """A damaged commit below a checkpoint with its proof stops nothing; if the checkpoint fails as well, it is named."""
    made = store(tmp_path, commits=2)
    made.checkpoint()
    json_of(tmp_path, 1).write_bytes(b"")
    heal(tmp_path / "t")
    assert numbers(DeltaStore(tmp_path / "t").read(SCHEMA)) == [0.0, 1.0]
    (tmp_path / "t" / "_delta_log" / f"{2:020d}.checkpoint.parquet").write_bytes(b"")
    with pytest.raises(TableCorrupted) as caught:
        check(tmp_path / "t")
    assert caught.value.path == json_of(tmp_path, 1)


def test_a_table_of_an_older_version(tmp_path: Path) -> None:
    """Tables whose commits and checkpoints have no checksums are read, and go on with checksums."""
    made = store(tmp_path, commits=2)
    made.checkpoint()
    for version in range(3):
        unsealed(json_of(tmp_path, version))
    next((tmp_path / "t" / "_delta_log").glob("*.xxh3")).unlink()
    for version in (0, 1):  # A clean-up took them.
        json_of(tmp_path, version).unlink()
    heal(tmp_path / "t")
    older = DeltaStore(tmp_path / "t")
    assert (older.marker(APPLICATION), numbers(older.read(SCHEMA))) == (1, [0.0, 1.0])
    commit(older, 2, 2)
    heal(tmp_path / "t")
    assert numbers(DeltaStore(tmp_path / "t").read(SCHEMA)) == [0.0, 1.0, 2.0]
    assert DeltaTable(str(tmp_path / "t")).version() == 3
