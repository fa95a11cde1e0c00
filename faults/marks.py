"""Marks: names for branches that a test must have taken, counted and nothing else.

A failpoint is a place to crash or to fail. A mark is a row of a decision table, a case that is rare: ``TORN.enter()``. A run that
never entered it says nothing about it, however safe it was. (After SQLite's `testcase` and TigerBeetle's marks.)

    TORN = mark("rows.log.@E", "records, then what may be a torn write")
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from crashmatrix.faults.errors import AlreadyDeclared

__all__ = ["Mark", "entered", "mark", "uncounted"]

_MARKS: dict[str, Mark] = {}


class Mark:
    """A branch of the program. Made by `mark`. Thread-safe."""

    def __init__(self, name: str, description: str) -> None:
        self.name, self.description = name, description
        self.count = 0
        self._lock = threading.Lock()

    def enter(self) -> None:
        """Count it."""
        with self._lock:
            self.count += 1


def mark(name: str, description: str) -> Mark:
    """Declare a mark. Raises AlreadyDeclared."""
    if name in _MARKS:
        raise AlreadyDeclared(name, _MARKS[name].description, description)
    return _MARKS.setdefault(name, Mark(name, description))


def entered() -> dict[str, int]:
    """Return how often each mark was entered in this process, by name."""
    return {name: found.count for name, found in sorted(_MARKS.items())}


@contextmanager
def uncounted() -> Iterator[None]:
    """Count no mark in the block, in any thread: what enters them there is a test's own work."""
    before = {mark: mark.count for mark in _MARKS.values()}
    try:
        yield
    finally:
        for mark in _MARKS.values():
            mark.count = before.get(mark, 0)
