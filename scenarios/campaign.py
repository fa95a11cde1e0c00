"""One run of ``crashmatrix run``: the plan, the workers, the report; and the replay of one of its scenarios."""

from __future__ import annotations

import dataclasses
import platform
import shlex
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

from reports import ExperimentSummary, ReportWriter, RunSummary, ScenarioResult, Verdict, read_summary
from reports.store import TRACES
from scenarios import power_judge, work
from scenarios.crash_check import Checked, Checker
from scenarios.errors import EnvironmentLacks, UsageError
from scenarios.explain import explanations_of
from scenarios.jobs import Jobs
from scenarios.kill import KillExperiment
from scenarios.kill_plan import BUDGET, parse_id
from scenarios.photograph import Album
from scenarios.power import STATES_MAX, PowerExperiment, lacking, parse_power_id
from scenarios.power_record import Recording, trace_path
from scenarios.scratch import scratch_folder
from scenarios.shards import WHOLE, Shard
from scenarios.system import Target

__all__ = [
    "EXPERIMENTS",
    "Campaign",
    "Listener",
    "Plan",
    "Replayed",
    "experiment_of",
    "kept_recording",
    "power_of",
    "replay",
    "workbench",
]

EXPERIMENTS = ("kill", "power")
"""Experiments this version runs."""

