"""The program ``crashmatrix``: any end has the right exit status, and an error is one line on stderr.

    0, 1, 3          the verdict: safe, a promise broken, unknown; the commands of `crashmatrix.scenarios.cli.commands` say so
    2                the input, the machine or crashmatrix itself is at fault
    129, 130, 143    ended by SIGHUP, SIGINT (Ctrl-C), SIGTERM

Status 1 is a verdict. So no other end may have it: not a closed pipe, a full disk, or an error of ours.

This module imports nothing but the standard library, so that signals are dealt with before the commands are imported, which
takes a second.
"""

from __future__ import annotations

import contextlib
import errno
import io
import os
import sys
import tempfile
import traceback
from collections.abc import Sequence
from typing import Any, NoReturn

from crashmatrix.scenarios.cli.refusal import DEBUG, OutputFailed, Refused
from crashmatrix.scenarios.processes.interruption import Interruption

__all__ = ["main"]


_MESSAGE_MAX = 1_000
_ROOM = "make room there; --report and the variable TMPDIR name other places"
_MEMORY = "use fewer --jobs, or allow more memory and processes (ulimit -a shows the limits)"
_REMEDIES = {
    errno.ENOSPC: _ROOM,
    errno.EDQUOT: _ROOM,
    errno.EROFS: "--report and the variable TMPDIR name other places",
    errno.EIO: "the device failed; --report and the variable TMPDIR name other places",
    errno.EMFILE: "raise the limit of open files (ulimit -n), or use fewer --jobs",
    errno.ENFILE: "raise the limit of open files (sysctl fs.file-max), or use fewer --jobs",
    errno.ENOMEM: _MEMORY,
    errno.EAGAIN: _MEMORY,
}
"""Remedies for errors that are the machine's fault, by errno."""


class _Output(io.FileIO):
    """Standard output without its buffer."""

    def write(self, data: Any) -> int:
        """Write some of it."""
        try:
            return super().write(data)
        except OSError as error:
            raise OutputFailed(error.strerror) from error


def main() -> NoReturn:
    """Run the command line and exit."""
    interruption = Interruption()
    interruption.leave()
    _open_streams()
    arguments = sys.argv[1:]
    ours = arguments[: arguments.index("--")] if "--" in arguments else arguments
    if debug := DEBUG in ours:
        arguments.remove(DEBUG)
    status = _run(arguments, interruption, debug)
    if interruption.status:
        _complain("interrupted")
    _remove_scratch()
    with contextlib.suppress(OSError, ValueError):
        sys.stderr.flush()
    interruption.deafen()
    sys.exit(interruption.status or status)


def _run(arguments: Sequence[str], interruption: Interruption, debug: bool) -> int:
    try:
        _check_folder()  # Before imports, which look there, too.
        from crashmatrix.scenarios.cli import commands as cli

        interruption.interrupt()
        status = cli.call(arguments)
        sys.stdout.flush()
        interruption.ignore()
    except BaseException as error:  # No error may end in a traceback and status 1.
        return _failed(error, interruption, debug)
    return status


def _check_folder() -> None:
    """Paths are relative to the current folder, so that has to be there."""
    try:
        os.getcwd()  # noqa: PTH109  # nothing is done with it
    except OSError as error:
        raise Refused(f"the current folder is gone ({error.strerror}); change to another one") from None


def _failed(error: BaseException, interruption: Interruption, debug: bool) -> int:
    """Say what went wrong, in one line; returns the exit status."""
    interruption.ignore()
    _drop_output()
    if interruption.status:
        return interruption.status
    if isinstance(error, SystemExit) and (error.code is None or isinstance(error.code, int)):
        return 2 if error.code == 1 else error.code or 0
    _complain(_cause(error) or _internal(error, debug))
    return 2


def _cause(error: BaseException) -> str:
    """Say what the user or the machine is at fault for, and the remedy; empty if neither is at fault."""
    if isinstance(error, Refused | SystemExit):
        return str(error)
    if isinstance(error, OutputFailed):
        return f"standard output cannot be written ({error}); read it to its end, or send it to a file"
    if isinstance(error, MemoryError) or (isinstance(error, RuntimeError) and "start new thread" in str(error)):
        return f"out of memory or processes; {_MEMORY}"
    if isinstance(error, ImportError):  # An import of a target has become a `UsageError` by now.
        return f"crashmatrix cannot be loaded ({error}); install it anew, or allow more memory (ulimit -v)"
    if isinstance(error, OSError) and error.errno in _REMEDIES:
        where = f"{os.fsdecode(error.filename)}: " if isinstance(error.filename, str | bytes) else ""
        return f"{where}{error.strerror}; {_REMEDIES[error.errno]}"
    return ""


def _internal(error: BaseException, debug: bool) -> str:
    """Say that this is our error, and where its traceback is."""
    text = "".join(traceback.format_exception(error))
    if debug:
        with contextlib.suppress(OSError):
            print(text, end="", file=sys.stderr)  # noqa: T201  # --debug requests it
        enclosed = "the traceback above"
    else:
        enclosed = _stored(text)
    return f"internal error, no verdict ({type(error).__name__}: {error}); report it {_where()}, with {enclosed}"


def _stored(text: str) -> str:
    try:
        descriptor, path = tempfile.mkstemp(prefix="crashmatrix-error-", suffix=".txt")
        with open(descriptor, "w", encoding="utf-8", errors="backslashreplace") as file:
            file.write(text)
    except OSError:
        return f"what it prints when run again with {DEBUG}"
    return f"the file {path}"


def _where() -> str:
    """Say where to report errors: the project's own address, if it has one."""
    from importlib import metadata

    try:
        known = dict(line.split(", ", 1) for line in metadata.metadata("crashmatrix").get_all("Project-URL", []))
    except (metadata.PackageNotFoundError, ValueError):
        known = {}
    address = next((known[name] for name in ("Issues", "Repository", "Homepage") if name in known), "")
    return f"at {address}" if address else "to the authors of crashmatrix"


def _complain(text: str) -> None:
    """Print one line, in which nothing moves the cursor."""
    line = " ".join(text.split())
    if len(line) > _MESSAGE_MAX:  # The cause stands at its beginning, the remedy at its end.
        line = f"{line[: _MESSAGE_MAX // 2]} ... {line[-_MESSAGE_MAX // 2 :]}"
    shown = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in line)
    with contextlib.suppress(OSError, ValueError):
        print(f"crashmatrix: {shown}", file=sys.stderr, flush=True)  # noqa: T201  # the one line


def _open_streams() -> None:
    """Give standard output our own errors; streams that are closed go nowhere, and not into the next file opened."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
    was = sys.stdout
    encoding = (was.encoding, was.errors) if was is not None else ("utf-8", "backslashreplace")
    raw = _Output(1, "w", closefd=False)
    sys.stdout = io.TextIOWrapper(io.BufferedWriter(raw), *encoding, line_buffering=raw.isatty())


def _drop_output() -> None:
    """Leave nothing in the buffer that would fail once more when the interpreter ends."""
    try:
        sys.stdout.flush()
    except (OutputFailed, OSError, ValueError):
        with contextlib.suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


def _remove_scratch() -> None:
    """Remove what an interrupted clean-up left."""
    if "crashmatrix.scenarios.processes.scratch" in sys.modules:
        from crashmatrix.scenarios.processes.scratch import remove_own

        remove_own()
