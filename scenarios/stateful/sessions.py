"""A store held by processes that die: one session after the other, live, and again on a recorded disk.

A session is one process's life: it opens the store, performs the steps sent to it, and dies by SIGKILL: between two steps, at a
failpoint, or, if the store has none, before a system call that changes its folder. Given the same steps on the same folder, a
session does the same. So the sessions since the folder was last known in full are enough for a power cut: `cut_power` repeats
them on a recorded disk, picks one of its `crashmatrix.faults.disk.CrashStates`, and lays out the folder that is left.

This module does not import Hypothesis, which child processes do not need.
"""

from __future__ import annotations

import contextlib
import mmap
import os
import shutil
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

from crashmatrix import faults
from crashmatrix.faults.disk import (
    CrashImages,
    CrashState,
    CrashStates,
    Machine,
    RecordOptions,
    Trace,
    load_trace,
    record,
    save_trace,
)
from crashmatrix.faults.disk.linux.containment import run_forked
from crashmatrix.faults.disk.linux.folders import opened_folder
from crashmatrix.scenarios.judging.watched import Hit, run_watched_system
from crashmatrix.scenarios.judging.worker import recovered_items
from crashmatrix.scenarios.processes.calls.seccomp import lacking
from crashmatrix.scenarios.processes.jobs import Channel
from crashmatrix.scenarios.processes.process_tree import ProcessTree
from crashmatrix.scenarios.processes.sandbox.cell import available
from crashmatrix.scenarios.processes.sandbox.view import ConfinedHere, View, needed_folders
from crashmatrix.scenarios.target.journal import Item, item_key
from crashmatrix.scenarios.target.notes import AckNote, AttemptNote, RecoveredNote

__all__ = ["STATES_MAX", "Answer", "Kill", "Make", "Operation", "PowerCut", "Session", "cut_power", "hold"]

Make = Callable[..., Any]
"""Opens a store; pickled by its name, so it is a class or function of an importable module, or a partial of one."""

STATES_MAX = 256
"""How many crash states of a recording a caller can choose from."""

_ENUMERATED_MAX = 4 * STATES_MAX
_HARNESS = "journal.", "workload."
_BYTES = 16


@dataclass(frozen=True)
class Operation:
    """Call the store's method ``name``; ``item`` is what its return promises, None if nothing."""

    name: str
    arguments: tuple[Any, ...]
    item: Item = None


@dataclass(frozen=True)
class Kill:
    """Die at that hit of a failpoint, or of a system call, from here on, whichever it is; 0: never."""

    hits: int


@dataclass
class Session:
    """The steps of one process; it dies after the last step, if not before."""

    first: Kill
    """In force while the store is opened."""
    steps: list[Operation | Kill] = field(default_factory=list)


@dataclass(frozen=True)
class Answer:
    """The outcome of a step: a value, or an error's text; ``hits`` are the places hit during it."""

    value: Any = None
    error: str = ""
    hits: int = 0


@dataclass(frozen=True)
class PowerCut:
    """A power cut: ``state`` is the crash state's id, ``notes`` the journal lines before it, of which
    ``recovered <json>`` has the items that an opening found."""

    state: str
    notes: tuple[bytes, ...]


class _Reaper:
    """Counts the hits of a session, and says at which it dies. It counts in memory that forked processes share."""

    def __init__(self) -> None:
        self._counts = mmap.mmap(-1, _BYTES)
        self._view = memoryview(self._counts).cast("q")

    def arm(self, kill: Kill) -> None:
        self._view[0] = kill.hits

    def open(self, make: Make, root: Path, kill: Kill) -> Any:
        self.arm(kill)
        store = make(root)
        self.arm(Kill(0))
        return store

    def count(self) -> int:
        """Return the number of hits since the last call."""
        hits, self._view[1] = self._view[1], 0
        return hits

    def dies(self) -> bool:
        """Count a hit; returns whether it is the one to die at."""
        self._view[1] += 1
        self._view[0] -= 1
        return self._view[0] == 0

    def watch(self, life: Callable[[], None], root: Path, say: Callable[[str], None]) -> None:
        """Live a life that ends with a kill: by its last hit, of which the name is said before, or by its own doing."""

        def see(hit: Hit, tree: ProcessTree, bring_about: Callable[[], None]) -> None:
            if self.dies():
                bring_about()
                tree.kill()
                say(hit[0])
                _die()

        def seen(point: faults.FailPoint, _: int) -> None:
            if self.dies():
                say(point.name)
                _die()

        if _has_failpoints() or lacking():
            faults.observe(seen)
            life()
        else:
            run_watched_system((), life, root, None, see)


