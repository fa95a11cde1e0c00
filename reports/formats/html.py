"""`index.html`: the run as one page, without network or server.

Overview, findings and matrix are HTML. The scenarios, often thousands, are compact JSON that the page's script shows as a paged
table. The page's content security policy admits only its own style and script, by their digests. Text from the system under
test passes through `visible` and is then escaped.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from crashmatrix.reports.findings import finding_id, finding_ids, group
from crashmatrix.reports.formats.matrix import heat_map, method_table
from crashmatrix.reports.formats.text import visible
from crashmatrix.reports.headline import headline
from crashmatrix.reports.result import Finding, RunSummary, ScenarioResult
from crashmatrix.reports.verdict import Verdict

if TYPE_CHECKING:
    from crashmatrix.reports.several.targets import Targets

__all__ = ["render", "render_targets"]

_TEMPLATES = Path(__file__).parent / "templates"
_ID = "\0"
"""Stands for the scenario's id in a replay command; visible text never contains it."""
_STATE_LENGTH = 16
_EVENTS_MAX = 400


def render(summary: RunSummary, results: list[ScenarioResult]) -> str:
    """Return the page."""
    style, script = (_asset(name) for name in ("report.css", "report.js"))
    groups = group(results, summary.findings)
    return (
        _environment()
        .get_template("index.html")
        .render(
            policy=f"default-src 'none'; style-src '{_digest(style)}'; script-src '{_digest(script)}'; "
            "img-src data:; base-uri 'none'; form-action 'none'",
            style=style,
            script=script,
            data=_json(_scenarios(results, summary.findings)),
            summary=summary,
            headline=headline(summary),
            groups=groups,
            broken=sum(result.verdict.broken for result in results),
            unknown=sum(not result.verdict.broken and result.verdict is not Verdict.SAFE for result in results),
            maps=[heat_map(name, results) for name in summary.experiments],
            tables={
                name: method_table(name, results) for name, part in summary.experiments.items() if part.labels.methods
            },
            verdicts=[verdict for verdict in Verdict if any(result.verdict is verdict for result in results)],
        )
    )


def render_targets(targets: Targets) -> str:
    """Return the page of a run of several targets: a line for each, with a link to its report."""
    style = _asset("report.css")
    return (
        _environment()
        .get_template("targets.html")
        .render(
            policy=f"default-src 'none'; style-src '{_digest(style)}'; img-src data:; base-uri 'none'; form-action 'none'",
            style=style,
            targets=targets,
        )
    )


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=lambda value: visible(value) if isinstance(value, str) and not isinstance(value, Markup) else value,
    )
    environment.filters.update(kind=_kind, words=_words, number=_number, events=_events)
    return environment


@cache
def _asset(name: str) -> Markup:
    return Markup((_TEMPLATES / name).read_text(encoding="utf-8"))  # noqa: S704  # our own style and script


def _digest(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


def _json(value: Any) -> Markup:
    """Return JSON that cannot end the element around it."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    text = text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")
    return Markup(text)  # noqa: S704  # what would end the script element has just been escaped


class _Index:
    """Numbers each distinct text."""

    def __init__(self) -> None:
        self.numbers: dict[str, int] = {}

    def __call__(self, text: str) -> int:
        return self.numbers.setdefault(text, len(self.numbers))


def _scenarios(results: list[ScenarioResult], known: Sequence[Finding]) -> dict[str, Any]:
    """Return the results as rows of numbers, and the texts they stand for; `report.js` names the columns in this order."""
    texts = {name: _Index() for name in ("experiment", "point", "method", "explanation", "finding", "replay", "state")}
    rank, ids = list(Verdict).index, finding_ids(known)
    rows = [
        [
            visible(result.id),
            texts["experiment"](visible(result.experiment)),
            texts["point"](visible(result.point)),
            result.hit,
            result.depth,
            texts["method"](visible(result.method)),
            rank(result.verdict),
            texts["explanation"](visible(result.explanation)),
            texts["finding"](_finding(result, ids)),
            "" if result.fault and result.id.endswith(result.fault) else visible(result.fault),
            texts["state"](visible(result.state[:_STATE_LENGTH])),
            texts["replay"](_template(result)),
        ]
        for result in results
    ]
    verdicts = [[verdict.value, _kind(verdict), verdict.meaning] for verdict in Verdict]
    return {"verdicts": verdicts, **{name: list(index.numbers) for name, index in texts.items()}, "rows": rows}


def _finding(result: ScenarioResult, ids: dict[str, str]) -> str:
    """Return the id of the finding that a result shows; empty if it is safe."""
    name = finding_id(result) if result.verdict is not Verdict.SAFE else ""
    return visible(ids.get(name, name))


def _template(result: ScenarioResult) -> str:
    """Return the replay command with a mark in place of the id: most scenarios share it."""
    name, command = visible(result.id), visible(result.replay)
    return command.replace(name, _ID) if name else command


def _kind(verdict: Verdict) -> str:
    return "broken" if verdict.broken else "safe" if verdict is Verdict.SAFE else "unknown"


def _words(name: str) -> str:
    """Return a field's name in words."""
    return name.replace("_", " ")


def _number(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:,.1f}"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)


def _events(finding: Finding) -> list[Any]:
    """Return the timeline's events: the last ones of a long timeline, around the crash."""
    return list(finding.timeline[-_EVENTS_MAX:])
