"""The plan of a run: the target, the experiments and their options."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import msgspec

from crashmatrix.reports import RunSummary
from crashmatrix.reports.validation import Invalid, checked
from crashmatrix.scenarios.errors import UsageError
from crashmatrix.scenarios.experiment import ExperimentOptions
from crashmatrix.scenarios.shards import WHOLE, Shard

__all__ = ["Plan"]


class _Settings(msgspec.Struct):
    """The plan as a report stores it (`Plan.settings`)."""

    target: str
    options: dict[str, Any]
    mutant: str
    budget: int | None
    filesystems: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The plan of a run.

    Attributes:
        target: its name (`crashmatrix.scenarios.systems.loading`); ``options`` go to its constructor.
        mutant: a bug to plant in it; empty: none.
        experiments: names; empty for those that run by default (`experiments.by_default`) and that this machine can run. Naming
            one that it cannot run is an error.
        or_alternative: where this machine cannot run an experiment with these options, run it with others.
        leave_out: where this machine cannot run a named experiment, run the others.
        required: experiments without which the verdict is at best unknown.
        cluster: the cluster that judges; empty for this machine alone. With 0 ``workers``, as many as it has count.
        until_broken: stop at the first broken promise.
        seconds_max: the time limit of the whole run; None for no limit.
        resume: go on with the unfinished run of the report, if there is one.
        seed, workers, budget, filesystems, filesystems_named, shard, report: see `ExperimentOptions`.
    """

    target: str = "reference"
    options: dict[str, Any] = field(default_factory=dict)
    mutant: str = ""
    experiments: tuple[str, ...] = ()
    or_alternative: bool = False
    leave_out: bool = False
    required: tuple[str, ...] = ()
    cluster: str = ""
    until_broken: bool = False
    seconds_max: float | None = None
    resume: bool = False
    seed: int = 0
    workers: int = 2
    budget: int | None = None
    filesystems: tuple[str, ...] = ("ext4",)
    filesystems_named: bool = False
    shard: Shard = WHOLE
    report: Path = Path("crashmatrix-report")

    @property
    def name(self) -> str:
        """The target as shown: with its planted bug, if any."""
        return f"{self.target}+{self.mutant}" if self.mutant else self.target

    @property
    def experiment_options(self) -> ExperimentOptions:
        """How to run each experiment."""
        return ExperimentOptions(
            workers=self.workers, seed=self.seed, budget=self.budget, filesystems=self.filesystems,
            filesystems_named=self.filesystems_named, shard=self.shard, report=self.report,
            until_broken=self.until_broken,
        )  # fmt: skip

    def with_options(self, options: ExperimentOptions) -> Plan:
        """Return the plan with another experiment's options, as far as a report stores them."""
        return replace(self, budget=options.budget, filesystems=options.filesystems)

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
