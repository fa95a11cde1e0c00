"""Restarts: a workload is killed where a change in memory waits for its sync, with or without a failpoint there."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import cast

import msgspec
import pytest

from crashmatrix.faults.disk import Machine, Note, load_trace
from crashmatrix.reports.result import KnownRecording
from crashmatrix.scenarios.campaign.plan import Plan
from crashmatrix.scenarios.campaign.workbench import workbench
from crashmatrix.scenarios.power.schedule import Recordings, run_recorder
from crashmatrix.scenarios.processes.result import Returned
from crashmatrix.scenarios.recorded.recording import Recording, record_run
from crashmatrix.scenarios.recorded.remedies import BEFORE_ACK, Remedy, syncs_made
from crashmatrix.scenarios.recorded.restarts import BEFORE_LINE, KillPoint, nudged_before_syncs, restarted_at

TOYS = "tests.scenarios.toy_systems"
SHELL = """
workload = ["sh", "-c", '''
for i in 1 2 3; do
    echo "attempt $i" >> "$CRASHMATRIX_JOURNAL"
    echo $i >> "$CRASHMATRIX_ROOT/data"
    sync "$CRASHMATRIX_ROOT/data"
    echo "ack $i" >> "$CRASHMATRIX_JOURNAL"
done''']
recover = ["sh", "-c", 'cat "$CRASHMATRIX_ROOT/data" || true']
"""
WITHOUT_SYNC_CALLS = SHELL.replace(
    """    echo $i >> "$CRASHMATRIX_ROOT/data"
    sync "$CRASHMATRIX_ROOT/data"
""",
    """    echo $i | dd of="$CRASHMATRIX_ROOT/data" oflag=append,dsync conv=notrunc status=none
