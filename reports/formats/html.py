"""`index.html`: the run as one page that needs nothing else, neither network nor server.

Overview, findings and matrix are in the page as HTML; the scenarios, thousands of them, as compact JSON that the page's
script shows in pages of a table. The page's content security policy admits its own style and script, by their digests, and
nothing else. Whatever comes from the system under test passes through `visible` and is then escaped.
"""

from __future__ import annotations

import base64
import hashlib
import json
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from crashmatrix.reports.findings import finding_id, group
from crashmatrix.reports.formats.matrix import heat_map
from crashmatrix.reports.formats.text import visible
from crashmatrix.reports.headline import headline
from crashmatrix.reports.result import Finding, RunSummary, ScenarioResult, Verdict

__all__ = ["render"]

_TEMPLATES = Path(__file__).parent / "templates"
_ID = "\0"
"""Stands for the scenario's id in a replay command; no visible text holds it."""
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
            data=_json(_scenarios(results)),
            summary=summary,
            headline=headline(summary),
            groups=groups,
            broken=sum(result.verdict.broken for result in results),
            unknown=sum(not result.verdict.broken and result.verdict is not Verdict.SAFE for result in results),
            maps=[heat_map(name, results) for name in summary.experiments],
            verdicts=[verdict for verdict in Verdict if any(result.verdict is verdict for result in results)],
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
    """JSON that cannot end the element it stands in."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    text = text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")
    return Markup(text)  # noqa: S704  # what would end the script element has just been escaped


class _Index:
    """Gives each distinct text a number."""

    def __init__(self) -> None:
        self.numbers: dict[str, int] = {}

    def __call__(self, text: str) -> int:
        return self.numbers.setdefault(text, len(self.numbers))


def _scenarios(results: list[ScenarioResult]) -> dict[str, Any]:
    """The results as rows of numbers and the texts they stand for; `report.js` names the columns in the same order."""
    texts = {name: _Index() for name in ("experiment", "point", "method", "explanation", "finding", "replay", "state")}
    rank = list(Verdict).index
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
            texts["finding"](visible(finding_id(result)) if result.verdict is not Verdict.SAFE else ""),
            "" if result.fault and result.id.endswith(result.fault) else visible(result.fault),
            texts["state"](visible(result.state[:_STATE_LENGTH])),
            texts["replay"](_template(result)),
        ]
        for result in results
    ]
    verdicts = [[verdict.value, _kind(verdict), verdict.meaning] for verdict in Verdict]
    return {"verdicts": verdicts, **{name: list(index.numbers) for name, index in texts.items()}, "rows": rows}


def _template(result: ScenarioResult) -> str:
    """The replay command with a mark for the id, which most scenarios then share."""
    name, command = visible(result.id), visible(result.replay)
    return command.replace(name, _ID) if name else command


def _kind(verdict: Verdict) -> str:
    return "broken" if verdict.broken else "safe" if verdict is Verdict.SAFE else "unknown"


def _words(name: str) -> str:
    """A field's name as one would say it."""
    return name.replace("_", " ")


def _number(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:,.1f}"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)


def _events(finding: Finding) -> list[Any]:
    """The timeline's events; of a long one the last, which lead to the crash and come after it."""
    return list(finding.timeline[-_EVENTS_MAX:])
