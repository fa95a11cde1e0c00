"""Engines that have ended refuse calls; one that goes on, or leaves something behind, is found."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import pytest

from crashmatrix.reference_wal import StorageEngine
from crashmatrix.reference_wal.access import health
from crashmatrix.reference_wal.access.gate import Gate
from crashmatrix.reference_wal.access.health import Health
from crashmatrix.reference_wal.errors import BackgroundFailed
from crashmatrix.reference_wal.table import Table
from crashmatrix.scenarios.errors import PromiseBroken
from crashmatrix.scenarios.systems.reference.oracle.apart import ended_engines
from crashmatrix.scenarios.systems.reference.oracle.apart.ended_engines import judge_ended_engines


def test_the_engine_keeps_its_promise() -> None:
    """In a thread that no signal interrupts, as well."""
    judge_ended_engines()
    thread = threading.Thread(target=ended_engines._interrupted)
    thread.start()
    thread.join()


@contextmanager
def unnoticed(_: Health) -> Iterator[None]:
    with suppress(Exception):
        yield


@contextmanager
def seen(self: Health) -> Iterator[None]:
    try:
        yield
    except Exception as error:
        self.note(error)


@contextmanager
def left_closed(self: Gate) -> Iterator[None]:
    with self._changed:
        self._closing = 1
        self._changed.wait_for(lambda: not self._inside)
    yield
    with self._changed:
        self._closing = 0
        self._changed.notify_all()


def spilled_anyway(self: Table) -> None:
    self.buffers.spill()


close = StorageEngine.close


def silently(self: StorageEngine) -> None:
    with suppress(BackgroundFailed):
        close(self)


BUGS: dict[str, tuple[object, str, object, str]] = {
    "closed": (Health, "refuse_new_calls", lambda _: None, "on an engine that was closed raised"),
    "unnoticed": (Health, "in_background", unnoticed, "goes on although its background thread has failed"),
    "not in the background": (Health, "in_background", seen, "raised LogPoisoned"),
    "closing": (StorageEngine, "close", silently, "closing an engine that has failed .* raised nothing"),
    "said nowhere": (health.logger, "error", lambda *_: None, "the program's log has the errors"),
    "left closed": (Gate, "closed", left_closed, "never returns"),
    "closing gate": (Gate, "closing", property(lambda _: True), "says that it is closed"),
    "spilled": (Table, "spill", spilled_anyway, "a dropped table left"),
}


@pytest.mark.parametrize("bug", BUGS)
def test_calls_that_go_on(bug: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A call that should be refused, an error that nobody hears of, a caller that waits in vain, a file that is left."""
    where, name, planted, match = BUGS[bug]
    monkeypatch.setattr(ended_engines, "_STUCK_SECONDS", 0.5)
    monkeypatch.setattr(where, name, planted)
    with pytest.raises(PromiseBroken, match=match):
        judge_ended_engines()
