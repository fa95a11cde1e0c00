"""The commands that work on reports and run nothing: ``crashmatrix report | diff | merge``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from crashmatrix.reports import read_report, render
from crashmatrix.reports.diff import compare
from crashmatrix.reports.findings import moved
from crashmatrix.reports.formats.console import show_difference, show_run, show_targets
from crashmatrix.reports.formats.text import visible
from crashmatrix.reports.merge import merge_directories
from crashmatrix.reports.several.pages import read_targets

__all__ = ["app"]

app = typer.Typer()
_out = Console(soft_wrap=False)


@app.command(short_help="Show a report again, and write its pages again.")
def report(directory: Annotated[Path, typer.Argument(metavar="DIR")] = Path("crashmatrix-report")) -> None:
    """Show a report again, and write its pages again from the stored results; of several targets, show the verdicts."""
    if (targets := read_targets(directory)) is not None:
        show_targets(_out, targets, directory)
        raise typer.Exit(targets.verdict.exit_status)
    summary, results = moved(*read_report(directory), directory)
    show_run(_out, summary, results, directory)
    render(directory, summary, results)
    raise typer.Exit(summary.verdict.exit_status)


@app.command(short_help="Compare two reports.")
def diff(
    old: Annotated[Path, typer.Argument(metavar="OLD", help="A report directory.")],
    new: Annotated[Path, typer.Argument(metavar="NEW", help="A later report of the same target.")],
) -> None:
    """Compare two reports. Exit status 1: something is newly broken, or no longer tested."""
    difference = compare(moved(*read_report(old), old), moved(*read_report(new), new))
    show_difference(_out, difference)
    raise typer.Exit(difference.exit_status)


@app.command(short_help="Combine the reports of shards.")
def merge(
    out: Annotated[Path, typer.Argument(metavar="OUT", help="Report directory to make.")],
    directories: Annotated[list[Path], typer.Argument(metavar="DIR...", help="The shards' report directories.")],
) -> None:
    """Combine the reports of a run's shards into one. A missing shard makes the verdict unknown."""
    merged = merge_directories(out, directories)
    for reason in merged.unreadable.values():
        line = " ".join(visible(reason).split())
        print(f"crashmatrix: not merged: {line}", file=sys.stderr)  # noqa: T201  # as every other complaint
    show_run(_out, merged.summary, merged.results, out)
    raise typer.Exit(merged.summary.verdict.exit_status)
