"""The last step before a crash without losses: if a crash before the step was safe, the step breaks the promise."""

from __future__ import annotations

from collections.abc import Mapping

from crashmatrix.faults.disk import Change, CrashState, Note, Trace
from crashmatrix.faults.disk.trace.named import DATA, JOURNAL, NAMES, OUTSIDE, Named, is_about_folder, is_outside
from crashmatrix.scenarios.power.explain.places import place_of
from crashmatrix.scenarios.recorded.recording import Recording
from crashmatrix.scenarios.recorded.restarts import restarted_at
from crashmatrix.scenarios.target.notes import AttemptNote, parse

__all__ = ["called_nothing", "last_step", "step_in_words"]

_CHANGES_SHOWN = 3


def last_step(trace: Trace, state: CrashState) -> tuple[int, tuple[int, ...]]:
    """Return the changes before a cut, back to the note before them; and the position right after that note."""
    changes: list[int] = []
    for at in range(state.cut - 1, -1, -1):
        if isinstance(trace.operations[at], Change):
            changes.insert(0, at)
        elif changes and isinstance(trace.operations[at], Note):
            return at + 1, tuple(changes)
    return 0, tuple(changes)


def called_nothing(trace: Trace, state: CrashState, names: Mapping[int, tuple[Named, ...]]) -> bool:
    """Whether nothing of the store's folder changed since the item acknowledged last was attempted."""
    for at in range(state.cut - 1, -1, -1):
        operation = trace.operations[at]
        if isinstance(operation, Change) and any(map(_short, names[at])):
            return False
        if isinstance(operation, Note) and isinstance(parse(operation.text), AttemptNote):
            return True
    return False


def step_in_words(
    trace: Trace,
    state: CrashState,
    names: Mapping[int, tuple[Named, ...]],
    recording: Recording,
    declared: Mapping[str, str],
) -> str:
    """Return the last step as a cause; empty if nothing was written in it.

    Args:
        names: what each change is about, by position.
        declared: where failpoints are declared, by name.
    """
    start, changes = last_step(trace, state)
    telling = list(filter(None, (_short(each) for at in changes for each in names[at])))
    if not telling:
        return ""
    in_recovery = recording.of or 0 < restarted_at(trace) <= start
    when = "of the second life" if recording.resumed else "of recovery" if in_recovery else "of the workload"
    after = f", after {place_of(trace.operations[start - 1], declared)}" if start else ""
    return (
        f"the promise breaks with this step {when}{after}: {'; '.join(list(dict.fromkeys(telling))[:_CHANGES_SHOWN])}"
    )


def _short(named: Named) -> str:
    """A change in few words; empty if it concerns only the filesystem, or files outside of the store's folder."""
    if named.kind == JOURNAL:
        first = named.what.partition("; ")[0]
        return first if is_about_folder(first) and OUTSIDE not in first else ""
    return named.text if named.kind in (DATA, NAMES) and not is_outside(named) else ""
