"""Marks: names for branches that a test must have taken, counted and nothing else.

A failpoint is a place to crash or to fail. A mark is a row of a decision table, a case that is rare: ``TORN.enter()``. A run that
never entered it says nothing about it, however safe it was. (After SQLite's `testcase` and TigerBeetle's marks.)

    TORN = mark("rows.log.@E", "records, then what may be a torn write")
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from crashmatrix.faults.errors import AlreadyDeclared

__all__ = ["Mark", "entered", "mark", "uncounted"]

_MARKS: dict[str, Mark] = {}


class Mark:
    """A branch of the program. Made by `mark`. Thread-safe, in a signal handler and in a forked child as well."""

    def __init__(self, name: str, description: str, location: str) -> None:
        self.name, self.description, self.location = name, description, location
        self.count = 0

    def enter(self) -> None:
        """Count it."""
        self.count += 1  # Without a lock, which a fork or a signal could find held: see FailPoint.hit.


def mark(name: str, description: str) -> Mark:
    """Declare a mark, at the caller's line.

    Declaring it again with the same description at the same place, as a module reload does, returns the first one.
    Raises AlreadyDeclared if the name is taken by another place or description.
    """
    caller = sys._getframe(1)
    location = f"{caller.f_code.co_filename}:{caller.f_lineno}"
    found = _MARKS.setdefault(name, Mark(name, description, location))
    if (found.description, found.location) != (description, location):
        raise AlreadyDeclared(name, found.location, location)
    return found


def entered() -> dict[str, int]:
    """Return how often each mark was entered in this process, by name."""
    return {name: found.count for name, found in sorted(_MARKS.items())}


@contextmanager
def uncounted() -> Iterator[None]:
    """Count no mark in the block, in any thread: what enters them there is a test's own work."""
    before = {mark: mark.count for mark in list(_MARKS.values())}
    try:
        yield
    finally:
        for mark in list(_MARKS.values()):
            mark.count = before.get(mark, 0)
