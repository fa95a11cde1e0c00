"""The commands that work on reports and run nothing: ``crashmatrix report``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from reports import read_report, render
from reports.console import show_run

__all__ = ["app"]

app = typer.Typer()
_out = Console(soft_wrap=False)


@app.command()
def report(directory: Annotated[Path, typer.Argument(metavar="DIR")] = Path("crashmatrix-report")) -> None:
    """Show a report again, and write its pages again from the stored results."""
    summary, results = read_report(directory)
    show_run(_out, summary, results, directory)
    render(directory, summary, results)
    raise typer.Exit(summary.verdict.exit_status)
