"""Make the recordings of the power experiment, each in a process of its own. Four kinds of recording:

    a run         the workload, from a prepared and settled root
    a restart     the workload, killed by SIGKILL before one of its syncs (`restarts`), then recovery on what the page cache
                  still has; a system that can resume goes on from there (`going_on`). The cuts that follow find out whether
                  recovery trusted, and built upon, data that was never synced
    a recovery    recovery on a crash state of an earlier recording, so that power fails a second time, during recovery
    a second life the system resumed on what recovery made of such a state, or of what a kill amid an item left; everything
                  was synced before it, and power fails during it

Journal lines are notes on the recorded disk, and so are the hits of failpoints: promises and block writes share one order.
"""

from __future__ import annotations

import errno
import json
import math
import os
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from crashmatrix import faults
from crashmatrix.faults.disk import (
    Change,
    CrashState,
    CrashStates,
    Filesystem,
    Flush,
    Machine,
    RecordOptions,
    StateOptions,
    Sync,
    Trace,
    WorkloadFailed,
    load_trace,
    record,
    save_trace,
)
from crashmatrix.faults.disk.linux.containment import anonymous_file
from crashmatrix.scenarios.errors import UsageError
from crashmatrix.scenarios.judging.worker import recovered_items
from crashmatrix.scenarios.last_words import without_stacks
from crashmatrix.scenarios.processes.calls.seccomp import lacking
from crashmatrix.scenarios.processes.jobs import Channel
from crashmatrix.scenarios.processes.sandbox.cell import available
from crashmatrix.scenarios.processes.sandbox.view import ConfinedHere
from crashmatrix.scenarios.recorded import going_on
from crashmatrix.scenarios.recorded.boots import boot_after
from crashmatrix.scenarios.recorded.machine_journal import MachineJournal
from crashmatrix.scenarios.recorded.remedies import Remedy, Syncing
from crashmatrix.scenarios.recorded.restarts import (
    CallPlace,
    Countdown,
    KillPoint,
    Places,
    kill_points_at_notes,
    nudged_before_syncs,
    restarted_at,
    run_until,
    until_killed,
)  # fmt: skip
from crashmatrix.scenarios.systems.loading import Target, load
from crashmatrix.scenarios.target.journal import Item, Promises
from crashmatrix.scenarios.target.notes import HitNote, parse
from crashmatrix.scenarios.target.system import SystemUnderTest

__all__ = [
    "Recording",
    "is_journal_line",
    "journal_before",
    "promises_before",
    "record_recovery",
    "record_run",
    "record_second_life",
    "trace_path",
]

_BLOCK_BYTES = 4096


@dataclass(frozen=True)
class Recording:
    """A recorded run: the place of its trace, the items that were there before, and its origin.

    ``killed`` is where a restart's workload is killed; ``places`` are the possible places, as far as notes show. ``of``
    names the recording and crash state that a recovery was recorded on, and ``before`` the journal lines written until that
    crash. ``resumed`` says that it is a second life, and after which crash: it owes the items recovered then (``initial``).
    ``went_on`` says after how many lines of the journal a restart was resumed. ``problem`` says why it could not be made.
    """

    name: str
    filesystem: str
    nudge: str
    seed: int
    trace: Path
    initial: tuple[Item, ...] = ()
    killed: KillPoint | None = None
    of: tuple[str, str] | None = None
    before: tuple[str, ...] = ()
    resumed: str = ""
    draw: int = 1
    """Which draw of nudges this is, of the same seed."""
    went_on: int | None = None
    writes: int = 0
    flushes: int = 0
    events: int = 0
    weight: float = 1.0
    """How much can differ at its cuts (crashmatrix.faults.disk.CrashStates.weight)."""
    places: Places = field(default_factory=dict)
    identity: str = ""
    seconds: float = 0.0
    problem: str = ""
    remedy: Remedy | None = None
    """Syncs to make in the system's stead. They are counted in the file ``syncs_count``."""

    @property
    def syncs_count(self) -> Path:
        """The file that counts the syncs of the remedy."""
        return self.trace.with_suffix(".syncs")

    @property
    def point(self) -> str:
        """The name under which the recording's scenarios are listed."""
        kind = "second life" if self.resumed else "recovery"
        return f"{self.of[0]} {kind}" if self.of else self.name

    @property
    def first_life_lines(self) -> float:
        """How many lines the journal has when the second life begins; none are of the first life in a recorded second life."""
        return -1 if self.resumed else math.inf if self.went_on is None else self.went_on

    @classmethod
    def from_account(cls, account: Mapping[str, Any], seed: int, trace: Path) -> Recording:
        """Rebuild a recording from ``summary.json`` and its trace, so that its states can be judged again."""
        of = tuple(account["recovery_of"])
        return cls(
            account["name"], account["filesystem"], account["nudge"], seed, trace, tuple(account["initial"]),
            killed=KillPoint.of(tuple(account["killed_at"])), of=(of[0], of[1]) if of else None,
            before=tuple(account["journal_before"]), resumed=account.get("resumed", ""), went_on=account.get("went_on"),
            draw=account.get("draw", 1),
        )  # fmt: skip

    def account(self) -> dict[str, Any]:
        """Return its entry in ``summary.json``."""
        same = ("name", "filesystem", "nudge", "draw", "resumed", "went_on", "writes", "flushes")
        return {
            **{name: getattr(self, name) for name in same},
            "trace": self.identity,
            "initial": list(self.initial),
            "killed_at": list(self.killed.numbers) if self.killed else [],
            "recovery_of": list(self.of or ()),
            "journal_before": list(self.before),
            "journal_lines": self.events,
            "record_seconds": round(self.seconds, 2),
        }


