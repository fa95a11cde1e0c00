"""Explain one finding of the power experiment, in a process of its own.

1. of the finding's crash states, take the one with the fewest crashes and the earliest cut
2. find the first cut at which it is still broken; then the fewest lost writes (`minimise`)
3. name what was lost: block by block (`faults.disk.block.naming`), and by the workload's own calls (`losses`, `unsynced`);
   of changes in memory, find those that are to blame
4. derive the cause: which sync was missing before the acknowledgement (`causes`), or which step broke the promise
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from crashmatrix.faults.disk import CrashState, Data, Note, Size, Trace, enter_private_namespace, load_trace
from crashmatrix.faults.disk.posix.naming import tree_syncs
from crashmatrix.faults.disk.trace.named import is_outside
from crashmatrix.reports import Event, Verdict
from crashmatrix.reports.findings import finding_id
from crashmatrix.scenarios.judging import second_life, second_recovery
from crashmatrix.scenarios.judging.locations import declared_places
from crashmatrix.scenarios.judging.words import HALF_DONE, acknowledged, shown
from crashmatrix.scenarios.power.explain.causes import (
    SIZE_FIRST,
    Cause,
    cause_of,
    cause_of_growth,
    cause_of_restart,
)
from crashmatrix.scenarios.power.explain.guesses import cause_of_later, cause_of_unwritten
from crashmatrix.scenarios.power.explain.last_step import (
    acknowledged_at,
    called_nothing,
    is_of_inodes,
    last_step,
    step_in_words,
)
from crashmatrix.scenarios.power.explain.losses import Loss, loss_of
from crashmatrix.scenarios.power.explain.minimise import Budget, earliest, fewest_lost, to_blame
from crashmatrix.scenarios.power.explain.places import journal_lines, where
from crashmatrix.scenarios.power.explain.timeline import timeline
from crashmatrix.scenarios.power.judge import judging
from crashmatrix.scenarios.power.results import circumstances, result_of
from crashmatrix.scenarios.processes.jobs import Channel
from crashmatrix.scenarios.recorded.going_on import went_on_at
from crashmatrix.scenarios.recorded.recording import Recording, is_journal_line
from crashmatrix.scenarios.recorded.remedies import pattern_of
from crashmatrix.scenarios.recorded.restarts import restarted_at
from crashmatrix.scenarios.recorded.state_verdict import Judged
from crashmatrix.scenarios.systems.loading import Target
from crashmatrix.scenarios.target.notes import AttemptNote, acknowledgements, parse

__all__ = ["Crash", "Explanation", "cause_in", "cuts_of", "explain", "explained", "judge_like"]

_EARLIER_TRIES = 12
_LIKE_MAX = 16
_UNKNOWN_IN_MEMORY = (
    "Changes in memory only are not known: recorded again, the workload did not do the same in the same order."
)
_OF_NAMES = (" removed", " becomes ", " linked to ")
_MORE_NEEDED = "No loss is to blame: recovery needs more than that step left."


@dataclass(frozen=True)
class Crash:
    """A minimised crash. ``safe_before`` says whether one right before its last step keeps the promise; ``safe_unacknowledged``
    whether one after that step does, before the acknowledgement that follows."""

    trace: Trace
    recording: Recording
    state: CrashState
    judged: Judged
    tries: int
    """How many states were judged to find it."""
    safe_before: bool
    safe_unacknowledged: bool = False

    @property
    def lines(self) -> list[str]:
        """The journal up to the cut."""
        return journal_lines(self.trace, self.state.cut, self.recording)

    @property
    def in_flight(self) -> bool:
        """Whether the last that the journal says is that an item was attempted."""
        return bool(self.lines) and isinstance(parse(self.lines[-1]), AttemptNote)

    @property
    def last_acknowledged(self) -> tuple[int, str]:
        """The number of the journal line that acknowledged last, and its item; 0 if none did."""
        acks = acknowledgements(self.lines)
        return (acks[-1][0], shown(acks[-1][1].text)) if acks else (0, "")


@dataclass(frozen=True)
class Explanation:
    """Why a promise was broken. ``state`` is the minimised crash state, ``judged`` how many were judged to find it."""

    state: str
    judged: int
    explanation: tuple[str, ...]
    cause: Cause
    lost: tuple[str, ...]
    timeline: tuple[Event, ...]
    notes: int
    """How many notes came before the cut."""
    files: frozenset[str] = frozenset()
    """Patterns of the store's files and directories that lost something, as far as that is known."""