_PACKAGES = ("crashmatrix", "deltalake", "duckdb", "pyarrow")


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What to run. ``workers`` is how many scenarios are judged at a time; ``budget`` bounds the workload's hits (kill)
    and the crash states judged (power); ``experiments`` empty means all that this machine can run."""

    target: str = "reference"
    options: dict[str, Any] = field(default_factory=dict)
    mutant: str = ""
    experiments: tuple[str, ...] = ()
    seed: int = 0
    workers: int = 2
    budget: int | None = None
    filesystems: tuple[str, ...] = ("ext4",)
    shard: Shard = WHOLE
    report: Path = Path("crashmatrix-report")

    @property
    def name(self) -> str:
        """The target as shown: with its planted bug, if any."""
        return f"{self.target}+{self.mutant}" if self.mutant else self.target

    def replay_command(self, scenario: str) -> str:
        """Return the command that runs one scenario of this plan again."""
        return f"crashmatrix replay {shlex.quote(scenario)} --report {shlex.quote(str(self.report))}"

    def settings(self) -> dict[str, Any]:
        """Return what `from_summary` needs to rebuild the plan from the report."""
        names = ("target", "options", "mutant", "budget", "filesystems")
        return {name: getattr(self, name) for name in names}

    @classmethod
    def from_summary(cls, summary: dict[str, Any], report: Path) -> Plan:
        """Rebuild the plan of a report. Raises UsageError."""
        try:
            options = {**summary["options"], "filesystems": tuple(summary["options"]["filesystems"])}
            return cls(seed=summary["seed"], report=report, **options)
        except (KeyError, TypeError) as error:
            raise UsageError(f"{report}/summary.json does not say what was run ({error}); run again") from None


class Listener:
    """Hears how the run goes; the command line shows it."""

    def planned(self, stage: str, total: int) -> None:
        """A stage begins; ``total`` scenarios are known by now."""

    def result(self, result: ScenarioResult) -> None:
        """One scenario came out."""


@dataclass
class Campaign:
    """Runs a plan and writes its report; ``results`` and ``summary`` are good after an interrupt, too."""

    plan: Plan
    listener: Listener = field(default_factory=Listener)
    results: list[ScenarioResult] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.summary = RunSummary(
            target=self.plan.name, seed=self.plan.seed, options=self.plan.settings(), versions=_versions(),
            shard=str(self.plan.shard), started=datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S"),
        )  # fmt: skip

    def run(self) -> None:
        """Run every experiment of the plan.

        Raises:
            UsageError, EnvironmentLacks, reports.ReportError: nothing, or not all, could be run.
            KeyboardInterrupt: after the report of what was found so far is written.
        """
        with ReportWriter(self.plan.report) as writer, workbench(self.plan) as (checker, remarks):
            self.summary.interrupted = True
            try:
                for name in self._chosen():
                    self._run(name, checker, writer, list(remarks))
                self.summary.interrupted = False
            finally:
                if self.results or not self.summary.interrupted:  # A shard's part may be empty.
                    writer.finish(self.summary, self.results)

    def _chosen(self) -> list[str]:
        """The experiments asked for, else all that this machine can run; the others are named with the remedy."""
        if self.plan.experiments:
            return list(self.plan.experiments)
        reason = lacking(self.plan.filesystems)
        if reason:
            self.summary.not_run["power"] = reason
        return ["kill"] if reason else list(EXPERIMENTS)

    def _run(self, name: str, checker: Checker, writer: ReportWriter, remarks: list[str]) -> None:
        def found(result: ScenarioResult) -> None:
            writer.add(result)
            self.listener.result(result)

        make = experiment_of if name == "kill" else power_of
        experiment: KillExperiment | PowerExperiment = make(self.plan, checker, found, self.listener.planned)
        start = time.perf_counter()
        try:
            experiment.run()
        finally:
            results, seconds = experiment.ordered(), time.perf_counter() - start
            experiment.details["notes"] = [*remarks, *experiment.details.get("notes", [])]
            if results:
                self.results += results
                self.summary.experiments[name] = ExperimentSummary.of(results, seconds, experiment.details)
        self._explain(experiment)

    def _explain(self, experiment: KillExperiment | PowerExperiment) -> None:
        """Say why, of what is broken; the results stand, whatever becomes of this."""
        if not any(result.verdict.broken for result in experiment.results.values()):
            return
        self.listener.planned("explaining", 0)
        findings, notes = explanations_of(experiment)
        self.summary.findings += findings
        experiment.details["notes"] += notes


@dataclass(frozen=True)
class Replayed:
    """What a replay found, and where it left the crashed folder (``--keep``)."""

    checked: Checked
    kept: Path | None


def replay(scenario: str, report: Path, keep: Path | None) -> Replayed:
    """Kill again, for real, where a report's scenario was killed, and judge what is left.

    Args:
        keep: a new folder to leave the crashed tree in, before (``crashed``) and after recovery (``recovered``).

    Raises:
        UsageError, reports.ReportError: no such report or scenario, or ``keep`` exists.
    """
    summary = read_summary(report)
    plan = Plan.from_summary(summary, report)
    if keep is not None and keep.exists():
        raise UsageError(f"{keep} exists; name a new folder with --keep")
    if scenario.startswith("power:"):
        return _replay_power(scenario, plan, summary, keep)
    path = parse_id(scenario)
    with workbench(plan) as (checker, _):
        experiment = experiment_of(plan, checker)
        prepared = experiment.prepare()
        folder = checker.folder()
        state = experiment.crash(prepared, path, folder)
        if isinstance(state, Checked):
            return Replayed(state, None)
        if keep is not None:
            keep.mkdir(parents=True)
            if not state.tree.unusable:
                checker.album.restore(state.tree, keep / "crashed")
            shutil.copyfile(folder / "journal", keep / "journal")
        root = folder / "judged"
        checked = checker.check_folder(state, root)
        if keep is not None and not (recovered := checker.album.capture(root)).unusable:
            checker.album.restore(recovered, keep / "recovered")
        return Replayed(checked, keep)


def kept_recording(scenario: str, plan: Plan, summary: dict[str, Any]) -> tuple[Recording, str]:
    """The recording that a power cut's scenario is of, its trace in the report directory, and the crash state's id.

    Raises:
        UsageError: the report has no such trace.
        EnvironmentLacks: its images cannot be mounted here.
    """
    name, state = parse_power_id(scenario)
    recordings = summary["experiments"].get("power", {}).get("recordings", [])
    known = next((recording for recording in recordings if recording["name"] == name), None)
    trace = trace_path(plan.report / TRACES, name)
    if known is None or not trace.exists():
        raise UsageError(f"{plan.report} has no trace of {name!r}: only those with findings are kept; run again")
    if reason := lacking([known["filesystem"]]):
        raise EnvironmentLacks(reason)
    return Recording.from_account(known, plan.seed, trace), state


def _replay_power(scenario: str, plan: Plan, summary: dict[str, Any], keep: Path | None) -> Replayed:
    kept_trace, state = kept_recording(scenario, plan, summary)
    with workbench(plan) as (checker, _):
        copy = checker.folder() / "trace"  # the judge works beside it
        shutil.copyfile(kept_trace.trace, copy)
        recording = dataclasses.replace(kept_trace, trace=copy)
        seconds = 60 + 3 * checker.system.seconds_max
        ended = checker.jobs.run(power_judge.judge_one, checker.target, recording, state, seconds_max=seconds)
        if ended.raised is not None and "InvalidState" in ended.raised.kinds:
            raise UsageError(ended.raised.message)
        if not ended.returned:
            return Replayed(Checked(Verdict.UNKNOWN, f"the judge {ended}"), None)
        if keep is not None:
            keep.mkdir(parents=True)
            kept = checker.jobs.run(power_judge.keep_state, recording, state, keep.absolute(), seconds_max=seconds)
            if not kept.returned:
                raise UsageError(f"{keep}: keeping the crashed tree {kept}")
        return Replayed(Checked(ended.value.verdict, ended.value.explanation), keep)


def experiment_of(
    plan: Plan,
    checker: Checker,
    on_result: Callable[[ScenarioResult], None] = lambda _: None,
    on_plan: Callable[[str, int], None] = lambda _, __: None,
) -> KillExperiment:
    """Return the plan's kill experiment, not yet begun."""
    return KillExperiment(
        checker=checker, workers=plan.workers, seed=plan.seed, budget=plan.budget or BUDGET,
        replay=plan.replay_command, on_result=on_result, on_plan=on_plan, shard=plan.shard,
    )  # fmt: skip


