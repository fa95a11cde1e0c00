"""`junit.xml`: the run in the format that CI servers show and compare over time.

    <testsuite>   one experiment
    <testcase>    one of its points: a failpoint, a recording. Points keep their names from run to run; scenarios are too many
    <failure>     the contract was broken there: each finding with a count, an explanation, and the command that replays it
    <error>       a scenario there is unknown
    <skipped>     an experiment that was not run, with the reason and the remedy

A reason why the whole run is unknown (an interrupt, a missing shard) is an error in a suite named ``run``. A case's time is the
share of its scenarios in the experiment's time. The file is valid under both schemas in use: the strict one of Ant, and that of
Jenkins.
"""

from __future__ import annotations

from collections import defaultdict
from xml.etree import ElementTree as ET

from crashmatrix.reports.findings import Group, group
from crashmatrix.reports.formats.text import counted, shortened, visible
from crashmatrix.reports.headline import headline
from crashmatrix.reports.result import ExperimentSummary, RunSummary, ScenarioResult
from crashmatrix.reports.verdict import Verdict

__all__ = ["render"]

_EXPLANATION_MAX = 10_000
_IDS_MAX = 20
_UNKNOWN_START = "1970-01-01T00:00:00"


def render(summary: RunSummary, results: list[ScenarioResult]) -> str:
    """Return the document."""
    root = ET.Element("testsuites")
    for name, experiment in summary.experiments.items():
        mine = [result for result in results if result.experiment == name]
        _experiment(root, summary, name, experiment, mine)
    for name, reason in summary.not_run.items():
        kind = "error" if name in summary.lacking else "skipped"
        _case(_suite(root, summary, name, 0.0), summary, name, "not run", 0.0, (kind, f"not run: {reason}", reason))
    _whole(root, summary)
    for number, suite in enumerate(root):
        _close(suite, number)
    ET.indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ET.tostring(root, encoding="unicode") + "\n"


def _experiment(
    root: ET.Element, summary: RunSummary, name: str, experiment: ExperimentSummary, results: list[ScenarioResult]
) -> None:
    suite = _suite(root, summary, name, experiment.seconds)
    points: dict[str, list[ScenarioResult]] = defaultdict(list)
    for result in results:
        points[result.point].append(result)
    for point, found in points.items():
        seconds = experiment.seconds * len(found) / len(results)
        _case(suite, summary, name, point, seconds, _outcome(group(found, summary.findings), len(found)))
    notes = [visible(str(note)) for note in experiment.details.get("notes", [])]
    ET.SubElement(suite, "system-out").text = "\n".join(notes)


def _outcome(groups: list[Group], scenarios: int) -> tuple[str, str, str] | None:
    """Return the child of a case, its message and its text, the worst finding first; None if every scenario was safe."""
    if not groups:
        return None
    worst = groups[0].finding
    bad = sum(len(found.results) for found in groups)
    message = f"{worst.verdict}: {bad:,} of {counted(scenarios, 'scenario')}. {worst.cause or worst.title}"
    return (
        "failure" if worst.verdict.broken else "error",
        message,
        "\n\n".join(_account(found) for found in groups),
    )


def _account(found: Group) -> str:
    finding = found.finding
    ids = [result.id for result in found.results]
    more = [f"and {len(ids) - _IDS_MAX:,} more"] if len(ids) > _IDS_MAX else []
    here = next((result for result in found.results if result.id == finding.example), found.results[0])
    return "\n".join(
        [
            f"{finding.verdict} ({counted(finding.count, 'scenario')}, finding {finding.id})",
            *filter(None, [finding.cause]),
            *(shortened(part, _EXPLANATION_MAX) for part in (finding.explanation or (here.explanation,))),
            f"again: {here.replay}",
            f"scenarios: {', '.join([*ids[:_IDS_MAX], *more])}",
        ]
    )


def _whole(root: ET.Element, summary: RunSummary) -> None:
    """Add what the run as a whole lacks."""
    missing = {what: why for what, why in summary.gaps.items() if what not in summary.not_run}
    if not missing:
        return
    suite = _suite(root, summary, "run", 0.0)
    for what, why in missing.items():
        alone = summary.shard and not summary.interrupted  # A shard of several is not a failure by itself.
        _case(suite, summary, "run", what, 0.0, ("skipped" if alone else "error", why, why))


def _suite(root: ET.Element, summary: RunSummary, name: str, seconds: float) -> ET.Element:
    package = _line(f"crashmatrix.{summary.target}")
    suite = ET.SubElement(
        root, "testsuite", name=_line(name) or "-", package=package, timestamp=summary.started or _UNKNOWN_START,
        hostname="localhost", time=f"{seconds:.3f}",
    )  # fmt: skip
    verdict = summary.experiments[name].verdict if name in summary.experiments else headline(summary, reasons=True)
    facts = {"seed": summary.seed, "verdict": verdict, **summary.versions}
    properties = ET.SubElement(suite, "properties")
    for key, value in facts.items():
        ET.SubElement(properties, "property", name=_line(key) or "-", value=visible(str(value)))
    return suite


def _case(
    suite: ET.Element,
    summary: RunSummary,
    experiment: str,
    point: str,
    seconds: float,
    outcome: tuple[str, str, str] | None,
) -> None:
    classname = _line(f"crashmatrix.{summary.target}.{experiment}")
    case = ET.SubElement(suite, "testcase", name=_line(point) or "-", classname=classname, time=f"{seconds:.3f}")
    if outcome is not None:
        kind, message, text = outcome
        child = ET.SubElement(case, kind, message=_line(message))
        if kind != "skipped":
            child.set("type", message.partition(":")[0] if kind == "failure" else Verdict.UNKNOWN.value)
        child.text = visible(text)


def _close(suite: ET.Element, number: int) -> None:
    """Number a suite, count its cases, and add the elements that the strict schema requires at its end."""
    suite.set("id", str(number))
    suite.set("tests", str(len(suite.findall("testcase"))))
    for name, kind in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
        suite.set(name, str(len(suite.findall(f"testcase/{kind}"))))
    for name in ("system-out", "system-err"):
        if suite.find(name) is None:
            ET.SubElement(suite, name).text = ""


def _line(text: str) -> str:
    """Return text on one line: attributes cannot hold line ends."""
    return " ".join(visible(text).split())
