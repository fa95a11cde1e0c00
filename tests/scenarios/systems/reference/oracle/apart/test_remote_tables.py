"""Rows move to an object store, once; a transfer that does otherwise is found."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from crashmatrix.reference_wal.delta import receiver, transfer
from crashmatrix.reference_wal.delta.receiver import LocalReceiver, Receiver
from crashmatrix.reference_wal.delta.transfer import Intent, Transfer
from crashmatrix.scenarios.errors import PromiseBroken
from crashmatrix.scenarios.systems.reference.oracle.apart.remote_tables import move_to_a_store


def test_the_engine_keeps_its_promise() -> None:
    """Twice in one process: nothing outlasts the first time."""
    move_to_a_store()
    move_to_a_store()


def in_a_folder(uri: str, _: object, *, base: Path) -> Receiver:
    return LocalReceiver(base / uri.partition("//")[2])


batches = receiver._batches


def changed(how: Callable[[list[pa.RecordBatch]], list[pa.RecordBatch]]) -> Callable[..., Iterator[pa.RecordBatch]]:
    return lambda *arguments: iter(how([*batches(*arguments)]))


def sent_before(self: Transfer, *_: object) -> None:
    self._forget()


def received_before(self: Transfer, _: object, pending: Intent) -> None:
    self._finish(pending)


def opened_anyway(self: Transfer) -> None:
    """Take a table that nobody can look at for one that has nothing."""
    if self.pending() is not None:
        self._forget()


WRONG: list[tuple[Any, str, Any, str]] = [
    (transfer, "receiver_at", in_a_folder, "a transfer to another key was|another key was not refused"),
    (receiver, "_batches", changed(lambda some: some[:0]), r"the table in the store has the rows \[\], not \[1\]"),
    (receiver, "_batches", changed(lambda some: some * 2), r"has the rows \[1, 1\]"),
    (Transfer, "_settle", sent_before, "it has received this table's batches up to"),
    (Transfer, "_settle", received_before, "the table in the store has the rows"),
    (Transfer, "recover", opened_anyway, "the note of a transfer is gone"),
    (Transfer, "refuse_other", lambda self, _: self.pending(), "a transfer to another place was"),
]


@pytest.mark.parametrize(("place", "name", "instead", "said"), WRONG)
def test_transfers_that_are_wrong(
    place: Any, name: str, instead: Any, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each kind of mistake shows."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(place, name, instead)
    with pytest.raises(PromiseBroken, match=said):
        move_to_a_store()
