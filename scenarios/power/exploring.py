"""Steps 1 to 4 of the power experiment: record the workload, judge the crash states of each recording, keep its evidence."""

from __future__ import annotations

import math
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial, reduce
from operator import or_
from typing import Any

from crashmatrix.reports import ScenarioResult, Verdict
from crashmatrix.reports.store import TRACES, keep_trace
from crashmatrix.scenarios.errors import EnvironmentLacks
from crashmatrix.scenarios.experiment import ExperimentOptions, Listener
from crashmatrix.scenarios.judging import second_life
from crashmatrix.scenarios.judging.checker import Checker
from crashmatrix.scenarios.judging.patience import NOTHING_LEARNT, Learnt, Patience
from crashmatrix.scenarios.judging.undisturbed import broken_undisturbed, refuse_if_broken
from crashmatrix.scenarios.judging.words import counted
from crashmatrix.scenarios.power import judge as power_judge
from crashmatrix.scenarios.power.judge_pool import JudgeShare, judged_shares, judges_for
from crashmatrix.scenarios.power.results import (
    CLEAN_END,
    checks_in_words,
    coverage_in_words,
    nothing_differed,
    parse_power_id,
    recordings_in_words,
    restarts_in_words,
    result_of,
)
from crashmatrix.scenarios.power.rounds import NUDGES, RESTARTS, STATES_MAX, Rounds
from crashmatrix.scenarios.power.schedule import Recordings, recovery_of
from crashmatrix.scenarios.power.to_recover import Kind, state_to_recover
from crashmatrix.scenarios.processes.result import Returned
from crashmatrix.scenarios.recorded.needs import lacking
from crashmatrix.scenarios.recorded.recording import Recording
from crashmatrix.scenarios.recorded.state_verdict import Check, Judged, Safe, account_of
from crashmatrix.scenarios.shards import WHOLE

__all__ = ["TRACES_BYTES_MAX", "PowerExploration"]

_RECOVERY_SHARE = 0.2
"""How much of a recording's budget goes to crashes during recovery."""

LIVES_MIN, LIVES_SHARE = 32, 0.02
"""How many second lives are judged in a run at most: this many at least, or this share of the budget."""

TRACES_BYTES_MAX = 256 * 2**20
"""How much of a report directory kept traces may take, in bytes."""


