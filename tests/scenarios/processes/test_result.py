"""Results: each way to end reads as a sentence, and keeps what the driver needs to know."""

import pickle

import pytest

from crashmatrix import PromiseBroken, UsageError
from crashmatrix.reports import Verdict
from crashmatrix.scenarios.errors import ScenarioError
from crashmatrix.scenarios.processes.result import (
    Died,
    JobResult,
    Raised,
    Relayed,
    Returned,
    TimedOut,
    claim_of,
    describe,
    exit_text,
    signal_name,
    was_killed,
)

BROKEN = Raised(("OSError", "Exception"), "disk full", "Traceback ...")


@pytest.mark.parametrize(
    ("result", "text"),
    [
        (Returned(7), "returned"),
        (Returned(7, "printed"), "returned"),
        (BROKEN, "raised OSError: disk full"),
        (TimedOut(), "ran out of time"),
        (Died(-9), "died by SIGKILL"),
        (Died(-40), "died by signal 40"),
        (Died(0), "exited with status 0"),
        (Died(3, " last words\n"), "exited with status 3; it printed: last words"),
        (Died(3, " \n"), "exited with status 3"),
        (Died(-11, "x" * 400), "died by SIGSEGV; it printed: " + "x" * 300),
    ],
)
def test_text(result: JobResult[int], text: str) -> None:
    """Messages are made of these texts."""
    assert str(result) == text
    assert pickle.loads(pickle.dumps(result)) == result


@pytest.mark.parametrize(
    ("result", "killed"),
    [(Died(-9), True), (Died(-15), False), (Died(9), False), (Returned(-9), False), (TimedOut(), False)],
)
def test_was_killed(result: JobResult[int], killed: bool) -> None:
    """Only a death by SIGKILL counts: a job past its time limit was killed by us."""
    assert was_killed(result) is killed


@pytest.mark.parametrize(
    ("code", "text"), [(0, "exited with status 0"), (255, "exited with status 255"), (-6, "died by SIGABRT")]
)
def test_exit_text(code: int, text: str) -> None:
    assert exit_text(code) == text


def test_signal_name() -> None:
    """Real-time signals have no names of their own."""
    assert (signal_name(9), signal_name(45)) == ("SIGKILL", "signal 45")


def caught(error: BaseException) -> Raised:
    try:
        raise error
    except BaseException as raised:
        return describe(raised)


def test_describe() -> None:
    """An exception is known by the names of its class and the class's bases, and by its traceback."""
    raised = caught(UsageError("no such key"))
    assert raised.kinds == ("UsageError", "ScenarioError", "Exception", "BaseException")
    assert (raised.message, raised.claim, raised.output) == ("no such key", None, "")
    assert "test_result.py" in raised.traceback
    assert raised.is_a(UsageError)
    assert raised.is_a(ScenarioError)
    assert not raised.is_a(PromiseBroken)


def test_describe_a_broken_promise() -> None:
    """The claim of a PromiseBroken crosses with it; a class of that name only does not make a claim."""
    raised = caught(PromiseBroken("loses", "row 7 is missing"))
    assert raised.claim == (Verdict.LOSES, "row 7 is missing")
    namesake = type("PromiseBroken", (Exception,), {})
    assert caught(namesake("x")).claim is None


def test_claim_that_cannot_be_read() -> None:
    """A subclass of a user's own may have lost its attributes: then its verdict is `unknown`."""

    class Bare(PromiseBroken):
        def __init__(self) -> None:
            Exception.__init__(self, "bare")

    verdict, explanation = claim_of(Bare())
    assert verdict is Verdict.UNKNOWN
    assert "bare" in explanation


def test_relayed_carries_the_original() -> None:
    """The job that relays an exception ends with exactly that one."""
    assert Relayed(BROKEN).raised is BROKEN
