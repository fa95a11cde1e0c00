"""The last step before a crash that took nothing."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from crashmatrix.faults.disk import CrashState, Flush, Note, Operation, Write
from crashmatrix.faults.disk.trace.named import DATA, JOURNAL, METADATA, NAMES, Named
from crashmatrix.scenarios.power.explain.last_step import (
    acknowledged_at,
    called_nothing,
    is_of_inodes,
    last_step,
    step_in_words,
)
from crashmatrix.scenarios.recorded.recording import Recording
from tests.faults.disk.support import synthetic_trace

WRITE = Write(0, b"x" * 512)
RUN = Recording("run", "ext4", "none", 0, Path("trace"))
LOG = Named(kind=DATA, path="log", now="log", start=0, stop=8)
MADE = Named(kind=NAMES, path=".", now=".", what="log made")
OF_JOURNAL = Named(kind=JOURNAL, what="the store's folder: log made; inodes")
OF_OTHERS = (
    replace(LOG, path="(outside) unrelated"),
    replace(MADE, path="(outside) ."),
    Named(kind=JOURNAL, what="directory (outside) .: unrelated made"),
)
OF_FILESYSTEM = (Named(kind=METADATA, what="inodes"), Named(kind=JOURNAL, what="inodes; directory t: x made"))


OF_INODES = Named(kind=JOURNAL, what="the bitmap of blocks; the inode of (outside) unrelated, log, t/log")


@pytest.mark.parametrize(
    ("operations", "step"),
    [
        ([], (0, ())),
        ([Note(b"attempt 0")], (0, ())),
        ([WRITE, WRITE], (0, (1, 2))),
        ([Note(b"attempt 0"), WRITE, Flush(), WRITE], (2, (2, 4))),
        ([WRITE, Note(b"attempt 0"), WRITE, Note(b"ack 0"), Note(b"attempt 1")], (3, (3,))),
    ],
)
def test_last_step(operations: list[Operation], step: tuple[int, tuple[int, ...]]) -> None:
    """The changes since the last note before them; notes after them do not count."""
    trace = synthetic_trace(operations)
    assert last_step(trace, CrashState(trace.finish, 0)) == step


@pytest.mark.parametrize(
    ("named", "words"),
    [
        ((LOG,), "log, bytes 0 to 7"),
        ((LOG, MADE, MADE), "log, bytes 0 to 7; the store's folder: log made"),
        ((OF_JOURNAL,), "the store's folder: log made"),
        (OF_OTHERS, ""),
        (OF_FILESYSTEM, ""),
        ((LOG, OF_INODES), "log, bytes 0 to 7"),
        ((OF_INODES, OF_OTHERS[2]), "the inode of log, t/log"),
        ((replace(OF_INODES, what="the inode of (outside) unrelated"),), ""),
        ((), ""),
    ],
)
def test_in_words(named: tuple[Named, ...], words: str) -> None:
    """The filesystem's own writes say nothing of the system, save an inode of the store's that is written alone: its size."""
    trace = synthetic_trace([Note(b"hit put.start 1"), WRITE, Note(b"ack 0")])
    state = CrashState(trace.finish, 1, (), 1)
    text = step_in_words(trace, state, {2: named}, RUN, {"put.start": "store.py:7"})
    place = "hit 1 of failpoint put.start (store.py:7)"
    assert text == (f"the promise breaks with this step of the workload, after {place}: {words}" if words else "")
    assert is_of_inodes(text) is words.startswith("the inode of ")


@pytest.mark.parametrize(
    ("operations", "at"),
    [
        ([Note(b"attempt 0"), WRITE], None),
        ([Note(b"ack 0"), WRITE], None),
        ([Note(b"attempt 0"), WRITE, Note(b"ack 0"), Note(b"attempt 1")], 3),
        ([WRITE, Note(b"ack:a 0"), Note(b"ack:b 1"), Flush()], 3),
    ],
)
def test_acknowledged_at(operations: list[Operation], at: int | None) -> None:
    """The last acknowledgement counts if nothing changed after it."""
    trace = synthetic_trace(operations)
    assert acknowledged_at(trace, CrashState(trace.finish, 0)) == at


def test_an_acknowledgement_after_the_step() -> None:
    """If the step is safe until the acknowledgement after it, the acknowledgement breaks the promise."""
    trace = synthetic_trace([Note(b"attempt 0"), WRITE, Note(b"ack 0")])
    text = step_in_words(trace, CrashState(trace.finish, 1, (), 1), {2: (LOG,)}, RUN, {}, "0")
    assert text == (
        "the promise breaks with the acknowledgement of 0, after this step of the workload, after the journal line attempt 0: "
        "log, bytes 0 to 7"
    )


@pytest.mark.parametrize("restarted", [True, False])
def test_a_step_of_recovery(restarted: bool) -> None:
    """In a recovery, and after a restart, the step is recovery's."""
    killed = [Note(b"hit workload.killed 1")] if restarted else []
    trace = synthetic_trace([*killed, WRITE])
    recording = RUN if restarted else replace(RUN, of=("run", "5-none"))
    text = step_in_words(trace, CrashState(trace.finish, 1, (), 1), {1: (LOG,), 2: (LOG,)}, recording, {})
    assert text.startswith("the promise breaks with this step of recovery")


def test_a_step_after_going_on() -> None:
    """Once a restarted system was resumed, the step is one of its second life."""
    notes = [Note(b"hit workload.killed 1"), Note(b"hit workload.resumed 1")]
    trace = synthetic_trace([*notes, WRITE])
    text = step_in_words(trace, CrashState(trace.finish, 1, (), 1), {3: (LOG,)}, RUN, {})
    assert text.startswith("the promise breaks with this step of the second life, after the system was resumed: ")


@pytest.mark.parametrize(
    ("operations", "named", "nothing"),
    [
        ([WRITE, Note(b"attempt 0"), Note(b"ack 0")], LOG, True),
        ([Note(b"attempt 0"), WRITE, Note(b"ack 0")], LOG, False),
        ([Note(b"attempt 0"), WRITE, Note(b"ack 0")], OF_OTHERS[0], True),
        ([Note(b"attempt 0"), WRITE, Note(b"ack 0"), Note(b"attempt 1"), Note(b"ack 1")], LOG, True),
        ([Note(b"attempt 0"), WRITE, Note(b"ack 0"), Note(b"attempt 1")], LOG, False),
        (
            [WRITE, Note(b"attempt 0"), Note(b"ack 0"), Note(b"attempt 1"), Note(b"ack 1"), Note(b"attempt 2")],
            LOG,
            True,
        ),
        ([Note(b"attempt:a 0"), WRITE, Note(b"attempt:b 0"), Note(b"ack:a 0")], LOG, False),
        ([Note(b"attempt 0")], LOG, False),
        ([WRITE, WRITE], OF_OTHERS[0], False),
    ],
)
def test_called_nothing(operations: list[Operation], named: Named, nothing: bool) -> None:
    """Nothing of the folder changed since the last acknowledged item was attempted; without one, nothing is known."""
    trace = synthetic_trace(operations)
    names = {at: (named,) for at, operation in enumerate(trace.operations) if isinstance(operation, Write)}
    assert called_nothing(trace, CrashState(trace.finish, 0), names) is nothing
