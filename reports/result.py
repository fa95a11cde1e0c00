"""The results of a run, as plain data. Everything shown to people is made from them.

`results.jsonl` holds one `ScenarioResult` a line, `summary.json` one `RunSummary` and the `FORMAT` of both. The number grows
when a field moves, changes its meaning or goes; `crashmatrix.reports.upgrade` reads what older versions wrote. Readers ignore
fields they do not know. These types are what stored documents are checked against (`crashmatrix.reports.validation`), and what
the published JSON Schemas are made from (`crashmatrix.reports.schemas`). `docs/results.md` describes every field.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Annotated, Any

import msgspec

from crashmatrix.reports.validation import Invalid, checked
from crashmatrix.reports.verdict import Verdict, worst

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
]

FORMAT = 2

Count = Annotated[int, msgspec.Meta(ge=0, le=2**53 - 1)]
"""A whole number that every JSON reader reads exactly."""

ShardName = Annotated[str, msgspec.Meta(pattern=r"^([1-9][0-9]{0,5}/[1-9][0-9]{0,5})?(?![\s\S])")]
"""``I/N``, or empty. No ``$``: in Python, that is also before a line end."""


@dataclass(frozen=True, kw_only=True)
class ScenarioResult:
    """The result of an experiment at one point with one fault.

    Attributes:
        id: names the scenario; ``crashmatrix replay ID`` runs it again.
        experiment: ``kill``, ``power``, ...
        point: where the crash happened: the failpoint (for crashes during recovery, the last one), the recording.
        hit: which hit of that failpoint, from 1; for a power cut, its place in the trace.
        depth: how many crashes happened during recovery.
        method: how the scenario was run: ``sigkill`` (a process was killed there), ``snapshot`` (a copy of the folder at that
            instant was recovered), ``power-cut``, ``clean-end``, ``unfired``; docs/results.md explains each.
        fault: the fault in the syntax that configures it: a failpoint's action, a crash state's name.
        verdict: the outcome.
        explanation: the outcome in words; empty when safe.
        state: digest of the crashed folder and of the items acknowledged by then; equal states are checked once.
        replay: the command that runs it again.
        cause: why the contract was broken, in the same words for all scenarios of one cause; empty if not looked for.
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
    """A line of a finding's timeline.

    Attributes:
        at: its place in the total order of the recorded run; events at equal places are in the order given.
        kind: ``attempt``, ``ack``, ``hit`` (of a failpoint), ``write``, ``flush``, ``cut`` (the crash), ``recovered``,
            ``note``; renderers show any other kind as a note.
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
    """A kind of violation, and the scenarios that show it.

    Attributes:
        id: the same for the same experiment, verdict and cause in every run (`crashmatrix.reports.findings.finding_id`).
        experiment: the experiment of its scenarios.
        verdict: the verdict of its scenarios.
        title: what happened, in one line.
        cause: why, in one line; empty if unknown.
        count: how many scenarios show it.
        example: the id of the simplest scenario that shows it.
        replay: the command that runs the example.
        explanation: what happened in the example, in paragraphs.
        lost: the writes that did not survive: file and byte range, or the metadata they are.
        suggestion: a possible fix; empty if nothing is suggested.
        tested: whether the contract held when the suggestion was tried; null: not tried, or the trial was inconclusive.
        timeline: the example, event by event.
        also: ids of other kinds that were shown to be this one, for example the same bug after a restart; their scenarios
            count here.
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
    also: tuple[str, ...] = ()


@dataclass(frozen=True)
class Labels:
    """How to read an experiment's results. The experiment gives them, so that no renderer knows an experiment by name.

    Attributes:
        point: what `ScenarioResult.point` names: ``failpoint``, ``recording``.
        hit: what `ScenarioResult.hit` counts: ``hit``, ``cut at write``.
        methods: what `ScenarioResult.method` tells, for experiments whose table is one of points and methods: ``ending``.
            Empty if it is one of points and verdicts.
        repeatable: whether a scenario's id means the same crash in every run of one plan. False where ids name places in
            a recording: recordings differ from run to run.
    """

    point: str = "failpoint"
    hit: str = "hit"
    repeatable: bool = True
    methods: str = ""


class KnownRecording(msgspec.Struct):
    """The fields of a recording's account that readers rely on. There are more: docs/results.md."""

    name: str
    filesystem: str = ""
    nudge: str = ""
    draw: Count = 1
    initial: list[Any] = []
    killed_at: Annotated[list[Annotated[int, msgspec.Meta(ge=-1, le=2**53 - 1)]], msgspec.Meta(max_length=2)] = []
    recovery_of: Annotated[list[str], msgspec.Meta(max_length=2)] = []
    journal_before: list[str] = []
    resumed: str = ""
    went_on: Count | None = None


class KnownDetails(msgspec.Struct):
    """The details that any experiment may have. Each experiment has more of its own: docs/results.md.

    Attributes:
        notes: what was left out, and by which rule, in sentences.
        uncovered: what no crash was tried at, though the target does it; the verdict line names it.
        recordings: the recordings whose crash states were judged.
    """

    notes: list[str] = []
    uncovered: list[str] = []
    recordings: list[KnownRecording] = []


@dataclass(kw_only=True)
class ExperimentSummary:
    """The counts of one experiment.

    Attributes:
        verdict: the worst verdict of its scenarios.
        scenarios: how many scenarios were run.
        verdicts: how many scenarios have each verdict.
        seconds: how long the experiment took.
        details: what only this experiment knows: coverage, samples, notes.
        labels: how to read its results.
    """

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
"""Fields that every `summary.json` has. A `RunSummary` need not be given all of them when it is made."""


@dataclass(kw_only=True)
class RunSummary:
    """A whole run, or one shard of it.

    Attributes:
        target: the target that was tested.
        options: the options of the run, from which ``replay`` rebuilds its plan.
        experiments: the experiments that were run, by name.
        seed: the seed of every random choice.
        versions: versions of the kernel, Python and packages, by name.
        not_run: each experiment that was left out, or part of one (``power on ext4``), or ``the rest of the plan``, with the
            reason and the remedy.
        required: experiments without which the verdict is at best unknown.
        interrupted: whether the run was stopped before it finished its plan.
        started: when, in UTC: ``2026-01-31T12:00:00``; empty if unknown.
        shard: ``I/N`` if this is the I-th of N parts of a run: the verdict covers that part only.
        missing_shards: the parts that a merged report lacks.
        plan: what the judgements depend on, as the run was started; ``--resume`` and ``merge`` compare it. Empty if unknown.
        chosen: the experiments that were to run and could be, those of which a shard has no part, too. Empty if unknown.
        findings: explained kinds of violation; `crashmatrix.reports.findings` groups all other results.
        target_file: the absolute path of the file that the target was in; empty for one that is built in.
        target_digest: a digest of that file.
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
    plan: dict[str, Any] = field(default_factory=dict)
    chosen: list[str] = field(default_factory=list)
    target_file: str = ""
    target_digest: str = ""

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
        """Everything that the run did not cover, with the reason and the remedy, if there is one."""
        gaps = dict(self.not_run)
        if self.shard:
            gaps["the other shards"] = f"this is shard {self.shard}; merge all shards with: crashmatrix merge"
        for shard in self.missing_shards:
            gaps[f"shard {shard}"] = "its report is missing; run it, and merge again"
        if self.interrupted:
            gaps.setdefault("the rest of the plan", "the run was interrupted; go on with --resume, or run again")
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
