"""How bugs are planted that show when calls overlap: a gate or a lock that is not there for a moment. See `steps`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from crashmatrix.reference_wal.access.gate import Gate
from crashmatrix.reference_wal.access.health import Health
from crashmatrix.reference_wal.access.table_access import TableAccess
from crashmatrix.reference_wal.buffers import Generation
from crashmatrix.reference_wal.errors import ParquetDamaged, TransferFailed
from crashmatrix.reference_wal.options import EngineOptions
from crashmatrix.reference_wal.table import Table

__all__ = [
    "checked_before_waiting",
    "closed_all_the_same",
    "poisoned_late",
    "readers_ignored",
    "sealed_all_the_same",
    "switched_amid_appends",
]


class _Ajar(Gate):
    """A gate that stays open."""

    @contextmanager
    def closed(self) -> Iterator[None]:
        """Wait for nobody."""
        yield


def readers_ignored(original: Any) -> Any:
    """Remove files without waiting for those who read them."""

    def init(self: TableAccess, *args: Any) -> None:
        original(self, *args)
        self.reading = _Ajar()

    return init


def checked_before_waiting(_: Any) -> Any:
    """Look whether something has failed before waiting for one's turn, and not afterwards."""

    def changing(self: TableAccess, *alone: Gate, but_first: Callable[[], object] = lambda: None) -> ExitStack:
        with ExitStack() as stack:
            self.refuse_if_unusable()
            stack.enter_context(self._committing)
            for gate in alone:
                stack.enter_context(gate.closed())
            but_first()
            stack.enter_context(self._health.poisoned_by_errors(but_for=(TransferFailed, ParquetDamaged)))
            return stack.pop_all()

    return changing


def closed_all_the_same(_: Any) -> Any:
    """Go on although the engine was closed meanwhile."""

    def refuse_changes(self: Health) -> None:
        self.refuse_if_poisoned()

    return refuse_changes


def poisoned_late(_: Any) -> Any:
    """Let calls that wait for one that failed go on before the engine is poisoned."""

    def changing(self: TableAccess, *alone: Gate, but_first: Callable[[], object] = lambda: None) -> ExitStack:
        with ExitStack() as stack:
            stack.enter_context(self._committing)
            self.refuse_if_unusable()
            stack.enter_context(self._health.poisoned_by_errors(but_for=(TransferFailed, ParquetDamaged)))
            for gate in alone:
                stack.enter_context(gate.closed())
            but_first()
            return stack.pop_all()

    return changing


def sealed_all_the_same(_: Any) -> Any:
    """Seal what waits without looking whether something has failed."""

    def seal(self: Table) -> Generation | None:
        with self._access.altering():
            self._sealed = self.buffers.seal()
            return self._sealed

    return seal


def switched_amid_appends(_: Any) -> Any:
    """Keep appends out while what waits is sealed, and let them in before the log is gone."""

    def switch_log(self: Table, on: bool, options: EngineOptions) -> None:
        self.log.refuse_if_poisoned()
        with self._access.changing():
            if on and self.logged:
                return
            self._commit(self._seal_between(), options)
            if on != self.logged:
                self._switch_on() if on else self._switch_off()

    return switch_log
