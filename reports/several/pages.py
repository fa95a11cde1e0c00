"""Write and read `targets.json`, in the directory of several targets' reports, and the pages made from it."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

from crashmatrix.reports.folder import Folder
from crashmatrix.reports.formats import markdown
from crashmatrix.reports.several.collection import Collection, load
from crashmatrix.reports.several.targets import TARGETS, Targets

__all__ = ["read_targets", "write_targets"]


def write_targets(targets: Targets, collection: Collection) -> None:
    """Replace the file and its pages. Raises ReportError."""
    html = import_module("crashmatrix.reports.formats.html")  # Few commands need it.
    collection.save(targets)
    collection.write("index.html", html.render_targets(targets))
    collection.write("summary.md", markdown.render_targets(targets))


def read_targets(directory: Path) -> Targets | None:
    """Return the targets whose reports a directory holds; None if it holds no `targets.json`. Raises ReportError."""
    try:
        with Folder.open(directory) as folder:
            return load(folder, TARGETS, Targets) if TARGETS in folder.names() else None
    except OSError:
        return None
