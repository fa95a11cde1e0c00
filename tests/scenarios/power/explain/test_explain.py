"""From a minimised crash to its explanation, on traces made by hand; whole runs are in `campaign/test_explain.py`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from crashmatrix.faults.disk import CrashState, Flush, Note, Write
from crashmatrix.faults.disk.trace.named import DATA, NAMES, Named
from crashmatrix.reports import Verdict
from crashmatrix.scenarios.judging.words import HALF_DONE
from crashmatrix.scenarios.power.explain.explain import Crash, cause_in, cuts_of, explained
from crashmatrix.scenarios.power.explain.losses import Loss, loss_of
from crashmatrix.scenarios.power.explain.unsynced import Missing
from crashmatrix.scenarios.recorded.recording import Recording
from crashmatrix.scenarios.recorded.restarts import KillPoint
from crashmatrix.scenarios.recorded.state_verdict import Judged
from tests.faults.disk.support import in_child, synthetic_trace
from tests.scenarios.power.explain.traces import acknowledged, attempted, made, posix_trace, written

RUN = Recording("run", "ext4", "none", 0, Path("trace"))
RECOVERY = replace(RUN, of=("run", "5-none"), before=("attempt 8", "ack 8"))
RESTART = replace(RUN, killed=KillPoint(1))
LOG = Named(kind=DATA, path="log", now="log", start=0, stop=8)
MADE = Named(kind=NAMES, path=".", now=".", what="log made")

WRITE = Write(0, b"x" * 512)
TRACE = synthetic_trace([Note(b"attempt 0"), WRITE, Note(b"hit put.done 1"), Note(b"ack 0"), WRITE, Flush()])
AFTER_ACK = 5
NAMES_OF = {2: (LOG,), 5: (LOG,)}
NOTHING = Loss(on_disk=True, names=NAMES_OF, gone=(), torn=(), pending=1, missing=())
UNKNOWN = replace(NOTHING, missing=None, later=(LOG,))
IN_MEMORY = replace(NOTHING, missing=(Missing(1, 1, MADE),))


def crash(recording: Recording = RUN, explanation: str = "gone", *, safe_before: bool = False) -> Crash:
    judged = Judged("5-all", Verdict.LOSES, explanation)
    return Crash(TRACE, recording, CrashState(AFTER_ACK, 1, (), 1), judged, 7, safe_before)


MISSING = "no fsync of the store's folder between 'log made' and the acknowledgement of 0"
RESTARTED = "recovery built upon what only the page cache had"
SECOND = "recovery does not leave what it found: a second recovery has another result"
STEP = "the promise breaks with this step of the workload, after the journal line attempt 0: log, bytes 0 to 7"
ACKED = STEP.replace("with this step", "with the acknowledgement of 0, after this step")

CAUSES = [
    pytest.param(crash(), IN_MEMORY, MISSING, "", 1, id="what was in memory was acknowledged"),
    pytest.param(crash(), replace(NOTHING, missing=None, gone=(2,)), None, "", 1, id="a lost write was acknowledged"),
    pytest.param(crash(), UNKNOWN, "", "", 1, id="not known what was in memory: what came next is suspected"),
    pytest.param(crash(), NOTHING, "", "", 0, id="nothing was lost, nor is it safe before"),
    pytest.param(crash(safe_before=True), NOTHING, "", STEP, 0, id="nothing was lost: the last step"),
    pytest.param(
        replace(crash(safe_before=True), safe_unacknowledged=True), NOTHING, "", ACKED, 0,
        id="nothing was lost: the acknowledgement after the last step",
    ),
    pytest.param(crash(safe_before=True), UNKNOWN, "", "", 1, id="the last step is not blamed if memory is not known"),
    pytest.param(crash(safe_before=True), IN_MEMORY, MISSING, "", 1, id="nor if something was lost"),
    pytest.param(crash(RESTART), NOTHING, RESTARTED, "", 1, id="after a restart"),
    pytest.param(
        crash(RESTART), replace(NOTHING, missing=None, gone=(2,)), None, "", 1, id="after a restart, recovery's own writes"
    ),
    pytest.param(crash(RECOVERY), replace(UNKNOWN, later=()), "", "", 0, id="in a recovery"),
    pytest.param(
        crash(explanation="after a second recovery: twice", safe_before=True), IN_MEMORY, SECOND, "", 0,
        id="a second recovery is to blame, whatever was lost",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("crash", "loss", "cause", "otherwise", "suspects"), CAUSES)
def test_cause_in(crash: Crash, loss: Loss, cause: str | None, otherwise: str, suspects: int) -> None:
    """Each way in which a crash breaks a promise has one row."""
    found = cause_in(crash, loss, {})
    if cause is None:
        cause = "no fsync of log between the write to it and the acknowledgement of 0"
    assert (found.cause, found.otherwise, len(found.suspects)) == (cause, otherwise, suspects)


@pytest.mark.parametrize(
    ("verdict", "named", "cut", "advised"),
    [
        (Verdict.CANNOT_OPEN, LOG, 3, True),
        (Verdict.CORRUPT, MADE, 3, True),
        (Verdict.CANNOT_OPEN, replace(MADE, what="new becomes log"), 3, False),
        (Verdict.LOSES, LOG, 3, False),
        (Verdict.CANNOT_OPEN, LOG, AFTER_ACK, False),
    ],
    ids=["written", "made", "renamed", "readable", "acknowledged"],
)
def test_a_step_that_is_half_done(verdict: Verdict, named: Named, cut: int, *, advised: bool) -> None:
    """If recovery fails on what a step left half done, the explanation says what to do."""
    found = crash(safe_before=True)
    found = replace(found, state=CrashState(cut, 1, (), 1), judged=Judged("3-all", verdict, "it raised"))
    assert (cause_in(found, replace(NOTHING, names={2: (named,)}), {}).because == HALF_DONE) is advised


@pytest.mark.parametrize(("lines", "known"), [(2, True), (1, False)], ids=["in flight", "acknowledged"])
def test_what_is_known_of_a_restart_if_recovery_is_not_to_blame(lines: int, known: bool) -> None:
    """The lost changes, if none of them had been acknowledged."""
    lost = Missing(2, lines, LOG)
    found = cause_in(crash(RESTART), replace(NOTHING, missing=(lost,), unsynced=(lost,)), {})
    assert (found.cause, bool(found.refuted[0])) == (RESTARTED, known)


def test_lines_of_an_earlier_recording_are_not_owed_by_this_one() -> None:
    """In a recovery, journal lines from before it count for its acknowledgements, not for its changes."""
    assert crash(RECOVERY).last_acknowledged == (4, "0")
    found = cause_in(crash(RECOVERY), replace(NOTHING, gone=(2,)), {})
    assert found.cause == "no fsync of log between the write to it and the acknowledgement of 0"


def test_nothing_was_acknowledged() -> None:
    """If nothing was acknowledged, the cause names no item."""
    early = replace(crash(), state=CrashState(3, 1, (), 1))
    assert early.last_acknowledged == (0, "")
    assert cause_in(early, UNKNOWN, {}).suspects == ()


def test_explained() -> None:
    """The sentences in their order, and what goes with them."""
    trace = posix_trace(*attempted(0), *made(b"log"), *written(b"0\n"), *acknowledged(0))
    state = CrashState(trace.finish, 0b110, (), 3)
    recording = replace(RUN, filesystem="posix", initial=(8,))
    judged = Judged(str(state), Verdict.LOSES, "acknowledged, but gone: 0")
    found = in_child(
        lambda: explained(Crash(trace, recording, state, judged, 7, False), loss_of(trace, state, None), {})
    )
    assert found.explanation == (
        "Item 0 was acknowledged (journal line 2). 1 item was there from the start.",
        "The power failed after line 2 of the journal (ack 0).",
        "Lost: 1 of 3 changes that no sync had made durable: the store's folder: log made.",
        "Then: acknowledged, but gone: 0.",
        "Nothing had synced what was acknowledged, so it was not durable: the store's folder: log made.",
    )
    assert found.cause.cause == MISSING
    assert found.lost == ("the store's folder: log made",)
    assert (found.state, found.judged, found.notes) == (str(state), 7, 2)
    assert [event.kind for event in found.timeline][-2:] == ["cut", "recovered"]


def test_explained_where_memory_is_not_known() -> None:
    """The explanation says that memory is not known, and, in a recovery, that power failed twice."""
    found = explained(crash(), UNKNOWN, {})
    assert any("in memory only are not known" in sentence for sentence in found.explanation)
    found = explained(crash(RECOVERY), replace(UNKNOWN, later=()), {})
    assert not any("in memory only are not known" in sentence for sentence in found.explanation)
    assert "Then: power went again during the recovery from 5-none: gone." in found.explanation


def test_cuts_of() -> None:
    """Cuts come right after each journal line, or, without lines, after each hit; never before a restart."""
    assert cuts_of(TRACE, RUN) == [2, 5]
    assert cuts_of(TRACE, RECOVERY) == [2, 4, 5]
    killed = synthetic_trace([Note(b"attempt 0"), Note(b"hit workload.killed 1"), Note(b"hit recover.done 1")])
    assert cuts_of(killed, RESTART) == [4]
