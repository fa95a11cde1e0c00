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
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from crashmatrix.faults.disk import Filesystem
from crashmatrix.faults.disk.linux.removal import remove_tree
from crashmatrix.reports import Labels, ScenarioResult, Verdict, worst
from crashmatrix.scenarios.errors import EnvironmentLacks
from crashmatrix.scenarios.experiment import (
    CrashPoint,
    ExperimentOptions,
    Explained,
    Listener,
    NeedsNoOptions,
    StoredRun,
)
from crashmatrix.scenarios.io_error.blind_spots import unjudged
from crashmatrix.scenarios.io_error.disk.source import DiskSource, Found
from crashmatrix.scenarios.io_error.explain import Explainer, cause_of
from crashmatrix.scenarios.io_error.faults import Fault, parse_fault
from crashmatrix.scenarios.io_error.messages import REOPENED, RESUMED, UNCACHED
from crashmatrix.scenarios.io_error.plan import (
    BUDGET,
    ENDINGS,
    NAME,
    alike,
    choose,
    parse_id,
)
from crashmatrix.scenarios.io_error.runs import FaultyRun, Prepared, TriedFault, begin, prepared_from, run_with
from crashmatrix.scenarios.io_error.scenario import IoErrorScenario
from crashmatrix.scenarios.io_error.trying import TryFaults, result_of
from crashmatrix.scenarios.judging.checker import Checked, Checker
from crashmatrix.scenarios.judging.undisturbed import refuse_if_broken
from crashmatrix.scenarios.judging.words import counted
from crashmatrix.scenarios.processes.calls.call_faults import CallFault
from crashmatrix.scenarios.processes.calls.seccomp import lacking
from crashmatrix.scenarios.recorded.needs import lacking as disk_lacks
from crashmatrix.scenarios.shards import plan_digest

