"""What explains one finding of the power experiment, in a process of its own: minimise its simplest crash, and tell it.

1. of the finding's crash states, take the one with the fewest crashes and the earliest cut
2. the first cut at which it is still broken; then the fewest lost writes (`minimise`)
3. name what was lost: block by block (`faults.disk.block.naming`), and by what the workload had asked for (`unsynced`)
4. say why in terms of what was not synced before it was acknowledged (`story`)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from crashmatrix.faults.disk import Change, CrashImages, CrashState, Note, Trace, enter_private_namespace, load_trace
from crashmatrix.faults.disk.change_names import changes_named
from crashmatrix.faults.disk.filesystem import Filesystem
from crashmatrix.faults.disk.posix.naming import tree_syncs
from crashmatrix.faults.disk.trace.named import DATA, JOURNAL, NAMES, Named, in_words
from crashmatrix.reports import Event, Verdict
from crashmatrix.reports.findings import finding_id
from crashmatrix.scenarios.judging.locations import declared_places
from crashmatrix.scenarios.power.explain.causes import (
    Cause,
    acknowledged,
    cause_of,
    cause_of_later,
    cause_of_restart,
    journal_lines,
    place_of,
    shown,
    where,
)
from crashmatrix.scenarios.power.explain.minimise import Budget, earliest, fewest_lost
from crashmatrix.scenarios.power.explain.timeline import timeline
from crashmatrix.scenarios.power.explain.unsynced import Missing, lines_before, lost_in, missing_from, same_names
from crashmatrix.scenarios.power.judge import judging
from crashmatrix.scenarios.power.recording import Recording, is_journal_line
from crashmatrix.scenarios.power.restarts import restarted_at
from crashmatrix.scenarios.power.results import circumstances, result_of
from crashmatrix.scenarios.power.state_verdict import Judged
from crashmatrix.scenarios.processes.jobs import Channel
from crashmatrix.scenarios.systems.loading import Target

__all__ = ["Told", "explain", "judge_like"]

_LOST_SHOWN = 24
_EARLIER_TRIES = 12
_LIKE_MAX = 16
_LATER = 60
_UNKNOWN_IN_MEMORY = (
    "What was in memory only is not known: recorded again, the workload did not do the same in the same order."
)


@dataclass(frozen=True)
class Told:
    """A finding's story. ``state`` is the minimised crash state, ``judged`` how many were judged to find it."""

    state: str
    judged: int
    explanation: tuple[str, ...]
    cause: Cause
    lost: tuple[str, ...]
    timeline: tuple[Event, ...]
    notes: int
    """How many notes came before the cut."""


def explain(
    _: Channel,
    target: Target,
    recording: Recording,
    states: Sequence[str],
    finding: str,
    budget: int,
    asked: Recording | None,
) -> Told | None:
    """Explain a finding.

    Args:
        states: ids of crash states of the recording that show it.
        finding: its id: a state shows it if its result has this one.
        budget: how many states to judge at most.
        asked: the same workload recorded on the `posix` filesystem, if there is such a recording.

    Returns:
        None if no state given shows it when judged again.

    Raises crashmatrix.faults.disk.DiskError.
    """
    enter_private_namespace()  # Before anything starts a thread.
    trace = load_trace(recording.trace)
    target.make()  # Imports it: its failpoints are declared.
    known = [CrashState.parse(state, trace) for state in states]
    first = min(known, key=lambda state: (state.cut, len(state.tears), state.pending - state.kept.bit_count()))
    last: dict[CrashState, Judged] = {}
    with judging(target, recording, trace) as judge:

        def broken(state: CrashState) -> bool:
            last[state] = judge(state)
            return finding_id(result_of(recording, last[state])) == finding

        most = Budget(broken, budget)
        if not most.broken(first):
            return None
        state = earliest(trace, replace(first, tears=(), kept=0), _cuts(trace, recording), most, _EARLIER_TRIES)
        state = fewest_lost(state if most.broken(state) else first, most)
        state = earliest(trace, state, _cuts(trace, recording), most, _EARLIER_TRIES)
        start = _last_step(trace, state)[0]
        safe_before = judge(CrashState.whole(trace, start)).verdict is Verdict.SAFE
    return _tell(trace, recording, state, last[state], budget - most.left, asked, safe_before)


def judge_like(_: Channel, target: Target, recording: Recording, notes: int) -> list[Judged]:
    """Judge the states of another recording that are like a minimised one: a little lost, after so many notes.

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


def _cuts(trace: Trace, recording: Recording) -> list[int]:
    """Right after each journal line, from the workload's start or restart on; in a recovery, which has none, after each hit."""
    first = max(trace.start, restarted_at(trace))
    in_recovery = recording.of or recording.killed
    return [
        at + 1
        for at, operation in enumerate(trace.operations[: trace.finish])
        if at >= first and isinstance(operation, Note) and (in_recovery or is_journal_line(operation.text))
    ]


