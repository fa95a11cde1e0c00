"""A run: the experiments of a plan, in turn, and the report of their results."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from datetime import UTC, datetime

from crashmatrix.reports import ExperimentSummary, ReportWriter, RunSummary, ScenarioResult
from crashmatrix.scenarios.campaign.experiments import by_default, experiment_named
from crashmatrix.scenarios.campaign.explain import explanation_of
from crashmatrix.scenarios.campaign.plan import Plan
from crashmatrix.scenarios.campaign.versions import versions
from crashmatrix.scenarios.campaign.workbench import workbench
from crashmatrix.scenarios.errors import EnvironmentLacks, UsageError
from crashmatrix.scenarios.experiment import ExperimentKind, Listener
from crashmatrix.scenarios.judging.checker import Checker
from crashmatrix.scenarios.systems.server_times import times_in_words

__all__ = ["Campaign"]


class _Recorder(Listener):
    """Stores each result in the report, and passes everything on."""

    def __init__(self, writer: ReportWriter, listener: Listener) -> None:
        self._writer, self._listener = writer, listener

    def planned(self, stage: str, total: int) -> None:
        self._listener.planned(stage, total)

    def result(self, result: ScenarioResult) -> None:
        self._writer.add(result)
        self._listener.result(result)


@dataclass
class Campaign:
    """Runs a plan and writes its report; ``results`` and ``summary`` hold what was found, after an interrupt, too."""

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
            UsageError, EnvironmentLacks, crashmatrix.reports.ReportError: nothing, or only a part, could be run.
            KeyboardInterrupt: after the report of what was found so far is written.
        """
        self.summary.interrupted = True
        chosen = self._chosen()
        with ReportWriter(self.plan.report) as writer, workbench(self.plan) as (checker, remarks):
            try:
                for kind in chosen:
                    self._run(kind, checker, writer, remarks)
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
        except KeyboardInterrupt:  # No second one comes: now the report is written to its end.
            writer.finish(self.summary, self.results)
            raise

    def _chosen(self) -> list[ExperimentKind]:
        """The experiments of the plan that this machine can run; the summary names the others, with the remedy."""
        names = list(dict.fromkeys(self.plan.experiments or by_default()))
        chosen = [kind for kind in map(experiment_named, names) if self._can_run(kind)]
        for name in self.plan.required:
            if experiment_named(name) not in chosen:
                self.summary.not_run.setdefault(name, "not among --experiments; name it there")
        return chosen

    def _can_run(self, kind: ExperimentKind) -> bool:
        """Whether this machine can run an experiment, if need be with other options than the plan's."""
        options = self.plan.experiment_options
        reason = kind.lacking(options)
        if not reason:
            return True
        other = kind.alternative(options)
        if self.plan.experiments and not self.plan.leave_out:  # Refuse it now, and not once the others have been run.
            raise EnvironmentLacks(f"{kind.described(options)}: {reason}{f'; {other.hint}' if other else ''}")
        if other is None or not self.plan.or_alternative:
            self.summary.not_run[kind.name] = reason
            return False
        self.summary.not_run[kind.described(options)] = reason
        self.plan = self.plan.with_options(other.options)
        self.summary.options = self.plan.settings()
        return True

    def _run(self, kind: ExperimentKind, checker: Checker, writer: ReportWriter, remarks: list[str]) -> None:
        listener = _Recorder(writer, self.listener)
        experiment = kind.experiment(checker, self.plan.experiment_options, listener)
        start = time.perf_counter()
        try:
            experiment.run()
        except UsageError as error:
            self.summary.not_run[kind.name] = str(error)  # The report of the others says why it lacks.
            raise
        finally:
            results, seconds, details = experiment.ordered(), time.perf_counter() - start, experiment.details
            servers = filter(None, [times_in_words(checker.target.workspace)])
            details["notes"] = [*remarks, *details.get("notes", []), *servers]
            if results:
                self.results += results
                part = ExperimentSummary.of(results, seconds, details, labels=kind.labels)
                self.summary.experiments[kind.name] = part
        if any(result.verdict.broken for result in results):
            self.listener.planned("explaining", 0)
            findings, notes = explanation_of(experiment)
            self.summary.findings += findings
            details["notes"] += notes
