"""`summary.md`: the run as GitHub's step summary or a pull request's comment shows it; the verdict first.

GitHub refuses a step summary larger than 1 MiB, so this one stays below that and says what it left out. Names stand in code,
where neither markup nor mentions work. Sentences are prose: `_prose` puts a word in code unless it is a plain word or number.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterator
from html import escape
from itertools import groupby
from typing import TYPE_CHECKING

from crashmatrix.reports.findings import Group, group
from crashmatrix.reports.formats.matrix import method_table
from crashmatrix.reports.formats.text import counted, shortened, visible
from crashmatrix.reports.headline import headline
from crashmatrix.reports.result import Labels, RunSummary, ScenarioResult
from crashmatrix.reports.verdict import Verdict

if TYPE_CHECKING:
    from crashmatrix.reports.several.targets import Targets

__all__ = ["SIZE_BYTES_MAX", "render", "render_targets"]

SIZE_BYTES_MAX = 2**20 - 2**14
"""Size of the document at most, in UTF-8; the rest of GitHub's 1 MiB is for other output of the job step."""

_PARAGRAPH_MAX = 2_000
_PLAIN = re.compile(r"""[("]*(?:[^\W\d_]+(?:['\u2019-][^\W\d_]+)*|\d+(?:,\d{3})*)[.,;:!?)"]*""")
"""Words that mean nothing else in Markdown, to GitHub or in HTML: letters, or a number."""
_LOST_MAX = 20
_POINTS_MAX = 200
_SIGN = {Verdict.SAFE: "✅", Verdict.UNMOUNTABLE: "❔", Verdict.UNKNOWN: "❔"}


def render(summary: RunSummary, results: list[ScenarioResult], *, size_bytes_max: int = SIZE_BYTES_MAX) -> str:
    """Return the document. If it would be too large, the last parts are left out and counted."""
    parts = [*_head(summary), *_gaps(summary)]
    groups = group(results, summary.findings)
    if groups:
        parts.append("## Findings")
    optional = [*(_finding(found) for found in groups), *_coverage(summary), *_matrices(summary, results)]
    room = size_bytes_max - _size(parts) - 200
    for number, part in enumerate(optional):
        room -= _size([part])
        if room < 0:
            left = max(0, len(groups) - number)
            what = f"{left:,} of {len(groups):,} findings, and the tables" if left else "The rest of the tables"
            parts.append(f"*There was no room here: {what} are in `index.html` and `results.jsonl`.*")
            break
        parts.append(part)
    return "\n\n".join(parts) + "\n"


def render_targets(targets: Targets) -> str:
    """Return the document of a run of several targets: a line for each, with the folder of its own report."""
    rows = [
        [
            _code(run.target), f"{_SIGN.get(run.verdict, '❌')} {run.verdict}", f"{run.scenarios:,}", f"{run.findings:,}",
            f"{run.seconds:,.1f} s", _code(f"{run.report}/summary.md") if run.scenarios else _prose(run.headline or "not run"),
        ]
        for run in targets.runs
    ]  # fmt: skip
    head = ["target", "verdict", "scenarios", "findings", "time", "report"]
    return f"# {_SIGN.get(targets.verdict, '❌')} {targets.headline}\n\n{_table(head, rows)}\n"


def _head(summary: RunSummary) -> Iterator[str]:
    verdict = summary.verdict
    yield f"# {_SIGN.get(verdict, '❌')} {_code(summary.target)}: {headline(summary, _code)}"
    shard = f", shard {summary.shard}" if summary.shard else ""
    cut_short = ", interrupted" if summary.interrupted else ""
    yield (
        f"{verdict.meaning} {counted(summary.scenarios, 'scenario')} in {summary.seconds:,.1f} s, seed {summary.seed}"
        f"{shard}{cut_short}."
    )
    if summary.experiments:
        rows = [
            [_code(name), f"{_SIGN.get(part.verdict, '❌')} {part.verdict}", f"{part.scenarios:,}", _counts(part.verdicts),
             f"{part.seconds:,.1f} s"]
            for name, part in summary.experiments.items()
        ]  # fmt: skip
        yield _table(["experiment", "verdict", "scenarios", "of these", "time"], rows)


def _gaps(summary: RunSummary) -> Iterator[str]:
    if summary.gaps:
        yield "## Not run"
        yield "\n".join(f"- {_code(what)}: {_prose(why)}" for what, why in summary.gaps.items())


def _finding(found: Group) -> str:
    finding = found.finding
    points = found.points.most_common(5)
    where = ", ".join(f"{_code(point)} ({count:,})" for point, count in points)
    more = f" and {len(found.points) - 5:,} more" if len(found.points) > 5 else ""
    lost = [f"- {_code(write)}" for write in finding.lost[:_LOST_MAX]]
    if len(finding.lost) > _LOST_MAX:
        lost.append(f"- and {len(finding.lost) - _LOST_MAX:,} more")
    parts = [
        f"### {finding.verdict}: {_prose(finding.cause or finding.title)}",
        f"{counted(finding.count, 'scenario')} of {_code(finding.experiment)}, at {where}{more}.",
        *(_paragraph(shortened(part, _PARAGRAPH_MAX)) for part in finding.explanation),
        *(["Lost:\n\n" + "\n".join(lost)] if lost else []),
        *filter(None, [_suggestion(found)]),
        f"Again:\n\n{_block(finding.replay)}" if finding.replay else "",
    ]
    return "\n\n".join(filter(None, parts))


