"""Changes of a Delta table: each is made or not, leaves no file open, and the store knows what is on the disk."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from deltalake import DeltaTable

from crashmatrix import faults
from crashmatrix.reference_wal.delta.commit import DeltaStore, add_action
from crashmatrix.reference_wal.delta.folder import commit_path
from crashmatrix.reference_wal.delta.recovery import heal
from tests.reference_wal.delta.stores import APPLICATION, commit, json_of, store
from tests.reference_wal.support import SCHEMA

CHANGES: dict[str, Callable[[DeltaStore], None]] = {
    "commit": lambda table: commit(table, 2, 2),
    "clear": lambda table: table.clear(5, application=APPLICATION),
    "remove": lambda table: table.remove(list(table.files()), application=APPLICATION, number=1),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_who_asks_for_the_files_beside_a_change(change: Callable[[DeltaStore], None], tmp_path: Path) -> None:
    """The files are those before the change or those after it, whatever another thread does while they are listed."""

    class Changing(type(tmp_path)):  # type: ignore[misc]  # the class of this system's paths
        """A path that has the table changed as the first name is added to it."""

        def __truediv__(self, name: str) -> Path:
            made.path = tmp_path / "t"
            if not changed:
                changed.append(True)
                change(made)
            return tmp_path / "t" / name

    made, changed = store(tmp_path, commits=2), list[bool]()
    before = made.files()
    made.path = Changing(made.path)
    assert made.files() == before
    assert changed and made.files() != before


CALLS: dict[str, Callable[[DeltaStore], None]] = {
    **CHANGES,
    "set logged": lambda table: table.set_logged(False, application=APPLICATION, number=1),
    "checkpoint": lambda table: table.checkpoint(),
    "read": lambda table: table.read(SCHEMA).validate(),
    "heal": lambda table: heal(table.path),
    "open": lambda table: DeltaStore(table.path).remove_orphans(),
}


def known(table: DeltaStore) -> tuple[object, ...]:
    return table.files(), table.properties, table.marker(APPLICATION), table.commits_since_checkpoint


@pytest.mark.parametrize(("change", "marker"), [("commit", 2), ("clear", 5), ("remove", 1), ("set logged", 1)])
def test_a_change_is_made_or_not(change: str, marker: int, tmp_path: Path) -> None:
    """If its commit fails, the table is as before; once it succeeds, the store knows what a new one reads from the disk."""
    made = store(tmp_path, commits=2)
    before = known(made)
    with faults.scenario("commit.delta.before_write=raise(EIO)"), pytest.raises(OSError, match="Input/output"):
        CALLS[change](made)
    assert known(made) == known(DeltaStore(made.path)) == before
    made.remove_orphans()
    CALLS[change](made)
    assert known(made) == known(DeltaStore(made.path)) != before
    assert made.marker(APPLICATION) == marker


@pytest.mark.parametrize("removed", [(0,), (1,), (2,), (0, 2), (1, 2)])
def test_remove(removed: tuple[int, ...], tmp_path: Path) -> None:
    """Whichever files are removed, all others stay."""
    made = store(tmp_path, commits=3)
    files = list(made.files())
    made.remove([files[number] for number in removed], application=APPLICATION, number=7)
    for table in (made, DeltaStore(made.path)):
        assert list(table.files()) == [file for number, file in enumerate(files) if number not in removed]
        assert table.marker(APPLICATION) == 7


@pytest.mark.parametrize(
    ("failure", "since"), [("checkpoint.file.before_write", 1), ("checkpoint.clean_up.before_unlink", 0)]
)
def test_a_checkpoint_that_fails(failure: str, since: int, tmp_path: Path) -> None:
    """The next one is due as before, unless only the clean-up after it failed."""
    made = store(tmp_path, commits=1)
    made.checkpoint()
    commit(made, 1, 1)
    with faults.scenario(f"{failure}=raise(EIO)"), pytest.raises(OSError, match="Input/output"):
        made.checkpoint()
    assert made.commits_since_checkpoint == since


FAILURES = ["", "commit.parquet.before_write", "commit.parquet.before_sync", "commit.delta.before_write"]


@pytest.mark.parametrize("failure", FAILURES)
def test_no_file_stays_open(failure: str, tmp_path: Path) -> None:
    """A call that returns has closed each file that it opened, and so has one that fails."""
    for name, call in CALLS.items():
        made = store(tmp_path / name, commits=2)
        with faults.scenario(f"{failure}=raise(EIO)" if failure else "", allow_unhit=True), suppress(OSError):
            call(made)
        links = [Path(f"/proc/self/fd/{fd}") for fd in os.listdir("/proc/self/fd")]  # noqa: PTH208  # some go meanwhile
        left = [str(link.readlink()) for link in links if os.path.lexists(link)]
        assert [path for path in left if path.startswith(str(tmp_path))] == [], name


@pytest.mark.parametrize("link", [False, True])
def test_a_file_that_is_there_already(link: bool, tmp_path: Path) -> None:
    """A file of the name that a commit needs is somebody's: it is not written to, and nothing is committed."""
    made, other = store(tmp_path / "one"), store(tmp_path / "other", commits=1)
    (file,) = other.files()
    there, target = made.path / file.name, tmp_path / "target"
    target.write_bytes(b"x" * 10_000)
    there.symlink_to(target) if link else there.write_bytes(b"x" * 10_000)
    with pytest.raises(FileExistsError):
        commit(made, 0, 0)
    assert there.read_bytes() == target.read_bytes() == b"x" * 10_000
    assert (DeltaStore(made.path).files(), made.files()) == ({}, {})


