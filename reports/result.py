"""What a run found: the result types, and how verdicts add up. Plain data; everything shown to people derives from it.

`results.jsonl` holds one `ScenarioResult` a line, `summary.json` one `RunSummary` and the `FORMAT` of both, which changes
only when a field changes its meaning or goes; readers ignore fields they do not know.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any

__all__ = ["FORMAT", "ExperimentSummary", "RunSummary", "ScenarioResult", "Verdict", "worst"]

FORMAT = 1


class Verdict(StrEnum):
    """What became of the promise in one crash, best first."""

    SAFE = "safe"
    UNMOUNTABLE = "unmountable"
    """The filesystem itself refused the crashed disk: no verdict on the system that used it."""
    UNKNOWN = "unknown"
    """The fault never fired, the checker crashed, or nothing differed: the scenario says nothing."""
    HANGS = "hangs"
    REORDERED = "reordered"
    PHANTOM = "phantom"
    """Something came back that was never attempted."""
    DUPLICATE = "duplicate"
    HOLE = "hole"
    """An acknowledged item is gone though a later one came back."""
    LOSES = "loses"
    CANNOT_OPEN = "cannot-open"
    CORRUPT = "corrupt"
    """Something came back with the wrong content."""

    @property
    def broken(self) -> bool:
        """Whether a promise was broken."""
        return self not in (Verdict.SAFE, Verdict.UNMOUNTABLE, Verdict.UNKNOWN)

    @property
    def exit_status(self) -> int:
        """The status a run with this verdict exits with."""
        return {Verdict.SAFE: 0, Verdict.UNMOUNTABLE: 3, Verdict.UNKNOWN: 3}.get(self, 1)


def worst(verdicts: Iterable[Verdict]) -> Verdict:
    """Return the worst verdict: any broken promise beats unknown, unknown beats safe; none at all is unknown."""
    order = list(Verdict)
    return max(verdicts, key=order.index, default=Verdict.UNKNOWN)


@dataclass(frozen=True, kw_only=True)
class ScenarioResult:
    """One experiment at one point with one fault.

    Attributes:
        id: names the scenario; ``crashmatrix replay ID`` runs it again.
        experiment: ``kill``, ``power``, ...
        point: where it struck: the failpoint (for crashes during recovery: the last one).
        hit: which hit of that failpoint, from 1.
        depth: how many crashes hit recovery itself.
        method: ``sigkill`` (a process was killed there) or ``photograph`` (the folder at that instant was recovered).
        fault: in the syntax of `faults`, as one would configure it.
        verdict, explanation: what came of it; the explanation is empty when safe.
        state: digest of the crashed folder and the promises made by then; equal states are checked once.
        replay: the command that runs it again.
    """

    id: str
    experiment: str
    point: str
    hit: int
    depth: int
    method: str
    fault: str
    verdict: Verdict
    explanation: str = ""
    state: str = ""
    replay: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return the line of `results.jsonl`."""
        return {**asdict(self), "verdict": self.verdict.value}

    @classmethod
    def from_json(cls, line: dict[str, Any]) -> ScenarioResult:
        """Read a line of `results.jsonl`; unknown fields are ignored. Raises KeyError, ValueError, TypeError."""
        known = {name: line[name] for name in cls.__dataclass_fields__ if name in line}
        return cls(**{**known, "verdict": Verdict(line["verdict"])})


@dataclass(kw_only=True)
class ExperimentSummary:
    """One experiment's count. ``details`` holds what only this experiment knows (coverage, states, samples, notes)."""

    verdict: Verdict
    scenarios: int
    verdicts: dict[str, int]
    seconds: float
    scenarios_per_second: float
    details: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, results: list[ScenarioResult], seconds: float, details: dict[str, Any]) -> ExperimentSummary:
        """Count the results of one experiment."""
        counts = Counter(result.verdict for result in results)
        verdicts = {verdict.value: counts[verdict] for verdict in Verdict if counts[verdict]}
        rate = round(len(results) / seconds, 1) if seconds else 0.0
        return cls(
            verdict=worst(counts),
            scenarios=len(results),
            verdicts=verdicts,
            seconds=round(seconds, 2),
            scenarios_per_second=rate,
            details=details,
        )

    def to_json(self) -> dict[str, Any]:
        """Return the experiment's part of `summary.json`; details stand beside the counts."""
        plain = asdict(self)
        details = plain.pop("details")
        return {**plain, "verdict": self.verdict.value, **details}

    @classmethod
    def from_json(cls, part: dict[str, Any]) -> ExperimentSummary:
        """Read an experiment's part of `summary.json`. Raises KeyError, ValueError."""
        counts = {name: part[name] for name in ("scenarios", "verdicts", "seconds", "scenarios_per_second")}
        details = {name: value for name, value in part.items() if name not in counts and name != "verdict"}
        return cls(verdict=Verdict(part["verdict"]), details=details, **counts)


@dataclass(kw_only=True)
class RunSummary:
    """A whole run. ``target`` and ``options`` say what was tested, so that a scenario can be replayed from the report.

    ``not_run`` names each experiment left out, with the reason and the remedy; ``interrupted`` says that the run was
    stopped before its plan was through.
    """

    target: str
    seed: int
    options: dict[str, Any]
    versions: dict[str, str]
    experiments: dict[str, ExperimentSummary] = field(default_factory=dict)
    not_run: dict[str, str] = field(default_factory=dict)
    interrupted: bool = False

    @property
    def verdict(self) -> Verdict:
        """The worst verdict of the experiments; a run that was interrupted is at best unknown."""
        verdicts = [experiment.verdict for experiment in self.experiments.values()]
        return worst([*verdicts, *([Verdict.UNKNOWN] if self.interrupted else [])])

    def to_json(self) -> dict[str, Any]:
        """Return `summary.json`."""
        return {
            "format": FORMAT,
            "target": self.target,
            "verdict": self.verdict.value,
            "seed": self.seed,
            "options": self.options,
            "versions": self.versions,
            "interrupted": self.interrupted,
            "experiments": {name: experiment.to_json() for name, experiment in self.experiments.items()},
            "not_run": self.not_run,
        }

    @classmethod
    def from_json(cls, summary: dict[str, Any]) -> RunSummary:
        """Read `summary.json`. Raises KeyError, ValueError."""
        names = ("target", "seed", "options", "versions", "interrupted", "not_run")
        experiments = {name: ExperimentSummary.from_json(part) for name, part in summary["experiments"].items()}
        return cls(experiments=experiments, **{name: summary[name] for name in names})
