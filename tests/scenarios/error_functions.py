"""The job of `test_call_faults`: a few system calls, some of which are to fail."""

# ruff: noqa: PTH102, PTH104, PTH106, PTH108 -- system calls are meant, by name

import errno
import os
from collections.abc import Callable, Sequence
from pathlib import Path

from crashmatrix.scenarios.processes.calls.call_faults import CallFault, FailingCalls
from crashmatrix.scenarios.processes.calls.system_calls import run_watched
from crashmatrix.scenarios.processes.jobs import Channel


def call(step: str, root: Path) -> object:
    """Make the call of a step, ``write a 6``, as bare as Python lets it be."""
    name, path, *more = step.split()
    file = root / path

    def on_file(function: Callable[[int], object]) -> object:
        fd = os.open(file, os.O_WRONLY | os.O_APPEND)
        try:
            return function(fd)
        finally:
            os.close(fd)

    calls: dict[str, Callable[[], object]] = {
        "open": lambda: os.close(os.open(file, os.O_CREAT | os.O_WRONLY)),
        "write": lambda: on_file(lambda fd: os.write(fd, b"x" * int(more[0]))),
        "fsync": lambda: on_file(os.fsync),
        "fdatasync": lambda: on_file(os.fdatasync),
        "rename": lambda: os.rename(file, root / more[0]),
        "link": lambda: os.link(file, root / more[0]),
        "unlink": lambda: os.unlink(file),
        "truncate": lambda: os.truncate(file, 0),
        "allocate": lambda: on_file(lambda fd: os.posix_fallocate(fd, 0, 4096)),
        "mkdir": lambda: os.mkdir(file),
        "rmdir": lambda: os.rmdir(file),
    }
    return calls[name]()


def fail_steps(_: Channel, root: Path, faults: Sequence[str], steps: Sequence[str]) -> tuple[str, str, list[str]]:
    """Return what each step answered (``.`` for nothing special), the faults that fired, and the files with their sizes."""
    answers = root.parent / "answers"

    def body() -> None:
        told = []
        for step in steps:
            try:
                answer = call(step, root)
            except OSError as error:
                answer = errno.errorcode[error.errno or 0]
            told.append("." if answer is None else str(answer))
        answers.write_text(" ".join(told))

    failing = FailingCalls([CallFault.parse(fault) for fault in faults])
    assert run_watched(body, root=root, journal=None, failpoints=(), at=lambda *_: None, failing=failing) == 0
    left = [f"{path.name} {path.stat().st_size}" if path.is_file() else path.name for path in sorted(root.iterdir())]
    return answers.read_text(), " ".join(map(str, failing.fired)), left
