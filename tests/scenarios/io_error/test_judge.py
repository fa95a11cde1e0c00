"""Whether a system that was full stores again, and endings that come about at several instants. More: test_experiment.py."""

from __future__ import annotations

import signal

import pytest

from crashmatrix.scenarios.campaign.plan import Plan
from crashmatrix.scenarios.campaign.workbench import workbench
from crashmatrix.scenarios.io_error.faults import Fault, PointFault, RequestFault, parse_fault
from crashmatrix.scenarios.io_error.judge import Judge, stays_full
from crashmatrix.scenarios.io_error.plan import ENDINGS
from crashmatrix.scenarios.io_error.runs import FaultyRun, prepare, run_with
from crashmatrix.scenarios.processes.calls.call_faults import CallFault
from crashmatrix.scenarios.processes.calls.seccomp import lacking
from crashmatrix.scenarios.processes.result import Died, Returned, TimedOut
from tests.scenarios.error_systems import BEFORE_WRITE
from tests.scenarios.io_error.test_runs import SYSTEMS

FULL = CallFault("write", 1, "ENOSPC")
REFUSES = "attempt 1\nfail 1\nattempt 2\nfail 2\n"

TABLE = [
    (FULL, REFUSES, True),
    (CallFault("write", 1, "short+ENOSPC"), REFUSES, True),
    (CallFault("write", 1, "EDQUOT", "twice"), REFUSES, True),
    (PointFault("a", 1, "ENOSPC"), REFUSES, True),
    (CallFault("write", 1, "ENOSPC", "on"), REFUSES, False),  # There is no room yet.
    (CallFault("write", 1, "EIO"), REFUSES, False),
    (FULL, "attempt 1\nfail 1\n", False),  # It stopped.
    (FULL, "attempt 1\nfail 1\nattempt 2\nack 2\n", False),
    (FULL, "attempt 1\nfail 1\nattempt 2\nfail 2\nattempt 3\nack 3\n", False),
]


@pytest.mark.parametrize(("fault", "journal", "stays"), TABLE)
def test_stays_full(fault: CallFault | PointFault, journal: str, stays: bool) -> None:
    """A system stays full if it refuses all items once there is room; one that stops at the first error says nothing."""
    run = FaultyRun(Returned(None), journal=journal.encode())
    assert bool(stays_full(fault, run)) == stays


def test_before_the_fault_does_not_count() -> None:
    """A failure before the disk was full is another matter."""
    run = FaultyRun(Returned(None), journal=REFUSES.encode(), journal_at_fault=len("attempt 1\nfail 1\n"))
    assert stays_full(FULL, run) == ""


def test_a_hang_is_another_verdict() -> None:
    """A workload that never came to an end is not called full."""
    assert stays_full(FULL, FaultyRun(TimedOut(), journal=REFUSES.encode())) == ""


@pytest.mark.parametrize(
    ("fault", "exit_code", "text"),
    [
        (FULL, -signal.SIGBUS, "died by SIGBUS"),
        (RequestFault("ext4", "disk-full", 8, "ENOSPC", "on"), -signal.SIGBUS, "died by SIGBUS"),
        (CallFault("write", 1, "EIO"), -signal.SIGBUS, ""),  # The disk was not full.
        (FULL, 1, ""),  # It stopped with an error, as many do.
        (FULL, -signal.SIGKILL, ""),  # Somebody else killed it.
    ],
)
def test_a_process_that_dies_when_the_disk_is_full(fault: Fault, exit_code: int, text: str) -> None:
    """A store to a mapped file without room is a SIGBUS: such a system cannot go on without a restart."""
    found = stays_full(fault, FaultyRun(Died(exit_code), journal=b"attempt 1\n"))
    assert text in found and bool(found) == bool(text)


@pytest.mark.skipif(bool(lacking()), reason=lacking())
@pytest.mark.parametrize(
    ("system", "fault", "ending", "explanation"),
    [
        ("RewritesOnError", "write@2~EIO~once", "killed", "killed after its rename of log -> log.bad: acknowledged, but gone: 0"),
        (
            "MovesAtFailpoint",
            f"{BEFORE_WRITE.name}@2~raise(EIO)~once",
            "killed",
            "killed after its failpoint error_systems.in_cleanup: acknowledged, but gone: 0",
        ),
        ("IgnoresCutBack", "write@2~short+EIO~and-next", "reopened", "acknowledged, but gone: 2"),
        ("ForgetsPages", "fsync@3~EIO~once", "uncached", "acknowledged, but gone: 0 "),
        ("ForgetsPagesForAWhile", "fsync@3~EIO~once", "uncached", "acknowledged, but gone: 0 "),
    ],
)  # fmt: skip
def test_an_ending_has_its_worst_verdict(system: str, fault: str, ending: str, explanation: str) -> None:
    """Kills while an error is handled, and page caches dropped later or at the end, are judged. Other endings are safe."""
    with workbench(Plan(target=f"{SYSTEMS}:{system}")) as (checker, _):
        run = run_with(checker, prepare(checker), [parse_fault(fault)], ENDINGS, checker.folder())
        judged = Judge(checker).judge(parse_fault(fault), run)
    checked, state = judged[ending]
    assert checked.verdict.broken and checked.explanation.startswith(explanation), checked.explanation
    assert state is run.before(ending)
