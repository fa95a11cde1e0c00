"""Changes that a workload called for and none of its syncs made durable, at the moment when the power failed.

A recording on the `posix` filesystem says this exactly: its trace holds each change and each sync as the system called it.
For a recording of the same workload on a real filesystem, the changes are found by `comparison`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import NamedTuple

from crashmatrix.faults.disk import CrashState, Note, Trace
from crashmatrix.faults.disk.posix.naming import tree_changes
from crashmatrix.faults.disk.trace.named import Named
from crashmatrix.scenarios.recorded.recording import is_journal_line

__all__ = ["Lost", "Missing", "lines_before", "lost_in", "survivors", "unsynced_at"]


@dataclass(frozen=True)
class Missing:
    """A change that the crash took. ``lines`` says how many journal lines had been written when it was called for."""

    at: int
    lines: int
    named: Named


class Lost(NamedTuple):
    """The changes that a crash took, those that it could have taken, and those after the first one taken that survived.

    ``cut`` is the position in the trace of the calls up to which they were compared.
    """

    missing: tuple[Missing, ...] = ()
    unsynced: tuple[Missing, ...] = ()
    survived: tuple[Missing, ...] = ()
    cut: int = 0


def lost_in(trace: Trace, state: CrashState) -> Lost:
    """Return the changes that a crash state on the `posix` filesystem lacks, in order."""
    unsynced = unsynced_at(trace, state.cut)
    torn = {tear.write for tear in state.tears}
    missing = [each for index, each in enumerate(unsynced) if index in torn or not state.kept >> index & 1]
    return Lost(tuple(missing), tuple(unsynced), survivors(trace, state.cut, missing), state.cut)


def unsynced_at(trace: Trace, cut: int) -> list[Missing]:
    """Return every change before a position that nothing had synced there."""
    names, lines = tree_changes(trace, cut), lines_before(trace)
    return [Missing(at, lines[at], names[at]) for at in trace.pending(cut)]


def survivors(trace: Trace, cut: int, missing: Sequence[Missing]) -> tuple[Missing, ...]:
    """Return the changes after the first missing one that are there."""
    if not missing:
        return ()
    names, lines, gone = tree_changes(trace, cut), lines_before(trace), {each.at for each in missing}
    return tuple(Missing(at, lines[at], named) for at, named in names.items() if at > missing[0].at and at not in gone)


def lines_before(trace: Trace) -> list[int]:
    """How many journal lines come before each position of a trace."""
    lines = (isinstance(operation, Note) and is_journal_line(operation.text) for operation in trace.operations)
    return list(accumulate(lines, initial=0))
