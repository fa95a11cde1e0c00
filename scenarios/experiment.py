"""The interface of experiments. Other modules run, replay, explain and show an experiment by this interface only.

    kind = EXPERIMENTS["kill"]                               # an `ExperimentKind`, from the registry in `campaign.experiments`
    if not kind.lacking(options):                            # this machine can run it
        experiment = kind.experiment(checker, options, listener)
        experiment.run()                                     # plans and runs; results go to the listener as they come
        results = experiment.ordered()                       # in an order that does not depend on timing
        findings, notes = experiment.explain()
    kind.scenario("kill:a@1", stored).replay(workbench, None)   # one crash again, from a report

To add an experiment, write one folder with an `ExperimentKind` and add one line to the registry.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol

from crashmatrix.reports import Finding, Labels, ScenarioResult
from crashmatrix.scenarios.shards import WHOLE, Shard

if TYPE_CHECKING:  # A command that judges nothing does not need it, and it takes a fifth of a second.
    from crashmatrix.scenarios.judging.checker import Checked, Checker

__all__ = [
    "Alternative",
    "CrashPoint",
    "CrashedFolder",
    "Experiment",
    "ExperimentKind",
    "ExperimentOptions",
    "Explained",
    "Listener",
    "NeedsNoOptions",
    "Scenario",
    "StoredRun",
    "Workbench",
]

Workbench = Callable[[], AbstractContextManager["Checker"]]
"""Opens scratch space and worker processes for the target: ``with workbench() as checker``."""


@dataclass(frozen=True, kw_only=True)
class ExperimentOptions:
    """How to run an experiment.

    Attributes:
        workers: how many scenarios are judged at a time.
        seed: draws everything random.
        budget: bounds what `ExperimentKind.counts` names; None for `ExperimentKind.budget`.
        filesystems: the filesystems on which power is cut.
        filesystems_named: whether the user chose them; then their disks fail, too, if failing calls are tried.
        shard: the part of the plan that is run.
        until_broken: stop at the first broken promise, judging in a drawn order: quick proof that a bug is found.
        sampled: the budget bounds everything that is judged, crashes in recovery and second lives, too: a drawn sample of each.
        near: a source file whose failpoints come first in a sample; empty for none.
        keep_evidence: whether the recorded disks, which a replay needs, go into the report directory.
        report: the report directory.
    """

    workers: int = 2
    seed: int = 0
    budget: int | None = None
    filesystems: tuple[str, ...] = ("ext4",)
    filesystems_named: bool = False
    shard: Shard = WHOLE
    until_broken: bool = False
    sampled: bool = False
    near: str = ""
    keep_evidence: bool = True
    report: Path = Path("crashmatrix-report")

    def replay_command(self, scenario: str) -> str:
        """Return the command that runs one scenario of the report again."""
        return f"crashmatrix replay {shlex.quote(scenario)} --report {shlex.quote(str(self.report))}"


class Listener:
    """Follows a run; the command line shows it, the report directory stores it."""

    def planned(self, stage: str, total: int) -> None:
        """A stage begins; ``total`` scenarios are known by now."""

    def result(self, result: ScenarioResult) -> None:
        """One scenario has its verdict. May be called from several threads, one at a time."""

    def time_left(self, seconds: float, each: float = 0.0) -> None:
        """The experiment expects to take so many seconds more; each crash that it judges takes ``each``."""


class Explained(NamedTuple):
    """Why promises were broken, and remarks on what was not explained."""

    findings: list[Finding]
    notes: list[str]


@dataclass(frozen=True)
class Alternative:
    """Other options with which this machine can run an experiment. ``hint`` says so, and how to choose them."""

    options: ExperimentOptions
    hint: str


@dataclass(frozen=True)
class CrashPoint:
    """A named place at which an experiment crashes a target; ``hits`` counts those of the undisturbed workload."""

    name: str
    hits: int
    description: str


@dataclass(frozen=True)
class CrashedFolder:
    """The folder that a crash left, before recovery. ``about`` describes it in one line."""

    folder: Path
    about: str


@dataclass(frozen=True)
class StoredRun:
    """A report, as a replay needs it. ``details`` are the experiment's in `summary.json`, empty if it was not run."""

    options: ExperimentOptions
    details: dict[str, Any] = field(default_factory=dict)


