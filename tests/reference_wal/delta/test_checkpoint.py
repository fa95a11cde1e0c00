"""Checkpoints and what is deleted behind them: the table is the same, whatever a crash keeps of either."""

from __future__ import annotations

import itertools
import json
import os
import time
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable

from crashmatrix import faults
from crashmatrix.reference_wal import EngineOptions, StorageEngine, TableCorrupted
from crashmatrix.reference_wal.delta.checkpoint import clean_up, newest_version, torn
from tests.reference_wal.support import SCHEMA, batch, contents, flipped, numbers, opened_as

OPTIONS = EngineOptions(checkpoint_commits=3)


def opened(root: Path) -> StorageEngine:
    engine = StorageEngine.open(root, options=OPTIONS)
    if "t" not in engine.tables:
        engine.create_table("t", SCHEMA, timestamp="timestamp", tags=["station"])
    return engine


def filled(root: Path, commits: int) -> Path:
    """Commit so many rows, one each; return the Delta log."""
    with opened(root) as engine:
        for number in range(commits):
            engine.ingest("t", batch(float(number)))
            engine.flush()
    return root / "tables" / "t" / "_delta_log"


def versions(log: Path, suffix: str) -> list[int]:
    return sorted(int(path.name[:20]) for path in log.glob(f"[0-9]*{suffix}"))


@pytest.mark.parametrize(
    ("commits", "checkpoints", "first_json"), [(2, [], 0), (3, [3], 0), (6, [3, 6], 3), (8, [3, 6], 3), (10, [6, 9], 6)]
)
def test_what_is_kept(commits: int, checkpoints: list[int], first_json: int, tmp_path: Path) -> None:
    """The two newest checkpoints stay, and every commit from the older of them on; readers see every row."""
    log = filled(tmp_path, commits)
    assert versions(log, ".checkpoint.parquet") == checkpoints
    assert versions(log, ".json") == list(range(first_json, commits + 1))
    assert len(DeltaTable(log.parent).file_uris()) == commits
    with opened(tmp_path) as engine:
        assert numbers(engine.read("t")) == [float(i) for i in range(commits)]
        assert engine.ingest("t", batch(-1.0)) == commits


def test_any_subset_of_a_clean_up(tmp_path: Path) -> None:
    """Whichever of the deletions a power cut keeps, the table reads the same, and the next clean-up takes the rest."""
    with faults.scenario("checkpoint.clean_up.before_unlink=raise(EIO)"), pytest.raises(OSError, match="Input/output"):
        filled(tmp_path, 6)
    log = tmp_path / "tables" / "t" / "_delta_log"
    old = {file: file.read_bytes() for file in sorted(log.glob("0*.json"))[:3]}
    assert [int(file.stem) for file in old] == [0, 1, 2]
    for kept in itertools.product([True, False], repeat=3):
        for (file, data), keep in zip(old.items(), kept, strict=True):
            file.write_bytes(data) if keep else file.unlink(missing_ok=True)
        with opened(tmp_path) as engine:
            assert numbers(engine.read("t")) == [float(i) for i in range(6)]
    clean_up(log)
    assert versions(log, ".json") == [3, 4, 5, 6]


