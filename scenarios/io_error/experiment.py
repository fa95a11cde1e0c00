"""The `io-error` experiment: a system call fails, once or for longer; then the process dies, ends, or the system goes on.

1. prepare the folder; run the workload once undisturbed, and note every call that changes the folder (`runs`)
2. choose faults: which call fails, how, and how often (`plan`)
3. run the workload once for each fault; each run yields the crashed folders of several endings (`runs`)
4. judge each ending with the fault gone (`judge`)
5. run the workload with each class's call after the last one armed: the run must end with all of these untouched

A workload may stop at the first error, try again, or go on. It has to say which attempts failed (journal, `fail`).
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from crashmatrix.faults.disk.linux.removal import remove_tree
from crashmatrix.reports import Labels, ScenarioResult, Verdict
from crashmatrix.scenarios.errors import EnvironmentLacks
from crashmatrix.scenarios.experiment import (
    CrashPoint,
    ExperimentOptions,
    Explained,
    Listener,
    NeedsNoOptions,
    StoredRun,
)
from crashmatrix.scenarios.io_error.disk.source import DiskSource, Found
from crashmatrix.scenarios.io_error.explain import Explainer, cause_of
from crashmatrix.scenarios.io_error.faults import Fault
from crashmatrix.scenarios.io_error.judge import Judge, Judged
from crashmatrix.scenarios.io_error.messages import REOPENED, RESUMED
from crashmatrix.scenarios.io_error.plan import (
    BUDGET,
    ENDINGS,
    NAME,
    choose,
    parse_id,
    scenario_id,
)
from crashmatrix.scenarios.io_error.runs import FaultyRun, Prepared, prepare, run_with
from crashmatrix.scenarios.io_error.scenario import IoErrorScenario
from crashmatrix.scenarios.judging.checker import Checked, Checker
from crashmatrix.scenarios.judging.undisturbed import refuse_if_broken
from crashmatrix.scenarios.power.exploring import lacking as power_lacks
from crashmatrix.scenarios.processes.calls.call_faults import CallFault, answers_alike
from crashmatrix.scenarios.processes.calls.seccomp import lacking
from crashmatrix.scenarios.processes.parallel import side_by_side
from crashmatrix.scenarios.shards import plan_digest

__all__ = ["IO_ERROR", "IoError", "IoErrorExperiment"]

_TRIES = 3
"""How many runs a fault gets to be met, for a workload that does not make the same calls each time."""

_SWEEPS_MAX = 8
"""How many times the sweep is extended by a call that no run before had made."""


@dataclass
class IoErrorExperiment:
    """One io-error experiment on one target."""

    checker: Checker
    options: ExperimentOptions = field(default_factory=ExperimentOptions)
    listener: Listener = field(default_factory=Listener)
    details: dict[str, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    results: dict[tuple[Fault, str], ScenarioResult] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)
    """The plan's order."""
    runs: dict[Fault, FaultyRun] = field(default_factory=dict)
    disks: dict[str, DiskSource] = field(default_factory=dict)
    confirmed: bool = True

    def run(self) -> None:
        """Run all five steps; see `crashmatrix.scenarios.experiment.Experiment`."""
        if reason := lacking():
            raise EnvironmentLacks(reason)
        self.prepared = prepared = prepare(self.checker)
        self._judge = Judge(self.checker)
        if self._says_nothing(prepared):
            return
        budget = self.options.budget or BUDGET
        points, rule = choose(prepared.points, budget // 3, self.options.seed)
        chosen, note = choose(prepared.profile.places, budget - len(points), self.options.seed)
        chosen += points
        self.notes += filter(None, (*prepared.profile.notes, note, rule and f"failpoints: {rule}"))
        self.details.update(notes=self.notes, plan=plan_digest(chosen), uncovered=list(prepared.profile.uncovered))
        self._try(self.options.shard.block(chosen))
        self._sweep_on()
        if self.options.filesystems_named:
            self._try_disks(budget)
        self._account()

    def ordered(self) -> list[ScenarioResult]:
        """Return the results so far in an order that does not depend on which finished first."""
        keys = [(fault, ending) for fault in self.faults for ending in ENDINGS]
        return [self.results[key] for key in keys if key in self.results]

    def explain(self) -> Explained:
        """Explain each kind of broken promise: its simplest fault is run once more, step by step."""
        explainer = Explainer(self.checker, self.prepared, self.ordered(), self.disks)
        return Explained(explainer.findings(), explainer.notes)

    def _says_nothing(self, prepared: Prepared) -> bool:
        """Report an undisturbed run after which nothing can be judged. Raises UsageError."""
        violation = self.checker.undisturbed(prepared.end)
        if violation is None or self.checker.target.mutant:
            return False
        refuse_if_broken(self.checker.target.name, violation, self.checker.system.contract)
        self.details.update(notes=self.notes, plan=plan_digest([]))
        self._report_alone(Checked(violation.verdict, violation.explanation))
        return True

    def _try(self, faults: Sequence[Fault]) -> None:
        self.faults += faults
        self.listener.planned("failing calls", len(self.results) + len(faults))
        alike = _alike(faults)
        if self.options.until_broken:
            random.Random(f"{self.options.seed} search").shuffle(alike)
        for _, found in side_by_side(self.checker.jobs, self.options.workers, self._run_alike, alike):
            for fault, run, judged in found:
                self.runs[fault] = run
                for ending, (checked, state) in judged.items():
                    self._report(fault, ending, checked, run, state.digest if state else "")
            if self.options.until_broken and any(
                checked.verdict.broken for *_, judged in found for checked, _ in judged.values()
            ):
                return

    def _try_disks(self, budget: int) -> None:
        """Fail the recorded disk of each filesystem."""
        for filesystem in self.options.filesystems:
            disk = DiskSource(self.checker, self.options, filesystem, self.prepared.profile.places)
            self.disks[filesystem] = disk
            chosen = self.options.shard.block(disk.plan(budget))
            self.listener.planned(f"failing disks, {filesystem}", len(self.results) + len(chosen))
            if self._report_found(disk.run(chosen)) and self.options.until_broken:
                return
            if not self.options.until_broken and self.options.shard.number == self.options.shard.of:
                self._report_found(disk.sweep())
            self.notes += disk.notes

    def _report_found(self, found: Iterable[Found]) -> bool:
        """Report faults of a disk as they come; returns whether a promise was broken."""
        for fault, run, judged in found:
            if fault not in self.runs:
                self.faults.append(fault)
            self.runs[fault] = run
            for ending, (checked, digest) in judged.items():
                self._report(fault, ending, checked, run, digest)
            if self.options.until_broken and any(checked.verdict.broken for checked, _ in judged.values()):
                return True
        return False

    def _run_alike(self, faults: Sequence[Fault]) -> list[tuple[Fault, FaultyRun, Judged]]:
        """Run the workload with faults of one call and error. A run that another fault would not change serves for it, too."""
        found: list[tuple[Fault, FaultyRun, Judged]] = []
        for fault in faults:
            same = next((run for _, run, _ in found if _same(fault, run)), None)
            run, judged = (same, self._judge.judge(fault, same)) if same and same.fired else self._one(fault)
            found.append((fault, run, judged))
        return found

    def _one(self, fault: Fault) -> tuple[FaultyRun, Judged]:
        for _ in range(_TRIES):
            folder = self.checker.folder()
            try:
                run = run_with(self.checker, self.prepared, [fault], ENDINGS, folder)
            finally:
                remove_tree(folder)
            if run.fired or run.senseless:
                break
        return run, self._judge.judge(fault, run)

    def _report(
        self, fault: Fault, ending: str, checked: Checked, run: FaultyRun | None = None, state: str = ""
    ) -> None:
        name = scenario_id(fault, ending)
        cause = cause_of(self.prepared, fault, run) if run and checked.verdict.broken else ""
        result = ScenarioResult(
            id=name, experiment=NAME, point=fault.kind, hit=fault.number,
            depth=int(ending == RESUMED), method=ending, fault=str(fault), verdict=checked.verdict,
            explanation=checked.explanation, state=state, replay=self.options.replay_command(name), cause=cause,
        )  # fmt: skip
        self.results[fault, ending] = result
        self.listener.result(result)

    def _report_alone(self, checked: Checked) -> None:
        """Report why no fault was tried, as the result of the first that would have been."""
        fault = CallFault("write", 1, "EIO")
        self.faults.append(fault)
        self._report(fault, REOPENED, checked)

    def _sweep_on(self) -> None:
        """See that the call after the last one of each class is not made; if it is, it can fail as well."""
        if self.options.until_broken or self.options.shard.number != self.options.shard.of:
            return
        counts = Counter(place.made.calls for place in self.prepared.profile.places)
        for _ in range(_SWEEPS_MAX):
            beyond = [CallFault(calls, number + 1, "EIO") for calls, number in sorted(counts.items())]
            folder = self.checker.folder()
            run = run_with(self.checker, self.prepared, beyond, (), folder)
            remove_tree(folder)
            fired = run.account.fired if run.account else ()
            if not fired:
                self.details["untouched"] = True
                return
            self.notes.append(
                f"the workload does not make the same calls each time: {', '.join(map(str, fired))} was met, too"
            )
            self._try([fault for fault in fired if fault not in self.faults])
            counts.update(fault.calls for fault in fired)
        self.details["untouched"] = False
        self.notes.append("the sweep was ended, although each further run made calls that none before had made")

    def _account(self) -> None:
        fired = [run for run in self.runs.values() if run.fired]
        runs = len({id(run) for run in self.runs.values()})
        carried = sum(run.went_on for run in fired)
        self.details.update(
            faults=len(self.runs), fired=len(fired), runs=runs, carried_on=carried, distinct_states=self._judge.distinct,
            disks={name: disk.account() for name, disk in self.disks.items()},
            calls=dict(Counter(place.made.calls for place in self.prepared.profile.places)),
        )  # fmt: skip
        self.notes += filter(None, [self.prepared.patience.rule, self.checker.patience.rule])
        self.notes.append(
            f"{len(fired):,} faults fired in {runs:,} runs; after {carried:,} of them the workload acknowledged more, after the "
            f"others it stopped; {self._judge.distinct:,} distinct states judged"
        )
        if not self.checker.system.can_resume():
            self.notes.append(
                "the system does not say how it goes on after a recovery (`resume`), so it was not resumed"
            )
        self.notes.append(
            "calls are answered in the kernel's place; ending uncached assumes what ext4 and xfs do with pages that they cannot "
            "write: they call them clean"
        )
        if not self.results:
            why = "the workload changes nothing in its folder, so no call of it could fail"
            self._report_alone(Checked(Verdict.UNKNOWN, why))


def _same(fault: Fault, run: FaultyRun) -> bool:
    """Whether a fault's own run would be the same as one that was made."""
    return isinstance(fault, CallFault) and run.account is not None and answers_alike(fault, run.account.since)


def _alike(faults: Sequence[Fault]) -> list[list[Fault]]:
    """Group the faults that begin with the same answer to the same call."""
    groups: dict[tuple[str, int, str], list[Fault]] = {}
    for fault in faults:
        groups.setdefault((fault.calls, fault.number, fault.error.partition("+")[0]), []).append(fault)
    return list(groups.values())


class IoError(NeedsNoOptions):
    """The kind of experiment; see `crashmatrix.scenarios.experiment.ExperimentKind`."""

    name = NAME
    dies: Literal["call"] = "call"
    default = False
    modules = ("crashmatrix.scenarios.io_error.jobs", "crashmatrix.scenarios.io_error.disk.tries")
    budget = BUDGET
    counts = "faults"
    labels = Labels("fault", "call", methods="ending")

    def lacking(self, options: ExperimentOptions) -> str:
        """Return what this machine lacks to answer system calls, and to record the disks that were named."""
        return lacking() or (power_lacks(options.filesystems) if options.filesystems_named else "")

    def experiment(
        self, checker: Checker, options: ExperimentOptions, listener: Listener | None = None
    ) -> IoErrorExperiment:
        """Return the experiment, not yet begun."""
        return IoErrorExperiment(checker, options, listener or Listener())

    def searches(self, checker: Checker, options: ExperimentOptions) -> Iterator[IoErrorExperiment]:
        """One: it tries every class of calls."""
        yield self.experiment(checker, options)

    def points(self, checker: Checker) -> Sequence[CrashPoint]:
        """None: calls have no names of their own."""
        del checker
        return ()

    def scenario(self, name: str, stored: StoredRun) -> IoErrorScenario:
        """Return the scenario of an id; the report is not needed. Raises UsageError."""
        del stored
        return IoErrorScenario(name, *parse_id(name))


IO_ERROR = IoError()
