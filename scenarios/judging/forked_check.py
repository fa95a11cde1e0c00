"""Run a check in a forked process: it may die, hang or raise, and each of these is an answer.

A judge has many modules loaded and forks cheaply (2 ms). A process must be safe to fork, see `fork_server`.
A checker dies with its judge. It answers through a pipe: one byte once it has begun, one once the system has recovered, then
its verdict and the details, as JSON. An end before the first byte says nothing about the system.
"""

from __future__ import annotations

import json
import os
import select
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

from crashmatrix.faults.disk import end_child
from crashmatrix.faults.disk.linux.containment import start_forked
from crashmatrix.reports import Verdict
from crashmatrix.scenarios.errors import PromiseBroken, UsageError, text_of
from crashmatrix.scenarios.processes.result import claim_of, exit_text
from crashmatrix.scenarios.processes.sandbox.cell import Cell
from crashmatrix.scenarios.processes.sandbox.view import View
from crashmatrix.scenarios.target.contract import Contract, Violation, judge_safely
from crashmatrix.scenarios.target.journal import Item, Promises

__all__ = ["Apart", "judge_apart", "run_checker"]

_BEGUN, _RECOVERED = b"B", b"R"


@dataclass(frozen=True)
class Apart:
    """A cell in which checks run, one at a time, and what they see of the machine's files."""

    cell: Cell
    view: View


def run_checker(
    function: Callable[[Callable[[], None]], Any],
    seconds_max: float,
    apart: Apart | None = None,
    what: str = "recovery",
) -> tuple[Verdict, Any]:
    """Run in a forked process; returns ``safe`` and its result, or how it failed and why.

    Args:
        apart: the cell in which it runs; whatever it leaves there has ended when this returns.
        function: returns a JSON value. It is given a function to call once the system has recovered. Until then whatever goes
            wrong is the system's fault (``cannot-open``, ``hangs``), unless it raises PromiseBroken; after it, the check's
            (``unknown``).
        what: what runs until then, for the explanation.
    """
    reader, writer = os.pipe()
    pid = _start(lambda: _checker(function, writer, what), apart)
    os.close(writer)
    in_time = False
    try:
        data, in_time = _read(reader, pid, time.monotonic() + seconds_max)
    finally:
        os.close(reader)
        if not in_time:
            end_child(pid)
        _, status = os.waitpid(pid, 0)
        over_limit = apart.cell.empty() if apart else ""
    if not data.startswith(_BEGUN):
        return Verdict.UNKNOWN, f"{what} did not begin: its process could not enter its cell, or ended on the way"
    data = data.removeprefix(_BEGUN)
    recovered = data.startswith(_RECOVERED)
    what = "the check" if recovered else what
    if over_limit:
        return Verdict.UNKNOWN if recovered else Verdict.CANNOT_OPEN, f"{what} was killed: {over_limit}"
    if not in_time:
        return Verdict.UNKNOWN if recovered else Verdict.HANGS, f"{what} was still running at its time limit"
    try:
        verdict, content = json.loads(data.removeprefix(_RECOVERED))
        return Verdict(verdict), content
    except (TypeError, ValueError):  # no answer, or half of one
        how = exit_text(os.waitstatus_to_exitcode(status))
        return Verdict.UNKNOWN if recovered else Verdict.CANNOT_OPEN, f"{what} {how}"


def _start(function: Callable[[], object], apart: Apart | None) -> int:
    return apart.cell.start(function, apart.view) if apart else start_forked(function)


def judge_apart(
    contract: Contract, seconds_max: float, promises: Promises, items: Sequence[Item], apart: Apart | None = None
) -> Violation | None:
    """Apply a contract in a forked process: a user's may do anything."""

    def check(recovered: Callable[[], None]) -> list[str] | None:
        recovered()
        violation = judge_safely(contract, promises, items)
        return [violation.verdict, violation.explanation, "living" * violation.living] if violation else None

    verdict, found = run_checker(check, seconds_max, apart)
    if verdict is not Verdict.SAFE:
        return Violation(verdict, str(found))
    return Violation(Verdict(found[0]), found[1], living=bool(found[2])) if found else None


def _checker(function: Callable[[Callable[[], None]], Any], writer: int, what: str) -> NoReturn:
    owner, pipe = os.getpid(), os.fstat(writer)
    failed = Verdict.CANNOT_OPEN

    def answer(data: bytes) -> None:
        if os.getpid() != owner:
            os._exit(0)  # A copy, made by a function that forks.
        if not os.path.samestat(os.fstat(writer), pipe):
            os._exit(1)  # The function has closed the pipe, and opened something else under its number.
        while data:
            data = data[os.write(writer, data) :]

    def recovered() -> None:
        nonlocal failed, what
        answer(_RECOVERED)
        failed, what = Verdict.UNKNOWN, "the check"

    found: tuple[Verdict, Any]
    answer(_BEGUN)
    try:
        found = Verdict.SAFE, function(recovered)
    except UsageError as error:
        found = Verdict.UNKNOWN, text_of(error)
    except BaseException as error:  # A panic or an exit is a way to fail, too.
        if issubclass(type(error), PromiseBroken):
            found = claim_of(error)
        else:
            found = failed, f"{what} raised {type(error).__name__}: {text_of(error)}"
    answer(json.dumps(found).encode())
    os._exit(0)


def _read(reader: int, pid: int, deadline: float) -> tuple[bytes, bool]:
    """Return what the process wrote until it ended, and whether that was before the deadline.

    The end of the pipe says nothing: a process that it leaves behind may hold it open.
    """
    os.set_blocking(reader, False)
    process, data = os.pidfd_open(pid), b""
    waiting = [reader, process]
    try:
        while True:
            ready, _, _ = select.select(waiting, [], [], max(0.0, deadline - time.monotonic()))
            if not ready:
                return data, False
            part, at_end = _available(reader)
            data += part
            if process in ready:
                return data, True
            if at_end:
                waiting = [process]
    finally:
        os.close(process)


def _available(reader: int) -> tuple[bytes, bool]:
    """Read what there is without waiting; also returns whether it was the last."""
    data = b""
    while True:
        try:
            part = os.read(reader, 1 << 16)
        except BlockingIOError:
            return data, False
        if not part:
            return data, True
        data += part