""",
)


pytestmark = [pytest.mark.usefixtures("fuse"), pytest.mark.experiment]


@contextmanager
def recordings(target: str, report: Path) -> Iterator[Recordings]:
    with workbench(Plan(target=target, report=report)) as (checker, _):
        yield Recordings(checker.jobs, checker.target, checker.folder(), 0, [])


def test_places() -> None:
    """A kill point prints in words, and can be made again from its numbers."""
    assert str(KillPoint(7)) == "at note 7"
    assert str(KillPoint(0, 2)) == "before sync 2 after line 0 of the journal"
    assert str(KillPoint(4, BEFORE_LINE)) == "before line 4 of the journal"
    assert KillPoint.of(KillPoint(0, 2).numbers) == KillPoint(0, 2)
    assert KillPoint.of(()) is None


def test_nudged_before_each_sync(tmp_path: Path) -> None:
    """The kernel may be made to write between a write and the sync after it; what the workload did, it has done by then."""
    log, seen = tmp_path / "log", list[int]()

    def workload() -> None:
        with log.open("wb", buffering=0) as file:
            for sync in (os.fsync, os.fdatasync, os.fsync):
                file.write(b"12345678")
                sync(file.fileno())

    class Watching:
        root, notes = tmp_path, tmp_path / "journal"

        def nudge(self) -> None:
            seen.append(log.stat().st_size)

    Watching.notes.touch()
    nudged_before_syncs(cast("Machine", Watching()), workload)
    assert seen == [8, 16, 24]


@pytest.mark.parametrize(
    ("target", "place"),
    [
        (f"{TOYS}:Synced", KillPoint(3, 1)),  # Python
        (f"{TOYS}:BelievesTheCache", KillPoint(7)),  # Python, at the hit of a failpoint
        (f"{TOYS}:ByWorkers", KillPoint(9)),  # the same in another of its processes
        ("shell.toml", KillPoint(3, 1)),  # any language
    ],
)
def test_killed_there_and_restarted(
    target: str, place: KillPoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second item was attempted, written and not synced; then the process is gone, and recovery begins."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "shell.toml").write_text(SHELL)
    with recordings(target, tmp_path / "report") as making:
        recording = making.record("posix", "restart1", place)
        trace = load_trace(recording.trace)
    assert recording.killed == place
    before = trace.operations[: restarted_at(trace)]
    lines = [
        note.text.split()[0].partition(b":")[0]
        for note in before
        if isinstance(note, Note) and not note.text.startswith(b"hit ")
    ]
    assert lines == [b"attempt", b"ack", b"attempt"]


@pytest.mark.parametrize(
    ("target", "place"),
    [
        (f"{TOYS}:Synced", KillPoint(3, 1)),
        (f"{TOYS}:BelievesTheCache", KillPoint(7)),  # In its own process, where it is killed at a failpoint.
        (f"{TOYS}:ByWorkers", KillPoint(9)),
        ("shell.toml", KillPoint(3, 1)),
    ],
)
def test_syncs_are_added_before_the_kill(
    target: str, place: KillPoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A remedy is at work in a workload that is killed, too: before its one acknowledgement. The place is the same with it."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "shell.toml").write_text(SHELL)
    remedy = Remedy(BEFORE_ACK, ("data",))
    recording = Recording("again", "posix", "none", 0, tmp_path / "again.trace", killed=place, remedy=remedy)
    with workbench(Plan(target=target, report=tmp_path / "report")) as (checker, _):
        result = run_recorder(checker.jobs, record_run, checker.target, recording)
    assert isinstance(result, Returned)
    assert (result.value.killed, syncs_made(recording.syncs_count)) == (place, 1)


@pytest.mark.parametrize("store", ["SyncsTwice", "SyncsTwiceAndHitsOnce"])
def test_places_of_a_system_with_few_failpoints(store: str, tmp_path: Path) -> None:
    """Each of its syncs is one; those of one sort take turns with those of another."""
    with recordings(f"{TOYS}:{store}", tmp_path / "report") as making:
        places = making.places_in(making.record("posix", "none"))
    assert len(places) == len(set(places)) == 12
    assert {place.sync for place in places[:2]} == {1, 2}
    assert {place.note for place in places} == {1, 3, 5, 7, 9, 11}


def test_places_of_a_program_without_sync_calls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It opens files so that each write is durable, and is killed before the lines of its journal, which it writes itself."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "shell.toml").write_text(WITHOUT_SYNC_CALLS)
    with recordings("shell.toml", tmp_path / "report") as making:
        places = making.places_in(making.record("posix", "none"))
        assert set(places) == {KillPoint(line, BEFORE_LINE) for line in range(1, 7)}
        for place in (KillPoint(4, BEFORE_LINE), KillPoint(5, BEFORE_LINE)):
            recording = making.record("posix", f"restart{place.note}", place)
            assert (recording.killed, recording.problem) == (place, "")
            known = msgspec.convert(recording.account(), KnownRecording)
            assert KillPoint.of((*known.killed_at,)) == place
            trace = load_trace(recording.trace)
            lines = [note for note in trace.operations[: restarted_at(trace)] if isinstance(note, Note)]
            assert len([line for line in lines if line.text.startswith((b"attempt", b"ack"))]) == place.note - 1


def test_places_of_a_system_full_of_failpoints(tmp_path: Path) -> None:
    """The kill points are at its failpoints and print their names."""
    with recordings(f"{TOYS}:BelievesTheCache", tmp_path / "report") as making:
        recording = making.record("posix", "none")
        assert "toy.put.after_write" in recording.places
        assert all(not place.sync for place in making.places_in(recording))


@pytest.mark.parametrize("place", [KillPoint(2, 1), KillPoint(1, 9)])
def test_a_place_between_two_syncs(place: KillPoint, tmp_path: Path) -> None:
    """The workload is killed before the next sync, as several writers need not come to a place in each run."""
    with recordings(f"{TOYS}:Synced", tmp_path / "report") as making:
        assert making.record("posix", "restart1", place).killed == KillPoint(3, 1)


def test_a_place_that_never_comes(tmp_path: Path) -> None:
    """The workload then ends as it does, and nobody calls that a restart."""
    with recordings(f"{TOYS}:Synced", tmp_path / "report") as making:
        assert making.record("posix", "restart1", KillPoint(99, 1)).killed is None
