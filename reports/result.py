"""What a run found: the result types, and how verdicts add up. Plain data; everything shown to people derives from it.

`results.jsonl` holds one `ScenarioResult` a line, `summary.json` one `RunSummary` and the `FORMAT` of both. The number grows
when a field moves, changes its meaning or goes; `crashmatrix.reports.upgrade` reads what older versions wrote. Readers ignore
fields they do not know. These types are what stored documents are checked against (`crashmatrix.reports.validation`), and what
the published JSON Schemas are made from (`crashmatrix.reports.schemas`). `docs/results.md` describes every field.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Annotated, Any

import msgspec

from crashmatrix.reports.validation import Invalid, checked

__all__ = [
    "FORMAT",
    "REQUIRED",
    "Count",
    "Event",
    "ExperimentSummary",
    "Finding",
    "KnownDetails",
    "KnownRecording",
    "Labels",
    "RunSummary",
    "ScenarioResult",
    "ShardName",
    "Verdict",
    "worst",
]

FORMAT = 2

Count = Annotated[int, msgspec.Meta(ge=0, le=2**53 - 1)]
"""A whole number that every JSON reader reads exactly."""

ShardName = Annotated[str, msgspec.Meta(pattern=r"^([1-9][0-9]{0,5}/[1-9][0-9]{0,5})?$")]
"""``I/N``, or empty."""


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

    @property
    def meaning(self) -> str:
        """What it says, in a sentence."""
        return _MEANINGS[self]


_MEANINGS = {
    Verdict.SAFE: "The promise was kept.",
    Verdict.UNMOUNTABLE: "The filesystem itself refused the crashed disk.",
    Verdict.UNKNOWN: "Nothing can be said: the fault did not fire, or a check failed.",
    Verdict.HANGS: "Recovery did not come to an end.",
    Verdict.REORDERED: "What was stored came back in another order.",
    Verdict.PHANTOM: "Something came back that was never attempted.",
    Verdict.DUPLICATE: "Something came back more often than it was stored.",
    Verdict.HOLE: "Acknowledged data is gone, though later data came back.",
    Verdict.LOSES: "Acknowledged data is gone.",
    Verdict.CANNOT_OPEN: "Recovery failed on what the crash left.",
    Verdict.CORRUPT: "Something came back with the wrong content.",
}


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
        method: ``sigkill`` (a process was killed there) or ``snapshot`` (the folder at that instant was recovered).
        fault: in the syntax of `faults`, as one would configure it.
        verdict, explanation: what came of it; the explanation is empty when safe.
        state: digest of the crashed folder and the promises made by then; equal states are checked once.
        replay: the command that runs it again.
        cause: what broke the promise, in words that are the same for all scenarios of one cause; empty if nobody looked.
    """

    id: str
    experiment: str
    point: str
    hit: Count
    depth: Count
    method: str
    fault: str
    verdict: Verdict
    explanation: str = ""
    state: str = ""
    replay: str = ""
    cause: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return the line of `results.jsonl`."""
        return _plain(self)

    @classmethod
    def from_json(cls, line: Any) -> ScenarioResult:
        """Read a line of `results.jsonl`. Raises `crashmatrix.reports.validation.Invalid`."""
        return checked(line, cls)


@dataclass(frozen=True, kw_only=True)
class Event:
    """One line of a finding's timeline.

    Attributes:
        at: its place in the total order of the recorded run; equal places stand in the order given.
        kind: ``attempt``, ``ack``, ``hit`` (of a failpoint), ``write``, ``flush``, ``cut`` (the crash), ``recovered``,
            ``note``; renderers show any other as a note.
        text: what happened: the item, the failpoint's name, the file and byte range written.
        fate: what the crash did to a write: ``durable`` (flushed before), ``kept``, ``lost``, ``torn``; empty otherwise.
        detail: where: ``wal/segment.py:120``, a sector range.
    """

    at: Count
    kind: str
    text: str
    fate: str = ""
    detail: str = ""


@dataclass(frozen=True, kw_only=True)
class Finding:
    """Scenarios that show the same thing, as one.

    Attributes:
        id: the same for the same experiment, verdict and cause in every run (`crashmatrix.reports.findings.finding_id`).
        experiment, verdict: those of its scenarios.
        title: what happened, in one line.
        cause: why, in one line; empty if unknown.
        count: how many scenarios show it.
        example: the id of the simplest of them; ``replay`` is the command that runs it.
        explanation: the story of the example, in paragraphs.
        lost: the writes that did not survive: file and byte range, or the metadata they are.
        suggestion: what would mend it; empty if nothing is suggested.
        tested: whether the example was run again with the suggestion and held (True) or not (False); None: not tried.
        timeline: the example, event by event.
    """

    id: str
    experiment: str
    verdict: Verdict
    title: str
    count: Count
    example: str
    cause: str = ""
    explanation: tuple[str, ...] = ()
    lost: tuple[str, ...] = ()
    suggestion: str = ""
    tested: bool | None = None
    timeline: tuple[Event, ...] = ()
    replay: str = ""


@dataclass(frozen=True)
class Labels:
    """How to read an experiment's results: given by the experiment, so that no renderer knows an experiment by name.

    Attributes:
        point: what `ScenarioResult.point` names: ``failpoint``, ``recording``.
        hit: what `ScenarioResult.hit` counts: ``hit``, ``cut at write``.
        repeatable: whether a scenario's id means the same crash in every run of one plan. False where ids name places in
            a recording: recordings differ from run to run.
    """

    point: str = "failpoint"
    hit: str = "hit"
    repeatable: bool = True


class KnownRecording(msgspec.Struct):
    """The fields of a recording's account that readers rely on. There are more: docs/results.md."""

    name: str
    filesystem: str = ""
    nudge: str = ""
    initial: list[Any] = []
    killed_at: Annotated[list[Count], msgspec.Meta(max_length=2)] = []
    recovery_of: Annotated[list[str], msgspec.Meta(max_length=2)] = []
    journal_before: list[str] = []


