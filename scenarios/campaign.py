"""One run of ``crashmatrix run``: the plan, the workers, the report; and the replay of one of its scenarios."""

from __future__ import annotations

import os
import platform
import shlex
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

import psutil

from reports import ExperimentSummary, ReportWriter, RunSummary, ScenarioResult, read_summary
from scenarios import work
from scenarios.crash_check import Checked, Checker
from scenarios.errors import UsageError
from scenarios.jobs import Jobs
from scenarios.kill import KillExperiment
from scenarios.kill_plan import BUDGET, parse_id
from scenarios.photograph import Album
from scenarios.system import Target

__all__ = ["EXPERIMENTS", "Campaign", "Listener", "Plan", "Replayed", "experiment_of", "replay", "workbench"]

EXPERIMENTS = ("kill",)
"""Experiments this version runs."""

_SHM = Path("/dev/shm")  # noqa: S108  # only if there is room; every run has a folder of its own in it
_SHM_BYTES_MIN = 2**30
_SCRATCH_PREFIX = "crashmatrix-"
_PACKAGES = ("crashmatrix", "deltalake", "duckdb", "pyarrow")


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What to run. ``workers`` is how many scenarios are judged at a time; ``budget`` bounds the workload's hits."""

    target: str = "reference"
    options: dict[str, Any] = field(default_factory=dict)
    mutant: str = ""
    experiments: tuple[str, ...] = EXPERIMENTS
    seed: int = 0
    workers: int = 2
    budget: int = BUDGET
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
        return {"target": self.target, "options": self.options, "mutant": self.mutant, "budget": self.budget}

    @classmethod
    def from_summary(cls, summary: dict[str, Any], report: Path) -> Plan:
        """Rebuild the plan of a report. Raises UsageError."""
        try:
            return cls(seed=summary["seed"], report=report, **summary["options"])
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
            target=self.plan.name, seed=self.plan.seed, options=self.plan.settings(), versions=_versions()
        )

    def run(self) -> None:
        """Run every experiment of the plan.

        Raises:
            UsageError, EnvironmentLacks, reports.ReportError: nothing, or not all, could be run.
            KeyboardInterrupt: after the report of what was found so far is written.
        """
        with ReportWriter(self.plan.report) as writer, workbench(self.plan) as (checker, remarks):
            try:
                self._kill(checker, writer, remarks)
            except KeyboardInterrupt:
                self.summary.interrupted = True
                raise
            finally:
                if self.results:
                    writer.finish(self.summary, self.results)

    def _kill(self, checker: Checker, writer: ReportWriter, remarks: list[str]) -> None:
        def found(result: ScenarioResult) -> None:
            writer.add(result)
            self.listener.result(result)

        experiment = experiment_of(self.plan, checker, on_result=found, on_plan=self.listener.planned)
        experiment.details["notes"] = remarks
        start = time.perf_counter()
        try:
            experiment.run()
        finally:
            self.results = experiment.ordered()
            seconds = time.perf_counter() - start
            self.summary.experiments["kill"] = ExperimentSummary.of(self.results, seconds, experiment.details)


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
    plan, path = Plan.from_summary(read_summary(report), report), parse_id(scenario)
    if keep is not None and keep.exists():
        raise UsageError(f"{keep} exists; name a new folder with --keep")
    with workbench(plan) as (checker, _):
        experiment = experiment_of(plan, checker)
        prepared = experiment.prepare()
        folder = checker.folder()
        state = experiment.crash(prepared, path, folder)
        if isinstance(state, Checked):
            return Replayed(state, None)
        if keep is not None:
            checker.album.restore(state.tree, keep / "crashed")
            shutil.copyfile(folder / "journal", keep / "journal")
        root = folder / "judged"
        checked = checker.check_folder(state, root)
        if keep is not None:
            checker.album.restore(checker.album.capture(root), keep / "recovered")
        return Replayed(checked, keep)


def experiment_of(
    plan: Plan,
    checker: Checker,
    on_result: Callable[[ScenarioResult], None] = lambda _: None,
    on_plan: Callable[[str, int], None] = lambda _, __: None,
) -> KillExperiment:
    """Return the plan's kill experiment, not yet begun."""
    return KillExperiment(
        checker=checker, workers=plan.workers, seed=plan.seed, budget=plan.budget, replay=plan.replay_command,
        on_result=on_result, on_plan=on_plan,
    )  # fmt: skip


@contextmanager
def workbench(plan: Plan) -> Iterator[tuple[Checker, list[str]]]:
    """Make scratch space, fork server and system for a plan; yields the checker and the system's remarks."""
    with _scratch() as scratch:
        workspace = scratch / "workspace"
        workspace.mkdir()
        target = Target(plan.target, plan.options, plan.mutant, plan.seed, str(workspace))
        album = Album(scratch)
        with Jobs(preload=[target.module] if target.module else []) as jobs:
            checker = Checker(jobs, album, target, scratch)
            ended = jobs.run(work.setup, target, seconds_max=600)
            if ended.raised is not None and "UsageError" in ended.raised.kinds:
                raise UsageError(ended.raised.message)
            if not ended.returned:
                raise UsageError(f"target {plan.name} cannot be set up: it {ended}")
            yield checker, list(ended.value)


@contextmanager
def _scratch() -> Iterator[Path]:
    """A folder in memory if there is room, else where temporary files go; also removes what a killed run left."""
    roomy = _SHM.is_dir() and os.access(_SHM, os.W_OK) and shutil.disk_usage(_SHM).free >= _SHM_BYTES_MIN
    parent = _SHM if roomy and "TMPDIR" not in os.environ else Path(tempfile.gettempdir())
    for left in parent.glob(f"{_SCRATCH_PREFIX}[0-9]*-*"):
        if not psutil.pid_exists(int(left.name.split("-")[1])):
            shutil.rmtree(left, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix=f"{_SCRATCH_PREFIX}{os.getpid()}-", dir=parent) as scratch:
        yield Path(scratch)


def _versions() -> dict[str, str]:
    versions = {"python": platform.python_version(), "kernel": platform.release()}
    for package in _PACKAGES:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            versions[package] = "not installed"
    return versions
