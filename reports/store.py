"""A report directory: results as they come, then the whole report. A run that ends early leaves its results so far.

    results.jsonl     appended and synced line by line during the run, rewritten in the plan's order at its end
    run.lock          held while a run writes there; empty only once the run has finished (`crashmatrix.reports.lock`)
    traces/           recorded disks, for experiments that need them for a replay
    resume/           the findings of a run that is not finished, for --resume (`crashmatrix.reports.unfinished.ledger`)
    summary.json      written at the end, by rename: a directory without it holds an interrupted run
    junit.xml, summary.md, index.html    for people; made from the others, and `render` makes them again

The directory belongs to crashmatrix: it is created, or emptied of an earlier report. A directory with anything else in it is
refused, and so is a link (`crashmatrix.reports.ownership`, `crashmatrix.reports.folder`).
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from types import TracebackType
from typing import Annotated, BinaryIO

import msgspec

from crashmatrix.reports.folder import Folder, NotAFile, ReportError, is_leftover, open_file
from crashmatrix.reports.formats import junit, markdown
from crashmatrix.reports.lock import LOCK, RunLock, unfinished
from crashmatrix.reports.ownership import refuse_foreign, refuse_links
from crashmatrix.reports.result import FORMAT, RunSummary, ScenarioResult
from crashmatrix.reports.unfinished.ledger import RESUME, Ledger, Synced
from crashmatrix.reports.upgrade import upgrade_result, upgrade_summary
from crashmatrix.reports.validation import Invalid, checked, parsed

__all__ = [
    "RENDERERS",
    "REPORT_NAMES",
    "TRACES",
    "ReportError",
    "ReportWriter",
    "has_trace",
    "keep_trace",
    "read_report",
    "read_results",
    "read_summary",
    "render",
]

RENDERERS: dict[str, Callable[[RunSummary, list[ScenarioResult]], str]] = {
    "junit.xml": junit.render,
    "summary.md": markdown.render,
    "index.html": lambda *run: import_module("crashmatrix.reports.formats.html").render(*run),  # Few commands need it.
}
"""Makes each file for people from the stored results, by file name."""

_NOT_UNICODE = "backslashreplace"
"""File names need not be Unicode. The rest becomes escapes, which a JSON string reads back unchanged."""

TRACES = "traces"
"""Folder, in the report directory, of the traces from which crashed disks are rebuilt."""

_FILES = ("results.jsonl", "summary.json", *RENDERERS)
_FOLDERS = {TRACES, RESUME}
REPORT_NAMES = {*_FILES, *(f"{name}.tmp" for name in _FILES), *_FOLDERS, LOCK}
"""Everything that a report directory may hold."""


class ReportWriter:
    """Writes one run's report. Use as a context manager; call `finish` for a complete one.

    With ``resume``, `ledger` has what an unfinished run of the directory found out, if there was one.
    """

    def __init__(self, directory: Path, *, resume: bool = False) -> None:
        self.directory = directory
        self.ledger = Ledger()
        refuse_foreign(directory, REPORT_NAMES - _FOLDERS, _FOLDERS)
        self._claim()
        self._folder = Folder.open(directory)
        self._lines: BinaryIO | None = None
        self._finished = False
        self._synced = Synced()
        if resume:
            self._load()
        self.ledger.expect()

    def _load(self) -> None:
        try:
            self.ledger.load(self._folder, self._synced)
        except OSError as error:
            self._synced.close()
            self._lock.release()
            raise ReportError(f"{self.directory}/{RESUME}: {error}; run again without --resume") from None

    def _claim(self) -> None:
        try:
            self.directory.mkdir(parents=True, exist_ok=True)
            present = {path.name for path in self.directory.iterdir() if not is_leftover(path.name)}
            if not os.access(self.directory, os.W_OK | os.X_OK, effective_ids=True):
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        except (FileExistsError, NotADirectoryError):
            raise ReportError(f"{self.directory} is not a directory; name another with --report") from None
        except OSError as error:
            raise ReportError(
                f"{self.directory}: {error.strerror}; name a directory you may write with --report"
            ) from None
        if present and not present & {"results.jsonl", "summary.json", LOCK}:
            what = ", ".join(sorted(present)[:3])
            raise ReportError(f"{self.directory} holds something else ({what}); name an empty or new one with --report")
        foreign = present - REPORT_NAMES
        if foreign:
            what = ", ".join(sorted(foreign)[:3])
            raise ReportError(
                f"{self.directory} holds files that do not belong to a report ({what}); name another with --report"
            )
        self._lock = self._take_lock()

    def _take_lock(self) -> RunLock:
        try:
            return RunLock(self.directory)
        except BlockingIOError:
            raise ReportError(
                f"{self.directory}: another run is writing its report there; wait for its end, or name another with --report"
            ) from None
        except OSError as error:
            raise ReportError(f"{self.directory}/{LOCK}: {error.strerror}; name another with --report") from None

    def _begin(self, text: str) -> None:
        """Replace the whole previous report by the first lines of `results.jsonl`.

        Called with the first result, so that a run without results replaces nothing. During a run, that file always
        has at least one line: by it, an interrupted run is recognised as ours.
        """
        try:
            self._stay()
            self._folder.check_writable("results.jsonl")
            for name in ("summary.json", *RENDERERS, *filter(is_leftover, self._folder.names())):
                self._folder.remove(name)  # First, since they describe other results.
            with self._folder.replace("results.jsonl") as lines:
                lines.write(_encoded(text))
            self._lines = lines
            if not self.ledger.resumes:
                self._folder.remove_tree(TRACES)
            self.ledger.begin(self._folder, self._synced)
        except OSError as error:
            raise ReportError(f"{self.directory}: {error.strerror}; name another directory with --report") from None

    def _stay(self) -> None:
        if not self._folder.is_in_place():
            raise ReportError(f"{self.directory} was replaced during the run; run again, or name another with --report")

    def add(self, result: ScenarioResult) -> None:
        """Append one result. When this returns, the result is in the file; it is synced soon after."""
        if self._synced.error:
            raise self._unwritable(self._synced.error)
        if self._lines is None:
            self._begin(_line(result))
            return
        try:
            self._lines.write(_encoded(_line(result)))
            self._lines.flush()
            self._synced.written(self._lines)
        except OSError as error:
            raise self._unwritable(error) from None

    def finish(self, summary: RunSummary, results: list[ScenarioResult]) -> None:
        """Write all results in the order given, then the summary, then the files made from both."""
        if self._lines is None:  # A run without results still replaces the previous report.
            self._begin("")
        self._stay()
        try:
            self._folder.write("results.jsonl", _encoded("".join(_line(result) for result in results)))
            self._folder.write("summary.json", _encoded(json.dumps(summary.to_json(), indent=2) + "\n"))
            _render(self._folder, summary, results)
            if not summary.interrupted:  # Else the run can be resumed.
                self._folder.remove_tree(RESUME)
        except OSError as error:
            raise self._unwritable(error) from None
        self._finished = True

    def _unwritable(self, error: OSError) -> ReportError:
        return ReportError(f"{self.directory}: {error.strerror}; make room there, or name another with --report")

    def __enter__(self) -> ReportWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, _: BaseException | None, __: TracebackType | None) -> None:
        self._synced.close()
        self.ledger.close()
        if self._lines is not None:
            with contextlib.suppress(OSError):  # It was reported when the write failed.
                self._lines.close()
        self._folder.close()
        unchanged = self._lines is None and (kind is None or issubclass(kind, Exception))  # The run could not begin.
        if self._finished or unchanged:
            self._lock.finished()
        self._lock.release()


def read_summary(directory: Path) -> RunSummary:
    """Read a report's summary. Raises ReportError with the remedy."""
    if reason := unfinished(directory):
        raise ReportError(f"{directory}: {reason}")
    return _summary(directory)[0]


