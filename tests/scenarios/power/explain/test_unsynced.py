"""Calls of a workload that no sync of its own made durable, found in its trace and in a crashed folder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from crashmatrix.faults.disk import CrashState, Tear
from crashmatrix.faults.disk.trace.named import in_words
from crashmatrix.faults.disk.trace.operations import ROOT, Names, Sync
from crashmatrix.scenarios.power.explain.unsynced import Missing, lines_before, lost_in, missing_from, same_names
from tests.scenarios.power.explain.traces import LOG, acknowledged, attempted, made, posix_trace, written

NAME, SIZE, DATA = "the store's folder: log made", "log, its size: 2 bytes", "log, bytes 0 to 1"
PUT = posix_trace(*attempted(0), *made(b"log"), *written(b"0\n"), *acknowledged(0), *attempted(1))
NOTES = (b"attempt 0", b"ack 0")
AFTER_ACK = PUT.operations.index(acknowledged(0)[0]) + 1


def words(missing: Sequence[Missing]) -> list[str]:
    return in_words(each.named for each in missing)


@pytest.mark.parametrize(
    ("kept", "tears", "lost"),
    [
        (0b000, (), [NAME, SIZE, DATA]),
        (0b001, (), [SIZE, DATA]),
        (0b011, (), [DATA]),
        (0b110, (), [NAME]),
        (0b111, (), []),
        (0b111, (Tear(2, 0, 1),), [DATA]),
    ],
)
def test_lost_in(kept: int, tears: tuple[Tear, ...], lost: list[str]) -> None:
    """The changes that a crash state loses in whole or in part, beside every change that it could have lost."""
    state = CrashState(AFTER_ACK, kept, tears, 3)
    missing, could = lost_in(PUT, state)
    assert words(missing) == lost
    assert words(could) == [NAME, SIZE, DATA]
    assert {each.lines for each in could} == {1}  # Called for after the attempt, before the acknowledgement.


def test_what_was_synced_cannot_be_lost() -> None:
    """fsync of the file makes its content durable, of the folder its name."""
    trace = posix_trace(*made(b"log"), *written(b"0\n"), Sync(LOG), *acknowledged(0))
    cut = len(trace.operations) - 1
    assert words(lost_in(trace, CrashState(cut, 0, (), len(trace.pending(cut))))[1]) == [NAME]


FOLDERS = [
    ({}, [NAME, SIZE, DATA]),
    ({"log": b""}, [SIZE, DATA]),
    ({"log": b"\0\0"}, [DATA]),
    ({"log": b"0"}, [SIZE, DATA]),
    ({"log": b"0\n"}, []),
    ({"log": b"0\n1\n"}, []),
]


@pytest.mark.parametrize(("files", "lost"), FOLDERS)
def test_missing_from(files: dict[str, bytes], lost: list[str], tmp_path: Path) -> None:
    """A folder lacks what is not there, byte for byte; a longer file lacks nothing."""
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    found = missing_from(tmp_path, PUT, NOTES)
    assert found is not None
    missing, could = found
    assert words(missing) == lost
    assert words(could) == [NAME, SIZE, DATA]


def test_a_removed_name(tmp_path: Path) -> None:
    """A name that came back is missing its removal; what was written to the file before that is missed by nobody."""
    trace = posix_trace(*made(b"log"), Sync(ROOT), *written(b"0\n"), Names(((ROOT, b"log", 0),)), *acknowledged(0))
    (tmp_path / "log").write_bytes(b"")
    found = missing_from(tmp_path, trace, (b"ack 0",))
    assert found is not None
    assert words(found[0]) == ["the store's folder: log removed"]
    (tmp_path / "log").unlink()
    found = missing_from(tmp_path, trace, (b"ack 0",))
    assert found is not None
    assert words(found[0]) == []


def test_a_name_that_changed_again(tmp_path: Path) -> None:
    """Only the last change of a name is looked for."""
    removed = Names(((ROOT, b"log", 0),))
    trace = posix_trace(*made(b"log"), removed, *made(b"log", 11), *acknowledged(0))
    (tmp_path / "log").touch()
    found = missing_from(tmp_path, trace, (b"ack 0",))
    assert found is not None
    assert words(found[0]) == []


@pytest.mark.parametrize("notes", [(b"attempt 1",), (b"attempt 0", b"ack 1"), (*NOTES, b"attempt 1", b"ack 1")])
def test_another_order_of_notes(notes: tuple[bytes, ...], tmp_path: Path) -> None:
    """A run with other notes, or more of them, says nothing about memory."""
    assert missing_from(tmp_path, PUT, notes) is None


def test_no_notes(tmp_path: Path) -> None:
    """Before the first note, nothing had to be durable."""
    assert missing_from(tmp_path, PUT, ()) == ([], [])


def test_same_names(tmp_path: Path) -> None:
    """Two runs are alike if they end with the same names."""
    assert not same_names(tmp_path, PUT)
    (tmp_path / "log").touch()
    assert same_names(tmp_path, PUT)
    (tmp_path / "other").touch()
    assert not same_names(tmp_path, PUT)


def test_lines_before() -> None:
    """Journal lines are counted, hits of failpoints are not."""
    lines = lines_before(PUT)
    assert lines[0] == 0
    assert lines[AFTER_ACK] == 2
    assert lines[-1] == 3
