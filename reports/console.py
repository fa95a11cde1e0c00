"""What a run looks like in a terminal: a progress bar, the matrix failpoint x outcome, findings, one line of verdict.

Plain text without colours when the output is no terminal or NO_COLOR is set (rich sees to both).
"""

from __future__ import annotations

from collections import Counter, defaultdict
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from reports.result import RunSummary, ScenarioResult, Verdict

__all__ = ["FINDINGS_MAX", "matrix", "progress", "show_run"]

FINDINGS_MAX = 5
"""How many findings the terminal shows in full; the report directory has them all."""

_STYLE = {Verdict.SAFE: "green", Verdict.UNKNOWN: "yellow"}


def progress(console: Console) -> Progress:
    """Return the live bar; in a pipe it stays silent."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )


def matrix(results: list[ScenarioResult]) -> Table:
    """Return the table failpoint x verdict, a count in each cell; crashes during recovery count at their last failpoint."""
    counts: dict[str, Counter[Verdict]] = defaultdict(Counter)
    for result in results:
        counts[result.point][result.verdict] += 1
    present = [verdict for verdict in Verdict if any(verdict in row for row in counts.values())]
    table = Table(box=None, padding=(0, 2, 0, 0))
    table.add_column("failpoint", no_wrap=True)
    for verdict in present:
        table.add_column(verdict.value, justify="right", style=_STYLE.get(verdict, "bold red"))
    for point in sorted(counts):
        table.add_row(escape(point), *(str(counts[point][verdict] or "") for verdict in present))
    return table


def show_run(console: Console, summary: RunSummary, results: list[ScenarioResult], directory: Path) -> None:
    """Print the whole account of a run, the verdict last."""
    for name in summary.experiments:
        console.print(matrix([result for result in results if result.experiment == name]))
    _show_findings(console, results, directory)
    for name, experiment in summary.experiments.items():
        for note in experiment.details.get("notes", []):
            console.print(f"{name}: {note}", style="dim", markup=False, highlight=False)
    for name, reason in summary.not_run.items():
        console.print(f"{name}: not run: {reason}", style="dim", markup=False, highlight=False)
    _show_verdict(console, summary, directory)


def _show_findings(console: Console, results: list[ScenarioResult], directory: Path) -> None:
    first: dict[tuple[Verdict, str], ScenarioResult] = {}
    for result in results:
        if result.verdict is not Verdict.SAFE:
            first.setdefault((result.verdict, result.explanation), result)
    order = list(Verdict)
    findings = sorted(first.values(), key=lambda result: (-order.index(result.verdict), result.depth))
    for result in findings[:FINDINGS_MAX]:
        console.print()
        console.print(f"{result.verdict}  {result.id}", style=_STYLE.get(result.verdict, "bold red"), markup=False)
        console.print(f"  {result.explanation}", markup=False, highlight=False)
        console.print(f"  again: {result.replay}", markup=False, highlight=False, soft_wrap=True)
    if len(findings) > FINDINGS_MAX:
        console.print(
            f"\n{len(findings) - FINDINGS_MAX} more kinds of finding in {directory}/results.jsonl", markup=False
        )
    if findings:
        console.print()


def _show_verdict(console: Console, summary: RunSummary, directory: Path) -> None:
    scenarios = sum(experiment.scenarios for experiment in summary.experiments.values())
    seconds = sum(experiment.seconds for experiment in summary.experiments.values())
    cut_short = ", interrupted" if summary.interrupted else ""
    verdict = summary.verdict
    style = "bold " + _STYLE.get(verdict, "red")
    line = (
        f"{escape(summary.target)}: [{style}]{verdict}[/]  {scenarios:,} scenarios in {seconds:.1f} s{cut_short}"
        f"  report: {escape(str(directory))}"
    )
    console.print(line, highlight=False, soft_wrap=True)