def record_run(_: Channel, target: Target, recording: Recording) -> Recording:
    """Record the workload once; returns the recording completed. Raises UsageError, crashmatrix.faults.disk.DiskError."""
    system = target.make()

    def prepare(root: Path) -> None:
        os.pwrite(items, json.dumps(recovered_items(system.prepare(root) or (), "prepare")).encode(), 0)

    def workload(machine: Machine) -> None:
        syncing = Syncing(recording.remedy, machine.root, count) if recording.remedy else None
        watched = machine.nudger.synchronous and not lacking()

        def noting(countdown: Countdown) -> None:
            if syncing:
                syncing.hook()
            _work(system, machine, MachineJournal(machine, countdown=countdown, syncing=syncing))

        if recording.killed:
            killed = until_killed(
                machine, recording.killed, noting=noting,
                workload=lambda: system.workload(machine.root, MachineJournal(machine)),
                before=syncing.at if syncing else None,
            )  # fmt: skip
            going_on.start_again(system, machine, recovered, syncing, resumes=killed and system.can_resume())
        elif syncing:
            journal = MachineJournal(machine, syncing=syncing if syncing.in_process else None)
            before_sync = machine.nudge if watched else None
            syncing.run(lambda: _work(system, machine, journal), machine.notes, before_sync)
        elif watched:
            nudged_before_syncs(machine, lambda: _work(system, machine, MachineJournal(machine)))
        else:
            _work(system, machine, MachineJournal(machine))

    # Open before the workload is confined, which cannot open them.
    counted = recording.syncs_count if recording.remedy else Path(os.devnull)
    with anonymous_file("items") as items, anonymous_file("recovered") as recovered, counted.open("ab") as syncs:
        count = syncs.fileno()
        trace, seconds = _record(target, recording, workload, prepare=prepare)
        recording = replace(recording, initial=tuple(going_on.items_in(items)))
        trace, went_on, problem = going_on.gone_on(type(system), trace, recovered)
    return _completed(replace(recording, went_on=went_on, problem=problem), trace, seconds)


def record_second_life(
    _: Channel, target: Target, recording: Recording, parent: Recording | None, place: CallPlace | None
) -> Recording:
    """Record the system being resumed after a crash and a recovery; returns the recording completed.

    Everything is synced in between, so what recovery returned is durable, and owed like what was there from the start.

    Args:
        parent: the crash is the state ``recording.of`` of this recording,
        place: or a kill of the workload there.

    Raises UsageError, crashmatrix.faults.disk.DiskError.
    """
    crashed = None
    if parent and recording.of:
        trace = load_trace(parent.trace)
        crashed = trace, CrashState.parse(recording.of[1], trace)
    system = target.make()

    def prepare(root: Path) -> None:
        if place:
            system.prepare(root)
            with tempfile.TemporaryDirectory() as folder:
                run_until(place, system, root, Path(folder) / "journal")
        going_on.write_items(items, system.recover(root))

    def resume(machine: Machine) -> None:
        journal = MachineJournal(machine)
        journal.recovered = tuple(going_on.items_in(items))
        faults.observe(journal.hit)
        system.resume(machine.root, journal)

    with anonymous_file("items") as items:  # Open before the callables are confined, which cannot open it.
        again, seconds = _record(target, recording, resume, prepare=prepare, crashed=crashed)
        initial = going_on.items_in(items)
    problem = going_on.attempted_again(type(system), journal_before(again, len(again.operations)), initial)
    return _completed(replace(recording, initial=tuple(initial), problem=problem), again, seconds)


