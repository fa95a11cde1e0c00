"""Decide whose a directory is: a report is recognised by its content. Other tools use the same file names.

| results.jsonl | summary.json | the directory is |
|---|---|---|
| begins with a scenario's line | any | a report; without a summary, of an interrupted run |
| anything else, or none | is a run's | a report |
| anything else, or none | anything else, or none | another program's, if one of the two files exists |

The fields looked for here have been in the scenario lines and summaries of every version.
"""

from __future__ import annotations

import json
from collections.abc import Set
from pathlib import Path
from typing import Any

from crashmatrix.reports.folder import Folder, NotAFile, ReportError, is_leftover
from crashmatrix.reports.verdict import Verdict

__all__ = ["is_report", "refuse_foreign", "refuse_links"]

_BYTES_MAX = 2**28
"""No summary and no line of results is longer."""


def refuse_foreign(directory: Path, files: set[str], folders: set[str]) -> None:
    """Raise ReportError if a directory is a link, is another program's, or has something else in place of a report's files.

    Changes nothing. A directory that does not exist or cannot be read is not refused here: the caller finds out.
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


def is_report(directory: Path, names: Set[str]) -> bool:
    """Whether a directory is certainly a report, and holds nothing but these names: then it may be removed."""
    try:
        with Folder.open(directory) as folder:
            other = [name for name in folder.names() if name not in names and not is_leftover(name)]
            return not other and (_has_results(folder) or _has_summary(folder))
    except OSError:
        return False


def refuse_links(folder: Folder, files: set[str], folders: set[str]) -> None:
    """Raise ReportError if one of these names is a link, a device or otherwise of the wrong kind."""
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
    """Return the JSON value of a file, or of its first line; None if it has none."""
    try:
        with folder.open_file(name) as file:
            return json.loads(file.readline(_BYTES_MAX) if lines else file.read(_BYTES_MAX))
    except (OSError, ValueError, RecursionError):
        return None