def power_of(
    plan: Plan,
    checker: Checker,
    on_result: Callable[[ScenarioResult], None] = lambda _: None,
    on_plan: Callable[[str, int], None] = lambda _, __: None,
) -> PowerExperiment:
    """Return the plan's power experiment, not yet begun."""
    return PowerExperiment(
        jobs=checker.jobs, target=checker.target, scratch=checker.folder(), workers=plan.workers, seed=plan.seed,
        budget=plan.budget or STATES_MAX, filesystems=plan.filesystems, keep=plan.report / TRACES,
        replay=plan.replay_command, on_result=on_result, on_plan=on_plan, shard=plan.shard,
    )  # fmt: skip


@contextmanager
def workbench(plan: Plan) -> Iterator[tuple[Checker, list[str]]]:
    """Make scratch space, fork server and system for a plan; yields the checker and the system's remarks."""
    with scratch_folder() as scratch:
        workspace = scratch / "workspace"
        workspace.mkdir()
        target = Target(plan.target, plan.options, plan.mutant, plan.seed, str(workspace))
        album = Album(scratch, names=2)
        with Jobs(preload=[target.module] if target.module else [], scratch=scratch) as jobs:
            checker = Checker(jobs, album, target, scratch)
            ended = jobs.run(work.setup, target, seconds_max=600)
            if ended.raised is not None and "UsageError" in ended.raised.kinds:
                raise UsageError(ended.raised.message)
            if not ended.returned:
                raise UsageError(f"target {plan.name} cannot be set up: it {ended}")
            yield checker, list(ended.value)


def _versions() -> dict[str, str]:
    versions = {"python": platform.python_version(), "kernel": platform.release()}
    for package in _PACKAGES:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            versions[package] = "not installed"
    return versions
