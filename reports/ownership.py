"""Whose is a directory? A report is known by its content, not by its files' names, which other tools use, too.

| results.jsonl | summary.json | the directory is |
|---|---|---|
| begins with a scenario's line | any | a report, of a run cut short if there is no summary |
| anything else, or none | is a run's | a report |
| anything else, or none | anything else, or none | somebody else's, if one of the two is there |

A scenario's line and a run's summary have had the fields that are looked for in every version.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from crashmatrix.reports.folder import Folder, NotAFile, ReportError
from crashmatrix.reports.verdict import Verdict

__all__ = ["refuse_foreign", "refuse_links"]

_BYTES_MAX = 2**28
"""A summary, or a line of results, has never been longer."""


def refuse_foreign(directory: Path, files: set[str], folders: set[str]) -> None:
    """Raise ReportError if a directory is a link, another tool's, or has something else where a report's files are.

    Nothing is changed. A directory that is not there, or that cannot be read, is left to whoever makes or opens it.
    """
    try:
        opened = Folder.open(directory)
    except NotAFile:
        raise ReportError(f"{directory} is a symbolic link; name the directory itself with --report") from None
    except OSError:
        return
    with opened as folder:
        refuse_links(folder, files, folders)
        named = {"results.jsonl", "summary.json"} & set(folder.names())
        if named and not (_has_results(folder) or _has_summary(folder)):
            what = " and ".join(sorted(named))
            raise ReportError(f"{directory} holds another program's {what}; name another with --report")


def refuse_links(folder: Folder, files: set[str], folders: set[str]) -> None:
    """Raise ReportError if anything of these names is a link, a device or else of the wrong kind."""
    for name in folder.names():
        kind = folder.kind(name)
        wrong = (name in files and kind) or (name in folders and kind != "a directory" and (kind or "a file"))
        if wrong:
            raise ReportError(
                f"{folder.path}/{name} is {wrong}, which no report has there; remove it, or name another directory"
            )


def _has_results(folder: Folder) -> bool:
    line = _read(folder, "results.jsonl", lines=True)
    texts = isinstance(line, dict) and all(isinstance(line.get(name), str) for name in ("id", "experiment", "verdict"))
    return texts and line["verdict"] in set(Verdict)


def _has_summary(folder: Folder) -> bool:
    summary = _read(folder, "summary.json")
    return (
        isinstance(summary, dict)
        and isinstance(summary.get("format"), int)
        and isinstance(summary.get("target"), str)
        and isinstance(summary.get("experiments"), dict)
    )


def _read(folder: Folder, name: str, *, lines: bool = False) -> Any:
    """The JSON value of a file, or of its first line; None if there is none."""
    try:
        with folder.open_file(name) as file:
            return json.loads(file.readline(_BYTES_MAX) if lines else file.read(_BYTES_MAX))
    except (OSError, ValueError, RecursionError):
        return None