__all__ = ["IO_ERROR", "IoError", "IoErrorExperiment"]

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
    tried: list[TriedFault] = field(default_factory=list)
    _runs: int = 0
    _replaced: int = 0
    """How many planned faults another one was tried in place of."""
    disks: dict[str, DiskSource] = field(default_factory=dict)
    confirmed: bool = True

    def run(self) -> None:
        """Run all five steps; see `crashmatrix.scenarios.experiment.Experiment`."""
        if reason := lacking():
            raise EnvironmentLacks(reason)
        self._begun = begin(self.checker)
        self.prepared = prepared = prepared_from(self.checker, self._begun)
        if self._says_nothing(prepared):
            return
        budget = self.options.budget or BUDGET
        points, rule = choose(prepared.points, budget // 3, self.options.seed)
        chosen, note = choose(prepared.profile.places, budget - len(points), self.options.seed)
        chosen += points
        self.notes += filter(None, (*prepared.profile.notes, note, rule and f"failpoints: {rule}"))
        self.details.update(notes=self.notes, plan=plan_digest(chosen), uncovered=list(prepared.profile.uncovered))
        disks_first = self.options.until_broken and self.options.filesystems_named
        if not (disks_first and self._try_disks(budget)):
            self._try(self.options.shard.block(chosen))
            self._sweep_on()
        if self.options.filesystems_named and not disks_first:
            self._try_disks(budget)
        self._account()

    def ordered(self) -> list[ScenarioResult]:
        """Return the results so far in an order that does not depend on which finished first."""
        keys = [(fault, ending) for fault in self.faults for ending in ENDINGS]
        return [self.results[key] for key in keys if key in self.results]

    def explain(self) -> Explained:
        """Explain each kind of broken promise: its simplest fault is run once more, step by step."""
        explainer = Explainer(self.checker, self.prepared, self.ordered(), self.disks, dict(self._met()))
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
        groups = alike(faults)
        if self.options.until_broken:
            random.Random(f"{self.options.seed} search").shuffle(groups)
        task, todo = TryFaults(self._begun, self.options), len(faults)
        begun, made = time.monotonic(), self.checker.memory.made
        for number, found in self.checker.pool.each(task, dict(enumerate(groups)), self.options.workers):
            self._runs += len({tried.run for tried in found})
            self.tried += found
            for planned, tried in zip(groups[number], found, strict=True):
                self._replaced += tried.fault != str(planned)
                self._report_all(planned, parse_fault(tried.fault), tried.results)
            each = (time.monotonic() - begun) / max(1, self.checker.memory.made - made)
            todo -= len(found)
            self.listener.time_left(todo * each, each)
            if self.options.until_broken and any(result.verdict.broken for tried in found for result in tried.results):
                return

    def _try_disks(self, budget: int) -> bool:
        """Fail the recorded disk of each filesystem; returns whether the search is over."""
        for filesystem in self.options.filesystems:
            places = [place for place in self.prepared.profile.places if place.made.calls != "read"]
            disk = DiskSource(self.checker, self.options, filesystem, places)
            self.disks[filesystem] = disk
            chosen = self.options.shard.block(disk.plan(budget))
            self.listener.planned(f"failing disks, {filesystem}", len(self.results) + len(chosen))
            if self._report_found(disk.run(chosen)):
                return True
            if not self.options.until_broken and self.options.shard.number == self.options.shard.of:
                self._report_found(disk.sweep())
            self.notes += disk.notes
            self._replaced += disk.replaced
        return False

    def _report_found(self, found: Iterable[Found]) -> bool:
        """Report faults of a disk as they come; returns whether a promise was broken."""
        for fault, run, judged in found:
            results = tuple(self._result(fault, ending, run, *each) for ending, each in judged.items())
            self._runs += run.recorded
            self.tried.append(TriedFault(str(fault), run.fired is not None, run.went_on, 0, results, run.died, run.met))
            self._report_all(fault, fault, results)
            if self.options.until_broken and any(result.verdict.broken for result in results):
                return True
        return False

    def _result(self, fault: Fault, ending: str, run: FaultyRun, checked: Checked, digest: str) -> ScenarioResult:
        cause = cause_of(self.prepared, fault, run) if checked.verdict.broken else ""
        return result_of(self.options, fault, ending, checked, digest, cause)

    def _report_all(self, planned: Fault, fault: Fault, results: Iterable[ScenarioResult]) -> None:
        """Report the results of a fault. Another one may have been tried in the planned one's place; it may be planned, too."""
        if fault not in self.faults:
            at = self.faults.index(planned) if planned in self.faults else len(self.faults)
            self.faults.insert(at, fault)
        for result in results:
            known = self.results.get((fault, result.method))
            if known is None or worst((known.verdict, result.verdict)) is not known.verdict:
                self._report(fault, result.method, result)

    def _report(self, fault: Fault, ending: str, result: ScenarioResult) -> None:
        self.results[fault, ending] = result
        self.listener.result(result)

    def _report_alone(self, checked: Checked) -> None:
        """Report why no fault was tried, as the result of the first that would have been."""
        fault = CallFault("write", 1, "EIO")
        self.faults.append(fault)
        self._report(fault, REOPENED, result_of(self.options, fault, REOPENED, checked))

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
        fired = [tried for tried in self.tried if tried.fired]
        carried = sum(tried.went_on for tried in fired)
        distinct = len({result.state for (_, ending), result in self.results.items() if ending != RESUMED} - {""})
        self.details.update(
            faults=len(self.tried), fired=len(fired), replaced=self._replaced, runs=self._runs, carried_on=carried,
            distinct_states=distinct, met=self._met(), disks={name: disk.account() for name, disk in self.disks.items()},
            calls=dict(Counter(place.made.calls for place in self.prepared.profile.places)),
        )  # fmt: skip
        self.notes += filter(None, [self.prepared.patience.rule, self.checker.patience.rule])
        self.notes.append(
            f"{len(fired):,} faults fired in {self._runs:,} runs; after {carried:,} of them the workload acknowledged more, "
            f"after the others it stopped; {distinct:,} distinct states judged"
        )
        if self._replaced:
            self.notes.append(
                f"{counted(self._replaced, 'planned fault')} could not be reached: the workload makes fewer of these calls "
                "in other runs. In place of each, the last call of its class failed, which may have been planned as well"
            )
        self.notes += _deaths(fired)
        if not any(Filesystem.parse(name).on_disk for name in self.disks):
            unseen = unjudged(self.prepared.profile.places, [parse_fault(tried.fault) for tried in fired])
            self.notes += filter(None, [unseen])
        if not self.checker.system.can_resume():
            self.notes.append(
                "the system does not say how it goes on after a recovery (`resume`), so it was not resumed"
            )
        if any(ending == UNCACHED for _, ending in self.results):
            self.notes.append(
                "calls are answered in the kernel's place; ending uncached replaces the pages that a failed sync left clean by "
                "what the disk holds, as dropping the page cache does on ext4, xfs and btrfs"
            )
        if not self.results:
            why = "the workload changes nothing in its folder, so no call of it could fail"
            self._report_alone(Checked(Verdict.UNKNOWN, why))

    def _met(self) -> list[tuple[str, str]]:
        """The faults that broke a promise, each with the call that failed, for a replay of a workload that takes other steps."""
        met = {tried.fault: tried.met for tried in self.tried if any(each.verdict.broken for each in tried.results)}
        return [each for each in met.items() if each[1]]


def _deaths(tried: Sequence[TriedFault]) -> list[str]:
    """Say after how many faults the workload died by a signal, and at which one first."""
    by_signal: dict[str, list[str]] = {}
    for each in tried:
        by_signal.setdefault(each.died, []).append(each.fault)
    return [
        f"after {len(faults):,} faults the workload {died}, as after {faults[0]}"
        for died, faults in by_signal.items()
        if died
    ]


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
        return lacking() or (disk_lacks(options.filesystems) if options.filesystems_named else "")

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
        """Return the scenario of an id; a report knows which call failed, if a promise was broken. Raises UsageError."""
        fault, ending = parse_id(name)
        return IoErrorScenario(name, fault, ending, dict(stored.details.get("met", ())).get(str(fault), ""))


IO_ERROR = IoError()
