"""A report directory: results as they come, then the whole, so that whatever ends a run, what it found is there.

    results.jsonl     appended line by line while the run goes on, rewritten in the plan's order at its end
    run.lock          held while a run writes there, and not empty until it has finished (`reports.lock`)
    traces/           recorded disks, of the experiments that need one to be replayed
    summary.json      written at the end, by rename: a directory without it is a run that was cut short
    junit.xml, summary.md, index.html    for people; derived from the others, `render` writes them again

The directory belongs to crashmatrix: it is made, or emptied of an earlier report, but never taken from anything else.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, TextIO

from reports import html, junit, markdown
from reports.lock import LOCK, RunLock, unfinished
from reports.result import FORMAT, RunSummary, ScenarioResult

__all__ = [
    "RENDERERS",
    "TRACES",
    "ReportError",
    "ReportWriter",
    "read_report",
    "read_results",
    "read_summary",
    "render",
]

RENDERERS: dict[str, Callable[[RunSummary, list[ScenarioResult]], str]] = {
    "junit.xml": junit.render,
    "summary.md": markdown.render,
    "index.html": html.render,
}
"""What is made of the stored results, by file name."""

_NOT_UNICODE = "backslashreplace"
"""File names need not be Unicode; what is not becomes an escape, which within a JSON string reads back as it was."""

TRACES = "traces"
"""Folder, in the report directory, of what it takes to rebuild crashed disks."""

_FILES = ("results.jsonl", "summary.json", *RENDERERS)
_OURS = {*_FILES, *(f"{name}.tmp" for name in _FILES), TRACES, LOCK}


class ReportError(Exception):
    """The report directory cannot be used; the message says why and what to do."""


class ReportWriter:
    """Writes one run's report. Use as a context manager; call `finish` for a complete one."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._claim()
        self._lines: TextIO | None = None
        self._finished = False

    def _claim(self) -> None:
        try:
            self.directory.mkdir(parents=True, exist_ok=True)
            present = {path.name for path in self.directory.iterdir()}
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
        foreign = present - _OURS
        if foreign:
            what = ", ".join(sorted(foreign)[:3])
            raise ReportError(f"{self.directory} holds files that are no report's ({what}); name another with --report")
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

    @property
    def lines(self) -> TextIO:
        """The growing `results.jsonl`; begun with the first result, so that a run which finds nothing replaces nothing."""
        if self._lines is None:
            try:
                lines = (self.directory / "results.jsonl").open("a", encoding="utf-8", errors=_NOT_UNICODE)
                for name in ("summary.json", *RENDERERS):  # First, or they would speak of other results.
                    (self.directory / name).unlink(missing_ok=True)
                lines.truncate(0)
                if (self.directory / TRACES).exists():
                    shutil.rmtree(self.directory / TRACES)
            except OSError as error:
                raise ReportError(f"{self.directory}: {error.strerror}; name another directory with --report") from None
            self._lines = lines
        return self._lines

    def add(self, result: ScenarioResult) -> None:
        """Append one result; it is on file before this returns."""
        try:
            self.lines.write(_line(result))
            self.lines.flush()
        except OSError as error:
            raise self._unwritable(error) from None

    def finish(self, summary: RunSummary, results: list[ScenarioResult]) -> None:
        """Write all results in the order given, then the summary, then what is derived from both."""
        try:
            self.lines.flush()  # A run that found nothing takes the place of the report before it all the same.
            _replace(self.directory / "results.jsonl", "".join(_line(result) for result in results))
            _replace(self.directory / "summary.json", json.dumps(summary.to_json(), indent=2) + "\n")
        except OSError as error:
            raise self._unwritable(error) from None
        render(self.directory, summary, results)
        self._finished = True

    def _unwritable(self, error: OSError) -> ReportError:
        return ReportError(f"{self.directory}: {error.strerror}; make room there, or name another with --report")

    def __enter__(self) -> ReportWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, _: BaseException | None, __: TracebackType | None) -> None:
        if self._lines is not None:
            with contextlib.suppress(OSError):  # Of what could not be written before.
                self._lines.close()
        unchanged = self._lines is None and (kind is None or issubclass(kind, Exception))  # It could not begin.
        if self._finished or unchanged:
            self._lock.finished()
        self._lock.release()


def read_summary(directory: Path) -> dict[str, Any]:
    """Read a report's summary. Raises ReportError with the remedy."""
    if reason := unfinished(directory):
        raise ReportError(f"{directory}: {reason}")
    try:
        summary: dict[str, Any] = json.loads((directory / "summary.json").read_bytes())
        if summary["format"] > FORMAT:
            raise ReportError(f"{directory} was written by a newer crashmatrix; upgrade to read it")
    except (FileNotFoundError, NotADirectoryError):
        raise ReportError(
            f"no finished report in {directory}; name its directory with --report, or make one: crashmatrix run"
        ) from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ReportError(f"{directory}/summary.json is unreadable ({error}); run again to replace it") from None
    return summary


def read_results(directory: Path) -> list[ScenarioResult]:
    """Read a report's scenarios; a last line that a dying run left unfinished does not count. Raises ReportError."""
    try:
        lines = (directory / "results.jsonl").read_bytes().split(b"\n")[:-1]
        return [ScenarioResult.from_json(json.loads(line)) for line in lines]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ReportError(f"{directory}/results.jsonl is unreadable ({error}); run again to replace it") from None


def read_report(directory: Path) -> tuple[RunSummary, list[ScenarioResult]]:
    """Read a whole report. Raises ReportError."""
    try:
        return RunSummary.from_json(read_summary(directory)), read_results(directory)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ReportError(f"{directory}/summary.json is unreadable ({error}); run again to replace it") from None


def render(directory: Path, summary: RunSummary, results: list[ScenarioResult]) -> None:
    """Write what people read into a report directory. Raises ReportError."""
    try:
        for name, renderer in RENDERERS.items():
            _replace(directory / name, renderer(summary, results))
    except OSError as error:
        raise ReportError(f"{directory}: {error.strerror}; copy it to where you may write") from None


def _replace(path: Path, text: str) -> None:
    temporary = path.with_name(f"{path.name}.tmp")
    try:
        temporary.write_text(text, encoding="utf-8", errors=_NOT_UNICODE)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise
    os.replace(temporary, path)  # noqa: PTH105  # the call's name says that it overwrites


def _line(result: ScenarioResult) -> str:
    return json.dumps(result.to_json(), ensure_ascii=False) + "\n"
