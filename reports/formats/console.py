"""A run in a terminal: a progress bar, the matrix of points and verdicts, findings, the verdict in one line.

The text has no colours when the output is not a terminal or NO_COLOR is set (rich takes care of both).
"""

from __future__ import annotations

from collections import Counter, defaultdict
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from crashmatrix.reports.diff import Difference
from crashmatrix.reports.findings import group
from crashmatrix.reports.formats.matrix import MethodTable, method_table
from crashmatrix.reports.formats.text import counted, visible
from crashmatrix.reports.headline import headline
from crashmatrix.reports.result import RunSummary, ScenarioResult
from crashmatrix.reports.verdict import Verdict

if TYPE_CHECKING:
    from crashmatrix.reports.several.targets import Targets

__all__ = [
    "FINDINGS_MAX",
    "matrix",
    "methods",
    "progress",
    "show_difference",
    "show_run",
    "show_target",
    "show_targets",
]

FINDINGS_MAX = 5
"""How many findings the terminal shows in full; the report directory has all of them."""

_STYLE = {Verdict.SAFE: "green", Verdict.UNMOUNTABLE: "yellow", Verdict.UNKNOWN: "yellow"}


def progress(console: Console) -> Progress:
    """Return the progress bar; in a pipe it prints nothing."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )


def matrix(results: list[ScenarioResult], *, points: str = "failpoint") -> Table:
    """Return the table of points and verdicts, a count in each cell. A crash during recovery counts at its last point."""
    counts: dict[str, Counter[Verdict]] = defaultdict(Counter)
    for result in results:
        counts[result.point][result.verdict] += 1
    present = [verdict for verdict in Verdict if any(verdict in row for row in counts.values())]
    table = Table(box=None, padding=(0, 2, 0, 0))
    table.add_column(_plain(points), no_wrap=True)
    for verdict in present:
        table.add_column(verdict.value, justify="right", style=_STYLE.get(verdict, "bold red"))
    for point in sorted(counts):
        table.add_row(_plain(point), *(str(counts[point][verdict] or "") for verdict in present))
    return table


def methods(results: list[ScenarioResult], *, points: str, method: str) -> Table:
    """Return the table of points and methods, with the worst verdict in each cell: the faults and endings of failing calls."""
    found = method_table(results[0].experiment, results) if results else MethodTable([], [])
    table = Table(box=None, padding=(0, 1, 0, 0))
    table.add_column(_plain(f"{points}, {method}"))
    for name in found.methods:
        table.add_column(Text("-\n").join(map(_plain, name.split("-"))), no_wrap=True)
    for row in found.rows:
        cells = [_plain(cell.short, _STYLE.get(cell.worst, "bold red") if cell.scenarios else "") for cell in row.cells]
        table.add_row(_plain(row.point), *cells)
    return table


def show_run(console: Console, summary: RunSummary, results: list[ScenarioResult], directory: Path) -> None:
    """Print a run: the matrices, the findings, the notes, and the verdict last."""
    for name, experiment in summary.experiments.items():
        mine = [result for result in results if result.experiment == name]
        labels = experiment.labels
        if labels.methods:
            console.print(methods(mine, points=labels.point, method=labels.methods))
        else:
            console.print(matrix(mine, points=labels.point))
    _show_findings(console, summary, results, directory)
    for name, experiment in summary.experiments.items():
        for note in experiment.details.get("notes", []):
            console.print(_plain(f"{name}: {note}", "dim"))
    for name, reason in summary.gaps.items():
        if name in summary.not_run:
            continue  # The verdict line says so.
        console.print(_plain(f"{name}: not run: {reason}", "dim"))
    _show_verdict(console, summary, directory)


def show_target(console: Console, summary: RunSummary, results: list[ScenarioResult], directory: Path) -> None:
    """Print a run that is one of several: the findings, and the verdict last."""
    _show_findings(console, summary, results, directory)
    _show_verdict(console, summary, directory)


def show_targets(console: Console, targets: Targets, directory: Path) -> None:
    """Print several targets with their verdicts, what was not run, and all verdicts in one line last."""
    table = Table(box=None, padding=(0, 2, 0, 0))
    table.add_column("target")
    table.add_column("verdict")
    for name in ("scenarios", "findings", "seconds"):
        table.add_column(name, justify="right")
    for run in targets.runs:
        shown = Text(run.verdict.value, _STYLE.get(run.verdict, "bold red"))
        counts = (f"{run.scenarios:,}", f"{run.findings:,}", f"{run.seconds:,.1f}") if run.scenarios else ("", "", "")
        table.add_row(_plain(run.target), shown, *counts)
    console.print()
    console.print(table)
    for run in targets.runs:
        if not run.scenarios:
            console.print(_plain(f"{run.target}: {run.headline or 'not run'}"), soft_wrap=True)
    console.print()
    line = Text.assemble(_verdict_first(targets.verdict, targets.headline), _plain(f"  reports: {directory}"))
    console.print(line, soft_wrap=True)


def show_difference(console: Console, difference: Difference) -> None:
    """Print the changes between two reports, the worst last."""
    for title, groups, style in (
        ("newly fixed", difference.newly_fixed, "green"),
        ("newly broken", difference.newly_broken, "bold red"),
    ):
        for finding, points in ((found.finding, found.points) for found in groups):
            where = ", ".join(sorted(points)[:3]) + (f" and {len(points) - 3} more" if len(points) > 3 else "")
            console.print(_plain(f"{title}: {finding.verdict}  {finding.count:,} at {where}", style), soft_wrap=True)
            console.print(
                _plain(f"  {finding.cause or next(iter(finding.explanation), finding.title)}"), soft_wrap=True
            )
            console.print(_plain(f"  again: {finding.replay}"), soft_wrap=True)
    for title, lines, style in (
        ("coverage gained", difference.coverage_gained, ""),
        ("coverage lost", difference.coverage_lost, "yellow"),
    ):
        for line in lines:
            console.print(_plain(f"{title}: {line}", style), soft_wrap=True)
    broken, fixed = (
        sum(found.finding.count for found in part) for part in (difference.newly_broken, difference.newly_fixed)
    )
    console.print(
        f"{broken:,} newly broken, {fixed:,} newly fixed, {difference.still_broken:,} still broken", highlight=False
    )


def _show_findings(console: Console, summary: RunSummary, results: list[ScenarioResult], directory: Path) -> None:
    groups = group(results, summary.findings)
    for finding in (found.finding for found in groups[:FINDINGS_MAX]):
        console.print()
        console.print(_plain(f"{finding.verdict}  {finding.example}", _STYLE.get(finding.verdict, "bold red")))
        for line in filter(None, [finding.cause, *"\n".join(finding.explanation).splitlines(), finding.suggestion]):
            console.print(_plain(f"  {line}"))
        if finding.count > 1:
            console.print(_plain(f"  {counted(finding.count, 'scenario')} show it", "dim"))
        console.print(_plain(f"  again: {finding.replay}"), soft_wrap=True)
    if len(groups) > FINDINGS_MAX:
        more = len(groups) - FINDINGS_MAX
        console.print()
        console.print(_plain(f"{counted(more, 'more kind')} of finding in {directory}/index.html"), soft_wrap=True)
    if groups:
        console.print()


def _show_verdict(console: Console, summary: RunSummary, directory: Path) -> None:
    cut_short = ", interrupted" if summary.interrupted else ""
    line = Text.assemble(
        _plain(f"{summary.target}: "),
        _verdict_first(summary.verdict, headline(summary, reasons=True)),
        f"  {counted(summary.scenarios, 'scenario')} in {summary.seconds:.1f} s{cut_short}",
        _plain(f"  report: {directory}"),
    )
    console.print(line, soft_wrap=True)


def _verdict_first(verdict: Verdict, text: str) -> Text:
    """Return a line that begins with a verdict, which stands out."""
    return Text.assemble(
        (verdict.value, "bold " + _STYLE.get(verdict, "red")), _plain(text.removeprefix(verdict.value))
    )


def _plain(text: str, style: str = "") -> Text:
    """Return text on one line that is shown as it is: without markup, emoji or control characters."""
    return Text(visible(text).replace("\n", "\\n"), style)
