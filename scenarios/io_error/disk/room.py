"""The room that a workload needs: with a little less, some of its calls meet a full disk, and others do not.

A filesystem needs room for its own blocks, too, and reserves it in advance: for a store of a few bytes, ext4 needs 4 KiB, and
btrfs some hundred. So the room is not counted, but found: the workload runs in more and more of it until nothing fails, and all
that a store calls stored is there.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack, closing
from typing import Final

from crashmatrix.faults.disk import Machine, RecordOptions
from crashmatrix.scenarios.io_error.disk.base import Base, recordings_on
from crashmatrix.scenarios.io_error.disk.ends import EndJudge
from crashmatrix.scenarios.io_error.disk.failures import first_failure
from crashmatrix.scenarios.io_error.disk.workload import DiskJournal
from crashmatrix.scenarios.io_error.faults import FULL, RequestFault
from crashmatrix.scenarios.processes.jobs import Channel
from crashmatrix.scenarios.processes.sandbox.cell import Cell, available
from crashmatrix.scenarios.processes.scratch import own_folder
from crashmatrix.scenarios.systems.loading import Target

__all__ = ["find_room", "least"]

_STEP_BYTES: Final = 4096
_DOUBLED, _HALVED = 12, 6
"""How often the room is doubled until it suffices, and how often the difference is halved then."""


def find_room(_: Channel, target: Target, base: Base, seconds_max: float) -> int:
    """Return about how many bytes of room the workload needs. Raises crashmatrix.faults.disk.DiskError."""
    fault = RequestFault(base.filesystem, FULL, 0, "ENOSPC", "on")
    system = target.make()

    def workload(machine: Machine) -> None:
        system.workload(machine.root, DiskJournal(machine))

    with ExitStack() as stack:
        cell = stack.enter_context(closing(Cell.made())) if available() else None  # Before anything is mounted.
        disk = base.prepared_for(fault)
        scratch = stack.enter_context(own_folder(disk.trace.parent))
        judge = EndJudge(target, base.filesystem, disk.initial, scratch, cell)
        recordings = stack.enter_context(recordings_on(disk, target, cell))

        def suffices(room: int) -> bool:
            options = RecordOptions(
                seed=target.seed, tolerant=True, write_back=True, room_bytes=room, time_limit_seconds=seconds_max
            )
            trace = recordings.record(workload, options)
            return not first_failure(trace, fault, base.acknowledged)[1] and not judge.breaks(trace)

        return least(suffices, base.room_bytes)


def least(suffices: Callable[[int], bool], guess: int) -> int:
    """Return about the least room that suffices, in whole steps; where nothing does, the largest that was tried."""
    low, high = -_STEP_BYTES, max(_STEP_BYTES, guess - guess % -_STEP_BYTES)
    for _ in range(_DOUBLED):
        if suffices(high):
            break
        low, high = high, 2 * high
    else:
        return low
    for _ in range(_HALVED):
        if high - low <= _STEP_BYTES:
            break
        middle = (low + high) // 2 - (low + high) // 2 % _STEP_BYTES
        low, high = (low, middle) if suffices(middle) else (middle, high)
    return high
