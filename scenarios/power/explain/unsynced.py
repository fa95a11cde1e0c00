"""Changes that a workload called for and none of its syncs made durable, at the moment when the power failed.

A recording on the `posix` filesystem says this exactly: its trace holds each change and each sync as the system called it.
For a recording of the same workload on a real filesystem, the changes are found by comparison: both recordings have the same
notes in the same order, and changes that the crashed folder has are left out. A run with other file names cannot be compared.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path

from crashmatrix.faults.disk import CrashState, Note, Trace
from crashmatrix.faults.disk.posix.content import Content
from crashmatrix.faults.disk.posix.naming import tree_changes
from crashmatrix.faults.disk.posix.tree import Trees
from crashmatrix.faults.disk.trace.named import SIZE, Named
from crashmatrix.faults.disk.trace.operations import Data, Names, Size
from crashmatrix.scenarios.power.recording import is_journal_line

__all__ = ["Missing", "lines_before", "lost_in", "missing_from", "same_names"]


@dataclass(frozen=True)
class Missing:
    """A change that the crash took. ``lines`` says how many journal lines had been written when it was called for."""

    at: int
    lines: int
    named: Named


def lost_in(trace: Trace, state: CrashState) -> tuple[list[Missing], list[Missing]]:
    """Return the changes that a crash state on the `posix` filesystem lacks, and every change that it could lack, in order."""
    could = _unsynced_at(trace, state.cut)
    torn = {tear.write for tear in state.tears}
    lost = [each for index, each in enumerate(could) if index in torn or not state.kept >> index & 1]
    return lost, could


def missing_from(root: Path, trace: Trace, notes: tuple[bytes, ...]) -> tuple[list[Missing], list[Missing]] | None:
    """Return the changes that a crashed folder lacks, and every change that nothing had synced after these notes, in order.

    Args:
        root: the folder, as the filesystem gave it back.
        trace: of the same workload on the `posix` filesystem.

    Returns:
        None if that workload made other notes: then nothing is known.
    """
    cut = _cut_after(trace, notes)
    if cut is None:
        return None
    could, last = _unsynced_at(trace, cut), _last_names(trace, cut)
    tree = Trees(trace).of(CrashState.whole(trace, cut))
    contents = {os.fsdecode(path): _bytes(content) for path, _, content in tree.entries}
    found = []
    for each in could:
        at, named = each.at, each.named
        match trace.operations[at]:
            case Names(entries) if named.now:
                folder = entries[-1][0]
                mine = [entry for entry in entries if entry[0] == folder and last[entry[:2]] == at]
                there = all(_leads(root / named.now / os.fsdecode(name)) == bool(inode) for _, name, inode in mine)
            case Data() | Size() if named.now in contents:
                there = _holds(root / named.now, named, contents[named.now])
            case _:
                there = True  # It was removed since: nothing of it can be missing.
        if not there:
            found.append(each)
    return found, could


def same_names(root: Path, trace: Trace) -> bool:
    """Whether a folder at its run's orderly end has the files that another run of the workload had, by name.

    Args:
        trace: of that other run, on the `posix` filesystem.
    """
    tree = Trees(trace).of(CrashState.whole(trace, len(trace.operations)))
    mine = {os.fsdecode(path) for path, _, _ in tree.entries}
    return mine == {str(path.relative_to(root)) for path in root.rglob("*")}


def _unsynced_at(trace: Trace, cut: int) -> list[Missing]:
    names, lines = tree_changes(trace, cut), lines_before(trace)
    return [Missing(at, lines[at], names[at]) for at in trace.pending(cut)]


def _cut_after(trace: Trace, notes: tuple[bytes, ...]) -> int | None:
    """The position right after the last of these notes; None if the trace does not begin with them."""
    position = trace.start
    left = list(notes)
    for at, operation in enumerate(trace.operations):
        if not left:
            break
        if isinstance(operation, Note):
            if operation.text != left.pop(0):
                return None
            position = at + 1
    return None if left else position


def lines_before(trace: Trace) -> list[int]:
    """How many journal lines come before each position of a trace."""
    lines = (isinstance(operation, Note) and is_journal_line(operation.text) for operation in trace.operations)
    return list(accumulate(lines, initial=0))


def _last_names(trace: Trace, cut: int) -> dict[tuple[int, bytes], int]:
    return {
        (folder, name): at
        for at, operation in enumerate(trace.operations[:cut])
        if isinstance(operation, Names)
        for folder, name, _ in operation.entries
    }


def _leads(path: Path) -> bool:
    return path.is_symlink() or path.exists()


def _holds(path: Path, named: Named, content: bytes) -> bool:
    """Whether a file has the content that a change should have left at its place."""
    try:
        found = path.read_bytes()
    except OSError:
        return False
    if named.kind == SIZE:
        return len(found) >= min(named.stop, len(content))
    stop = min(named.stop, len(content))
    return found[named.start : stop] == content[named.start : stop]


def _bytes(content: Content) -> bytes:
    data = bytearray(content.size)
    for offset, page in content.runs():
        data[offset : offset + len(page)] = page
    return bytes(data[: content.size])
