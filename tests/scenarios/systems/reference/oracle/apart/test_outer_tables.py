"""Rows move to tables of other programs, once; a transfer that does otherwise is found."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from crashmatrix.reference_wal.delta import folder, receiver, transfer
from crashmatrix.reference_wal.delta.receiver import LocalReceiver, Receiver
from crashmatrix.reference_wal.delta.transfer import Transfer
from crashmatrix.reference_wal.errors import InvalidInput, TransferFailed
from crashmatrix.scenarios.errors import PromiseBroken
from crashmatrix.scenarios.systems.reference.oracle.apart.outer_tables import move_to_other_tables


def test_the_engine_keeps_its_promise() -> None:
    """Twice in one process: nothing outlasts the first time."""
    move_to_other_tables()
    move_to_other_tables()


def unchecked(*_: Any) -> None:
    """Check nothing."""


def nothing_received(*_: Any) -> int:
    return -1


def of_the_wrong_kind(*_: Any) -> None:
    raise TransferFailed("there", "has columns")


def in_another_kind(self: Receiver, schema: pa.Schema) -> int:
    table = self._table()
    return -1 if table is None else table.version()


def twice(self: LocalReceiver, files: dict[Path, int], *rest: Any) -> None:
    right(self, files, *rest)
    path = self.path / "_delta_log" / f"{rest[2]:020d}.json"
    path.write_bytes(path.read_bytes() + b"\n" + path.read_bytes())


right = LocalReceiver.receive


def not_all(self: LocalReceiver, files: dict[Path, int], *rest: Any) -> None:
    right(self, dict([*files.items()][1:]), *rest)


def half(files: Iterable[Path], schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    del files, schema
    yield from ()


def kept(self: Transfer) -> None:
    """Leave the note where it is."""


def never_mind(self: LocalReceiver, schema: pa.Schema) -> None:
    """Go on where no table can be made."""
    try:
        right_create(self, schema)
    except TransferFailed:
        return


right_create = LocalReceiver.create

WRONG: list[tuple[Any, str, Any, str]] = [
    (Receiver, "_refuse_others", unchecked, "a transfer to 'fewer' was (not )?refused"),
    (Receiver, "_refuse_others", of_the_wrong_kind, "was refused by TransferFailed, not InvalidInput"),
    (LocalReceiver, "check", in_another_kind, "a transfer to 'fewer' was refused by TransferFailed"),
    (transfer, "refuse_unfit", unchecked, "a transfer of values that Delta cannot hold was not refused"),
    (receiver, "checked_place", Path.absolute, "a transfer to 'a%20b' was refused by TransferFailed"),
    (LocalReceiver, "create", never_mind, "a transfer to a folder that comes up was refused by"),
    (receiver, "_REFUSALS", set[int](), "raised OSError"),
    (folder, "remove_unfinished", unchecked, "has left a table half-made"),
    (Receiver, "received", nothing_received, "a transfer from a copy .* was refused by|was not refused"),
    (LocalReceiver, "_refuse_named", unchecked, "a transfer of files that the table names"),
    (LocalReceiver, "receive", twice, "has the rows"),
    (LocalReceiver, "receive", not_all, "has the rows"),
    (LocalReceiver, "_read_back", unchecked, "a changed copy"),
    (Transfer, "_forget", kept, "the note of a transfer is left behind"),
    (Transfer, "_refuse_own", unchecked, "a transfer to its own engine was"),
    (Transfer, "refuse_other", lambda self, _: self.pending(), "one to another place was"),
    (Transfer, "_settle", lambda self, *_: self._forget(), "a transfer to a table that is gone was not refused by"),
    (
        transfer,
        "content_of",
        lambda data, _: data.partition(b"\n")[0],
        "a note of a transfer that is .* was taken for one",
    ),
]


@pytest.mark.parametrize(("place", "name", "instead", "said"), WRONG)
def test_transfers_that_are_wrong(
    place: Any, name: str, instead: Any, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each kind of mistake shows."""
    monkeypatch.setattr(place, name, instead)
    with pytest.raises(PromiseBroken, match=said):
        move_to_other_tables()


def test_rows_that_go_before_they_are_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """A transfer that the table refuses, and that removes the rows all the same."""

    def careless(self: LocalReceiver, *arguments: Any) -> None:
        try:
            right(self, *arguments)
        except (InvalidInput, TransferFailed):
            return

    monkeypatch.setattr(LocalReceiver, "receive", careless)
    with pytest.raises(PromiseBroken, match="was not refused by TransferFailed"):
        move_to_other_tables()
