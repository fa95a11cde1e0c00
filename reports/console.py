"""What a run looks like in a terminal: a progress bar, the matrix failpoint x outcome, findings, one line of verdict.

Plain text without colours when the output is no terminal or NO_COLOR is set (rich sees to both).
"""

from __future__ import annotations

from collections import Counter, defaultdict
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from reports.result import RunSummary, ScenarioResult, Verdict

__all__ = ["FINDINGS_MAX", "matrix", "progress", "show_run"]

FINDINGS_MAX = 5
"""How many findings the terminal shows in full; the report directory has them all."""

_POINTS = {"power": "recording"}
"""What an experiment's points are called, where they are no failpoints."""

_STYLE = {Verdict.SAFE: "green", Verdict.UNMOUNTABLE: "yellow", Verdict.UNKNOWN: "yellow"}


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


def matrix(results: list[ScenarioResult], *, points: str = "failpoint") -> Table:
    """Return the table failpoint x verdict, a count in each cell; crashes during recovery count at their last failpoint."""
    counts: dict[str, Counter[Verdict]] = defaultdict(Counter)
    for result in results:
        counts[result.point][result.verdict] += 1
    present = [verdict for verdict in Verdict if any(verdict in row for row in counts.values())]
    table = Table(box=None, padding=(0, 2, 0, 0))
    table.add_column(points, no_wrap=True)
    for verdict in present:
        table.add_column(verdict.value, justify="right", style=_STYLE.get(verdict, "bold red"))
    for point in sorted(counts):
        table.add_row(_plain(point), *(str(counts[point][verdict] or "") for verdict in present))
    return table


def show_run(console: Console, summary: RunSummary, results: list[ScenarioResult], directory: Path) -> None:
    """Print the whole account of a run, the verdict last."""
    for name in summary.experiments:
        console.print(
            matrix([result for result in results if result.experiment == name], points=_POINTS.get(name, "failpoint"))
        )
    _show_findings(console, results, directory)
    for name, experiment in summary.experiments.items():
        for note in experiment.details.get("notes", []):
            console.print(_plain(f"{name}: {note}", "dim"))
    for name, reason in summary.not_run.items():
        console.print(_plain(f"{name}: not run: {reason}", "dim"))
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
        console.print(_plain(f"{result.verdict}  {result.id}", _STYLE.get(result.verdict, "bold red")))
        for line in result.explanation.splitlines():
            console.print(_plain(f"  {line}"))
        console.print(_plain(f"  again: {result.replay}"), soft_wrap=True)
    if len(findings) > FINDINGS_MAX:
        more = len(findings) - FINDINGS_MAX
        console.print()
        console.print(_plain(f"{more} more kinds of finding in {directory}/results.jsonl"), soft_wrap=True)
    if findings:
        console.print()


def _show_verdict(console: Console, summary: RunSummary, directory: Path) -> None:
    scenarios = sum(experiment.scenarios for experiment in summary.experiments.values())
    seconds = sum(experiment.seconds for experiment in summary.experiments.values())
    cut_short = ", interrupted" if summary.interrupted else ""
    verdict = summary.verdict
    line = Text.assemble(
        _plain(f"{summary.target}: "),
        (verdict.value, "bold " + _STYLE.get(verdict, "red")),
        f"  {scenarios:,} scenarios in {seconds:.1f} s{cut_short}",
        _plain(f"  report: {directory}"),
    )
    console.print(line, soft_wrap=True)


def _plain(text: str, style: str = "") -> Text:
    """Return text that is shown as it is: no markup, no emoji, and nothing in it that would move the cursor."""
    return Text("".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text), style)
