"""A process that has loaded pytest, Arrow and the like, but nothing of ours, and runs tests in forks of itself.

It reads a request a line, and answers each with a line: the exit status of pytest, or null if it took too long. At the end of its
input it ends, with what it runs.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import select
import signal
import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import msgspec

__all__ = ["Request"]

_PR_SET_PDEATHSIG = 1  # linux/prctl.h


class Request(msgspec.Struct):
    """Arguments of pytest; the folder of an overlay; the file for the output."""

    arguments: list[str]
    overlay: str
    path: str
    log: str
    seconds_max: float


def _serve() -> None:
    _load()
    answers, requests = os.dup(1), os.dup(0)
    os.dup2(os.open(os.devnull, os.O_RDWR), 0)
    os.dup2(2, 1)
    with os.fdopen(requests, "rb") as lines:
        while line := lines.readline():
            status = _run(msgspec.json.decode(line, type=Request), lines.fileno())
            os.write(answers, msgspec.json.encode(status) + b"\n")


def _load() -> None:
    """Import what tests import of others: nearly all of the time of a start."""
    import deltalake
    import hypothesis.stateful
    import psutil
    import pyarrow.dataset
    import pyarrow.parquet
    import pytest

    del deltalake, hypothesis, psutil, pyarrow, pytest
    ours = [name for name in sys.modules if name.partition(".")[0] == "crashmatrix"]
    assert not ours, f"{ours[0]} is loaded, without any bug"


def _run(request: Request, input_: int) -> int | None:
    pid = os.fork()
    if not pid:
        _run_here(request)
    child = os.pidfd_open(pid)
    ready = select.select([child, input_], [], [], request.seconds_max)[0]  # No request comes before the answer.
    os.close(child)
    # The number is still the child's: nobody has waited for it.
    os.kill(pid, signal.SIGKILL)
    with contextlib.suppress(ProcessLookupError):  # It may not lead a group yet.
        os.killpg(pid, signal.SIGKILL)  # The tests may have left processes.
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    return status if child in ready else None


def _run_here(request: Request) -> None:
    status = 70
    try:
        os.setsid()
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        output = os.open(request.log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(output, 1)
        os.dup2(output, 2)
        os.environ["PYTHONPATH"] = request.path
        _serve_texts(request.overlay)
        import pytest

        status = int(pytest.main(request.arguments))
        sys.stdout.flush()
    finally:
        os._exit(status)


def _serve_texts(overlay: str) -> None:
    """Do what Python does at the start of a process with the overlay."""
    spec = spec_from_file_location("overlay_hook", Path(overlay, "sitecustomize.py"))
    assert spec is not None and spec.loader is not None
    hook = module_from_spec(spec)
    spec.loader.exec_module(hook)
    hook.install(overlay)


if __name__ == "__main__":
    _serve()
