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

from faults.disk import die_with_parent
from reports import Verdict
from scenarios.errors import UsageError

__all__ = ["run_checker"]


def run_checker(
    function: Callable[[], Any], seconds_max: float, failed: Verdict = Verdict.CANNOT_OPEN
) -> tuple[Verdict, Any]:
    """Run in a forked process; returns ``safe`` and its result, or how it failed and why.

    Args:
        failed: the verdict when it raises or dies without one of its own.
    """
    reader, writer = os.pipe()
    parent = os.getpid()
    pid = os.fork()
    if pid == 0:
        _checker(function, writer, parent, failed)
    os.close(writer)
    try:
        data, in_time = _read_all(reader, time.monotonic() + seconds_max)
    finally:
        os.close(reader)
        if not in_time:
            os.kill(pid, signal.SIGKILL)
        _, status = os.waitpid(pid, 0)
    if not in_time:
        return Verdict.HANGS, "recovery was still running at its time limit"
    if not data:
        code = os.waitstatus_to_exitcode(status)
        how = f"died by {signal.Signals(-code).name}" if code < 0 else f"exited with status {code}"
        return failed, f"recovery {how}"
    verdict, content = pickle.loads(data)  # noqa: S301  # from our own child
    return Verdict(verdict), content


def _checker(function: Callable[[], Any], writer: int, parent: int, failed: Verdict) -> NoReturn:
    die_with_parent(parent)
    owner = os.getpid()
    try:
        answer: tuple[str, Any] = "safe", function()
    except UsageError as error:
        answer = "unknown", str(error)
    except BaseException as error:  # A panic or an exit is a way to fail, too.
        verdict = getattr(error, "verdict", None)
        text = getattr(error, "explanation", None) or f"recovery raised {type(error).__name__}: {error}"
        answer = str(verdict or failed), text
    if os.getpid() != owner:
        os._exit(0)  # A copy, made by a function that forks.
    with os.fdopen(writer, "wb") as pipe:
        pipe.write(pickle.dumps(answer))
    os._exit(0)


def _read_all(reader: int, deadline: float) -> tuple[bytes, bool]:
    parts: list[bytes] = []
    while True:
        ready, _, _ = select.select([reader], [], [], max(0.0, deadline - time.monotonic()))
        if not ready:
            return b"", False
        part = os.read(reader, 1 << 16)
        if not part:
            return b"".join(parts), True
        parts.append(part)