def read_results(directory: Path) -> list[ScenarioResult]:
    """Read a report's scenarios, without a last line that an interrupted run left unfinished. Raises ReportError."""
    form = _summary(directory)[1] if (directory / "summary.json").exists() else FORMAT
    return _results(directory, form)


def read_report(directory: Path) -> tuple[RunSummary, list[ScenarioResult]]:
    """Read a whole report. Raises ReportError."""
    if reason := unfinished(directory):
        raise ReportError(f"{directory}: {reason}")
    summary, form = _summary(directory)
    return summary, _results(directory, form)


def _summary(directory: Path) -> tuple[RunSummary, int]:
    """Return the summary, and the format in which it and the results are stored."""
    with _readable(directory / "summary.json"):
        try:
            document = parsed(_read(directory / "summary.json"))
        except (FileNotFoundError, NotADirectoryError):
            raise ReportError(
                f"no finished report in {directory}; name a directory that has one, or make one: crashmatrix run"
            ) from None
        form = checked(document, _Format).format
        if form > FORMAT:
            raise ReportError(f"{directory} was written by a newer crashmatrix; upgrade to read it")
        upgrade_summary(document, form)
        return RunSummary.from_json(document), form


def _results(directory: Path, form: int) -> list[ScenarioResult]:
    path = directory / "results.jsonl"
    with _readable(path):
        lines = _read(path).split(b"\n")[:-1]
        return [_result(path, number, line, form) for number, line in enumerate(lines, 1)]


