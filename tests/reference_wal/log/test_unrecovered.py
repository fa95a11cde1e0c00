"""Logs as a crash left them: what they say before they are recovered, and that only recovery makes a log of them."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest

from crashmatrix import faults
from crashmatrix.reference_wal import LogCorrupted, WriteAheadLog
from crashmatrix.reference_wal.log.segmented_log import SegmentedLog
from crashmatrix.reference_wal.log.unrecovered import UnrecoveredLog, UnrecoveredLogs
from tests.reference_wal.heard_calls import Late, listen
from tests.reference_wal.log.logs import assert_sizes
from tests.reference_wal.support import SCHEMA, batch, contents, open_files

SEGMENT_BYTES_MAX = 2200


def fill(root: Path, table: str, count: int, *, persisted: int = 0) -> Path:
    """Leave the log of a table with so many batches, the first ``persisted`` of them persisted elsewhere; returns its folder."""
    folder = root / table
    folder.mkdir(parents=True)
    log = SegmentedLog.create(folder, SCHEMA, table=table, segment_bytes_max=SEGMENT_BYTES_MAX, preallocate_bytes=0)
    for number in range(count):
        log.append(batch(float(number)))
    log.mark_persisted(range(persisted))
    log.close()
    return folder


def look(folder: Path) -> UnrecoveredLog:
    found = UnrecoveredLog.look(folder, segment_bytes_max=SEGMENT_BYTES_MAX, preallocate_bytes=0)
    assert found is not None
    return found


def look_at_all(root: Path) -> UnrecoveredLogs:
    return UnrecoveredLogs(root, segment_bytes_max=SEGMENT_BYTES_MAX, preallocate_bytes=0)


def oldest_id(folder: Path) -> int:
    return min(int(path.name.partition("-")[0]) for path in folder.glob("*.arrows"))


def test_it_is_not_a_log_yet() -> None:
    """An unrecovered log has none of the methods of a recovered one: it takes, returns and forgets no batch."""
    usable = {"append", "unpersisted", "mark_persisted", "truncate", "rotate"}
    assert usable <= set(dir(SegmentedLog))
    assert not usable & set(dir(UnrecoveredLog))


@pytest.mark.parametrize("count", [0, 1, 6])
def test_looking_changes_nothing(count: int, tmp_path: Path) -> None:
    """A log says its table, its identity and its next id, and the folder stays as it is."""
    folder = fill(tmp_path, "t", count)
    before = contents(folder)

    found = look(folder)

    assert (found.table, found.next_id) == ("t", count)
    assert contents(folder) == before
    log = found.reconcile()
    assert (log.identity, log.next_id) == (found.identity, count)
    assert [batch_id for batch_id, _ in log.unpersisted()] == list(range(count))
    log.close()


def test_a_folder_that_never_became_a_log(tmp_path: Path) -> None:
    """An empty folder is not a log."""
    assert UnrecoveredLog.look(tmp_path, segment_bytes_max=SEGMENT_BYTES_MAX) is None


def test_sizes_are_those_given(tmp_path: Path) -> None:
    """A log goes on with the sizes that its opening was given, or fills 1 MiB ahead if none is; whatever it had before."""
    given = [(30_001, 5003), (3 << 20, None)]
    for segment_bytes_max, preallocate_bytes in given:
        root = tmp_path / str(segment_bytes_max)
        alone = fill(root / "alone", "t", 2)
        for table in ("a", "b"):
            fill(root / "all", table, 2)
        sizes = {"segment_bytes_max": segment_bytes_max}
        sizes |= {} if preallocate_bytes is None else {"preallocate_bytes": preallocate_bytes}
        found = UnrecoveredLog.look(alone, **sizes)
        assert found is not None
        for log in (found.reconcile(), *UnrecoveredLogs(root / "all", **sizes).reconcile({}).values()):
            assert_sizes(log, segment_bytes_max, 1 << 20 if preallocate_bytes is None else preallocate_bytes)
            log.close()


def test_looking_at_all_logs_removes_nothing(tmp_path: Path) -> None:
    """Creations and removals cut short are left until they are to be removed, or the logs are reconciled."""
    fill(tmp_path, "t", 1)
    for name in (".removed-u", "v"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "0-.tmp").touch()
    before = contents(tmp_path)
    found = look_at_all(tmp_path)
    assert (found.next_ids, contents(tmp_path)) == ({"t": 1}, before)
    with pytest.raises(LogCorrupted):
        found.reconcile({"t": 7})
    assert contents(tmp_path) == before
    for log in found.reconcile({}).values():
        log.close()
    assert [path.name for path in tmp_path.iterdir()] == ["t"]


def test_names_left_over_are_gone_for_good(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The folder of the logs is synced after the last folder that was removed from it, whichever comes last."""
    for table in ("t", "removed"):
        fill(tmp_path, table, 2)
    for name in ("a", "z"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "0-.tmp").touch()
    late = Late(monkeypatch)
    (tmp_path / "removed").rename(tmp_path / ".removed-removed")
    found = look_at_all(tmp_path)
    assert found.next_ids == {"t": 2}
    found.remove_leftovers()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["t"]
    assert str(tmp_path) not in late.names and late.contents == {}


