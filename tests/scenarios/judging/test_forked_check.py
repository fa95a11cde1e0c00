"""A check in a forked process: however it ends, the judge gets a verdict, and one only."""

import os
import signal
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from crashmatrix import Contract, PromiseBroken, UsageError
from crashmatrix.reports import Verdict
from crashmatrix.scenarios.judging.forked_check import judge_apart, run_checker
from crashmatrix.scenarios.processes.jobs import Jobs
from crashmatrix.scenarios.processes.sandbox.cell import lacking
from crashmatrix.scenarios.target.contract import Violation, contract_named
from crashmatrix.scenarios.target.journal import Promises
from tests.processes import value
from tests.scenarios.sandbox_functions import recover_without_its_folder

SECONDS = 60.0
Recovered = Callable[[], None]


def raising(error: BaseException, *, after: bool) -> Callable[[Recovered], None]:
    def check(recovered: Recovered) -> None:
        if after:
            recovered()
        raise error

    return check


def dying(end: Callable[[], object], *, after: bool) -> Callable[[Recovered], None]:
    def check(recovered: Recovered) -> None:
        if after:
            recovered()
        end()

    return check


def kill_itself() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def fork_and_return() -> None:
    os.fork()


def close_all() -> None:
    os.closerange(3, 1000)


def open_others() -> None:
    """Close everything, and have other files under all those numbers."""
    close_all()
    for _ in range(200):
        os.open("/dev/null", os.O_WRONLY)


@pytest.mark.parametrize("value", [None, 7, "é", ["a", {"b": 1}], "x" * 300_000])
def test_value(value: Any) -> None:
    """A check that returns is safe, and its value comes through, however long."""

    def check(recovered: Recovered) -> Any:
        recovered()
        return value

    assert run_checker(check, SECONDS) == (Verdict.SAFE, value)


@pytest.mark.parametrize(
    ("check", "verdict", "text"),
    [
        (raising(OSError("disk full"), after=False), Verdict.CANNOT_OPEN, "recovery raised OSError: disk full"),
        (raising(OSError("disk full"), after=True), Verdict.UNKNOWN, "the check raised OSError: disk full"),
        (raising(SystemExit(0), after=False), Verdict.CANNOT_OPEN, "recovery raised SystemExit: 0"),
        (raising(UsageError("no such key"), after=False), Verdict.UNKNOWN, "no such key"),
        (raising(PromiseBroken("loses", "row 7"), after=False), Verdict.LOSES, "row 7"),
        (raising(PromiseBroken("corrupt", "row 7"), after=True), Verdict.CORRUPT, "row 7"),
        (dying(kill_itself, after=False), Verdict.CANNOT_OPEN, "recovery died by SIGKILL"),
        (dying(kill_itself, after=True), Verdict.UNKNOWN, "the check died by SIGKILL"),
        (dying(lambda: os._exit(3), after=False), Verdict.CANNOT_OPEN, "recovery exited with status 3"),
        (dying(lambda: os._exit(0), after=True), Verdict.UNKNOWN, "the check exited with status 0"),
        (dying(close_all, after=True), Verdict.UNKNOWN, "the check exited with status 1"),
        (dying(open_others, after=True), Verdict.UNKNOWN, "the check exited with status 1"),
    ],
    ids=lambda value: None if callable(value) else str(value),
)
def test_failure(check: Callable[[Recovered], None], verdict: Verdict, text: str) -> None:
    """Before recovery returned, the failure is the system's; afterwards it is the check's."""
    assert run_checker(check, SECONDS) == (verdict, text)


def test_a_check_that_forks() -> None:
    """If a check returns in two processes, only one of them answers."""
    assert run_checker(dying(fork_and_return, after=True), SECONDS) == (Verdict.SAFE, None)


def test_time_limit() -> None:
    """A recovery that never returns hangs."""
    verdict, text = run_checker(lambda _: threading.Event().wait(), 0.2)
    assert (verdict, text) == (Verdict.HANGS, "recovery was still running at its time limit")


@pytest.mark.skipif(bool(lacking()), reason=lacking())
def test_a_cell_that_cannot_be_entered(tmp_path: Path) -> None:
    """A recovery that was never called says nothing about the system."""
    with Jobs(preload=["tests.scenarios.sandbox_functions"]) as jobs:
        verdict, why = value(jobs.run(recover_without_its_folder, tmp_path, seconds_max=SECONDS))
    assert (verdict, why[:22]) == ("unknown", "recovery did not begin")


class Fussy(Contract):
    """A user's own, which may do anything."""

    def check(self, promises: Promises, recovered: Any) -> Any:
        os._exit(9)


def test_judge_apart() -> None:
    """A contract's violation comes back as it is, and a contract that ends its process does not end the judge."""
    promises = Promises.parse(b"attempt 1\nack 1\n")
    exactly_once = contract_named("exactly-once")
    assert judge_apart(exactly_once, SECONDS, promises, [1]) is None
    lost = judge_apart(exactly_once, SECONDS, promises, [])
    assert lost is not None
    assert lost.verdict is Verdict.LOSES
    assert judge_apart(Fussy(), SECONDS, promises, [1]) == Violation(Verdict.UNKNOWN, "the check exited with status 9")