def _suggestion(found: Group) -> str:
    finding = found.finding
    if not finding.suggestion:
        return ""
    tested = {None: "Not tried.", True: "Tried: with it the promise holds.", False: "Tried: it does not help."}
    return f"Suggestion: {_prose(finding.suggestion)} {tested[finding.tested]}"


def _coverage(summary: RunSummary) -> Iterator[str]:
    notes = [
        f"- {_code(name)}: {_prose(str(note))}"
        for name, part in summary.experiments.items()
        for note in part.details.get("notes", [])
    ]
    versions = ", ".join(f"{_code(name)} {_code(version)}" for name, version in summary.versions.items())
    yield "\n\n".join(["## Coverage", *(["\n".join(notes)] if notes else []), f"With {versions}."])


def _matrices(summary: RunSummary, results: list[ScenarioResult]) -> Iterator[str]:
    """Make a table of points and verdicts for each experiment, the broken points first."""
    for name, part in summary.experiments.items():
        if part.labels.methods:
            yield _methods(name, part.labels, results)
            continue
        counts: dict[str, Counter[Verdict]] = defaultdict(Counter)
        for result in results:
            if result.experiment == name:
                counts[result.point][result.verdict] += 1
        present = [verdict for verdict in Verdict if any(verdict in row for row in counts.values())]
        order = sorted(counts, key=lambda point: (not any(verdict.broken for verdict in counts[point]), point))
        rows = [
            [_code(point), *(f"{counts[point][v]:,}" if counts[point][v] else "" for v in present)] for point in order
        ]
        more = f"\n\n{len(rows) - _POINTS_MAX:,} more points are in `index.html`." if len(rows) > _POINTS_MAX else ""
        table = _table(["point", *(verdict.value for verdict in present)], rows[:_POINTS_MAX])
        title = f"<code>{escape(_line(name))}</code>: {counted(len(rows), 'point')}"
        yield f"<details><summary>{title}</summary>\n\n{table}{more}\n\n</details>"


def _methods(name: str, labels: Labels, results: list[ScenarioResult]) -> str:
    """Make the table of points and methods, with the worst verdict in each cell."""
    found = method_table(name, results)
    rows = [
        [_code(row.point), *(f"{_SIGN.get(cell.worst, '❌')} {cell.short}" if cell.short else "" for cell in row.cells)]
        for row in found.rows
    ]
    more = f"\n\n{len(rows) - _POINTS_MAX:,} more are in `index.html`." if len(rows) > _POINTS_MAX else ""
    head = [_code(f"{labels.point}, {labels.methods}"), *map(_code, found.methods)]
    return f"## {_code(name)}\n\n{_table(head, rows[:_POINTS_MAX])}{more}"


def _counts(verdicts: dict[str, int]) -> str:
    return ", ".join(f"{count:,} {verdict}" for verdict, count in verdicts.items())


def _table(head: list[str], rows: list[list[str]]) -> str:
    align = [":--", *("--:" if name not in ("verdict", "of these", "report") else ":--" for name in head[1:])]
    body = [[cell.replace("|", "\\|") for cell in row] for row in rows]
    return "\n".join(f"| {' | '.join(row)} |" for row in [head, align, *body])


def _line(text: str) -> str:
    return " ".join(visible(text).split())


def _code(text: str) -> str:
    """Return a code span on one line, in which backticks, markup and mentions are text."""
    plain = _line(text)
    fence = "`" * (_longest_run(plain) + 1)
    pad = " " if plain.startswith("`") or plain.endswith("`") or not plain else ""
    return f"{fence}{pad}{plain}{pad}{fence}"


def _prose(text: str) -> str:
    """Return sentences on one line; words that could be markup, a link or a mention are code."""
    words = _line(text).split()
    if not words:
        return ""
    plain = [_PLAIN.fullmatch(word) is not None for word in words]
    plain[0] = plain[0] and not words[0][0].isdigit()  # `1.` would begin a list.
    groups = groupby(zip(words, plain, strict=True), key=lambda pair: pair[1])
    return " ".join(_words(" ".join(word for word, _ in pairs), is_plain) for is_plain, pairs in groups)


def _words(text: str, plain: bool) -> str:
    if plain:
        return text
    body = text.rstrip(".,;:")
    if not body or body.endswith(" "):
        body = text
    return _code(body) + text[len(body) :]


def _paragraph(text: str) -> str:
    """Return a paragraph; several lines, such as a traceback, become a code block."""
    return _block(text) if "\n" in text.strip() else _prose(text)


def _block(text: str) -> str:
    """Return a code block that its text cannot end."""
    fence = "`" * max(3, _longest_run(text) + 1)
    return f"{fence}text\n{visible(text)}\n{fence}"


def _longest_run(text: str) -> int:
    return max((len(run) for run in re.findall("`+", text)), default=0)


def _size(parts: list[str]) -> int:
    return sum(len(part.encode()) + 2 for part in parts)
