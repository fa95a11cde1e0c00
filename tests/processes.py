"""Processes as tests look at them: who descends from whom, and who is still there."""

import time
from collections.abc import Iterable
from typing import TypeVar

import psutil

from crashmatrix.scenarios.processes.result import JobResult, Raised, Returned

T = TypeVar("T")


def descendants(pid: int) -> list[psutil.Process]:
    """Return the processes that a process has started, held so that none is confused with a later one of the same id."""
    return psutil.Process(pid).children(recursive=True)


def alive(processes: Iterable[psutil.Process]) -> list[psutil.Process]:
    """Return those that are still there after a hundred seconds at most."""
    left, deadline = list(processes), time.monotonic() + 100
    while left and time.monotonic() < deadline:
        left = [process for process in left if runs(process)]
        time.sleep(0.002)
    return left


def runs(process: psutil.Process) -> bool:
    """A zombie runs nothing: it waits for the process that adopted it."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def value(result: JobResult[T]) -> T:
    """Return the value that a job returned, which it must have."""
    traceback = result.traceback if isinstance(result, Raised) else ""
    assert isinstance(result, Returned), f"{result} {traceback} {result.output}"
    return result.value
