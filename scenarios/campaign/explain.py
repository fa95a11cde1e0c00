"""From broken promises to findings: each kind of broken scenario minimised, told and, of power cuts, a remedy tried.

It is bounded: so many findings a run, so many extra judgements a finding; what was left out is said in the notes.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar, TypeVarTuple

from crashmatrix.faults.disk.filesystem import Filesystem
from crashmatrix.reports import Finding, ScenarioResult
from crashmatrix.reports.findings import Group, group
from crashmatrix.scenarios.errors import ForkServerDied
from crashmatrix.scenarios.kill.experiment import KillExperiment
from crashmatrix.scenarios.kill.explain import KillExplainer
from crashmatrix.scenarios.power import recording as power_record
from crashmatrix.scenarios.power.experiment import PowerExperiment, parse_power_id
from crashmatrix.scenarios.power.explain import explain as explain_power
from crashmatrix.scenarios.power.explain.conclusions import cause_with, sentences_with, suggestion_with
from crashmatrix.scenarios.power.explain.explain import Explanation
from crashmatrix.scenarios.power.explain.trials import Trials
from crashmatrix.scenarios.power.recording import Recording, trace_path
from crashmatrix.scenarios.processes.jobs import Channel
from crashmatrix.scenarios.processes.parallel import side_by_side
from crashmatrix.scenarios.processes.result import JobResult, Returned
from crashmatrix.scenarios.systems.loading import Target, load

__all__ = ["FINDINGS_MAX", "JUDGED_MAX", "SECONDS_MAX", "PowerExplainer", "explanations_of"]

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

FINDINGS_MAX = 8
"""How many kinds of finding a run explains."""

JUDGED_MAX = 40
"""How many states are judged at most to minimise one."""

SECONDS_MAX = 60
"""Findings are begun in the first half of so many seconds; remedies are tried until all of them are over."""

_STATES_MAX = 500


def explanations_of(experiment: KillExperiment | PowerExperiment) -> tuple[list[Finding], list[str]]:
    """Explain what an experiment found; returns the findings, and remarks on what was not explained."""
    explainer = PowerExplainer(experiment) if isinstance(experiment, PowerExperiment) else KillExplainer(experiment)
    try:
        return explainer.findings(), explainer.notes
    except Exception as error:  # Evidence is worth a lot, but no results are to be lost over it.
        return [], [*explainer.notes, f"what was found could not be explained: {type(error).__name__}: {error}"]


@dataclass
class PowerExplainer:
    """Explains what a power experiment found, from the traces it kept. Takes the time of the experiment's jobs."""

    experiment: PowerExperiment
    notes: list[str] = field(default_factory=list)
    _asked: Recording | None = None
    _asked_for: bool = False
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        power = self.experiment
        accounts = [account for account in power.details["recordings"] if "judged" in account]
        judged, seconds = sum(a["judged"] for a in accounts), sum(a["seconds"].get("all", 0.0) for a in accounts)
        states = Trials.affordable(judged, seconds)
        self._trials = Trials(power.jobs, power.target, power.scratch, power.workers, states)

    def findings(self) -> list[Finding]:
        """Explain each kind of broken promise; what is not is grouped all the same, by whoever shows the results."""
        start = time.perf_counter()
        groups = [found for found in group(self.experiment.ordered()) if found.finding.verdict.broken]
        stories: dict[int, tuple[Recording, Explanation] | None] = {}
        workers = self.experiment.workers
        for at in range(0, min(len(groups), FINDINGS_MAX), workers):
            # Not all at once: what is begun late may be one too many.
            if time.perf_counter() - start < SECONDS_MAX / 2:
                some = range(at, min(at + workers, len(groups), FINDINGS_MAX))
                stories.update(side_by_side(self.experiment.jobs, workers, lambda each: self._tell(groups[each]), some))
        told = [(groups[each], *story) for each, story in sorted(stories.items()) if story]
        findings = [self._with_trial(*each, late=time.perf_counter() - start > SECONDS_MAX) for each in told]
        if left := len(groups) - len(stories):
            self.notes.append(
                f"{left} more were not explained, for lack of budget: {FINDINGS_MAX} findings, begun in {SECONDS_MAX // 2} s"
            )
        if groups:
            of = f"{len(groups)} kind{'s' if len(groups) > 1 else ''} of finding"
            self.notes.append(f"{len(findings)} of {of} explained, in {time.perf_counter() - start:.1f} s")
        return findings

    def _tell(self, found: Group) -> tuple[Recording, Explanation] | None:
        """The story of a finding; None if it has none, for a reason that is noted."""
        reason = "judged again, its states were not broken so"
        try:
            recording, states = self._simplest(found.results)
            if recording is None:
                reason = "no trace of it was kept"
            else:
                told = self._run(
                    explain_power.explain, recording, states, found.finding.id, JUDGED_MAX, self._asked_by(recording)
                )
                if told:
                    return recording, told
        except ForkServerDied:
            raise
        except Exception as error:  # The results stand, whatever becomes of their explanation.
            reason = f"{type(error).__name__}: {error}"
        self.notes.append(f"{found.finding.id} was not explained: {reason}")
        return None

    def _with_trial(self, found: Group, recording: Recording, told: Explanation, *, late: bool) -> Finding:
        trial = None
        if recording.of is None and not late:
            remedies = [suspect.remedy for suspect in told.cause.every]
            trial = self._trials.first_that_helps(recording, found.finding.id, remedies, told.notes)
        name = f"power:{recording.name}:{told.state}"
        return replace(
            found.finding,
            example=name,
            replay=self.experiment.replay(name),
            cause=cause_with(told, trial),
            explanation=sentences_with(told, trial),
            lost=told.lost,
            suggestion=suggestion_with(told, trial),
            tested=trial.helps if trial else None,
            timeline=told.timeline,
        )

    def _simplest(self, results: Sequence[ScenarioResult]) -> tuple[Recording | None, list[str]]:
        """The recording that shows it most simply, and its states that do."""
        accounts = {account["name"]: account for account in self.experiment.details["recordings"]}

        def complexity(result: ScenarioResult) -> tuple[Any, ...]:
            account = accounts[parse_power_id(result.id)[0]]
            return result.depth, bool(account["killed_at"]), result.hit, result.id

        for result in sorted(results, key=complexity):
            name, _ = parse_power_id(result.id)
            trace = trace_path(self.experiment.keep, name)
            if trace.exists():
                states = [state for other, state in map(parse_power_id, (each.id for each in results)) if other == name]
                recording = Recording.from_account(accounts[name], self.experiment.seed, trace)
                return recording, states[:_STATES_MAX]
        return None, []

    def _asked_by(self, recording: Recording) -> Recording | None:
        """The workload recorded on `posix`, where each of its system calls is in the trace; made once."""
        if recording.of or recording.killed or not Filesystem.parse(recording.filesystem).on_disk:
            return None
        with self._lock:
            if not self._asked_for:
                self._asked_for = True
                name = f"posix~asked~{self.experiment.seed}"
                trace = trace_path(self.experiment.scratch, name)
                of_calls = Recording(name, "posix", "none", self.experiment.seed, trace)
                result = self._job(power_record.record_run, of_calls)
                self._asked = result.value if isinstance(result, Returned) else None
            return self._asked

    def _run(self, function: Callable[[Channel, Target, *Ts], T], *args: *Ts) -> T:
        result = self._job(function, *args)
        if not isinstance(result, Returned):
            raise RuntimeError(f"the explaining process {result}")
        return result.value

    def _job(self, function: Callable[[Channel, Target, *Ts], T], *args: *Ts) -> JobResult[T]:
        seconds = 60 + (20 + 2 * JUDGED_MAX) * load(self.experiment.target.name).seconds_max
        return self.experiment.jobs.run(function, self.experiment.target, *args, seconds_max=seconds, keep_going=True)
