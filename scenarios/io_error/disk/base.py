"""The prepared disk from which all recordings of one filesystem start, and what the workload does there undisturbed."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from crashmatrix.faults.disk import (
    CrashState,
    Filesystem,
    Flush,
    Machine,
    Note,
    Recordings,
    RecordOptions,
    Trace,
    Write,
    load_trace,
    record,
    save_trace,
)
from crashmatrix.faults.disk.block.fault_switch import FaultSwitch
from crashmatrix.faults.disk.linux.containment import anonymous_file
from crashmatrix.reports import Verdict
from crashmatrix.scenarios.errors import UsageError
from crashmatrix.scenarios.io_error.disk.workload import DiskJournal
from crashmatrix.scenarios.io_error.faults import FLUSH, READ, ROOMS, WRITE, RequestFault
from crashmatrix.scenarios.judging.worker import recovered_items
from crashmatrix.scenarios.processes.jobs import Channel
from crashmatrix.scenarios.processes.sandbox.cell import Cell, available
from crashmatrix.scenarios.processes.sandbox.kept_cell import ConfinedInCell
from crashmatrix.scenarios.processes.sandbox.view import ConfinedHere
from crashmatrix.scenarios.recorded.recording import Recording, journal_before
from crashmatrix.scenarios.recorded.state_judge import StateJudge
from crashmatrix.scenarios.systems.loading import Target, load
from crashmatrix.scenarios.target.journal import Item
from crashmatrix.scenarios.target.notes import AckNote, parse

__all__ = ["Base", "PreparedDisk", "Request", "confine_for", "make_base", "recording_of", "recordings_on"]

_RECORDINGS = 2
"""How many undisturbed recordings are made: a kernel does not make the same requests each time."""


@dataclass(frozen=True)
class Request:
    """A request of the undisturbed workload: its class, its number in it, and what came before it, in words."""

    calls: str
    number: int
    after: str


@dataclass(frozen=True)
class PreparedDisk:
    """The file of a prepared disk's trace, and the items on it; all of it is durable."""

    trace: Path
    initial: tuple[Item, ...]


@dataclass(frozen=True)
class Base:
    """See the module. ``trace`` and ``initial`` are those of the disk for all faults but ``full``, if that is another one."""

    filesystem: str
    trace: Path
    initial: tuple[Item, ...]
    requests: tuple[Request, ...]
    room_bytes: int
    """How much room the workload takes, or needs (`room`)."""
    acknowledged: int
    seconds: float
    """How long an undisturbed recording takes."""
    loses_at_cuts: str = ""
    """How the system breaks its promise by a power cut alone; empty if it does not."""
    fails_reads: bool = False
    """Whether reads of the workload are to fail, too."""
    full: PreparedDisk | None = None
    """The disk that has room again once files are removed, where the usual one has not."""

    def prepared_for(self, fault: RequestFault) -> PreparedDisk:
        """The disk from which recordings with a fault start."""
        return (fault.calls in ROOMS and self.full) or PreparedDisk(self.trace, self.initial)