def test_a_checkpoint_is_durable_and_read_from_the_disk(
    synced: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Its file, the pointer to it, its proof and their names are synced; then the page cache's copies are dropped."""
    log = filled(tmp_path, 2)
    dropped = list[str]()
    advise = os.posix_fadvise

    def advised(fd: int, *what: int) -> None:
        dropped.append(str(opened_as(fd)))
        advise(fd, *what)

    monkeypatch.setattr(os, "posix_fadvise", advised)
    with opened(tmp_path) as engine:
        engine.ingest("t", batch(2.0))
        synced.clear()
        engine.flush()
    files = [f"{3:020d}.checkpoint.parquet", "_last_checkpoint", f"_checkpoint.{3:020d}.xxh3"]
    first = synced.index(str(log / files[0]))
    assert synced[first : first + 4] == [*(str(log / name) for name in files), str(log)]
    assert set(dropped) >= {str(log / name) for name in files}


@pytest.mark.lengthy
def test_a_checkpoint_holds_what_is_there(tmp_path: Path) -> None:
    """Files that a truncation removed burden no later checkpoint: opening costs what is in the table, not what ever was."""
    log = filled(tmp_path, 7)
    with opened(tmp_path) as engine:
        engine.truncate("t")
        time.sleep(1.1)  # Delta forgets a removal once its retention, of no seconds, has passed.
        engine.ingest("t", batch(-1.0))
        engine.flush()
    newest = pq.read_table(max(log.glob("*.checkpoint.parquet")))
    assert newest_version(log) == 9
    held = {kind: newest[kind].drop_null().length() for kind in ("add", "remove")}
    assert held == {"add": 1, "remove": 0}


TEARS: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda data: b"",
    "half": lambda data: data[: len(data) // 2],
    "zeros": lambda data: bytes(len(data)),
}


def without_its_middle(data: bytes) -> bytes:
    """Return it as a power cut may leave it: the magic numbers and the footer are there."""
    return data[:4] + bytes(len(data) // 2) + data[4 + len(data) // 2 :]


@pytest.mark.lengthy
@pytest.mark.parametrize("tear", TEARS.values(), ids=TEARS)
@pytest.mark.parametrize("which", ["checkpoint", "pointer", "both"])
def test_a_torn_checkpoint_after_a_clean_up(which: str, tear: Callable[[bytes], bytes], tmp_path: Path) -> None:
    """With the first commits long gone, a torn newest checkpoint is removed, and the one before it read instead."""
    log = filled(tmp_path, 9)
    checkpoint, pointer = log / f"{9:020d}.checkpoint.parquet", log / "_last_checkpoint"
    for file in {"checkpoint": [checkpoint], "pointer": [pointer], "both": [checkpoint, pointer]}[which]:
        file.write_bytes(tear(file.read_bytes()))
    with opened(tmp_path) as engine:
        assert numbers(engine.read("t")) == [float(i) for i in range(9)]
        assert newest_version(log) == (9 if which == "pointer" else 6)
        engine.ingest("t", batch(9.0))
        engine.flush()
    with opened(tmp_path) as engine:
        assert numbers(engine.read("t")) == [float(i) for i in range(10)]


def with_a_name_that_is_not_text(data: bytes) -> bytes:
    return data.replace(b"txn", b"t\xffn")


@pytest.mark.parametrize(
    "tear",
    [*TEARS.values(), without_its_middle, with_a_name_that_is_not_text],
    ids=[*TEARS, "no middle", "no text"],
)
def test_a_torn_checkpoint_of_an_older_version(tear: Callable[[bytes], bytes], tmp_path: Path) -> None:
    """A version without proofs made it: it is read to its end, and the one before it is read instead."""
    log = filled(tmp_path, 9)
    for proof in log.glob("*.xxh3"):
        proof.unlink()
    newest = log / f"{9:020d}.checkpoint.parquet"
    newest.write_bytes(tear(newest.read_bytes()))
    assert newest in torn(log)
    with opened(tmp_path) as engine:
        assert numbers(engine.read("t")) == [float(i) for i in range(9)]
    assert newest_version(log) == 6


def test_a_pointer_that_was_left_behind(tmp_path: Path) -> None:
    """The newest checkpoint is read, even if the pointer names an older one, or a torn one."""
    log = filled(tmp_path, 6)
    pointer, older = log / "_last_checkpoint", log / f"{3:020d}.checkpoint.parquet"
    pointer.write_text(json.dumps({"version": 3, "size": 3, "sizeInBytes": older.stat().st_size}))
    for content in (older.read_bytes(), b""):
        older.write_bytes(content)
        with opened(tmp_path) as engine:
            assert numbers(engine.read("t")) == [float(i) for i in range(6)]
        assert newest_version(log) == 6


def test_a_clean_up_is_durable(synced_and_removed: list[str], tmp_path: Path) -> None:
    """The log's folder is synced after the last file is removed, and only if any is."""
    log = filled(tmp_path, 5)
    synced_and_removed.clear()
    clean_up(log)
    assert synced_and_removed == []
    with opened(tmp_path) as engine:
        engine.ingest("t", batch(5.0))
        engine.flush()
    seen = [change for change in synced_and_removed if change.startswith(str(log))]
    removed = [f"{log}/{version:020d}.json gone" for version in range(3)]
    first = seen.index(removed[0])
    assert seen[first : first + 4] == [*removed, str(log)]


def test_other_files_are_no_commits(tmp_path: Path) -> None:
    """A log may hold compacted commits, and files that somebody put there; none is read for a version, none is removed."""
    log, first = filled(tmp_path, 8), f"{1:020d}"
    others = [
        "a",
        "1-note.json",
        f"{first}.{7:020d}.compacted.json",
        f"{first}.json.bak",
        f"x{first}.checkpoint.parquet",
    ]
    others += ["_checkpoint.mine.xxh3", f"_checkpoint.{first}.xxh3.bak", f"{first}0.json"]
    for name in others:
        (log / name).write_text("{}")
    with opened(tmp_path) as engine:
        engine.ingest("t", batch(8.0))
        engine.flush()
        assert numbers(engine.read("t")) == [float(i) for i in range(9)]
    assert (versions(log, ".checkpoint.parquet"), newest_version(log)) == ([6, 9], 9)
    assert {name for name in others if (log / name).exists()} == set(others)


@pytest.mark.parametrize("gone", [4, 5])
def test_a_commit_that_a_torn_checkpoint_leaves_needed(gone: int, tmp_path: Path) -> None:
    """Without the newest checkpoint, each commit since the one before it is needed."""
    log = filled(tmp_path, 6)
    (log / f"{6:020d}.checkpoint.parquet").write_bytes(b"")
    assert torn(log)
    (log / f"{gone:020d}.json").unlink()
    with pytest.raises(TableCorrupted, match="the checkpoint is damaged"):
        torn(log)


def test_every_changed_byte_shows(tmp_path: Path) -> None:
    """A byte that changed in a checkpoint, the pointer to it or its proof is a tear, the first and the last included."""
    log = filled(tmp_path, 3)
    for name in (f"{3:020d}.checkpoint.parquet", "_last_checkpoint", f"_checkpoint.{3:020d}.xxh3"):
        file = log / name
        data = file.read_bytes()
        places = {*range(0, len(data), 1 + len(data) // 20), len(data) - 1}
        if name.endswith("xxh3"):
            places -= {16}  # The space between its two numbers.
        for place in places:
            file.write_bytes(flipped(data, place, 0x01))
            assert torn(log), (name, place)
        file.write_bytes(data)
    assert torn(log) == []


def test_checkpoints_that_changed_places(tmp_path: Path) -> None:
    """Both are whole, and neither is the one that its name says: refused, as long as there is any proof of one."""
    log = filled(tmp_path, 6)
    one, other = sorted(log.glob("*.checkpoint.parquet"))
    data, proofs = one.read_bytes(), sorted(log.glob("*.xxh3"))
    one.write_bytes(other.read_bytes())
    other.write_bytes(data)
    for proof in (proofs[1], None):
        with pytest.raises(TableCorrupted, match="the commits before it are gone"):
            torn(log)
        if proof:
            proof.unlink()


@pytest.mark.parametrize(
    ("kind", "old"),
    [*itertools.product(["checkpoint.parquet", "_last_checkpoint", "json"], [False, True]), ("xxh3", False)],
)
def test_an_error_of_the_disk_is_no_tear(kind: str, old: bool, tmp_path: Path) -> None:
    """A file that cannot be read may be whole: opening fails with the disk's error, and removes nothing."""
    log = filled(tmp_path, 5 if old else 6)
    if old:
        for proof in log.glob("*.xxh3"):
            proof.unlink()
        (log / f"{0:020d}.json").unlink()  # So the checkpoint is needed.
    file = max(log.glob(f"*{kind}"))
    file.unlink()
    file.symlink_to(file.name)
    names = sorted(path.name for path in log.iterdir())
    with pytest.raises(OSError, match="symbolic links"):
        StorageEngine.open(tmp_path)
    assert sorted(path.name for path in log.iterdir()) == names


def test_checkpoints_that_nothing_stands_for(tmp_path: Path) -> None:
    """Opening refuses, and changes nothing, if both checkpoints are damaged and the first commits are gone."""
    log = filled(tmp_path, 6)
    for file in log.glob("*.checkpoint.parquet"):
        file.write_bytes(b"")
    before = contents(tmp_path)
    for _ in range(2):
        with pytest.raises(TableCorrupted, match="the commits before it are gone"):
            StorageEngine.open(tmp_path)
        assert contents(tmp_path) == before


def empty_the_checkpoint(log: Path) -> None:
    (log / f"{6:020d}.checkpoint.parquet").write_bytes(b"")


def add_a_commit(log: Path) -> None:
    (log / f"{7:020d}.json").write_bytes((log / f"{6:020d}.json").read_bytes())


@pytest.mark.parametrize("damage", [empty_the_checkpoint, add_a_commit])
def test_nothing_is_deleted_for_an_unverified_checkpoint(damage: Callable[[Path], None], tmp_path: Path) -> None:
    """A checkpoint that cannot be read, or reads back as another table, is an error, and every commit is still there."""
    log = filled(tmp_path, 5)
    faults.configure_callback("checkpoint.file.before_verify", lambda: damage(log))
    try:
        with opened(tmp_path) as engine:
            engine.ingest("t", batch(5.0))
            with pytest.raises(TableCorrupted, match="cannot be read back"):
                engine.flush()
    finally:
        faults.remove("checkpoint.file.before_verify")
    (log / f"{7:020d}.json").unlink(missing_ok=True)
    assert versions(log, ".json") == list(range(7))
    with opened(tmp_path) as engine:
        assert numbers(engine.read("t")) == [float(i) for i in range(6)]
    assert torn(log) == []