class KnownDetails(msgspec.Struct):
    """The details that any experiment may have. Each experiment has more of its own: docs/results.md.

    Attributes:
        notes: what was left out, and by which rule, in sentences.
        recordings: the recordings whose crash states were judged.
    """

    notes: list[str] = []
    recordings: list[KnownRecording] = []


@dataclass(kw_only=True)
class ExperimentSummary:
    """One experiment's count. ``details`` holds what only this experiment knows (coverage, states, samples, notes)."""

    verdict: Verdict
    scenarios: Count
    verdicts: dict[str, Count]
    seconds: float
    scenarios_per_second: float
    details: dict[str, Any] = field(default_factory=dict)
    labels: Labels = Labels()

    @classmethod
    def of(
        cls, results: list[ScenarioResult], seconds: float, details: dict[str, Any], *, labels: Labels = Labels()
    ) -> ExperimentSummary:
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
            labels=labels,
        )


REQUIRED = ("target", "seed", "options", "versions", "experiments", "not_run", "interrupted")
"""Fields that every `summary.json` has, though a `RunSummary` in the making need not be given them all."""


@dataclass(kw_only=True)
class RunSummary:
    """A whole run, or one shard of it.

    Attributes:
        target, options: what was tested, so that a scenario can be replayed from the report.
        versions: of what took part: the kernel, Python, packages.
        not_run: each experiment left out, with the reason and the remedy; of one, what was left out: ``power on ext4``.
        required: experiments without which nothing is known.
        interrupted: the run was stopped before its plan was through.
        started: when, in UTC: ``2026-01-31T12:00:00``; empty if unknown.
        shard: ``I/N`` if this is the I-th of N parts of a run, whose verdict is on that part only.
        missing_shards: the parts that a merged report lacks: it says nothing of them.
        findings: what was found out about causes; `reports.findings` groups the results where there is nothing better.
    """

    target: str
    seed: int
    options: dict[str, Any]
    versions: dict[str, str]
    experiments: dict[str, ExperimentSummary] = field(default_factory=dict)
    not_run: dict[str, str] = field(default_factory=dict)
    required: list[str] = field(default_factory=list)
    interrupted: bool = False
    started: str = ""
    shard: ShardName = ""
    missing_shards: list[str] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)

    @property
    def verdict(self) -> Verdict:
        """The worst verdict of the experiments; a run that was interrupted, or lacks a shard or a required experiment, is
        at best unknown."""
        verdicts = [experiment.verdict for experiment in self.experiments.values()]
        incomplete = self.interrupted or self.missing_shards or self.lacking
        return worst([*verdicts, *([Verdict.UNKNOWN] if incomplete else [])])

    @property
    def lacking(self) -> list[str]:
        """The experiments that were required and not run."""
        return [name for name in self.required if name in self.not_run]

    @property
    def gaps(self) -> dict[str, str]:
        """What the run does not speak of, and why: each with the remedy where there is one."""
        gaps = dict(self.not_run)
        if self.shard:
            gaps["the other shards"] = f"this is shard {self.shard}; put them together with: crashmatrix merge"
        for shard in self.missing_shards:
            gaps[f"shard {shard}"] = "its report is missing; run it, and merge again"
        if self.interrupted:
            gaps["the rest of the plan"] = "the run was interrupted; run again"
        return gaps

    @property
    def scenarios(self) -> int:
        """How many were run."""
        return sum(experiment.scenarios for experiment in self.experiments.values())

    @property
    def seconds(self) -> float:
        """How long the experiments took together."""
        return sum(experiment.seconds for experiment in self.experiments.values())

    def to_json(self) -> dict[str, Any]:
        """Return `summary.json`."""
        return {"format": FORMAT, "verdict": self.verdict.value, **_plain(self)}

    @classmethod
    def from_json(cls, summary: Any) -> RunSummary:
        """Read `summary.json`. Raises `crashmatrix.reports.validation.Invalid`."""
        run = checked(summary, cls)
        if missing := [name for name in REQUIRED if name not in summary]:
            raise Invalid(missing[:1], "is missing")
        for name, part in run.experiments.items():
            checked(part.details, KnownDetails, at=("experiments", name, "details"))
        return run


def _plain(value: Any) -> dict[str, Any]:
    plain: dict[str, Any] = msgspec.to_builtins(value)
    return plain
