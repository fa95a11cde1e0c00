"""The crash points that a process knows of: its own failpoints, those of the programs that it runs, and system calls."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from crashmatrix import faults
from crashmatrix.scenarios.judging.watched import Hit
from crashmatrix.scenarios.processes.calls.own_failpoints import JOURNAL
from crashmatrix.scenarios.processes.calls.system_calls import DESCRIPTIONS
from crashmatrix.scenarios.target.system import SystemUnderTest

__all__ = ["Declared", "declared_here", "declared_outside", "entered_here"]

Declared = dict[str, tuple[str, str]]
"""Description and place (``file:line``, or nothing) by name."""


def declared_here(system: SystemUnderTest) -> Declared:
    """Return the failpoints that this process has declared, without those that the system says it never reaches."""
    points = (point for point in faults.catalogue() if not point.name.startswith(tuple(system.unreached)))
    return {point.name: (point.description, point.location) for point in points}


def declared_outside(system: SystemUnderTest, hits: Collection[Hit], own: Mapping[str, tuple[str, str]]) -> Declared:
    """Return what a watched run knows: the calls hit, failpoints of programs, and ``own`` ones, without the journal's."""
    calls = {name: (DESCRIPTIONS[name], "") for name, _ in hits if name in DESCRIPTIONS}
    outside = dict.fromkeys(system.failpoints_outside(), ("a failpoint of the program", ""))
    return {**calls, **outside, **{name: about for name, about in own.items() if not name.startswith(JOURNAL)}}


def entered_here(system: SystemUnderTest) -> dict[str, int]:
    """Return how often this process entered each mark, without those that the system says it never reaches."""
    return {name: count for name, count in faults.entered().items() if not name.startswith(tuple(system.unreached))}