def _result(path: Path, number: int, text: bytes, form: int) -> ScenarioResult:
    try:
        line = parsed(text)
        upgrade_result(line, form)
        return ScenarioResult.from_json(line)
    except Invalid as error:
        raise _unreadable(path, f"line {number:,}: {error}") from None


@contextlib.contextmanager
def _readable(path: Path) -> Iterator[None]:
    """Turn each error of reading a file into a ReportError that says what to do."""
    try:
        yield
    except OSError as error:
        raise _unreadable(path, str(error.strerror)) from None
    except Invalid as error:
        raise _unreadable(path, str(error)) from None


def _unreadable(path: Path, why: str) -> ReportError:
    return ReportError(f"{path}: {why}; run again to replace it")


class _Format(msgspec.Struct):
    """The field of a summary that says how to read the others."""

    format: Annotated[int, msgspec.Meta(ge=1)]


def render(directory: Path, summary: RunSummary, results: list[ScenarioResult]) -> None:
    """Write the files for people into a report directory. Raises ReportError."""
    try:
        with Folder.open(directory) as folder:
            refuse_links(folder, REPORT_NAMES - _FOLDERS, _FOLDERS)
            _render(folder, summary, results)
    except NotAFile:
        raise ReportError(f"{directory} is a symbolic link; name the directory itself") from None
    except OSError as error:
        raise ReportError(f"{directory}: {error.strerror}; copy it to where you may write") from None


def keep_trace(trace: Path, traces: Path) -> None:
    """Copy a recording's trace into a report's folder of traces, and create the folder if needed. Raises ReportError."""
    try:
        traces.parent.mkdir(parents=True, exist_ok=True)  # There is one already, unless no run writes a report.
        with (
            Folder.open(traces.parent) as report,
            report.within(traces.name, make=True) as to,
            open_file(trace) as file,
        ):
            to.copy(file, trace.name)
    except OSError as error:
        raise ReportError(f"{traces}: {error.strerror}; name another directory with --report") from None


def has_trace(trace: Path) -> bool:
    """Whether a report's trace exists. Raises ReportError if it is not a file, or its folder is a link."""
    try:
        with Folder.open(trace.parent) as traces, traces.open_file(trace.name):
            return True
    except FileNotFoundError:
        return False
    except OSError as error:
        raise ReportError(f"{trace}: {error.strerror}; run again to replace the report") from None


def _render(folder: Folder, summary: RunSummary, results: list[ScenarioResult]) -> None:
    for name, renderer in RENDERERS.items():
        folder.write(name, _encoded(renderer(summary, results)))


def _read(path: Path) -> bytes:
    with open_file(path) as file:
        return file.read()


def _encoded(text: str) -> bytes:
    return text.encode(errors=_NOT_UNICODE)


def _line(result: ScenarioResult) -> str:
    return json.dumps(result.to_json(), ensure_ascii=False) + "\n"
