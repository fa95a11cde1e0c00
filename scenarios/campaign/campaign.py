"""A run: the experiments of a plan, in turn, and the report of their results."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from crashmatrix.reports import ExperimentSummary, ReportWriter, RunSummary, ScenarioResult
from crashmatrix.scenarios.campaign.experiments import by_default, experiment_named
from crashmatrix.scenarios.campaign.explain import explanation_of
from crashmatrix.scenarios.campaign.plan import Plan
from crashmatrix.scenarios.campaign.resume import digest_of, finished_report, refuse_other_run, require
from crashmatrix.scenarios.campaign.timing.clock import Clock, TimeShare, TimeUp
from crashmatrix.scenarios.campaign.timing.estimate import Estimate
from crashmatrix.scenarios.campaign.versions import versions
from crashmatrix.scenarios.campaign.workbench import workbench
from crashmatrix.scenarios.errors import EnvironmentLacks, UsageError
from crashmatrix.scenarios.experiment import Experiment, ExperimentKind, Listener
from crashmatrix.scenarios.judging.checker import Checker
from crashmatrix.scenarios.systems import BUILT_IN
from crashmatrix.scenarios.systems.loading import Target
from crashmatrix.scenarios.systems.server_times import times_in_words

__all__ = ["Campaign"]


class _Recorder(Listener):
    """Stores each result in the report, and passes everything on."""

    def __init__(self, writer: ReportWriter, listener: Listener, estimate: Estimate) -> None:
        self._writer, self._listener, self._estimate = writer, listener, estimate

    def planned(self, stage: str, total: int) -> None:
        self._listener.planned(stage, total)

    def result(self, result: ScenarioResult) -> None:
        self._writer.add(result)
        self._listener.result(result)

    def time_left(self, seconds: float, each: float = 0.0) -> None:
        self._listener.time_left(self._estimate.left(seconds, each), each)


@dataclass
class Campaign:
    """Runs a plan and writes its report; ``results`` and ``summary`` hold what was found, after an interrupt, too."""

    plan: Plan
    listener: Listener = field(default_factory=Listener)
    results: list[ScenarioResult] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._cut = False
        self._clock = Clock(None)
        self._estimate = Estimate(self.plan)
        self.summary = RunSummary(
            target=self.plan.name, seed=self.plan.seed, options=self.plan.settings(), versions=versions(),
            shard=str(self.plan.shard),
            started=datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S"),
        )  # fmt: skip

    def run(self) -> None:
        """Run every experiment of the plan; with ``resume``, what an unfinished run has judged is not judged again.

        Raises:
            UsageError, EnvironmentLacks, crashmatrix.reports.ReportError: nothing, or only a part, could be run.
            KeyboardInterrupt: after the report of what was found so far is written.
        """
        if self.plan.resume and (finished := finished_report(self.plan)):
            self.summary, self.results = finished
            return
        self._clock = Clock(self.plan.seconds_max)
        self.summary.interrupted = True
        whole = self.plan
        chosen = self._chosen()
        with ReportWriter(self.plan.report, resume=self.plan.resume) as writer:
            self.summary.plan = refuse_other_run(whole, writer.ledger)
            self._note_file()
            self._run_all(chosen, writer)

    def _note_file(self) -> None:
        """Note which file the target is in: the one of its name in another folder is another target."""
        file = None if self.plan.target in BUILT_IN else Target(self.plan.target).file
        if file:
            self.summary.target_file, self.summary.target_digest = str(file), digest_of(file)

    def _run_all(self, chosen: list[ExperimentKind], writer: ReportWriter) -> None:
        with self._bench(writer) as (checker, remarks):
            try:
                for number, kind in enumerate(chosen):
                    self._estimate.begin(chosen[number:])
                    self._run(kind, checker, writer, remarks, self._clock.share(len(chosen) - number))
            except Exception:
                if self.results:  # Else the report of the run before stays.
                    self._finish(writer)
                raise
            except KeyboardInterrupt:
                self._finish(writer)
                raise
            self.summary.interrupted = self._cut
            if self._cut:
                self.summary.not_run["the rest of the plan"] = f"{self._reached}; go on with --resume, or run again"
            self._finish(writer)

    @contextmanager
    def _bench(self, writer: ReportWriter) -> Iterator[tuple[Checker, list[str]]]:
        with ExitStack() as stack:
            try:
                with self._clock.until(self._clock.end):
                    checker, remarks = stack.enter_context(workbench(self.plan, writer.ledger))
                    if self.plan.cluster:
                        from crashmatrix.scenarios.campaign.cluster.pool import cluster_pool  # other runs do without it

                        checker.pool = pool = stack.enter_context(cluster_pool(self.plan, checker))
                        self.plan = replace(self.plan, workers=self.plan.workers or pool.size)
            except TimeUp:
                raise UsageError(f"{self._reached} while the target was set up; give it more time") from None
            if writer.ledger.resumes:
                remarks.append("this run was resumed: it judged again nothing that it had judged before")
            yield checker, remarks

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
        self.summary.chosen = [kind.name for kind in chosen]
        require(self.summary, self.plan.required)
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

    def _run(
        self, kind: ExperimentKind, checker: Checker, writer: ReportWriter, remarks: list[str], share: TimeShare | None
    ) -> None:
        listener = _Recorder(writer, self.listener, self._estimate)
        experiment = kind.experiment(checker, self.plan.experiment_options, listener)
        start = time.perf_counter()
        remarks = [*remarks]
        try:
            with self._clock.until(share.run if share else None):
                experiment.run()
        except TimeUp:
            self._cut = True
            remarks.append(f"{self._reached}: the rest of the plan was not run; go on with --resume")
            checker.jobs.go_on()
        except UsageError as error:
            self.summary.not_run[kind.name] = str(error)  # The report of the others says why it lacks.
            raise
        finally:
            results, seconds, details = experiment.ordered(), time.perf_counter() - start, experiment.details
            servers = filter(None, [times_in_words(checker.target.workspace)])
            details["notes"] = [*remarks, *sorted(checker.pool.remarks), *details.get("notes", []), *servers]
            if results:
                self.results += results
                part = ExperimentSummary.of(results, seconds, details, labels=kind.labels)
                self.summary.experiments[kind.name] = part
        if not results and self._cut:
            self.summary.not_run[kind.name] = f"{self._reached} before a crash was judged; give it more time"
        elif not results and not self.summary.shard:  # A shard's part may be empty.
            self.summary.not_run[kind.name] = "it found no crash to judge"
        if any(result.verdict.broken for result in results):
            self.listener.planned("explaining", 0)
            self._explain(experiment, checker, details["notes"], share)

    def _explain(self, experiment: Experiment, checker: Checker, notes: list[str], share: TimeShare | None) -> None:
        try:
            with self._clock.until(share.explain if share else None):
                findings, more = explanation_of(experiment, self.summary.findings)
        except TimeUp:
            notes.append(f"{self._reached}: the findings were not explained")
            checker.jobs.go_on()
            return
        self.summary.findings += findings
        notes += more

    @property
    def _reached(self) -> str:
        return f"the time limit of {self._clock.seconds:g} s was reached"
