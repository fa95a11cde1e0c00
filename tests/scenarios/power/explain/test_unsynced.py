"""Calls of a workload that no sync of its own made durable, found in its trace and in a crashed folder."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from crashmatrix.faults.disk import CrashState, Tear
from crashmatrix.faults.disk.trace.named import in_words
from crashmatrix.faults.disk.trace.operations import Sync
from crashmatrix.scenarios.power.explain.unsynced import Missing, lines_before, lost_in
from tests.scenarios.power.explain.traces import LOG, acknowledged, attempted, made, posix_trace, written

NAME, SIZE, DATA = "the store's folder: log made", "log, its size: 2 bytes", "log, bytes 0 to 1"
PUT = posix_trace(*attempted(0), *made(b"log"), *written(b"0\n"), *acknowledged(0), *attempted(1))
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
    missing, could, *_ = lost_in(PUT, state)
    assert words(missing) == lost
    assert words(could) == [NAME, SIZE, DATA]
    assert {each.lines for each in could} == {1}  # Called for after the attempt, before the acknowledgement.


def test_what_was_synced_cannot_be_lost() -> None:
    """fsync of the file makes its content durable, of the folder its name."""
    trace = posix_trace(*made(b"log"), *written(b"0\n"), Sync(LOG), *acknowledged(0))
    cut = len(trace.operations) - 1
    assert words(lost_in(trace, CrashState(cut, 0, (), len(trace.pending(cut))))[1]) == [NAME]


def test_lines_before() -> None:
    """Journal lines are counted, hits of failpoints are not."""
    lines = lines_before(PUT)
    assert lines[0] == 0
    assert lines[AFTER_ACK] == 2
    assert lines[-1] == 3