def explain(
    _: Channel,
    target: Target,
    recording: Recording,
    states: Sequence[str],
    finding: str,
    budget: int,
    calls: Recording | None,
    resumes: bool = False,
) -> Explanation | None:
    """Explain a finding.

    Args:
        states: ids of crash states of the recording that show it.
        finding: its id: a state shows it if its result has this one.
        budget: how many states to judge at most; as many again to find which changes in memory are to blame.
        calls: the same workload recorded on the `posix` filesystem, if there is such a recording.
        resumes: whether it takes a second life to show it.

    Returns:
        None if no state given shows it when judged again.

    Raises crashmatrix.faults.disk.DiskError.
    """
    enter_private_namespace()  # Before anything starts a thread.
    trace = load_trace(recording.trace)
    target.make()  # Imports it: its failpoints are declared.
    known = [CrashState.parse(state, trace) for state in states]
    first = min(known, key=lambda state: (state.cut, len(state.tears), state.pending - state.kept.bit_count()))
    crash = _minimised(target, recording, trace, first, finding, budget, resumes)
    if crash is None:
        return None
    loss = loss_of(trace, crash.state, calls)
    if calls and loss.missing:
        loss, more = _blamed(target, calls, loss, finding, budget)
        crash = replace(crash, tries=crash.tries + more)
    return explained(crash, loss, declared_places())


def _minimised(
    target: Target, recording: Recording, trace: Trace, first: CrashState, finding: str, budget: int, resumes: bool
) -> Crash | None:
    last: dict[CrashState, Judged] = {}
    with judging(target, recording, trace, resumes=resumes) as judge:

        def broken(state: CrashState) -> bool:
            last[state] = judge(state)
            return finding_id(result_of(recording, last[state])) == finding

        most = Budget(broken, budget)
        if not most.broken(first):
            return None
        cuts = cuts_of(trace, recording)
        state = earliest(trace, replace(first, tears=(), kept=0), cuts, most, _EARLIER_TRIES)
        state = fewest_lost(state if most.broken(state) else first, most)
        state = earliest(trace, state, cuts, most, _EARLIER_TRIES)
        start, _ = last_step(trace, state)
        safe_before = judge(CrashState.whole(trace, start)).verdict is Verdict.SAFE
        acked = acknowledged_at(trace, state) if safe_before else None
        unacknowledged = acked is not None and judge(CrashState.whole(trace, acked)).verdict is Verdict.SAFE
    return Crash(trace, recording, state, last[state], budget - most.left, safe_before, unacknowledged)


def _blamed(target: Target, calls: Recording, loss: Loss, finding: str, tries_max: int) -> tuple[Loss, int]:
    """Return a loss without the blame of changes that do not deserve it; and how many states were judged for that.

    Args:
        calls: the same workload recorded on the `posix` filesystem.
        finding: the id of the finding to explain.
    """
    trace = load_trace(calls.trace)
    with judging(target, calls, trace) as judge:
        budget = Budget(lambda state: finding_id(result_of(calls, judge(state))) == finding, tries_max)
        guilty = to_blame(trace, loss.called_to, loss.missing or (), budget.broken)
    used = tries_max - budget.left
    if guilty is None or (not guilty and (loss.gone or loss.torn)):  # Those writes are known to be needed.
        return loss, used
    return loss.blaming(guilty), used


def judge_like(_: Channel, target: Target, recording: Recording, notes: int) -> list[Judged]:
    """Judge the states of another recording that are like a minimised one: few writes lost, after so many notes.

    Raises crashmatrix.faults.disk.DiskError.
    """
    enter_private_namespace()
    trace = load_trace(recording.trace)
    found = [at for at, operation in enumerate(trace.operations) if isinstance(operation, Note)]
    cut = found[notes - 1] + 1 if 0 < notes <= len(found) else trace.start
    size = len(trace.pending(cut))
    every = (1 << size) - 1
    masks = [0, every, *(every ^ 1 << index for index in reversed(range(size)))]
    states = [CrashState(cut, mask, (), size) for mask in dict.fromkeys(masks)]
    with judging(target, recording, trace) as judge:
        return [judge(state) for state in states[:_LIKE_MAX]]


def cuts_of(trace: Trace, recording: Recording) -> list[int]:
    """The cuts to try: right after each journal line, from the workload's start or restart on; in a recovery, after each hit."""
    first = max(trace.start, restarted_at(trace))
    in_recovery = recording.of or recording.killed
    return [
        at + 1
        for at, operation in enumerate(trace.operations[: trace.finish])
        if at >= first and isinstance(operation, Note) and (in_recovery or is_journal_line(operation.text))
    ]


