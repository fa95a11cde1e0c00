"""What runs in the child processes: each function is one job's whole life, on a folder, with one system.

Every one takes the `Channel` to its driver first. Failpoints are watched in one of three ways: counted, photographed (the
driver is told of each hit and answers once it has its photograph), or armed to kill.
"""

from __future__ import annotations

import threading
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import faults
from scenarios.errors import UsageError
from scenarios.jobs import Channel
from scenarios.journal import Item, Journal, Promises, item_key
from scenarios.photograph import stop_here
from scenarios.system import Target

__all__ = [
    "Hit",
    "Profile",
    "fingerprint",
    "prepare",
    "profile",
    "recover",
    "recover_again",
    "recovered_items",
    "setup",
    "workload",
]

Hit = tuple[str, int]
"""A failpoint's name and which hit of it, from 1."""


@dataclass(frozen=True)
class Profile:
    """An undisturbed run of the workload: its hits in order, and every failpoint declared: name to (description, place)."""

    hits: tuple[Hit, ...]
    declared: dict[str, tuple[str, str]]


def setup(_: Channel, target: Target) -> Sequence[str]:
    """Make the system once and let it fill its workspace."""
    return target.make().setup()


def prepare(_: Channel, target: Target, root: Path) -> Sequence[Item]:
    """Lay out what is there before the first crash point."""
    return list(target.make().prepare(root) or ())


def profile(_: Channel, target: Target, root: Path, journal: Path) -> Profile:
    """Run the workload to its end, counting."""
    system = target.make()
    hits: list[Hit] = []
    faults.observe(lambda point, number: hits.append((point.name, number)))
    system.workload(root, Journal(journal))
    return Profile(tuple(hits), _declared())


def workload(
    channel: Channel, target: Target, root: Path, journal: Path, watch: Collection[Hit], kill: Hit | None
) -> None:
    """Run the workload; be photographed at the hits in ``watch``, die at ``kill``."""
    system = target.make()
    _arm(channel, watch, kill)
    system.workload(root, Journal(journal))


def recover(channel: Channel, target: Target, root: Path, photograph: bool, kill: Hit | None) -> Any:
    """Recover once; be photographed at every hit, or die at one. Returns the items and the failpoints declared."""
    system = target.make()
    _arm(channel, None if photograph else (), kill)
    items = recovered_items(system.recover(root))
    faults.observe(None)
    return items, _declared()


def recover_again(channel: Channel, target: Target, root: Path, promises: Promises) -> Sequence[Item]:
    """Recover a second time; let the driver look at the folder; then let the system check itself."""
    system = target.make()
    items = recovered_items(system.recover(root))
    channel.send(items)
    channel.receive()
    system.verify(root, promises)
    return items


def fingerprint(_: Channel, target: Target, root: Path) -> str | None:
    """Ask the system for its folder's digest."""
    return target.make().fingerprint(root)


def recovered_items(recovered: Any) -> list[Item]:
    """Return what `recover` returned as a list. Raises UsageError if it is none of JSON values."""
    try:
        items = list(recovered)
        for item in items:
            item_key(item)
    except (TypeError, ValueError) as error:
        raise UsageError(f"recover must return a list of JSON values, not {recovered!r:.60} ({error})") from None
    return items


def _arm(channel: Channel, watch: Collection[Hit] | None, kill: Hit | None) -> None:
    if kill is not None:
        name, number = kill
        faults.configure(name, f"{number - 1}*off->kill")
    if watch is None or watch:
        lock = threading.Lock()

        def observe(point: faults.FailPoint, number: int) -> None:
            if watch is None or (point.name, number) in watch:
                with lock:
                    channel.send((point.name, number))
                    stop_here()

        faults.observe(observe)


def _declared() -> dict[str, tuple[str, str]]:
    return {point.name: (point.description, point.location) for point in faults.catalogue()}
