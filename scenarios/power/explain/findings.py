"""From broken crash states to findings: each kind is minimised, explained, and its remedy tried on new recordings.

The work is bounded: so many findings a run, so many extra judgements a finding. The notes say what was left out.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, TypeVar, TypeVarTuple

from crashmatrix.faults.disk.filesystem import Filesystem
from crashmatrix.reports import Finding, ScenarioResult
from crashmatrix.reports.findings import Group, group
from crashmatrix.reports.store import TRACES
from crashmatrix.scenarios.errors import ForkServerDied
from crashmatrix.scenarios.judging import second_life
from crashmatrix.scenarios.judging.words import counted
from crashmatrix.scenarios.power.explain import explain as explain_power
from crashmatrix.scenarios.power.explain.after_restart import (
    Explained,
    as_one,
    as_without_restart,
    id_without_restart,
    in_both_lives,
    is_another,
    not_recovery,
    tried_with_others,
)
from crashmatrix.scenarios.power.explain.conclusions import cause_with, sentences_with, suggestion_with
from crashmatrix.scenarios.power.explain.explain import Explanation
from crashmatrix.scenarios.power.explain.trials import Trials
from crashmatrix.scenarios.power.exploring import PowerExploration
from crashmatrix.scenarios.power.results import parse_power_id, power_id
from crashmatrix.scenarios.processes.jobs import Channel
from crashmatrix.scenarios.processes.parallel import side_by_side
from crashmatrix.scenarios.processes.result import JobResult, Returned
from crashmatrix.scenarios.recorded import recording as power_record
from crashmatrix.scenarios.recorded.recording import Recording, trace_path
from crashmatrix.scenarios.systems.loading import Target

__all__ = ["FINDINGS_MAX", "JUDGED_MAX", "SECONDS_MAX", "PowerExplainer"]

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

FINDINGS_MAX = 8
"""How many kinds of finding a run explains."""

JUDGED_MAX = 40
"""How many states are judged at most to minimise one finding."""

SECONDS_MAX = 60
"""Explanations begin in the first half of this time; remedies are tried until its end. Then the trials made so far must do."""

_STATES_MAX = 500


@dataclass
class PowerExplainer:
    """Explains what a power experiment found, from the traces it kept. Uses the experiment's worker processes."""

    exploration: PowerExploration
    notes: list[str] = field(default_factory=list)
    _asked: Recording | None = None
    _asked_for: bool = False
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        power = self.exploration
        accounts = [account for account in power.details["recordings"] if "judged" in account]
        judged, seconds = sum(a["judged"] for a in accounts), sum(a["seconds"].get("all", 0.0) for a in accounts)
        states = Trials.affordable(judged, seconds)
        self._checker, self._options = power.checker, power.options
        self._scratch = self._checker.folder()
        self._trials = Trials(self._checker.jobs, self._checker.target, self._scratch, self._options.workers, states)

    def findings(self) -> list[Finding]:
        """Explain each kind of broken promise. Renderers group the scenarios of a kind that is not explained."""
        start = time.perf_counter()
        self._trials.until = start + SECONDS_MAX / 2  # The other half is for trials of other findings.
        groups = [found for found in group(self.exploration.ordered()) if found.finding.verdict.broken]
        explanations: dict[int, tuple[Recording, Explanation] | None] = {}
        workers = self._options.workers
        for at in range(0, min(len(groups), FINDINGS_MAX), workers):
            # In batches, so that none begins once half of the time is over.
            if time.perf_counter() - start < SECONDS_MAX / 2:
                some = range(at, min(at + workers, len(groups), FINDINGS_MAX))
                explanations.update(
                    side_by_side(self._checker.jobs, workers, lambda each: self._explain(groups[each]), some)
                )
        each_explained = [(groups[each], *explained) for each, explained in sorted(explanations.items()) if explained]
        tried: list[Explained] = []
        # Those after a restart come last: the syncs that help against the others are tried on them.
        for found, recording, explanation in sorted(each_explained, key=lambda each: bool(each[1].killed)):
            late = time.perf_counter() - start > SECONDS_MAX
            tried.append(self._with_trial(found, recording, explanation, tried, late=late))
        findings = _together(tried)
        if left := len(groups) - len(explanations):
            self.notes.append(
                f"{left} more were not explained, for lack of budget: {FINDINGS_MAX} findings, begun in {SECONDS_MAX // 2} s"
            )
        if groups:
            of = counted(len(groups), "kind")
            self.notes.append(f"{len(tried)} of {of} of finding explained, in {time.perf_counter() - start:.1f} s")
        return findings

    def _explain(self, found: Group) -> tuple[Recording, Explanation] | None:
        """Explain a finding from its simplest crash; None if that fails, with the reason in the notes."""
        reason = "judged again, its states were not broken in this way"
        try:
            recording, states = self._simplest(found.results)
            if recording is None:
                reason = "no trace of it was kept"
            else:
                told = self._run(
                    explain_power.explain, recording, states, found.finding.id, JUDGED_MAX, self._asked_by(recording),
                    _resumed(found),
                )  # fmt: skip
                if told:
                    return recording, told
        except ForkServerDied:
            raise
        except Exception as error:  # An explanation is not worth losing a result.
            reason = f"{type(error).__name__}: {error}"
        self.notes.append(f"{found.finding.id} was not explained: {reason}")
        return None

    def _with_trial(
        self, found: Group, recording: Recording, told: Explanation, others: Sequence[Explained], *, late: bool
    ) -> Explained:
        trial, plain = None, id_without_restart(recording, found.results)
        if recording.of is None and not recording.resumed and not _resumed(found):
            of_this = recording, found.finding.id
            helping = partial(self._trials.first_that_helps, *of_this, notes=told.notes)
            known = partial(self._trials.known, *of_this)
            told, trial = tried_with_others(plain, recording, told, others, known if late else helping)
        name = power_id(recording.name, told.state)
        finding = replace(
            found.finding,
            example=name,
            replay=self._options.replay_command(name),
            cause=cause_with(told, trial),
            explanation=sentences_with(told, trial),
            lost=told.lost,
            suggestion=suggestion_with(told, trial),
            tested=trial.helps if trial else None,
            timeline=told.timeline,
        )
        return Explained(finding, recording, told, trial, plain)

    def _simplest(self, results: Sequence[ScenarioResult]) -> tuple[Recording | None, list[str]]:
        """Return the recording with the simplest crash of a finding, and its states that show the finding."""
        accounts = {account["name"]: account for account in self.exploration.details["recordings"]}

        def complexity(result: ScenarioResult) -> tuple[Any, ...]:
            account = accounts[parse_power_id(result.id)[0]]
            return result.depth, bool(account["killed_at"]), result.hit, result.id

        for result in sorted(results, key=complexity):
            name, _ = parse_power_id(result.id)
            trace = trace_path(self._options.report / TRACES, name)
            if trace.exists():
                states = [state for other, state in map(parse_power_id, (each.id for each in results)) if other == name]
                recording = Recording.from_account(accounts[name], self._options.seed, trace)
                return recording, states[:_STATES_MAX]
        return None, []

    def _asked_by(self, recording: Recording) -> Recording | None:
        """Return the workload recorded on `posix`, whose trace has each of its system calls; recorded once."""
        later = recording.of or recording.killed or recording.resumed
        if later or not Filesystem.parse(recording.filesystem).on_disk:
            return None
        with self._lock:
            if not self._asked_for:
                self._asked_for = True
                name = f"posix~asked~{self._options.seed}"
                trace = trace_path(self._scratch, name)
                of_calls = Recording(name, "posix", "none", self._options.seed, trace)
                result = self._job(power_record.record_run, of_calls)
                self._asked = result.value if isinstance(result, Returned) else None
            return self._asked

    def _run(self, function: Callable[[Channel, Target, *Ts], T], *args: *Ts) -> T:
        result = self._job(function, *args)
        if not isinstance(result, Returned):
            raise RuntimeError(f"the explaining process {result}")
        return result.value

    def _job(self, function: Callable[[Channel, Target, *Ts], T], *args: *Ts) -> JobResult[T]:
        seconds = 60 + (20 + 4 * JUDGED_MAX) * self._checker.system.seconds_max
        return self._checker.jobs.run(function, self._checker.target, *args, seconds_max=seconds, keep_going=True)


def _together(tried: Sequence[Explained]) -> list[Finding]:
    """Return the findings: one that shows after a restart, and is another one, counts with that."""
    found = {each.finding.id: each for each in tried}
    for again in tried:
        if again.recording.resumed:
            first = found.get(again.plain)
            if first and again.finding.cause == second_life.CAUSE[0]:
                found[again.finding.id] = replace(again, finding=in_both_lives(again.finding, first.finding))
            continue
        other, one = is_another(again, [each for each in found.values() if not each.plain])
        if other and one:
            found[other.finding.id] = replace(other, finding=as_one(other, again))
            del found[again.finding.id]
        elif other:
            found[again.finding.id] = replace(again, finding=not_recovery(again.finding, other.finding))
        elif again.plain in found:
            found[again.finding.id] = replace(again, finding=as_without_restart(again, found[again.plain].finding))
    return [each.finding for each in found.values()]


def _resumed(found: Group) -> bool:
    """Whether a finding is about second lives: no sync of the first one helps."""
    return second_life.is_about(found.results[0].explanation)
