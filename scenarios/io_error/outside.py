"""Failpoints of programs in other languages that return an error or panic: those that the target names (`failing_outside`).

Such a failpoint shows at each hit but the one at which it returns, by a harmless action (`calls.system_calls`). So the instant
itself is not seen, and the workload comes to its own end. The fault has fired if each hit before it was seen, and an undisturbed
run has that hit, too.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from crashmatrix.scenarios.io_error.faults import ActionFault
from crashmatrix.scenarios.io_error.jobs import size_of
from crashmatrix.scenarios.io_error.messages import Account, Fired, Place, what_failed
from crashmatrix.scenarios.judging.watched import Hit, run_watched_system
from crashmatrix.scenarios.processes.calls.call_faults import Made
from crashmatrix.scenarios.processes.calls.outside_failpoints import failpoint_environment
from crashmatrix.scenarios.processes.jobs import Channel
from crashmatrix.scenarios.systems.loading import Target
from crashmatrix.scenarios.target.journal import Journal

__all__ = ["environment_of", "fail_outside", "named", "place_of", "places_outside"]


def places_outside(_: Channel, target: Target, root: Path, journal: Path) -> tuple[Place, ...]:
    """Run the workload to its end, undisturbed; returns a place for each hit and each action that its failpoint can take."""
    system, hits = target.make(), list[Hit]()
    names, actions = system.failpoints_outside(), system.failing_outside()

    def see(hit: Hit, *_: object) -> None:
        hits.append(hit)

    run_watched_system(names, lambda: system.workload(root, Journal(journal)), root, journal, see)
    return tuple(place_of(name, number, action) for name, number in hits for action in actions.get(name, ()))


def named(_: Channel, target: Target) -> bool:
    """Whether the target names failpoints that can fail."""
    return bool(target.make().failing_outside())


def place_of(name: str, number: int, action: str) -> Place:
    """Return the place at which a failpoint takes an action."""
    return Place(Made(name, number, action, (name,)), name)


def fail_outside(
    channel: Channel,
    target: Target,
    root: Path,
    journal: Path,
    wanted: Sequence[ActionFault],
    _: Sequence[str],
    __: bool,
) -> None:
    """Run the workload with a failpoint that returns or panics; sends an account, and before it whether the hit was reached."""
    system, (fault,) = target.make(), wanted
    names = system.failpoints_outside()
    seen = journal_bytes = 0

    def see(hit: Hit, *_: object) -> None:
        nonlocal seen, journal_bytes
        if hit[0] == fault.calls:
            seen = hit[1]
            journal_bytes = size_of(journal) if seen < fault.number else journal_bytes

    def life() -> None:
        os.environ.update(environment_of(names, fault))
        system.workload(root, Journal(journal))

    def ended() -> None:
        fired = seen >= fault.number - 1
        if fired:
            channel.send(Fired(place_of(fault.calls, fault.number, fault.action), journal_bytes))
        made = tuple((number, what_failed(fault.action, fault.calls)) for number in range(1, seen + 1))
        channel.send(Account((), (fault,) if fired else (), of_class=made))

    run_watched_system(names, life, root, journal, see, ended=ended)


def environment_of(names: Sequence[str], fault: ActionFault) -> dict[str, str]:
    """Return the environment in which one hit of a failpoint takes its action, and all others show."""
    variables = failpoint_environment(names)
    return {name: ";".join(_entry(entry, fault) for entry in text.split(";")) for name, text in variables.items()}


def _entry(entry: str, fault: ActionFault) -> str:
    name, _, visible = entry.partition("=")
    if name != fault.calls:
        return entry
    before = f"{fault.number - 1}*{visible}->" if fault.number > 1 else ""
    return f"{name}={before}{fault.action}" if fault.times == "on" else f"{name}={before}1*{fault.action}->{visible}"
