"""Two reports of one target compared: newly broken, newly fixed, coverage lost.

Scenarios are matched by id where an id means the same crash in both runs (`Labels.repeatable`). Ids of recorded crash states do
not, because traces differ from run to run. For these, and for scenarios that only one run has, a violation is new if its finding
was not seen at that point.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from crashmatrix.reports.findings import Group, finding_id, group
from crashmatrix.reports.formats.text import counted
from crashmatrix.reports.result import RunSummary, ScenarioResult
from crashmatrix.reports.store import ReportError
from crashmatrix.reports.verdict import Verdict

__all__ = ["Difference", "compare"]

_NAMED_MAX = 5

Report = tuple[RunSummary, list[ScenarioResult]]
Place = tuple[str, str]
"""Experiment and point."""


@dataclass(frozen=True)
class Difference:
    """The changes. Findings hold only the scenarios that changed."""

    newly_broken: list[Group]
    newly_fixed: list[Group]
    still_broken: int
    """How many scenarios of the new report are broken, but not newly."""
    coverage_lost: list[str]
    coverage_gained: list[str]

    @property
    def exit_status(self) -> int:
        """1 if something is newly broken or no longer tested. Scenarios that were already broken do not count."""
        return 1 if self.newly_broken or self.coverage_lost else 0


def compare(old: Report, new: Report) -> Difference:
    """Compare two reports. Raises ReportError if they are of different targets."""
    if old[0].target != new[0].target:
        raise ReportError(
            f"reports of different targets: {old[0].target} and {new[0].target}; compare runs of one target"
        )
    before, after = _Side(*old), _Side(*new)
    newly = [result for result in after.broken if before.is_new(result, after)]
    fixed = [result for result in before.broken if after.shows_fixed(result, before)]
    return Difference(
        newly_broken=group(newly, new[0].findings),
        newly_fixed=group(fixed, old[0].findings),
        still_broken=len(after.broken) - len(newly),
        coverage_lost=[*_lost(before, after), *_no_longer_known(before, after), *_cut_short(before, after)],
        coverage_gained=list(_lost(after, before)),
    )


class _Side:
    """A report, indexed for comparison."""

    def __init__(self, summary: RunSummary, results: list[ScenarioResult]) -> None:
        self.summary, self.results = summary, results
        self.broken = [result for result in results if result.verdict.broken]
        self.by_id = {result.id: result for result in results if self._repeatable(result.experiment)}
        self.shown = {(self.place(result), finding_id(result)) for result in self.broken}
        self.places = {self.place(result) for result in results}

    def _repeatable(self, experiment: str) -> bool:
        part = self.summary.experiments.get(experiment)
        return part is not None and part.labels.repeatable

    def place(self, result: ScenarioResult) -> Place:
        """The place where a scenario crashed, without the seed in a recording's name."""
        return result.experiment, result.point.removesuffix(f"~{self.summary.seed}")

    def is_new(self, result: ScenarioResult, its: _Side) -> bool:
        """Whether a result of the newer report shows a violation that this older report does not have."""
        if result.id in self.by_id and result.id in its.by_id:
            return not self.by_id[result.id].verdict.broken
        return (its.place(result), finding_id(result)) not in self.shown

    def shows_fixed(self, result: ScenarioResult, its: _Side) -> bool:
        """Whether this newer report shows that a violation of the older report is gone."""
        if result.id in self.by_id and result.id in its.by_id:
            return self.by_id[result.id].verdict is Verdict.SAFE
        place = its.place(result)
        return place in self.places and (place, finding_id(result)) not in self.shown


def _lost(before: _Side, after: _Side) -> Iterable[str]:
    """Everything that only the first report ran: experiments, filesystems, points, scenarios."""
    for name in before.summary.experiments:
        if name not in after.summary.experiments:
            reason = after.summary.not_run.get(name)
            yield f"experiment {name}{f': {reason}' if reason else ''}"
            continue
        gone = _filesystems(before, name) - _filesystems(after, name)
        yield from (f"{name}: filesystem {filesystem}" for filesystem in sorted(gone))
        points = {point for experiment, point in before.places - after.places if experiment == name}
        if points:
            yield f"{name}: {_some('point', sorted(points))}"
        if before.summary.seed == after.summary.seed:  # Another seed draws other scenarios.
            scenarios = [
                result.id
                for result in before.by_id.values()
                if result.experiment == name
                and result.depth == 0  # The points of a recovery depend on the folder that it recovers.
                and result.id not in after.by_id
                and before.place(result) in after.places
            ]
            if scenarios:
                yield f"{name}: {_some('scenario', scenarios)}"


def _no_longer_known(before: _Side, after: _Side) -> Iterable[str]:
    unknown = (Verdict.UNKNOWN, Verdict.UNMOUNTABLE)
    ids = [
        name
        for name, result in after.by_id.items()
        if result.verdict in unknown and name in before.by_id and before.by_id[name].verdict not in unknown
    ]
    if ids:
        yield f"now unknown: {_some('scenario', ids)}"
    for name, part in after.summary.experiments.items():
        was = before.summary.experiments.get(name)
        if not ids and part.verdict in unknown and was is not None and was.verdict not in unknown:
            yield f"{name}: now unknown as a whole"


def _cut_short(before: _Side, after: _Side) -> Iterable[str]:
    if after.summary.interrupted and not before.summary.interrupted:
        yield "the run was interrupted"
    for shard in sorted(set(after.summary.missing_shards) - set(before.summary.missing_shards)):
        yield f"shard {shard} is missing"


def _filesystems(side: _Side, name: str) -> set[str]:
    recordings = side.summary.experiments[name].details.get("recordings", [])
    return {recording["filesystem"] for recording in recordings if "filesystem" in recording}


def _some(what: str, names: list[str]) -> str:
    more = f" and {len(names) - _NAMED_MAX:,} more" if len(names) > _NAMED_MAX else ""
    return f"{counted(len(names), what)}: {', '.join(names[:_NAMED_MAX])}{more}"