@dataclass
class PowerExploration:
    """The crash states of recordings of one target, and their verdicts. Results come in the order of recordings and states."""

    checker: Checker
    options: ExperimentOptions = field(default_factory=ExperimentOptions)
    listener: Listener = field(default_factory=Listener)
    nudges: tuple[str, ...] = NUDGES
    restarts: int = RESTARTS
    results: dict[str, ScenarioResult] = field(default_factory=dict)
    """By id."""
    details: dict[str, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    _judged: dict[str, dict[str, Judged]] = field(default_factory=dict)
    _verified: frozenset[Check] = frozenset()
    _learnt: Learnt = NOTHING_LEARNT
    _safe: dict[str, Safe] = field(default_factory=dict)
    """The folders found safe so far, as in `state_verdict.Share`."""
    _budget_left: int = 0
    _lives_left: int = 0
    _recovered: Counter[Kind] = field(default_factory=Counter)
    """How many recoveries were chosen to be recorded, by kind."""
    _resumed_on: set[str] = field(default_factory=set)
    _first: Recording | None = None
    """The first recording that was explored."""
    _promised: int = 0
    """How many second lives acknowledged something."""
    _rounds: Rounds = field(default_factory=Rounds)
    _weight_done: float = 0.0
    _weight_left: float = 0.0
    _reserved: dict[str, int] = field(default_factory=dict)
    _exploring: float = 0.0
    _kept_bytes: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def run(self) -> None:
        """Run it all; results so far stand even when this is interrupted.

        Raises:
            EnvironmentLacks: no root, FUSE, loop devices or filesystem tools.
            UsageError: the workload does not work on a recorded disk.
        """
        if reason := lacking(self.options.filesystems):
            raise EnvironmentLacks(reason)
        self.details.update(notes=self.notes, recordings=[])
        resumes, budget = self.checker.system.can_resume(), self.options.budget or STATES_MAX
        self._rounds = Rounds(self.options, self.nudges, self.restarts, resumes)
        part = self._rounds.begin()
        self._budget_left = max(1, int(budget * part))
        if resumes:
            most = round(0.1 * budget) if self.options.sampled else max(LIVES_MIN, round(LIVES_SHARE * budget))
            self._lives_left = math.ceil(most * part)
        begun = time.monotonic()
        with Recordings(
            self.checker.jobs,
            self.checker.target,
            self.checker.folder(),
            self.options.seed,
            self._rounds.kinds,
            self.checker.memory.ledger,
        ) as recordings:
            for recording in self._in_rounds(recordings):
                if self._says_nothing(recording):
                    break
                self._look_into(recording, recordings)
                self._expect(recording, recordings.left, begun)
                if self.options.until_broken and self._broken:
                    break
        self._account(recordings)

    def _in_rounds(self, recordings: Recordings) -> Iterator[Recording]:
        """Yield the recordings of one round after the other, as long as each shows something new and nothing broken."""
        while True:
            left = self._budget_left
            yield from recordings
            if self._broken or not self._rounds.goes_on(left - self._budget_left, self._budget_left):
                return
            self._rounds.begin()
            recordings.add(self._rounds.kinds)

    @property
    def _broken(self) -> bool:
        return any(result.verdict.broken for result in self.results.values())

    def _expect(self, recording: Recording, left: int, begun: float) -> None:
        """Say how long the recordings to come will take: as the ones so far, by how much can differ in them."""
        if not (recording.problem or recording.of):
            self._weight_done += recording.weight
            rate = len(self.results) / self._weight_done if self._weight_done else math.inf
            self._weight_left = self._rounds.expected(recording, left, self._budget_left, rate)
        if self._weight_done:
            spent = time.monotonic() - begun
            self.listener.time_left(spent * self._weight_left / self._weight_done, spent / max(1, len(self.results)))

    def _says_nothing(self, recording: Recording) -> bool:
        """Report a first recording after which no crash could be judged. Raises UsageError if its end breaks the contract.

        A planted bug may show without a crash, and is to be found all the same.
        """
        if self.results or recording.problem or recording.killed or recording.resumed or self.checker.target.mutant:
            return False
        seconds_max = 60 + 3 * self.checker.system.seconds_max
        result = self.checker.jobs.run(power_judge.undisturbed, self.checker.target, recording, seconds_max=seconds_max)
        violation = result.value if isinstance(result, Returned) else None
        if violation is None:
            return False
        refuse_if_broken(self.checker.target.name, violation, self.checker.system.contract)
        self.details["recordings"].append(recording.account())
        self._add(recording, Judged("none", violation.verdict, violation.explanation))
        return True

    def _look_into(self, recording: Recording, recordings: Recordings) -> None:
        """Explore a recording, with its part of what is left of the budget; then have a recovery from it recorded."""
        if recording.problem:
            self._budget_left += self._reserved.pop(recording.name, 0)
            self._add(recording, Judged("none", Verdict.UNKNOWN, recording.problem))
            return
        part = 0 if recording.of else self._rounds.part(recording, recordings.left, self._budget_left)
        kinds = self._kinds_later(recording)
        of_recovery = max(1, int(part * _RECOVERY_SHARE))
        budget = self._reserved.pop(recording.name) if recording.of else max(1, part - of_recovery * len(kinds))
        lives = (
            0
            if recording.of or recording.resumed
            else -(-self._lives_left // (recordings.left + 1) // self.options.workers)
        )
        made: list[Recording] = []
        self.listener.planned(recording.point, len(self.results) + budget)
        try:
            judged = self._explore(recording, budget, lives)
            if kinds and of_recovery and (state := self._state_to_recover(recording.name)):
                made = [recovery_of(recording, state, resumed=resumed) for resumed in kinds]
                self._reserved.update({each.name: of_recovery for each in made})
                judged += of_recovery * len(made)
                self._resumed_on.add(recording.filesystem)
            self._budget_left += (budget if recording.of else 0) - judged
        finally:
            self._keep(recording)
            if not made:
                recording.trace.unlink()
        if made:
            recordings.recover(recording, made)

    def _kinds_later(self, recording: Recording) -> list[bool]:
        """Return for each recording that is to be made on a crash state of this one whether it is of a second life.

        Recoveries are recorded on each recording of the workload, a second life once on each filesystem.
        """
        if recording.of or recording.resumed:
            return []
        first = recording.went_on is None  # A third life is none of the target's business.
        again = first and self.checker.system.can_resume() and recording.filesystem not in self._resumed_on
        return [False, True] if again else [False]

    def _state_to_recover(self, recording: str) -> str:
        judged = self._judged.get(recording, {}).values()
        return state_to_recover([*judged], self._recovered, f"{self.options.seed} {recording}")

    def ordered(self) -> list[ScenarioResult]:
        """Return the results so far in an order that does not depend on which finished first."""
        return sorted(self.results.values(), key=lambda result: (result.point, result.hit, result.id))

    def _explore(self, recording: Recording, budget: int, lives: int) -> int:
        """Share the states out among the workers, and gather what they find; returns how many they judged."""
        account = recording.account()
        self._first = self._first or recording
        self.details["recordings"].append(account)
        workers = judges_for(recording, budget, self.options.workers)
        part, lives = max(1, budget // workers), lives * self.options.workers // workers
        task = JudgeShare(
            recording, workers, part, self._verified, self.options.until_broken, lives, self._learnt, dict(self._safe)
        )
        shares, seconds = judged_shares(self.checker, task, partial(self._add, recording))
        self._exploring += seconds
        self._verified = self._verified.union(*(share.verified for share in shares))
        self._learnt = reduce(or_, (share.learnt for share in shares), self._learnt)
        for share in shares:
            self._safe.update(share.safe)
        account.update(account_of(shares))
        self._lives_left -= account["second_lives"]
        self._promised += sum(share.promised for share in shares)
        self._distrust(recording, account)
        return sum(share.judged for share in shares)

    def _add(self, recording: Recording, judged: Judged) -> None:
        result = result_of(recording, judged)
        result = replace(result, replay=self.options.replay_command(result.id))
        with self._lock:
            self._judged.setdefault(recording.name, {})[judged.state] = judged
            if not judged.repeats or judged.verdict is not Verdict.SAFE:
                self.results[result.id] = result
                self.listener.result(result)

    def _distrust(self, recording: Recording, account: Mapping[str, Any]) -> None:
        """An undisturbed recording whose states could not have differed says nothing."""
        of_this = self._judged.get(recording.name, {}).values()
        reason = ""
        if recording.of or recording.killed or recording.resumed or any(judged.verdict.broken for judged in of_this):
            return
        if not recording.events and not recording.initial:
            reason = "the journal has no line: nothing was promised"
        elif not recording.flushes:
            reason = "the disk was never flushed"
        elif not any(judged.differs for judged in of_this):
            reason = nothing_differed(account)
        if reason:
            self._add(recording, Judged("none", Verdict.UNKNOWN, reason))

    def _keep(self, recording: Recording) -> None:
        """Keep the trace if something was found in it, as far as there is room."""
        found = any(judged.verdict is not Verdict.SAFE for judged in self._judged.get(recording.name, {}).values())
        found, size = found and self.options.keep_evidence, recording.trace.stat().st_size
        if found and self._kept_bytes + size <= TRACES_BYTES_MAX:
            self.options.report.mkdir(parents=True, exist_ok=True)
            keep_trace(recording.trace, self.options.report / TRACES)
            self._kept_bytes += size
        elif found:
            self.notes.append(f"the trace {recording.name} ({size:,} bytes) was not kept: there is no room for more")

    def _undisturbed(self) -> ScenarioResult | None:
        """The end of a run that nothing disturbed, if it breaks a promise."""
        accounts = self.details["recordings"]
        names = {each["name"] for each in accounts if not (each["killed_at"] or each["recovery_of"] or each["resumed"])}
        ends = (each for each in self.ordered() if each.method == CLEAN_END and each.verdict.broken)
        return next((each for each in ends if parse_power_id(each.id)[0] in names), None)

    def _account(self, made: Recordings) -> None:
        if end := self._undisturbed():
            self.details["undisturbed"] = broken_undisturbed(end)
        recordings = [recording for recording in self.details["recordings"] if "judged" in recording]
        judged = sum(recording["judged"] for recording in recordings)
        self.details["states_per_second"] = round(judged / self._exploring, 1) if self._exploring else 0.0
        resumed = sum(bool(recording["resumed"]) for recording in recordings)
        restarts = sum(bool(recording["killed_at"]) for recording in recordings)
        self.notes.append(recordings_in_words(recordings))
        checks = checks_in_words(self._verified, recordings)
        restarted = restarts_in_words(restarts, made.places_known, made.missed)
        self.notes += filter(None, [coverage_in_words(recordings), checks, restarted])
        if self.checker.system.can_resume():
            went_on = sum(bool(each["killed_at"]) and each["went_on"] is not None for each in recordings)
            self._account_of_lives(sum(recording["second_lives"] for recording in recordings), resumed, went_on)
        self.notes += filter(None, [Patience(self.checker.system.seconds_max, self._learnt, tries=2).rule])
        safe = all(result.verdict is Verdict.SAFE for result in self.results.values())
        if safe and self.options.shard == WHOLE and "posix" not in self.options.filesystems:
            tested = " and ".join(self.options.filesystems)
            self.notes.append(
                f"every promise was kept on {tested}; --fs posix tests the weakest filesystem that POSIX allows"
            )

    def _account_of_lives(self, lives: int, recorded: int, went_on: int) -> None:
        """Say how often the system was resumed; second lives without any promise are ``unknown``."""
        restarts = (
            f", and in {counted(went_on, 'restart')} that went on, nothing synced since the kill" if went_on else ""
        )
        empty = f"; in {lives - self._promised} of these, resume acknowledged nothing" if self._promised < lives else ""
        self.notes.append(
            f"after recovery, the system was resumed from {counted(lives, 'crash state')}, once in a recovered folder{empty}; "
            f"power was cut again in {recorded} recorded second {'life' if recorded == 1 else 'lives'}{restarts}"
        )
        if lives and not self._promised and self._first:
            self._add(self._first, Judged("none", Verdict.UNKNOWN, second_life.nothing_stored()))