def explained(crash: Crash, loss: Loss, declared: Mapping[str, str]) -> Explanation:
    """Put a crash and what it took into words; ``declared`` is where failpoints are declared, by name."""
    trace, recording, state, judged = crash.trace, crash.recording, crash.state, crash.judged
    cause = cause_in(crash, loss, declared)
    if cause.suspects:
        loss = loss.led_by(cause.suspects[0].remedy.matches)
    sentences = [
        acknowledged(crash.lines, len(recording.initial), killed=recording.went_on is not None),
        where(trace, state.cut, recording, declared),
        "" if loss.nothing and _is_within_growth(trace, state.cut) else loss.text,
        _UNKNOWN_IN_MEMORY if _is_unknown(crash, loss) else "",
        f"Then: {circumstances(recording, judged.explanation)}.",
        cause.because,
    ]
    synced = {} if loss.on_disk else tree_syncs(trace, state.cut)
    return Explanation(
        state=str(state),
        judged=crash.tries,
        explanation=tuple(filter(None, sentences)),
        cause=cause,
        lost=loss.listed,
        timeline=timeline(trace, state, loss.names, declared, outcome=judged.explanation, synced=synced),
        notes=len(trace.notes_before(state.cut)),
        files=_files_of(loss, trace),
    )


def cause_in(crash: Crash, loss: Loss, declared: Mapping[str, str]) -> Cause:
    """Derive why a crash breaks its promise."""
    # A disk's recording says nothing of what was in memory.
    went_on = not loss.on_disk and 0 < went_on_at(crash.trace) < crash.state.cut
    if second_life.is_about(crash.judged.explanation) or (loss.nothing and (crash.recording.resumed or went_on)):
        return Cause(*second_life.CAUSE)
    if second_recovery.is_about(crash.judged.explanation):
        return Cause(*second_recovery.CAUSE)
    line, item = crash.last_acknowledged
    line -= len(crash.recording.before)
    missing = loss.missing or ()
    unacknowledged = missing if all(each.lines >= line for each in missing) else ()
    cause = cause_of_restart(unacknowledged, loss.unsynced, loss.survived)
    # After a restart, either what recovery itself wrote is lost, or what it had read.
    if not crash.recording.killed or (loss.gone and min(loss.gone) >= restarted_at(crash.trace)):
        loses = crash.judged.verdict in (Verdict.LOSES, Verdict.HOLE)
        torn = [each for at in loss.torn for each in loss.names[at]]
        cause = cause_of(
            loss.of_workload(crash.trace), line, item, loses=loses, unsynced=loss.unsynced, survived=loss.survived,
            torn=torn,
        )  # fmt: skip
    unknown = _is_unknown(crash, loss)
    if unknown and not cause.cause and line > 0:
        cause = cause_of_later(loss.later, item)
    first_life = not (crash.recording.of or crash.recording.killed or crash.recording.resumed)
    if (
        first_life
        and not unknown
        and loss.nothing
        and line > 0
        and called_nothing(crash.trace, crash.state, loss.names)
    ):
        cause = cause_of_unwritten(loss.later, item)
    elif loss.nothing and not unknown and loss.later and _is_within_growth(crash.trace, crash.state.cut):
        cause = cause_of_growth(loss.later[0])
    elif crash.safe_before and loss.nothing and not unknown:
        acked = item if crash.safe_unacknowledged else ""
        step = step_in_words(crash.trace, crash.state, loss.names, crash.recording, declared, acked)
        cause = replace(cause, otherwise=step, because=cause.because or _because_of(step, crash))
    return cause


def _because_of(step: str, crash: Crash) -> str:
    """Why a step in words, which lost nothing, breaks the promise, or what to do; empty if that is not known."""
    if not step or is_of_inodes(step):
        return SIZE_FIRST if step else ""
    if crash.safe_unacknowledged:
        return _MORE_NEEDED
    started = crash.recording.of or crash.recording.killed or crash.recording.resumed
    half_done = not started and crash.in_flight and crash.judged.verdict in (Verdict.CANNOT_OPEN, Verdict.CORRUPT)
    return HALF_DONE if half_done and not any(words in step for words in _OF_NAMES) else ""


def _files_of(loss: Loss, trace: Trace) -> frozenset[str]:
    changes = [each.named for each in loss.of_workload(trace) if not is_outside(each.named)]
    return frozenset(pattern_of(each.now or each.path) for each in changes if each.now or each.path)


def _is_within_growth(trace: Trace, cut: int) -> bool:
    """Whether a cut is within a write that makes a file longer: after the new size, before the content."""
    size, data = trace.operations[cut - 1], trace.operations[cut] if cut < len(trace.operations) else None
    return isinstance(size, Size) and isinstance(data, Data) and data.inode == size.inode and size.size > data.offset


def _is_unknown(crash: Crash, loss: Loss) -> bool:
    """Whether the changes that were in memory only are unknown."""
    recording = crash.recording
    return loss.missing is None and not (recording.of or recording.killed or recording.resumed)
