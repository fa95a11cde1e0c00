"""Run a program of a target, in a process tree of its own: to its end, or with what it prints when it fails.

No shell runs it. Its standard input is empty, and its output goes to files in the target's own `/tmp`, so nothing of it reaches
the folder under test.
"""

from __future__ import annotations

import os
import select
import shlex
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from crashmatrix.scenarios.errors import UsageError
from crashmatrix.scenarios.last_words import first_and_last, last_words
from crashmatrix.scenarios.processes.process_tree import ProcessTree
from crashmatrix.scenarios.processes.result import signal_name

__all__ = ["CommandFailed", "arguments_of", "ending", "execute", "filled", "run_program", "words_of"]

_TICK_SECONDS = 0.002
_FIRST_MAX = 120
_GRACE_SECONDS = 2.0
"""How long a program may run on once what it talks to has ended."""


class CommandFailed(UsageError):
    """A command did not end with status 0. In recovery this is a verdict; elsewhere the user has to fix it."""


def run_program(
    name: str,
    arguments: Sequence[str],
    folder: Path,
    variables: Mapping[str, str],
    tick: Callable[[], None] = lambda: None,
    gone: Callable[[], str] = lambda: "",
) -> str:
    """Run a program to its end; returns what it printed. Raises CommandFailed.

    Args:
        name: the program's role, for messages: ``recover``.
        folder: its current folder.
        tick: called every few milliseconds.
        gone: says why what the program talks to has ended; empty while it has not. The program is then given two seconds.
    """
    with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
        streams = (output.fileno(), errors.fileno())
        with ProcessTree(lambda: execute(folder, arguments, variables, streams)) as tree:
            waits_until = float("inf")
            while not select.select([tree], [], [], _TICK_SECONDS)[0]:
                tick()
                if waits_until == float("inf") and gone():
                    waits_until = time.monotonic() + _GRACE_SECONDS
                if time.monotonic() > waits_until:
                    raise CommandFailed(f"{name} was still running {_GRACE_SECONDS:g} s after {gone()}")
            status = tree.wait()
        output.seek(0)
        errors.seek(0)
        if status:
            raise CommandFailed(f"{name} {ending(status)}{_said(errors.read() or output.read())}")
        return output.read().decode(errors="backslashreplace")


def execute(folder: Path, arguments: Sequence[str], variables: Mapping[str, str], streams: tuple[int, int]) -> None:
    """Become the program, with these standard output and error."""
    try:
        for standard, descriptor in zip((0, 1, 2), (os.open(os.devnull, os.O_RDONLY), *streams), strict=True):
            os.dup2(descriptor, standard)
        os.chdir(folder)
        for ignored_by_python in (signal.SIGPIPE, signal.SIGXFSZ):
            signal.signal(ignored_by_python, signal.SIG_DFL)
        os.execvpe(arguments[0], list(arguments), dict(variables))  # noqa: S606  # its arguments are the user's own
    except OSError as error:
        sys.stderr.write(f"{arguments[0]}: {error.strerror}\n")
        sys.stderr.flush()
        os._exit(126)


def ending(status: int) -> str:
    """Say how a program ended, from its exit code, which is negative for a signal."""
    if status >= 0:
        return f"exited with status {status}"
    return f"died by {signal_name(-status)}"


def words_of(printed: bytes) -> str:
    """Return the first and the last lines of a program's output, to stand behind how it ended; empty if there are none."""
    text = first_and_last(printed.decode(errors="replace"))
    return f"; it printed: {text}" if text else ""


def filled(argument: str, values: Mapping[str, str]) -> str:
    """Replace the placeholders in an argument: ``{root}`` and the like."""
    for placeholder, value in values.items():
        argument = argument.replace(placeholder, value)
    return argument


def _said(printed: bytes) -> str:
    """Quote what a failed program said: its first line, which often names the cause, and its last message."""
    output = printed.decode(errors="replace")
    text = last_words(output)
    first = next((" ".join(line.split()) for line in output.splitlines() if line.strip()), "")
    if not text.startswith(first[:_FIRST_MAX]) and not first.startswith("Traceback"):
        text = f"{first[:_FIRST_MAX]} ... {text}"
    return f"; it said: {text}" if text else ""


def arguments_of(command: str | Sequence[str]) -> list[str]:
    """Split a command as a shell would, if it is not a list of arguments yet. Raises UsageError."""
    if not isinstance(command, str):
        return list(command)
    try:
        return shlex.split(command)
    except ValueError as error:
        raise UsageError(f"{command!r:.60} cannot be split into arguments ({error}); give a list of them") from None
