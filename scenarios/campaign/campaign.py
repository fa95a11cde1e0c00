"""One run of ``crashmatrix run``: the plan, the workers, the report; and the replay of one of its scenarios."""

from __future__ import annotations

import dataclasses
import shlex
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from crashmatrix.faults.disk import InvalidState
from crashmatrix.reports import ExperimentSummary, ReportWriter, RunSummary, ScenarioResult, Verdict, read_summary
from crashmatrix.reports.folder import copy_file
from crashmatrix.reports.store import TRACES, has_trace
from crashmatrix.reports.validation import Invalid, checked
from crashmatrix.scenarios.campaign.explain import explanations_of
from crashmatrix.scenarios.campaign.versions import versions
from crashmatrix.scenarios.errors import EnvironmentLacks, UsageError
from crashmatrix.scenarios.judging import worker as work
from crashmatrix.scenarios.judging.checker import Checked, Checker
from crashmatrix.scenarios.judging.snapshot import SnapshotStore
from crashmatrix.scenarios.kill.experiment import KillExperiment
from crashmatrix.scenarios.kill.plan import BUDGET, parse_id
from crashmatrix.scenarios.power import judge as power_judge
from crashmatrix.scenarios.power.experiment import STATES_MAX, PowerExperiment, lacking, parse_power_id
from crashmatrix.scenarios.power.recording import Recording, trace_path
from crashmatrix.scenarios.processes.jobs import Jobs
from crashmatrix.scenarios.processes.result import Raised, Returned
from crashmatrix.scenarios.processes.scratch import scratch_folder
from crashmatrix.scenarios.shards import WHOLE, Shard
from crashmatrix.scenarios.systems.loading import Target

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


class _Settings(msgspec.Struct):
    """What a report says of its plan (`Plan.settings`)."""

    target: str
    options: dict[str, Any]
    mutant: str
    budget: int | None
    filesystems: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What to run. ``workers`` is how many scenarios are judged at a time; ``budget`` bounds the workload's hits (kill)
    and the crash states judged (power); ``experiments`` empty means all that this machine can run. ``or_posix`` lets power
    be cut on posix where this machine cannot have the ``filesystems``. Without the experiments in ``required`` the verdict is
    at best unknown."""

    target: str = "reference"
    options: dict[str, Any] = field(default_factory=dict)
    mutant: str = ""
    experiments: tuple[str, ...] = ()
    seed: int = 0
    workers: int = 2
    budget: int | None = None
    filesystems: tuple[str, ...] = ("ext4",)
    or_posix: bool = False
    required: tuple[str, ...] = ()
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
    def from_summary(cls, summary: RunSummary, report: Path) -> Plan:
        """Rebuild the plan of a report. Raises UsageError."""
        try:
            settings = checked(summary.options, _Settings, at=["options"])
        except Invalid as error:
            raise UsageError(f"{report}/summary.json: {error}; run again to replace it") from None
        return cls(seed=summary.seed, report=report, **msgspec.structs.asdict(settings))


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
            target=self.plan.name, seed=self.plan.seed, options=self.plan.settings(), versions=versions(),
            required=list(self.plan.required), shard=str(self.plan.shard),
            started=datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S"),
        )  # fmt: skip

    def run(self) -> None:
        """Run every experiment of the plan.

        Raises:
            UsageError, EnvironmentLacks, crashmatrix.reports.ReportError: nothing, or not all, could be run.
            KeyboardInterrupt: after the report of what was found so far is written.
        """
        self.summary.interrupted = True
        with ReportWriter(self.plan.report) as writer, workbench(self.plan) as (checker, remarks):
            try:
                for name in self._chosen():
                    self._run(name, checker, writer, list(remarks))
            except Exception:
                if self.results:  # Else the report of the run before stays.
                    self._finish(writer)
                raise
            except KeyboardInterrupt:
                self._finish(writer)
                raise
            self.summary.interrupted = False
            self._finish(writer)

    def _finish(self, writer: ReportWriter) -> None:
        try:
            writer.finish(self.summary, self.results)
        except KeyboardInterrupt:  # There is one; so this time it comes to its end.
            writer.finish(self.summary, self.results)
            raise

    def _chosen(self) -> list[str]:
        """The experiments asked for, else all that this machine can run; the others are named with the remedy."""
        asked = self.plan.experiments
        chosen = list(dict.fromkeys(asked or EXPERIMENTS))
        reason = lacking(self.plan.filesystems) if "power" in chosen else ""
        if reason and asked:  # Now, and not once the others have been run.
            other = "" if lacking(["posix"]) else "; --fs posix can run here"
            raise EnvironmentLacks(f"power cuts on {', '.join(self.plan.filesystems)}: {reason}{other}")
        if reason and self.plan.or_posix and not lacking(["posix"]):
            self.summary.not_run[f"power on {', '.join(self.plan.filesystems)}"] = reason
            self.plan = dataclasses.replace(self.plan, filesystems=("posix",))
            self.summary.options = self.plan.settings()
        elif reason:
            self.summary.not_run["power"] = reason
            chosen.remove("power")
        for name in self.plan.required:
            if name not in chosen:
                self.summary.not_run.setdefault(name, "not among --experiments; name it there")
        return chosen

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
                self.summary.experiments[name] = ExperimentSummary.of(
                    results, seconds, experiment.details, labels=experiment.labels
                )
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
        UsageError, crashmatrix.reports.ReportError: no such report or scenario, or ``keep`` exists.
    """
    summary = read_summary(report)
    plan = Plan.from_summary(summary, report)
    if keep is not None:
        _check_new(keep)
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
                checker.store.restore(state.tree, keep / "crashed")
            shutil.copyfile(folder / "journal", keep / "journal")
        root = folder / "judged"
        checked = checker.check_folder(state, root)
        if keep is not None and not (recovered := checker.store.capture(root)).unusable:
            checker.store.restore(recovered, keep / "recovered")
        return Replayed(checked, keep)


