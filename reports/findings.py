"""Groups failing scenarios, often hundreds, into findings: a pure function of the stored results.

Scenarios with the same experiment, verdict and cause are one finding. Without a known cause, they are grouped by their
explanation, without the parts that differ between scenarios: numbers, digests, quoted names, random names, names of writers. An
experiment may have shown that two kinds are one bug (`Finding.also`): they are one finding then.
"""

from __future__ import annotations

import hashlib
import re
import shlex
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from crashmatrix.reports.result import Finding, RunSummary, ScenarioResult
from crashmatrix.reports.temporary_names import as_pattern
from crashmatrix.reports.verdict import Verdict

__all__ = ["Group", "better", "finding_id", "finding_ids", "group", "moved", "moved_command", "normalised"]

_VARYING = re.compile(
    r"""
      "(?:[^"\\\n]|\\.)*" | (?<!\w)'(?:[^'\\\n]|\\.)*'(?!\w)     # quoted: items, file names; no apostrophes
    | (?<![^\W_]) (?=[0-9a-f]*\d) [0-9a-f]{8} [0-9a-f-]* (?![^\W_])   # digests, UUIDs
    | -? \d+ (?:[.,]\d+)*                           # numbers
    """,
    re.VERBOSE,
)
_WRITER = re.compile(r" \(by (?:[^\s()]|\([^\s()]*\))+\)")
_LIST = re.compile(r"[\[{]#[\]}]|#(?:, ?| and |: )#(?: more)?")


@dataclass(frozen=True)
class Group:
    """A finding, and the scenarios that show it in the order of the results."""

    finding: Finding
    results: list[ScenarioResult]

    @property
    def points(self) -> Counter[str]:
        """The points at which it shows, with the number of scenarios at each."""
        return Counter(result.point for result in self.results)


def normalised(explanation: str) -> str:
    """Return an explanation without what differs between scenarios of the same kind."""
    text, before = _VARYING.sub("#", as_pattern(_WRITER.sub("", explanation))), ""
    while text != before:  # from the inside out: [#, #] is as good as #
        text, before = _LIST.sub("#", text), text
    return text


def finding_id(result: ScenarioResult) -> str:
    """Return the id of the finding a scenario belongs to: the same in every run."""
    cause = result.cause or normalised(result.explanation)
    digest = hashlib.sha256(cause.encode("utf-8", "surrogatepass")).hexdigest()[:8]
    return f"{result.experiment}-{result.verdict}-{digest}"


def finding_ids(known: Iterable[Finding]) -> dict[str, str]:
    """Return the finding that another kind was shown to be, by their ids: ``ids.get(name, name)`` is the id to show."""
    return {also: finding.id for finding in known for also in finding.also}


def group(results: Iterable[ScenarioResult], known: Iterable[Finding] = ()) -> list[Group]:
    """Group all results that are not safe: worst verdict first, then those that one crash shows, the most frequent, the first.

    Args:
        known: explained findings (`RunSummary.findings`); they replace those made here, except for the count.
    """
    members: dict[str, list[ScenarioResult]] = {}
    explained: dict[str, Finding] = {}
    for finding in known:
        explained[finding.id] = better(explained.get(finding.id, finding), finding)
    ids = finding_ids(explained.values())
    for result in results:
        if result.verdict is not Verdict.SAFE:
            name = finding_id(result)
            members.setdefault(ids.get(name, name), []).append(result)
    groups = [
        Group(replace(explained.get(name) or _plain(name, found), count=len(found)), found)
        for name, found in members.items()
    ]
    rank = list(Verdict).index

    def order(group: Group) -> tuple[int, bool, int]:
        several = min(result.depth for result in group.results) > 0
        return -rank(group.finding.verdict), several, -group.finding.count

    return sorted(groups, key=order)


def better(one: Finding, other: Finding) -> Finding:
    """Return the finding that explains more; the first if both explain the same. A kind seen twice may have two findings."""
    return max(
        one, other, key=lambda finding: (finding.tested is True, bool(finding.timeline), len(finding.explanation))
    )


def _plain(name: str, found: list[ScenarioResult]) -> Finding:
    """Return a finding made from the results alone: the simplest scenario and its own explanation."""
    example = min(found, key=lambda result: result.depth)
    return Finding(
        id=name,
        experiment=example.experiment,
        verdict=example.verdict,
        title=example.verdict.meaning,
        count=len(found),
        example=example.id,
        cause=example.cause,
        explanation=tuple(filter(None, [example.explanation])),
        replay=example.replay,
    )


def moved(
    summary: RunSummary, results: Iterable[ScenarioResult], directory: Path
) -> tuple[RunSummary, list[ScenarioResult]]:
    """Return a report with commands that name the directory in which it is now, as the reader names it."""
    findings = [replace(each, replay=moved_command(each.replay, directory)) for each in summary.findings]
    here = [replace(result, replay=moved_command(result.replay, directory)) for result in results]
    return replace(summary, findings=findings), here


def moved_command(command: str, directory: Path) -> str:
    """Return a replay command with another report directory."""
    start, option, _ = command.rpartition(" --report ")
    return f"{start}{option}{shlex.quote(str(directory))}" if option else command
