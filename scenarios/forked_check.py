"""Run a check in a forked process: it may die, hang or raise, and each is an answer.

For judges that have much loaded and fork cheaply (2 ms); whoever forks must be quiet, see `fork_server`. A checker dies with
its judge.
"""

from __future__ import annotations

import os
import pickle
import select
import signal
import time
from collections.abc import Callable
from typing import Any, NoReturn

from faults.disk import die_with_parent, end_child
from reports import Verdict
from scenarios.errors import UsageError

__all__ = ["run_checker"]

_RECOVERED = b"R"


def run_checker(function: Callable[[Callable[[], None]], Any], seconds_max: float) -> tuple[Verdict, Any]:
    """Run in a forked process; returns ``safe`` and its result, or how it failed and why.

    Args:
        function: is given a function to call once the system has recovered. Until then whatever goes wrong is the system's
            fault (``cannot-open``, ``hangs``), unless the exception brings a verdict; after it, the check's (``unknown``).
    """
    reader, writer = os.pipe()
    parent = os.getpid()
    pid = os.fork()
    if pid == 0:
        _checker(function, writer, parent)
    os.close(writer)
    in_time = False
    try:
        data, in_time = _read_all(reader, time.monotonic() + seconds_max)
    finally:
        os.close(reader)
        if not in_time:
            end_child(pid)
        _, status = os.waitpid(pid, 0)
    recovered, answer = data[:1] == _RECOVERED, data.removeprefix(_RECOVERED)
    what = "the check" if recovered else "recovery"
    if not in_time:
        return Verdict.UNKNOWN if recovered else Verdict.HANGS, f"{what} was still running at its time limit"
    if not answer:
        code = os.waitstatus_to_exitcode(status)
        how = f"died by {signal.Signals(-code).name}" if code < 0 else f"exited with status {code}"
        return Verdict.UNKNOWN if recovered else Verdict.CANNOT_OPEN, f"{what} {how}"
    verdict, content = pickle.loads(answer)  # noqa: S301  # from our own child
    return Verdict(verdict), content


def _checker(function: Callable[[Callable[[], None]], Any], writer: int, parent: int) -> NoReturn:
    die_with_parent(parent)
    owner = os.getpid()
    failed, what = Verdict.CANNOT_OPEN, "recovery"

    def recovered() -> None:
        nonlocal failed, what
        failed, what = Verdict.UNKNOWN, "the check"
        os.write(writer, _RECOVERED)

    try:
        answer: tuple[str, Any] = "safe", function(recovered)
    except UsageError as error:
        answer = "unknown", str(error)
    except BaseException as error:  # A panic or an exit is a way to fail, too.
        text = getattr(error, "explanation", None) or f"{what} raised {type(error).__name__}: {error}"
        answer = str(getattr(error, "verdict", None) or failed), text
    if os.getpid() != owner:
        os._exit(0)  # A copy, made by a function that forks.
    with os.fdopen(writer, "wb") as pipe:
        pipe.write(pickle.dumps(answer))
    os._exit(0)


def _read_all(reader: int, deadline: float) -> tuple[bytes, bool]:
    """Return what was written until the pipe was closed, and whether that was before the deadline."""
    data = b""
    while True:
        ready, _, _ = select.select([reader], [], [], max(0.0, deadline - time.monotonic()))
        if not ready:
            return data, False
        part = os.read(reader, 1 << 16)
        if not part:
            return data, True
        data += part