def _check_new(folder: Path) -> None:
    """See now, and not after the crash, that a folder can be made. Raises UsageError."""
    try:
        folder.mkdir(parents=True)
        folder.rmdir()
    except FileExistsError:
        raise UsageError(f"{folder} exists; name a new folder with --keep") from None
    except OSError as error:
        raise UsageError(f"{folder} cannot be made ({error.strerror}); name another folder with --keep") from None


def kept_recording(scenario: str, plan: Plan, summary: RunSummary) -> tuple[Recording, str]:
    """The recording that a power cut's scenario is of, its trace in the report directory, and the crash state's id.

    Raises:
        UsageError, crashmatrix.reports.ReportError: the report has no such trace.
        EnvironmentLacks: its images cannot be mounted here.
    """
    name, state = parse_power_id(scenario)
    power = summary.experiments.get("power")
    recordings = power.details.get("recordings", []) if power else []
    known = next((recording for recording in recordings if recording["name"] == name), None)
    trace = trace_path(plan.report / TRACES, name)
    if known is None or not has_trace(trace):
        raise UsageError(f"{plan.report} has no trace of {name!r}: only those with findings are kept; run again")
    if reason := lacking([known.get("filesystem", "")]):
        raise EnvironmentLacks(reason)
    try:
        return Recording.from_account(known, plan.seed, trace), state
    except (KeyError, IndexError) as error:
        raise UsageError(
            f"{plan.report}/summary.json: the account of recording {name!r} lacks {error}; run again to replace it"
        ) from None


def _replay_power(scenario: str, plan: Plan, summary: RunSummary, keep: Path | None) -> Replayed:
    kept_trace, state = kept_recording(scenario, plan, summary)
    with workbench(plan) as (checker, _):
        copy = checker.folder() / "trace"  # the judge works beside it
        copy_file(kept_trace.trace, copy)
        recording = dataclasses.replace(kept_trace, trace=copy)
        seconds = 60 + 3 * checker.system.seconds_max
        result = checker.jobs.run(
            power_judge.judge_one, checker.target, recording, state, seconds_max=seconds, keep_going=True
        )
        if isinstance(result, Raised) and result.is_a(InvalidState):
            raise UsageError(result.message)
        if not isinstance(result, Returned):
            return Replayed(Checked(Verdict.UNKNOWN, f"the judge {result}"), None)
        if keep is not None:
            keep.mkdir(parents=True)
            kept = checker.jobs.run(power_judge.keep_state, recording, state, keep.absolute(), seconds_max=seconds)
            if not isinstance(kept, Returned):
                raise UsageError(f"{keep}: keeping the crashed tree {kept}")
        return Replayed(Checked(result.value.verdict, result.value.explanation), keep)


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
        store = SnapshotStore(scratch, names=2)
        with Jobs(preload=[target.module] if target.module else [], scratch=scratch) as jobs:
            checker = Checker(jobs, store, target, scratch)
            result = jobs.run(work.setup, target, seconds_max=600)
            if isinstance(result, Raised) and result.is_a(UsageError):
                raise UsageError(result.message)
            if not isinstance(result, Returned):
                raise UsageError(f"target {plan.name} cannot be set up: it {result}")
            yield checker, list(result.value)