def test_a_log_is_removed_for_good_before_its_files_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The process that hid a log may have died before it synced that. A power cut must not bring back a part of the log."""
    fill(tmp_path, "t", 6)
    late, left = Late(monkeypatch), list[str]()
    (tmp_path / "t").rename(tmp_path / ".removed-t")

    def hear(call: str, *_: object) -> None:
        if call in ("unlink", "rmdir") and str(tmp_path) in late.names:
            left.append(call)

    listen(monkeypatch, hear)
    found = look_at_all(tmp_path)
    assert found.next_ids == {}
    found.remove_leftovers()
    assert left == ["rmdir"]  # The folder itself, before the last sync.
    assert list(tmp_path.iterdir()) == [] and late.names.get(str(tmp_path)) is None


def test_folders_found_are_there_for_good(synced: list[str], tmp_path: Path) -> None:
    """The process that made them may have died before it synced their names, and their batches are about to be acknowledged."""
    fill(tmp_path / "wal", "t", 1)
    synced.clear()
    look_at_all(tmp_path / "wal")
    assert str(tmp_path / "wal") in synced


def test_gaps_are_refused_before_any_log_is_changed(tmp_path: Path) -> None:
    """If one log lacks batches, all logs stay as they are, whichever comes first."""
    for table in ("a", "b", "c"):
        fill(tmp_path, table, 6, persisted=4 if table == "b" else 0)
    before = contents(tmp_path)

    with pytest.raises(LogCorrupted, match="are in no segment"):
        look_at_all(tmp_path).reconcile({"a": 5, "c": 5})
    assert contents(tmp_path) == before

    with pytest.raises(LogCorrupted, match="batch 6 was persisted, but the log ends at 5"):
        look_at_all(tmp_path).reconcile({"a": 5, "b": 5, "c": 6})
    assert contents(tmp_path) == before


def test_each_table_has_its_own_marker(tmp_path: Path) -> None:
    """Batches up to a table's marker are persisted; a table that is not named has none."""
    for table in ("a", "b"):
        fill(tmp_path, table, 5)
    found = look_at_all(tmp_path)
    assert found.next_ids == {"a": 5, "b": 5}

    logs = found.reconcile({"a": 2})

    with_logs = WriteAheadLog(tmp_path, logs=logs)
    assert [batch_id for batch_id, _ in with_logs.unpersisted("a")] == [3, 4]
    assert [batch_id for batch_id, _ in with_logs.unpersisted("b")] == [0, 1, 2, 3, 4]
    with_logs.close()


def test_an_error_half_way_is_taken_up(tmp_path: Path) -> None:
    """The disk refuses the recovery of the last log: the others are closed again, and looking anew recovers all."""
    for table in ("a", "b", "c"):
        fill(tmp_path, table, 5)
    found, files = look_at_all(tmp_path), open_files(tmp_path)
    with faults.scenario("recovery.folder.before_sync=2*off->raise(EIO)"), pytest.raises(OSError):  # EIO has no class
        found.reconcile({})
    assert open_files(tmp_path) == files
    with closing(WriteAheadLog(tmp_path, segment_bytes_max=SEGMENT_BYTES_MAX)) as wal:
        assert {table: wal.log(table).next_id for table in wal.tables} == {"a": 5, "b": 5, "c": 5}


def test_a_segment_that_cannot_be_retired(tmp_path: Path) -> None:
    """The disk refuses to remove a segment whose batches are persisted: the log is closed again, and looking anew goes on."""
    folder = fill(tmp_path, "t", 6)
    found, files = look(folder), open_files(tmp_path)
    with faults.scenario("wal.retire.before_unlink=raise(EIO)"), pytest.raises(OSError):  # EIO has no class
        found.reconcile(5)
    assert open_files(tmp_path) == files
    log = look(folder).reconcile(5)
    assert (log.next_id, list(log.unpersisted())) == (6, [])
    log.close()


@pytest.mark.parametrize("point", ["rename", "sync", "delete"])
def test_a_removal_that_fails(point: str, tmp_path: Path) -> None:
    """A log that was to be removed is not recovered: it may be there or not, which the next opening finds out."""
    for table in ("a", "b"):
        fill(tmp_path, table, 2)
    found = look_at_all(tmp_path)
    with faults.scenario(f"wal.remove_table.before_{point}=raise(EIO)"), pytest.raises(OSError, match="output"):
        found.remove_table_log("a")
    assert found.found("a") is None and found.found("b") is not None
    logs = found.reconcile({})
    assert list(logs) == ["b"]
    logs["b"].close()
    assert look_at_all(tmp_path).next_ids == ({"a": 2, "b": 2} if point == "rename" else {"b": 2})


def test_removed_before_it_is_recovered(tmp_path: Path) -> None:
    """A log removed before the recovery is gone from the disk, and not recovered."""
    for table in ("a", "b"):
        fill(tmp_path, table, 2)
    found = look_at_all(tmp_path)
    found.remove_table_log("a")
    assert [path.name for path in tmp_path.iterdir()] == ["b"]
    logs = found.reconcile({})
    assert list(logs) == ["b"]
    logs["b"].close()
