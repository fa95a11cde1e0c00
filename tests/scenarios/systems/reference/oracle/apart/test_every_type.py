"""Rows of every type come back, and bad ones are refused; an engine or log that does otherwise is found."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from crashmatrix.reference_wal import InvalidInput, StorageEngine, WriteAheadLog, engine as engine_module
from crashmatrix.reference_wal.delta import compression, dictionaries, hidden_nulls
from crashmatrix.reference_wal.log import batch_check
from crashmatrix.reference_wal.log.batch_check import BatchCheck
from crashmatrix.scenarios.errors import PromiseBroken
from crashmatrix.scenarios.systems.reference.oracle.apart.every_type import keep_every_type, log_every_type


@pytest.mark.parametrize("logged", [True, False])
def test_the_engine_keeps_its_promise(logged: bool) -> None:
    """With a log, and without one."""
    keep_every_type(logged=logged)


def test_the_log_keeps_its_promise() -> None:
    """By itself, it has types that Delta has no place for."""
    log_every_type()


def unchecked(*_: Any) -> None:
    """Check nothing."""


def never(*_: Any) -> bool:
    return False


def refused_more(*_: Any) -> None:
    raise InvalidInput("whatever it is")


def without(kind: Callable[[pa.DataType], bool]) -> Callable[..., Iterator[Any]]:
    """Have the search leave out columns of a kind."""
    inside = batch_check._inside

    def some(array: pa.Array, found: pa.DataType) -> Iterator[Any]:
        return iter(()) if kind(found) else inside(array, found)

    return some


CHECKS: list[tuple[Any, str, Any, str]] = [
    (BatchCheck, "__call__", unchecked, "a batch with .* was taken"),
    (BatchCheck, "__call__", refused_more, "raised InvalidInput"),
    (batch_check, "_validate_visible", unchecked, "was taken"),
    (batch_check, "_is_beyond_parquet", never, "a batch with a date too late in .* was taken"),
    (batch_check, "_has_date64", pa.types.is_date64, "in lists of days was taken"),
    (batch_check, "_null_in", lambda *_: "", "was taken"),
    (batch_check, "_null_in", lambda *_: "another", "raised InvalidInput"),
    (
        batch_check,
        "_nulls",
        lambda array: array.null_count,
        "a null by its value in words was taken|in state was taken",
    ),
    (batch_check, "_inside", without(pa.types.is_map), "in marks was taken|in maps of days was taken"),
    (batch_check, "_inside", without(pa.types.is_large_list), "in large list of .* was taken"),
    (batch_check, "_inside", without(pa.types.is_struct), "in structs of days was taken"),
    (batch_check, "_DAY_MAX", 2**31 - 2, "raised InvalidInput"),
]


@pytest.mark.parametrize(("place", "name", "instead", "said"), CHECKS)
@pytest.mark.parametrize("store", [log_every_type, lambda: keep_every_type(logged=True)], ids=["log", "engine"])
def test_checks_that_are_wrong(
    store: Callable[[], None], place: Any, name: str, instead: Any, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A check that lets something pass, or too little, shows in an engine and in a log."""
    monkeypatch.setattr(place, name, instead)
    with pytest.raises(PromiseBroken, match=said):
        store()


def as_they_were(rows: pa.Table, *_: Any) -> pa.Table:
    return rows


def filled(array: pa.Array, kind: pa.DataType) -> pa.Array:
    """Have a value in place of each null of a dictionary."""
    found = array.dictionary_decode() if pa.types.is_dictionary(array.type) else array
    return pc.fill_null(found, "nobody") if pa.types.is_string(kind) else rebuilt(array, kind)


rebuilt = dictionaries._rebuilt


def shown(array: pa.Array, kind: pa.DataType) -> pa.Array:
    """Take what lies beneath null lists for items of others."""
    if pa.types.is_list_view(kind):
        return array
    return right_shown(array, kind)


right_shown = hidden_nulls._shown

STORES: list[tuple[Any, str, Any, str]] = [
    (compression, "without_hidden_nulls", as_they_were, "non-nullable but contains nulls"),
    (hidden_nulls, "_shown", shown, "non-nullable but contains nulls"),
    (hidden_nulls, "_valid", as_they_were, "non-nullable but contains nulls"),
    (dictionaries, "_rebuilt", filled, "has 'nobody' in name, not None"),
    (dictionaries, "encoded", lambda rows, schema: rows, "has other types of"),
    (compression, "order", lambda rows, _: pa.array([*range(rows.num_rows)]), "are not sorted by state and at"),
    (engine_module, "check_table", unchecked, "a table with a column of .* was made|raised"),
]


@pytest.mark.parametrize(("place", "name", "instead", "said"), STORES)
def test_rows_that_are_stored_wrong(
    place: Any, name: str, instead: Any, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows that a flush changes, or that it cannot store, show."""
    monkeypatch.setattr(place, name, instead)
    if name == "encoded":
        monkeypatch.setattr("crashmatrix.reference_wal.delta.parquet_file.encoded", instead)
    with pytest.raises(PromiseBroken, match=said):
        keep_every_type(logged=True)


def test_rows_that_are_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    """By the living engine, and by a log that is opened again."""
    read, unpersisted = StorageEngine.read, WriteAheadLog.unpersisted
    with monkeypatch.context() as patched:
        patched.setattr(StorageEngine, "read", lambda engine, table: read(engine, table).slice(1))
        with pytest.raises(PromiseBroken, match="the living engine has 11 rows of every type, not 12"):
            keep_every_type(logged=True)
    monkeypatch.setattr(WriteAheadLog, "unpersisted", lambda wal, table: unpersisted(wal, table)[:-1])
    with pytest.raises(PromiseBroken, match=r"the log has the batches \[0, 1, 2, 3\] of every type"):
        log_every_type()
