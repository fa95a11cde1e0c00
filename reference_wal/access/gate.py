"""A gate that many threads may pass at once, and that one may close: closing first waits until all are through."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["Gate"]


class Gate:
    """``with gate.passed():`` for work that may run together, ``with gate.closed():`` for work that must run alone.

    Closing has the right of way, so that a stream of passers cannot keep it waiting. Not reentrant.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._inside = 0
        self._closing = 0

    @property
    def closing(self) -> bool:
        """Whether a thread keeps the gate closed, or waits to close it."""
        return bool(self._closing)

    @contextmanager
    def passed(self) -> Iterator[None]:
        """Pass as soon as the gate is open."""
        with self._changed:
            self._changed.wait_for(lambda: not self._closing)
            self._inside += 1
        try:
            yield
        finally:
            with self._changed:
                self._inside -= 1
                self._changed.notify_all()

    @contextmanager
    def closed(self) -> Iterator[None]:
        """Close the gate, wait until every passer is through; one at a time."""
        with self._changed:
            self._changed.wait_for(lambda: not self._closing)
            self._closing = 1
            try:
                self._changed.wait_for(lambda: not self._inside)
            except BaseException:
                self._closing = 0
                self._changed.notify_all()
                raise
        try:
            yield
        finally:
            with self._changed:
                self._closing = 0
                self._changed.notify_all()