@pytest.mark.usefixtures("no_umask")
def test_who_may_read(tmp_path: Path) -> None:
    """Everybody may read what a commit writes, and its owner alone may change it, unless the process allows less."""
    made = store(tmp_path, commits=1)
    modes = {file.stat().st_mode & 0o777 for file in (*made.files(), json_of(tmp_path, 1))}
    assert modes == {0o644}


def test_the_history(tmp_path: Path) -> None:
    """Each commit says what was done, for people."""
    made = store(tmp_path, commits=2)
    for change in ("set logged", "remove", "clear"):
        CALLS[change](made)
    done = [str(commit["operation"]) for commit in reversed(DeltaTable(made.path).history())]
    assert done == ["CREATE TABLE", "WRITE", "WRITE", "SET TBLPROPERTIES", "TRANSFER", "TRUNCATE"]


def actions_of(table: Path, versions: Sequence[int]) -> list[tuple[str, dict[str, Any]]]:
    """Return the actions of these commits, each with its kind."""
    texts = [commit_path(table, version).read_text() for version in versions]
    return [(kind, action) for text in texts for line in text.splitlines() for kind, action in json.loads(line).items()]


def test_readers_are_told_of_each_file(tmp_path: Path) -> None:
    """Those who follow the table's changes see each file come and go, with its size and its rows; received ones, too."""
    made = store(tmp_path)
    commit(made, 0, 2)
    (file,) = made.files()
    size = file.stat().st_size
    made.clear(2, application=APPLICATION)
    table = DeltaTable(made.path)
    table.create_write_transaction([add_action(file.name, size, 3)], "append", table.schema())
    found = actions_of(made.path, (1, 2, 3))
    told = [(kind, action["path"], action["dataChange"], action["size"]) for kind, action in found if "path" in action]
    assert told == [(kind, file.name, True, size) for kind in ("add", "remove", "add")]
    assert [json.loads(action["stats"]) for kind, action in found if kind == "add"] == [{"numRecords": 3}] * 2


def test_times(tmp_path: Path) -> None:
    """A commit says when it was made, its files when they were added and removed: in milliseconds, as Delta has it."""
    before = time.time_ns() // 10**6
    store(tmp_path, commits=1).clear(0, application=APPLICATION)
    after = time.time_ns() // 10**6
    actions = actions_of(tmp_path / "t", (1, 2))
    names = {"commitInfo": "timestamp", "add": "modificationTime", "remove": "deletionTimestamp"}
    times = [action[names[kind]] for kind, action in actions if kind in names]
    assert len(times) == 4 and before <= min(times) and max(times) <= after