class Experiment(Protocol):
    """An experiment on one target.

    Attributes:
        details: what goes into `summary.json` beside the counts; ``details["notes"]`` are lines for people.
    """

    details: dict[str, Any]

    def run(self) -> None:
        """Plan and run; the results so far stand even when this is interrupted.

        Raises:
            UsageError: the target cannot be tested.
            EnvironmentLacks: this machine cannot run the experiment.
        """

    def ordered(self) -> list[ScenarioResult]:
        """Return the results so far in an order that does not depend on which finished first."""

    def explain(self) -> Explained:
        """Explain each kind of broken promise among the results. Bounded in time."""

    @property
    def confirmed(self) -> bool:
        """Whether the findings held when they were tried a second time."""


class Scenario(Protocol):
    """A crash of a stored run, to be made again."""

    def replay(self, workbench: Workbench, keep: Path | None) -> Checked:
        """Crash again, and judge the crashed folder.

        Args:
            keep: a new folder, to be made, for the crashed folder (``crashed``), the journal and whatever else there is.

        Raises:
            UsageError: the run has no such crash, or ``keep`` cannot be written.
        """

    def crashed(self, workbench: Workbench) -> AbstractContextManager[CrashedFolder]:
        """Crash again; during the block, the crashed folder is there. The calling thread may stay in another mount namespace.

        Raises:
            UsageError, EnvironmentLacks: there is nothing to look at.
        """


class NeedsNoOptions:
    """A base for kinds of experiments that need the same of a machine with any options."""

    name: str

    def described(self, options: ExperimentOptions) -> str:
        """Return the name only."""
        del options
        return self.name

    def alternative(self, options: ExperimentOptions) -> Alternative | None:
        """There is none."""
        del options
        return None


class ExperimentKind(Protocol):
    """A line of the registry. All attributes are constants."""

    @property
    def name(self) -> str:
        """The experiment's name on the command line and in results; its scenarios' ids begin with it and a colon."""

    @property
    def dies(self) -> Literal["process", "machine", "call"]:
        """The part that dies: the process, the machine with its page cache, or a call, which fails."""

    @property
    def default(self) -> bool:
        """Whether a run that names no experiments includes this one."""

    @property
    def budget(self) -> int:
        """The default budget."""

    @property
    def counts(self) -> str:
        """The unit that the budget bounds: ``hits``."""

    @property
    def modules(self) -> tuple[str, ...]:
        """The modules that its jobs need beside those of every job: they are loaded once, before the jobs are forked."""

    @property
    def labels(self) -> Labels:
        """The names of its points and hits, and whether a result repeats exactly."""

    def lacking(self, options: ExperimentOptions) -> str:
        """Return what this machine lacks for it, with the remedy; empty if nothing."""

    def described(self, options: ExperimentOptions) -> str:
        """Return its name with the options on which `lacking` depends: ``power on ext4``."""

    def alternative(self, options: ExperimentOptions) -> Alternative | None:
        """Return options with which this machine can run it, if it lacks something for those given; None if there are none."""

    def experiment(self, checker: Checker, options: ExperimentOptions, listener: Listener | None = None) -> Experiment:
        """Return the experiment on a workbench's target, not yet begun."""

    def searches(self, checker: Checker, options: ExperimentOptions) -> Iterable[Experiment]:
        """Return experiments to run in turn until one finds a bug that is known to be there; each looks further."""

    def points(self, checker: Checker) -> Sequence[CrashPoint]:
        """Run the workload undisturbed; returns the named places at which the target can be crashed, by name."""

    def scenario(self, name: str, stored: StoredRun) -> Scenario:
        """Return one crash of a stored run, given its id.

        Raises:
            UsageError: this is not an id of this experiment, or the report lacks what a replay needs.
            EnvironmentLacks: this machine cannot replay it.
        """