def _has_failpoints() -> bool:
    """Whether the store, which was imported by now, declares any; the harness has some of its own."""
    return any(not point.name.startswith(_HARNESS) for point in faults.catalogue())


def hold(channel: Channel, make: Make, items: str, root: Path, first: Kill) -> None:
    """Live a session: open the store, send an `Answer` with its items, then answer each step.

    Before dying at a place, its name is sent.
    """
    reaper = _Reaper()
    reaper.watch(lambda: _answer(channel.taken_over(), reaper, make, items, root, first), root, channel.send)


def _answer(channel: Channel, reaper: _Reaper, make: Make, items: str, root: Path, first: Kill) -> None:
    store = reaper.open(make, root, first)
    channel.send(Answer(recovered_items(getattr(store, items)()), hits=reaper.count()))
    while True:
        step = channel.receive()
        try:
            channel.send(Answer(_do(store, reaper, step), hits=reaper.count()))
        except Exception as error:
            channel.send(Answer(error=f"{type(error).__name__}: {error}", hits=reaper.count()))


def _do(store: Any, reaper: _Reaper, step: Operation | Kill) -> Any:
    if isinstance(step, Kill):
        return reaper.arm(step)
    return getattr(store, step.name)(*step.arguments)


def cut_power(
    _: Channel, make: Make, items: str, sessions: list[Session], before: Path, trace_path: Path, options: RecordOptions,
    state: int, after: Path, boot: str,
) -> PowerCut:  # fmt: skip
    """Live the sessions again on a recorded disk, which begins with the folder ``before``; lay out in ``after`` what a
    power cut leaves: crash state number ``state`` of those that the recording has, round and round.

    A trace that is there already is taken instead of a new recording; ``boot`` is the boot id before the cut, empty for that of
    the machine. Raises crashmatrix.faults.disk.DiskError.
    """
    if not trace_path.exists():
        save_trace(_record(make, items, sessions, before, options, boot), trace_path)
    trace = load_trace(trace_path)
    possible = CrashStates(trace)
    # If nothing was written, only the orderly end is left.
    states = list(islice(_different(possible, trace), STATES_MAX)) or [possible.clean]
    chosen = states[state % len(states)]
    with CrashImages(trace) as images, images.mounted(chosen) as root, opened_folder(root):
        shutil.copytree(root, after, symlinks=True)
    return PowerCut(str(chosen), trace.notes_before(chosen.cut))


def _different(possible: CrashStates, trace: Trace) -> Iterator[CrashState]:
    """Yield the first state of those that become the same folder after the same notes, so that each draw is another case."""
    seen: set[tuple[int, int]] = set()
    for state in islice(possible, _ENUMERATED_MAX):
        case = possible.outcomes.of(state), len(trace.notes_before(state.cut))
        if case not in seen:
            seen.add(case)
            yield state


def _record(make: Make, items: str, sessions: list[Session], before: Path, options: RecordOptions, boot: str) -> Trace:
    def prepare(root: Path) -> None:
        shutil.copytree(before, root, symlinks=True, dirs_exist_ok=True)

    def workload(machine: Machine) -> None:
        for session in sessions:
            run_forked(partial(_live_again, make, items, session, machine))

    def confined(folder: Path, notes: Path) -> ConfinedHere:
        return ConfinedHere(View(folder, notes, needed_folders([before]), boot=boot))

    return record(workload, prepare=prepare, confine=confined if available() else None, options=options)


def _live_again(make: Make, items: str, session: Session, machine: Machine) -> None:
    reaper = _Reaper()
    try:
        reaper.watch(lambda: _repeat(reaper, make, items, session, machine), machine.root, lambda _: None)
    finally:
        _die()  # In every case: a session never closes in good order.


def _repeat(reaper: _Reaper, make: Make, items: str, session: Session, machine: Machine) -> None:
    try:
        store = reaper.open(make, machine.root, session.first)
        machine.note(RecoveredNote(item_key(recovered_items(getattr(store, items)())).encode()).encoded())
        for step in session.steps:
            item = item_key(step.item).encode() if isinstance(step, Operation) and step.item is not None else b""
            if item:
                machine.note(AttemptNote(item).encoded())
            with contextlib.suppress(Exception):  # The machine saw the error, and went on.
                _do(store, reaper, step)
                if item:
                    machine.note(AckNote(item).encoded())
    finally:
        _die()


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)
