"""How threads share a table.

``committing`` is held by the call that changes the Delta side: one commit, truncation, transfer or drop at a time. ``ingesting``
is passed by each append until its rows are in the buffers, and closed for the instant of sealing (so that a generation has no
holes), and for as long as a truncation or drop takes (so that no batch is acknowledged that they would then forget). While a
generation is compressed and committed, appends go on. A reader copies the buffers, the sealed generation, the compressed ones
and the list of files at once, in `looked_at`; ``reading`` keeps those files in place until it has read them.

A call that fails half-way poisons the engine before it lets go of anything. A call that waited looks for that once it is let in.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

from crashmatrix.reference_wal.access.gate import Gate
from crashmatrix.reference_wal.access.health import Health
from crashmatrix.reference_wal.errors import ParquetDamaged, ReferenceWalError, TransferFailed, UnknownTable

__all__ = ["TableAccess"]

_NOTHING_REMOVED = (TransferFailed, ParquetDamaged)
"""Errors of a transfer that leave every row here, so that the table goes on."""


class TableAccess:
    """The locks and gates of a table; each lets a call in only if the table can still be used."""

    def __init__(self, table: str, health: Health) -> None:
        self._table, self._health = table, health
        self._committing, self._lock = threading.Lock(), threading.Lock()
        self.ingesting, self.reading = Gate(), Gate()
        self.dropped = False

    def refuse_if_unusable(self) -> None:
        """Raise LogPoisoned, EngineClosed or UnknownTable: something failed, or the table went, perhaps while we waited."""
        self._health.refuse_changes()
        if self.dropped:
            raise UnknownTable(self._table, [])

    @contextmanager
    def before_changes(self) -> Iterator[None]:
        """Keep the Delta side as it is, and change nothing."""
        with self._committing:
            self.refuse_if_unusable()
            yield

    def changing(self, *alone: Gate, but_first: Callable[[], object] = lambda: None) -> ExitStack:
        """Be the only one to change the Delta side, with these gates closed.

        Args:
            but_first: a last look that may refuse; nothing is changed then. Later errors poison the engine.
        """
        with ExitStack() as stack:
            stack.enter_context(self._committing)
            for gate in alone:
                stack.enter_context(gate.closed())
            self.refuse_if_unusable()
            but_first()
            stack.enter_context(self._health.poisoned_by_errors(but_for=_NOTHING_REMOVED))
            return stack.pop_all()

    @contextmanager
    def altering(self) -> Iterator[None]:
        """Alter what readers see, for an instant. An error other than a refusal poisons the engine."""
        with self._lock, self._health.poisoned_by_errors(but_for=ReferenceWalError):
            yield

    @contextmanager
    def looked_at(self) -> Iterator[None]:
        """Look at everything that readers see, at once."""
        with self._lock:
            self.refuse_if_unusable()
            yield

    def wait_until_idle(self) -> None:
        """Return once no call is changing the table or appending to it."""
        with self._committing, self.ingesting.closed(), self._lock:
            return
