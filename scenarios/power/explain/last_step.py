"""The last step before a crash without losses: if a crash before the step was safe, the step breaks the promise.

If a crash after the step is safe, too, as long as nothing is acknowledged, the acknowledgement breaks it.
"""

from __future__ import annotations

from collections.abc import Mapping

from crashmatrix.faults.disk import Change, CrashState, Note, Trace
from crashmatrix.faults.disk.trace.named import DATA, JOURNAL, NAMES, OUTSIDE, Named, is_about_folder, is_outside
from crashmatrix.scenarios.power.explain.places import place_before
from crashmatrix.scenarios.recorded.going_on import went_on_at
from crashmatrix.scenarios.recorded.recording import Recording
from crashmatrix.scenarios.recorded.restarts import restarted_at
from crashmatrix.scenarios.target.notes import AckNote, AttemptNote, parse

__all__ = ["acknowledged_at", "called_nothing", "is_of_inodes", "last_step", "step_in_words"]

_CHANGES_SHOWN = 3
_INODE_OF = "the inode of "


def last_step(trace: Trace, state: CrashState) -> tuple[int, tuple[int, ...]]:
    """Return the changes before a cut, back to the note before them; and the position right after that note."""
    changes: list[int] = []
    for at in range(state.cut - 1, -1, -1):
        if isinstance(trace.operations[at], Change):
            changes.insert(0, at)
        elif changes and isinstance(trace.operations[at], Note):
            return at + 1, tuple(changes)
    return 0, tuple(changes)


def acknowledged_at(trace: Trace, state: CrashState) -> int | None:
    """Return the position of the last acknowledgement before a cut, if no change came after it; else None."""
    for at in range(state.cut - 1, -1, -1):
        operation = trace.operations[at]
        if isinstance(operation, Change):
            return None
        if isinstance(operation, Note) and isinstance(parse(operation.text), AckNote):
            return at
    return None


def called_nothing(trace: Trace, state: CrashState, names: Mapping[int, tuple[Named, ...]]) -> bool:
    """Whether nothing of the store's folder changed since the last acknowledged item was attempted; False if that is unknown."""
    acknowledged = None
    for at in range(state.cut - 1, -1, -1):
        operation = trace.operations[at]
        if isinstance(operation, Change) and any(map(_short, names[at])):
            return False
        note = parse(operation.text) if isinstance(operation, Note) else None
        if isinstance(note, AckNote) and acknowledged is None:
            acknowledged = note
        elif isinstance(note, AttemptNote) and acknowledged and _is_of(note, acknowledged):
            return True
    return False


def _is_of(attempt: AttemptNote, acknowledged: AckNote) -> bool:
    return (attempt.json, attempt.writer) == (acknowledged.json, acknowledged.writer)


def step_in_words(
    trace: Trace,
    state: CrashState,
    names: Mapping[int, tuple[Named, ...]],
    recording: Recording,
    declared: Mapping[str, str],
    acked: str = "",
) -> str:
    """Return the last step as a cause; empty if nothing was written in it.

    The inodes of the store's files are named if nothing else of them was written: see `is_of_inodes`.

    Args:
        names: what each change is about, by position.
        declared: where failpoints are declared, by name.
        acked: the item whose acknowledgement after the step breaks the promise; empty if the step itself does.
    """
    start, changes = last_step(trace, state)
    named = [each for at in changes for each in names[at]]
    telling = list(filter(None, map(_short, named))) or list(filter(None, map(_inodes, named)))
    if not telling:
        return ""
    in_recovery = recording.of or 0 < restarted_at(trace) <= start
    resumed = recording.resumed or 0 < went_on_at(trace) <= start
    when = "of the second life" if resumed else "of recovery" if in_recovery else "of the workload"
    place = place_before(trace, start, declared)
    after = f", after {place}" if place else ""
    breaks = f"the acknowledgement of {acked}, after this step" if acked else "this step"
    what = "; ".join(list(dict.fromkeys(telling))[:_CHANGES_SHOWN])
    return f"the promise breaks with {breaks} {when}{after}: {what}"


def is_of_inodes(step: str) -> bool:
    """Whether a step in words wrote inodes of the store's files only: their sizes, without the content."""
    return f": {_INODE_OF}" in step


def _inodes(named: Named) -> str:
    """The store's files whose inodes a change of the filesystem's own writes; empty if there are none."""
    parts = (part for part in named.what.split("; ") if part.startswith(_INODE_OF))
    files = [file for part in parts for file in part.removeprefix(_INODE_OF).split(", ")]
    inside = [file for file in files if not file.startswith(OUTSIDE)]
    return _INODE_OF + ", ".join(inside) if inside else ""


def _short(named: Named) -> str:
    """A change in few words; empty if it concerns only the filesystem, or files outside of the store's folder."""
    if named.kind == JOURNAL:
        first = named.what.partition("; ")[0]
        return first if is_about_folder(first) and OUTSIDE not in first else ""
    return named.text if named.kind in (DATA, NAMES) and not is_outside(named) else ""