def record_recovery(_: Channel, target: Target, parent: Recording, recording: Recording) -> Recording:
    """Record recovery on the crash state ``recording.of`` of an earlier recording; returns the recording completed.

    Raises UsageError, crashmatrix.faults.disk.DiskError.
    """
    assert recording.of is not None
    trace = load_trace(parent.trace)
    state = CrashState.parse(recording.of[1], trace)
    recovery = partial(going_on.recover, target.make())
    again, seconds = _record(target, recording, recovery, "recovery", crashed=(trace, state))
    before = (*parent.before, *(line.decode() for line in journal_before(trace, state.cut)))
    return _completed(replace(recording, before=before, initial=parent.initial), again, seconds)


def _work(system: SystemUnderTest, machine: Machine, journal: MachineJournal) -> None:
    faults.observe(journal.hit)
    system.workload(machine.root, journal)


def _record(
    target: Target, recording: Recording, run: Callable[[Machine], None], role: str = "workload", **how: Any
) -> tuple[Trace, float]:
    """Return the trace, and how many seconds it took."""
    start, kind, filesystem = time.perf_counter(), load(target.name), Filesystem.parse(recording.filesystem)
    size_bytes = -(-kind.disk_bytes // _BLOCK_BYTES) * _BLOCK_BYTES or filesystem.default_size_bytes
    options = RecordOptions(
        filesystem=recording.filesystem,
        size_bytes=size_bytes if filesystem.on_disk else None,
        nudge=recording.nudge,
        seed=recording.seed,
        draw=recording.draw,
        time_limit_seconds=(20 if recording.killed and kind.can_resume() else 10) * kind.seconds_max,
    )
    boot = boot_after(recording.of[0]) if recording.of else ""
    confine = (lambda *shown: ConfinedHere(replace(target.view(*shown), boot=boot))) if available() else None
    try:
        return record(run, options=options, confine=confine, **how), time.perf_counter() - start
    except WorkloadFailed as error:
        full = filesystem.on_disk and os.strerror(errno.ENOSPC) in str(error)
        remedy = f" (its disk has {size_bytes >> 20:,} MiB; give it more by disk_bytes)" if full else ""
        said = without_stacks(str(error) if role == "workload" else error.cause.replace("workload", role, 1))
        raise UsageError(f"recording {target.name}: {said}{remedy}") from None


def _completed(recording: Recording, trace: Trace, seconds: float) -> Recording:
    save_trace(trace, recording.trace)
    during = trace.operations[trace.start : trace.finish]
    return replace(
        recording,
        killed=_killed_in(trace, recording.killed) if recording.killed and restarted_at(trace) else None,
        writes=sum(isinstance(operation, Change) for operation in during),
        flushes=sum(isinstance(operation, Flush | Sync) for operation in during),
        events=len(journal_before(trace, len(trace.operations))),
        weight=CrashStates(trace, StateOptions(first_cut=restarted_at(trace)), is_journal_line).weight,
        places=kill_points_at_notes(trace),
        identity=trace.identity,
        seconds=seconds,
    )


def _killed_in(trace: Trace, place: KillPoint) -> KillPoint:
    """Return where the workload was killed: at the place, or before the first sync after a later line of the journal."""
    lines = len(journal_before(trace, restarted_at(trace)))
    return KillPoint(lines, 1) if place.sync and lines > place.note else place


def promises_before(trace: Trace, cut: int, recording: Recording) -> Promises:
    """Return the promises made before an operation of the trace."""
    lines = (*(line.encode() for line in recording.before), *journal_before(trace, cut))
    return Promises.parse(b"".join(line + b"\n" for line in lines), recording.initial)


def journal_before(trace: Trace, cut: int) -> list[bytes]:
    """Return the journal's lines before an operation of the trace."""
    return [line for line in trace.notes_before(cut) if is_journal_line(line)]


def is_journal_line(note: bytes) -> bool:
    """Whether a note is a line of the journal, and not a failpoint's hit."""
    return not isinstance(parse(note), HitNote)


def trace_path(folder: Path, name: str) -> Path:
    """Return where the trace of a recording lies."""
    return folder / f"{name.replace(':', '_').replace('/', '_')}.trace"
