"""The recordings of a power run, made one ahead: while the judges look into one, the next is recorded.

Recordings of the workload come in the order of filesystems and kinds of nudge, restarts last. A recording of a recovery joins
the line once the crash states of the recording that it recovers from are judged.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import cached_property, partial
from itertools import zip_longest
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar, TypeVarTuple

from crashmatrix.faults.disk.errors import WorkloadFailed
from crashmatrix.reports.unfinished.ledger import Ledger
from crashmatrix.scenarios.errors import EnvironmentLacks, TargetFails, UsageError
from crashmatrix.scenarios.judging import worker as work
from crashmatrix.scenarios.power.rounds import RESUMED_AFTER_KILL, drawn, is_restart, nudges_on
from crashmatrix.scenarios.processes.calls.seccomp import lacking
from crashmatrix.scenarios.processes.jobs import Channel, Jobs
from crashmatrix.scenarios.processes.parallel import Threads
from crashmatrix.scenarios.processes.result import JobResult, Raised, Returned
from crashmatrix.scenarios.processes.sandbox.view import ROOT_NAME, View
from crashmatrix.scenarios.processes.scratch import own_folder
from crashmatrix.scenarios.recorded import recording as power_record, restarts
from crashmatrix.scenarios.recorded.recording import Recording, trace_path
from crashmatrix.scenarios.recorded.restarts import CallPlace, KillPoint, Places
from crashmatrix.scenarios.systems.loading import Target, load
from crashmatrix.scenarios.target.journal import AFTER_ACK, AFTER_ATTEMPT

__all__ = [
    "Recordings",
    "in_turns",
    "recovery_of",
    "run_recorder",
]

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

_SECOND_LIFE = "~resumed"
_JOURNAL = {"attempt", "ack", AFTER_ATTEMPT.name, AFTER_ACK.name}
"""The notes before the syncs of a system without failpoints are about these."""

_UNFLUSHED, _RECOVERY_NUDGE = ("none", "writeback"), "mixed"
"""Nudges that never sync: under the first two, only the system itself flushes the disk."""


class Recordings:
    """Iterate over it, within a ``with`` block, to get one recording after the other.

    Args:
        kinds: filesystem and nudge, or `restart`, of each recording of the workload.
        ledger: has the recordings that the run which is resumed made.

    Raises, from the iterator, EnvironmentLacks and UsageError: the workload does not work on a recorded disk.
    """

    def __init__(
        self, jobs: Jobs, target: Target, scratch: Path, seed: int, kinds: Iterable[tuple[str, str]],
        ledger: Ledger | None = None,
    ) -> None:  # fmt: skip
        self._jobs, self._target, self._scratch, self._seed = jobs, target, scratch, seed
        self._ledger = ledger or Ledger()
        self._kinds = deque(kinds)
        self._maker = Threads[Recording | None](jobs, 1)
        self._line = 0
        """How many recordings are being made or about to be."""
        self._unflushed: dict[str, Recording] = {}
        self._places: dict[str, list[KillPoint]] = {}
        self.left = len(self._kinds)
        """How many recordings of the workload are still to come; some restarts may turn out to have no place."""
        self.missed = 0
        """How many restarts came to nothing: the workload ended before the place of the kill."""

    def __enter__(self) -> Self:
        self._maker.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, place: TracebackType | None
    ) -> None:
        self._maker.__exit__(kind, error, place)

    def __iter__(self) -> Iterator[Recording]:
        self._go_ahead()
        while self._line:
            of_workload, recording = self._maker.next_ended()
            self._line -= 1
            self.left -= of_workload
            if not self._line:
                self._go_ahead()
            if recording is not None:
                yield recording

    def add(self, kinds: Sequence[tuple[str, str]]) -> None:
        """Have more recordings of the workload made; iterate again to get them."""
        self._kinds.extend(kinds)
        self.left += len(kinds)

    def recover(self, parent: Recording, states: Sequence[Recording]) -> None:
        """Have recovery on a crash state of a recording recorded, too, or the second life after it; then remove its trace.

        Args:
            states: what is to be recorded, from `recovery_of`.
        """
        self._line += len(states)
        for number, recording in enumerate(states, 1):
            self._maker.submit(False, self._record_later, parent, recording, number == len(states))

    def record(self, filesystem: str, kind: str, killed: KillPoint | None = None) -> Recording:
        """Make one recording, of a restart if there is a place to kill at. A restart may have a problem; a run raises it."""
        nudge, draw = (_UNFLUSHED[0], 1) if killed else drawn(kind)
        made = self._once(replace(self._planned(filesystem, kind, nudge, draw), killed=killed), self._record)
        if nudge in _UNFLUSHED and not killed:
            self._unflushed.setdefault(filesystem, made)
        return made

    def _planned(self, filesystem: str, kind: str, nudge: str, draw: int) -> Recording:
        """A recording of a kind that is not made yet."""
        name = f"{filesystem}~{kind}~{self._seed}"
        return Recording(name, filesystem, nudge, self._seed, trace_path(self._scratch, name), draw=draw)

    def _record(self, recording: Recording) -> Recording:
        killed, filesystem = recording.killed, recording.filesystem
        result = run_recorder(self._jobs, power_record.record_run, self._target, recording)
        if killed and isinstance(result, Raised):
            # The power is not to blame: whether recovery may fail after a kill is for the kill experiment to say.
            said = result.message.removesuffix(f"; {WorkloadFailed.REMEDY}")  # Here the workload need not be at fault.
            return replace(
                recording, problem=f"it could not go on: {said}. --experiments kill judges what a kill leaves"
            )
        if isinstance(result, Raised) and result.is_a(UsageError):
            raise TargetFails(result.message)
        if not isinstance(result, Returned):
            raise EnvironmentLacks(f"recording on {filesystem} {result}")
        return result.value

    def _once(self, wanted: Recording, make: Callable[[Recording], Recording]) -> Recording:
        """Return a recording with its trace: the one that is remembered, or a new one, which is then remembered."""
        key, trace = f"recorded: {wanted.name}", wanted.trace
        known = self._ledger.get(key, Recording)
        if known is not None and (not known.identity or self._ledger.kept(trace.name, trace)):
            return replace(known, trace=trace)
        made = make(wanted)
        if not made.identity or self._ledger.keep(trace.name, trace):
            self._ledger.put(key, made)
        return made

    @property
    def places_known(self) -> int:
        """How many places there are to kill the workload at, on all filesystems; 0 until they are needed."""
        return sum(map(len, self._places.values()))

    def _go_ahead(self) -> None:
        if self._kinds:
            self._line += 1
            self._maker.submit(True, self._record_kind, *self._kinds.popleft())

    def _record_kind(self, filesystem: str, kind: str) -> Recording | None:
        if kind.startswith(RESUMED_AFTER_KILL):
            return self._record_after_kill(filesystem, kind)
        if not is_restart(kind):
            return self.record(filesystem, kind)
        place = self._place_to_kill(filesystem, drawn(kind)[1])
        return self._record_restart(filesystem, kind, place) if place else None

    def _record_restart(self, filesystem: str, kind: str, place: KillPoint) -> Recording | None:
        """Record a restart; None if the workload ended before the kill, which is nothing but one more undisturbed run."""
        made = self.record(filesystem, kind, place)
        if made.killed:
            return made
        made.trace.unlink(missing_ok=True)
        self.missed += 1
        return None

    def _place_to_kill(self, filesystem: str, number: int) -> KillPoint | None:
        """Return the place where the restart of this number is killed; None if there are fewer places."""
        if filesystem not in self._unflushed:  # Another shard made the recording that shows the places.
            self.record(filesystem, nudges_on(filesystem, _UNFLUSHED)[0]).trace.unlink()
        if filesystem not in self._places:
            self._places[filesystem] = self.places_in(self._unflushed[filesystem])
        places = self._places[filesystem]
        return places[number - 1] if number <= len(places) else None

    def places_in(self, recording: Recording) -> list[KillPoint]:
        """Return where the workload of a recording can be killed, in the order in which restarts take these places."""
        return in_turns(recording.places, {} if lacking() else self._places_at_syncs, self._seed)

    @cached_property
    def _places_at_syncs(self) -> Places:
        return self._in_a_folder(restarts.places_at_syncs) or {}

    def _in_a_folder(self, look: Callable[[Channel, Target, Path, Path], T]) -> T | None:
        """Run the workload in an ordinary, prepared folder; None if that fails."""
        with own_folder(self._scratch) as folder:
            root, journal, view = folder / ROOT_NAME, folder / "journal", self._target.view(folder)
            root.mkdir()
            run_recorder(self._jobs, work.prepare, self._target, root, view=view)
            result = run_recorder(self._jobs, look, self._target, root, journal, view=view)
        return result.value if isinstance(result, Returned) else None

    def _record_after_kill(self, filesystem: str, kind: str) -> Recording | None:
        """Record a second life after a kill amid an item; None where nothing can be killed there."""
        none = self._planned(filesystem, kind, _RECOVERY_NUDGE, drawn(kind)[1])
        made = self._once(none, lambda recording: self._record_life(recording) or none)
        return None if made == none else made

    def _record_life(self, recording: Recording) -> Recording | None:
        places = [] if lacking() else self._in_a_folder(restarts.places_amid_items)
        if not places:
            return None
        sorts: dict[str, list[CallPlace]] = {}
        for place in places:
            sorts.setdefault(f"{place.name} {place.call}", []).append(place)
        draw = random.Random(f"{recording.name} resumed")
        place = draw.choice(sorts[draw.choice(sorted(sorts))])
        recording = replace(recording, resumed=f"a kill {place}")
        result = run_recorder(self._jobs, power_record.record_second_life, self._target, recording, None, place)
        if not isinstance(result, Returned):
            return replace(recording, problem=f"recording this second life {result}")
        return result.value

    def _record_later(self, parent: Recording, recording: Recording, last: bool) -> Recording:
        recording = replace(recording, trace=trace_path(self._scratch, recording.name))
        made = self._once(recording, partial(self._record_on, parent))
        if last:
            parent.trace.unlink(missing_ok=True)
        return made

    def _record_on(self, parent: Recording, recording: Recording) -> Recording:
        if recording.resumed:
            result = run_recorder(self._jobs, power_record.record_second_life, self._target, recording, parent, None)
        else:
            result = run_recorder(self._jobs, power_record.record_recovery, self._target, parent, recording)
        if not isinstance(result, Returned):
            what = "second life" if recording.resumed else "recovery"
            return replace(recording, problem=f"recording this {what} {result}")
        return result.value


def recovery_of(parent: Recording, state: str, *, resumed: bool = False) -> Recording:
    """Return the recording, not yet made, of recovery on a crash state of another one; or of the second life after it."""
    name = f"{parent.name}/{state}{_SECOND_LIFE if resumed else ''}"
    return replace(
        parent, name=name, nudge=_RECOVERY_NUDGE, killed=None, of=(parent.name, state), before=(),
        resumed=f"the power cut {state}" if resumed else "",
    )  # fmt: skip


def run_recorder(
    jobs: Jobs, function: Callable[[Channel, Target, *Ts], T], target: Target, *args: *Ts, view: View | None = None
) -> JobResult[T]:
    """Run a job that makes a recording of a target, or takes as long as one, with the time limit for it."""
    return jobs.run(function, target, *args, seconds_max=60 + 20 * load(target.name).seconds_max, view=view)


def in_turns(at_notes: Places, at_syncs: Places, seed: int) -> list[KillPoint]:
    """Return every place right before a sync: one of each sort, then another of each, and so on, in a seeded order.

    Args:
        at_notes: places at failpoints and journal lines. They are taken if failpoints come before half of the syncs at least.
        at_syncs: places at the system calls themselves; none if this machine cannot watch them.
    """
    at_failpoints = sum(len(places) for about, places in at_notes.items() if about not in _JOURNAL)
    few = 2 * at_failpoints < sum(map(len, at_syncs.values()))
    draw = random.Random(f"{seed} restarts")
    found = sorted((at_syncs if few else at_notes).items())
    sorts = [draw.sample(places, len(places)) for _, places in found]
    rounds = zip_longest(*draw.sample(sorts, len(sorts)))
    return [place for one_each in rounds for place in one_each if place is not None]