def make_base(_: Channel, target: Target, filesystem: str, trace: Path) -> Base:
    """Prepare a disk, and record the workload on it. Raises UsageError, crashmatrix.faults.disk.DiskError."""
    system, kind = target.make(), load(target.name)

    def prepare(root: Path) -> None:
        os.ftruncate(items, 0)
        os.pwrite(items, json.dumps(recovered_items(system.prepare(root) or (), "prepare")).encode(), 0)

    def work(machine: Machine) -> None:
        before = os.statvfs(machine.root)
        system.workload(machine.root, DiskJournal(machine))
        after = os.statvfs(machine.root)
        os.pwrite(room, b"%20d" % (max(0, before.f_bfree - after.f_bfree) * after.f_frsize), 0)

    switches = [FaultSwitch() for _ in range(_RECORDINGS)]
    with anonymous_file("items") as items, anonymous_file("room") as room:
        limit = 10 * kind.seconds_max
        options = RecordOptions(
            filesystem=filesystem, size_bytes=kind.disk_bytes or None, seed=target.seed, time_limit_seconds=limit
        )
        prepared = record(lambda _: None, prepare=prepare, confine=confine_for(target), options=options)
        save_trace(prepared, trace)
        initial = tuple(json.loads(_content(items)))
        whole = prepared, CrashState.whole(prepared, len(prepared.operations))
        full = None
        if Filesystem.parse(filesystem).keeps_room:
            roomy = replace(options, gives_room_back=True)
            other = record(lambda _: None, prepare=prepare, confine=confine_for(target), options=roomy)
            full = PreparedDisk(trace.with_name("full.trace"), tuple(json.loads(_content(items))))
            save_trace(other, full.trace)
        options = RecordOptions(seed=target.seed, write_back=True, cold=system.fails_reads, time_limit_seconds=limit)
        begun = time.monotonic()
        traces = [
            record(work, crashed=whole, confine=confine_for(target), options=replace(options, switch=switch))
            for switch in switches
        ]
        seconds = (time.monotonic() - begun) / _RECORDINGS
        if full:
            whole = other, CrashState.whole(other, len(other.operations))
            record(work, crashed=whole, confine=confine_for(target), options=options)
        taken = int(_content(room) or 0)
    shortest = min(traces, key=lambda each: len(each.operations))
    acknowledged = sum(isinstance(parse(line), AckNote) for line in journal_before(shortest, shortest.finish))
    loses = _power_alone(target, recording_of(filesystem, target, trace, initial), shortest)
    reads = min(switch.reads for switch in switches) if system.fails_reads else 0
    requests = (*_requests(traces), *(Request(READ, number, f"read {number}") for number in range(1, reads + 1)))
    return Base(filesystem, trace, initial, requests, taken, acknowledged, seconds, loses, system.fails_reads, full)


def recording_of(filesystem: str, target: Target, trace: Path, initial: tuple[Item, ...]) -> Recording:
    """Return the recording that a trace is, as power's judges need it."""
    return Recording("io-error", filesystem, "none", target.seed, trace, initial)


def recordings_on(
    disk: PreparedDisk, target: Target, cell: Cell | None, switch: FaultSwitch | None = None
) -> Recordings:
    """Return recordings that start from a prepared disk, with their workloads in a cell that was made before."""
    prepared = load_trace(disk.trace)
    return Recordings(
        (prepared, CrashState.whole(prepared, len(prepared.operations))),
        confine=(lambda folder, notes: ConfinedInCell(cell, target.view(folder, notes))) if cell else None,
        switch=switch,
    )


def confine_for(target: Target) -> Callable[[Path, Path], Any] | None:
    """Return how the target's processes are confined; None if they cannot be."""
    return (lambda folder, notes: ConfinedHere(target.view(folder, notes))) if available() else None


def _content(descriptor: int) -> bytes:
    return os.pread(descriptor, os.fstat(descriptor).st_size, 0)


def _requests(traces: list[Trace]) -> Iterator[Request]:
    """Yield the requests that each recording has, as the first one makes them."""
    least = {
        kind: min(sum(isinstance(done, kind) for done in each.operations[each.start : each.finish]) for each in traces)
        for kind in (Write, Flush)
    }
    counts, after, since = {Write: 0, Flush: 0}, "the start", 0
    trace = traces[0]
    for done in trace.operations[trace.start : trace.finish]:
        if isinstance(done, Note):
            after, since = done.text.partition(b" ")[0].decode(errors="replace"), 0
        elif isinstance(done, Write | Flush):
            kind = type(done)
            counts[kind] += 1
            since += 1
            if counts[kind] <= least[kind]:
                yield Request(WRITE if kind is Write else FLUSH, counts[kind], f"{after} {since}")


def _power_alone(target: Target, recording: Recording, trace: Trace) -> str:
    """Return how a power cut breaks the promise of an undisturbed run, if it does: with nothing pending kept, after each line.

    Raises UsageError: the orderly end breaks it, too.
    """
    states = StateJudge(target, recording, trace)
    with states:
        if violation := states.undisturbed():
            raise UsageError(
                f"{target.name} on {recording.filesystem}: {violation.explanation}, although nothing failed"
            )
        cuts = [at + 1 for at, done in enumerate(trace.operations) if at >= trace.start and isinstance(done, Note)]
        for cut in [*cuts, trace.finish]:
            found = states.judge(CrashState(cut, 0, (), len(trace.pending(cut))))
            if found.verdict is not Verdict.SAFE:
                return f"{found.verdict}: {found.explanation}"
    return ""
