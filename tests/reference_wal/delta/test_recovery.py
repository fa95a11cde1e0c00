"""Recovery removes what a crash left of commits and checkpoints; a commit that does not fit its checksum is refused."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from deltalake import DeltaTable

from crashmatrix import faults
from crashmatrix.reference_wal import StorageEngine, TableCorrupted
from crashmatrix.reference_wal.delta.commit import DeltaStore
from crashmatrix.reference_wal.delta.recovery import Leftovers, check, heal
from tests.reference_wal.delta.stores import APPLICATION, KEEP_SEGMENTS, commit, json_of, store, unsealed
from tests.reference_wal.support import SCHEMA, batch, contents, numbers, opened_as


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


def test_the_disk_decides(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """If the disk holds less of the newest commit than the page cache does, the table is refused and nothing is removed."""
    store(tmp_path, commits=2)
    newest, left = json_of(tmp_path, 2), json_of(tmp_path, 3).with_suffix(".json#unfinished")
    left.write_bytes(b"half")
    advise = os.posix_fadvise

    def drop(fd: int, *what: int) -> None:
        advise(fd, *what)
        if opened_as(fd) == newest:
            newest.write_bytes(newest.read_bytes()[:40])

    monkeypatch.setattr(os, "posix_fadvise", drop)
    with pytest.raises(TableCorrupted) as caught:
        heal(tmp_path / "t")
    assert caught.value.path == newest and left.exists()


def leave_a_torn_checkpoint(log: Path) -> None:
    (log / f"{2:020d}.checkpoint.parquet").write_bytes(b"")


def leave_an_unfinished_commit(log: Path) -> None:
    (log / f"{3:020d}.json#unfinished").write_bytes(b"half")


LEFT: dict[str, Callable[[Path], None]] = {
    "rows.delta.checkpoint": leave_a_torn_checkpoint,
    "rows.delta.abandoned": leave_an_unfinished_commit,
}
"""By the mark that says that it was found."""


def test_all_that_is_left_is_durable(synced_and_removed: list[str], tmp_path: Path) -> None:
    """The newest commit and its name are synced first, then what a crash left is removed, and that is synced last."""
    log, seen = tmp_path / "t" / "_delta_log", synced_and_removed
    store(tmp_path, commits=2).checkpoint()
    first = [str(json_of(tmp_path, 2)), str(log)]
    seen.clear()
    heal(tmp_path / "t")
    assert seen == first
    for leave in LEFT.values():
        leave(log)
    seen.clear()
    heal(tmp_path / "t")
    names = ["_last_checkpoint", f"{2:020d}.checkpoint.parquet", f"{3:020d}.json#unfinished"]
    assert seen == [*first, *(f"{log / name} gone" for name in names), str(log)]


@pytest.mark.parametrize(("mark", "leave"), LEFT.items(), ids=LEFT)
def test_leftovers_are_counted_and_logged(
    mark: str, leave: Callable[[Path], None], caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    """A leftover is counted even if its removal fails, and is said to be removed once it is."""
    caplog.set_level("INFO")
    store(tmp_path, commits=2).checkpoint()
    leave(tmp_path / "t" / "_delta_log")

    def found(*, fails: bool) -> tuple[list[str], bool]:
        before = faults.entered()
        caplog.clear()
        with faults.scenario("recovery.torn_commit.before_unlink=raise(EIO)" if fails else ""):
            try:
                heal(tmp_path / "t")
            except OSError:
                assert fails
        counted = [name for name, count in faults.entered().items() if count != before[name]]
        return counted, "removed" in caplog.text

    assert found(fails=True) == ([mark], False)
    assert found(fails=False) == ([mark], True)
    assert found(fails=False) == ([], False)


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


@pytest.mark.parametrize("version", [1, 2])
def test_commits_that_a_checkpoint_holds_are_not_needed(version: int, tmp_path: Path) -> None:
    """A damaged commit up to a checkpoint with its proof stops nothing; if the checkpoint fails as well, it is named."""
    made = store(tmp_path, commits=2)
    made.checkpoint()
    json_of(tmp_path, version).write_bytes(b"")
    heal(tmp_path / "t")
    assert numbers(DeltaStore(tmp_path / "t").read(SCHEMA)) == [0.0, 1.0]
    (tmp_path / "t" / "_delta_log" / f"{2:020d}.checkpoint.parquet").write_bytes(b"")
    with pytest.raises(TableCorrupted) as caught:
        check(tmp_path / "t")
    assert caught.value.path == json_of(tmp_path, version)


@pytest.mark.parametrize("version", range(4))
def test_every_commit_that_is_needed_is_looked_at(version: int, tmp_path: Path) -> None:
    """Whichever commit since the newest checkpoint is damaged, the first included, it is named."""
    store(tmp_path, commits=3)
    json_of(tmp_path, version).write_bytes(json_of(tmp_path, version).read_bytes()[:-1])
    with pytest.raises(TableCorrupted) as caught:
        check(tmp_path / "t")
    assert caught.value.path == json_of(tmp_path, version)


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