def _tell(
    trace: Trace,
    recording: Recording,
    state: CrashState,
    judged: Judged,
    count: int,
    asked: Recording | None,
    safe_before: bool,
) -> Told:
    on_disk = Filesystem.parse(trace.filesystem).on_disk
    with CrashImages(trace) as images:
        names = changes_named(trace, state.cut, images)
        missing, unsynced = _missing(trace, state, images, asked) if on_disk else lost_in(trace, state)
        later = _later(trace, state.cut, images) if missing is None else []
    pending = trace.pending(state.cut)
    gone = [at for index, at in enumerate(pending) if not state.kept >> index & 1]
    torn = [pending[tear.write] for tear in state.tears]
    lost = [
        *in_words(each for at in gone for each in names[at]),
        *(f"{line} (torn)" for line in in_words(each for at in torn for each in names[at])),
    ]
    in_memory = (
        [f"in memory only: {line}" for line in in_words(each.named for each in missing or ())] if on_disk else []
    )
    lines = journal_lines(trace, state.cut, recording)
    acks = [number for number, line in enumerate(lines, 1) if line.startswith("ack ")]
    acked = acks[-1] if acks else 0
    declared = declared_places()
    item = shown(lines[acked - 1].removeprefix("ack ")) if acked else ""
    cause = cause_of_restart()
    since = restarted_at(trace)
    if not recording.killed or (gone and min(gone) >= since):  # What recovery itself wrote is lost, not what it read.
        loses = judged.verdict in (Verdict.LOSES, Verdict.HOLE)
        took = missing or _written(trace, gone, names)
        cause = cause_of(took, acked - len(recording.before), item, loses=loses, unsynced=unsynced)
    unknown = missing is None and not recording.of and not recording.killed
    if unknown and not cause.cause and acked > len(recording.before):
        cause = cause_of_later(later, item)
    if safe_before and not gone and not torn and not in_memory and not unknown:
        cause = replace(cause, otherwise=_step(trace, state, names, recording, declared))
    told = [
        acknowledged(lines, len(recording.initial)),
        where(trace, state.cut, recording, declared),
        _fate(len(gone), len(torn), len(pending), lost, in_memory, on_disk),
        _UNKNOWN_IN_MEMORY if unknown else "",
        f"Then: {circumstances(recording, judged.explanation)}.",
        cause.because,
    ]
    synced = {} if on_disk else tree_syncs(trace, state.cut)
    events = timeline(trace, state, names, declared, outcome=judged.explanation, synced=synced)
    shown_lost = [*in_memory, *lost]
    if len(shown_lost) > _LOST_SHOWN:
        shown_lost = [*shown_lost[:_LOST_SHOWN], f"and {len(shown_lost) - _LOST_SHOWN:,} more"]
    return Told(
        str(state),
        count,
        tuple(filter(None, told)),
        cause,
        tuple(shown_lost),
        events,
        len(trace.notes_before(state.cut)),
    )


def _missing(
    trace: Trace, state: CrashState, images: CrashImages, asked: Recording | None
) -> tuple[list[Missing] | None, list[Missing]]:
    """What the workload had asked for, had not synced, and the mounted crash state has not, None if nothing is known; and
    all that it had not synced."""
    if asked is None or restarted_at(trace):
        return None, []
    calls = load_trace(asked.trace)
    with images.mounted(CrashState.whole(trace, len(trace.operations))) as root:
        if root.is_symlink() or not same_names(root, calls):
            return None, []
    with images.mounted(state) as root:
        if root.is_symlink():  # It leads out of the image.
            return None, []
        return missing_from(root, calls, trace.notes_before(state.cut)) or (None, [])


def _written(trace: Trace, gone: Sequence[int], names: Mapping[int, tuple[Named, ...]]) -> list[Missing]:
    """The lost writes to a disk that are about a file, or a directory's names."""
    lines = lines_before(trace)
    return [Missing(at, lines[at], each) for at in gone for each in names[at] if each.kind in (DATA, NAMES)]


def _last_step(trace: Trace, state: CrashState) -> tuple[int, list[int]]:
    """The changes before a cut, back to the note that came before them; and the position right after that note."""
    changes: list[int] = []
    for at in range(state.cut - 1, -1, -1):
        if isinstance(trace.operations[at], Change):
            changes.insert(0, at)
        elif changes and isinstance(trace.operations[at], Note):
            return at + 1, changes
    return 0, changes


def _step(
    trace: Trace,
    state: CrashState,
    names: Mapping[int, tuple[Named, ...]],
    recording: Recording,
    declared: Mapping[str, str],
) -> str:
    """What was written last before a crash that took nothing: the step on which the promise breaks; empty if nothing was."""
    start, changes = _last_step(trace, state)
    telling = list(filter(None, (_short(each) for at in changes for each in names[at])))
    if not telling:
        return ""
    when = "of recovery" if recording.of or 0 < restarted_at(trace) <= start else "of the workload"
    after = f", after {place_of(trace.operations[start - 1], declared)}" if start else ""
    return f"the promise breaks with this step {when}{after}: {'; '.join(list(dict.fromkeys(telling))[:3])}"


def _short(named: Named) -> str:
    """A change in few words; empty if it is the filesystem's own affair."""
    if named.kind == JOURNAL:
        first = named.what.partition("; ")[0]
        return first if first.startswith("directory ") else ""
    return named.text if named.kind in (DATA, NAMES) else ""


def _later(trace: Trace, cut: int, images: CrashImages) -> list[Named]:
    """What the run that was recorded, whose power did not fail, wrote to the disk next."""
    stop = min(cut + _LATER, trace.finish)
    names = changes_named(trace, stop, images)
    return [each for at in range(cut, stop) for each in names.get(at, ()) if each.kind in (DATA, NAMES)]


def _fate(gone: int, torn: int, pending: int, lost: list[str], in_memory: list[str], on_disk: bool) -> str:
    what, sync = ("writes to the disk", "flush") if on_disk else ("changes", "sync")
    if gone or torn:
        how = "Lost or torn" if gone and torn else "Torn" if torn else "Lost"
        text = f"{how}: {gone + torn} of {pending} {what} that no {sync} had made durable: {'; '.join(lost[:4])}."
    elif on_disk:
        text = "Nothing that had been written to the disk was lost."
    else:
        text = "Nothing was lost."
    if in_memory:
        text += f" Still in memory, and so lost: {'; '.join(line.partition(': ')[2] for line in in_memory[:4])}."
    return text
