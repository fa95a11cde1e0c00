"""Transfers to a Delta table behind a URI: an object store (`object_store`) takes the rows, refuses them, or is out of reach.

The engine keeps no keys of such a store. So opening it cannot find out whether a transfer that was cut short has arrived: the
rows are read here until the next transfer to the same place. Once a workload is over, an engine in a folder of its own sends
rows to a store in memory; no crash point lies there.
"""

from __future__ import annotations

from functools import partial

from crashmatrix.reference_wal import InvalidInput, TransferFailed
from crashmatrix.scenarios.errors import PromiseBroken
from crashmatrix.scenarios.systems.reference.notes import claimed_as_broken
from crashmatrix.scenarios.systems.reference.oracle.apart.first_run import folder_apart
from crashmatrix.scenarios.systems.reference.oracle.apart.object_store import ObjectStore
from crashmatrix.scenarios.systems.reference.oracle.apart.sender import (
    RECEIVED,
    Sender,
    compare,
    fail_at,
    refused,
    rows_of,
)

__all__ = ["move_to_a_store"]


def move_to_a_store() -> None:
    """Send rows to an object store. Raises PromiseBroken unless each row is in one place, and each error is of its kind."""
    with folder_apart() as aside, ObjectStore() as store, claimed_as_broken("transfers to an object store"):
        sender = Sender(aside / "engine")
        try:
            _to_a_store(sender, store)
        finally:
            sender.engine.close()


def _to_a_store(sender: Sender, store: ObjectStore) -> None:
    """Send rows to a table behind a URI: made anew, refused by the store at each step, received once and cut short."""
    place, rows = f"{store.uri}/deep/there", sender.commit()
    send = partial(sender.send, place, store.options)
    refused(
        TransferFailed, place, partial(sender.send, place, {**store.options, "AWS_ACCESS_KEY_ID": "x"}), "another key"
    )
    store.refuses = lambda method, _: method == "PUT"
    refused(TransferFailed, place, send, "a transfer to a store that takes no table")
    sender.has(rows, "a transfer to a store that takes no table")
    store.refuses = lambda method, key: method == "PUT" and key.endswith("1.json")
    refused(TransferFailed, place, send, "a transfer to a store that takes no rows")
    sender.has(rows, "a transfer to a store that takes no rows", noted=True)
    store.refuses = lambda _, __: False
    elsewhere = partial(sender.send, f"{store.uri}/elsewhere", store.options)
    refused(InvalidInput, "was cut short", elsewhere, "a transfer to another place")
    sender.reopen()
    sender.has(rows, "opening, when a transfer to a store was cut short", noted=True)
    _stored(sender, store, rows, rows)
    more = sender.commit()
    fail_at(RECEIVED, partial(sender.send, place, store.options))
    sender.reopen()
    sender.has(more, "opening, when a store may have the rows", noted=True)
    _stored(sender, store, more, [*rows, *more])


def _stored(sender: Sender, store: ObjectStore, rows: list[int], due: list[int]) -> None:
    """Send what is here, to a store; it must be there once afterwards, in a table of the sender's columns."""
    if (sent := sender.send(f"{store.uri}/deep/there", store.options)) != len(rows):
        raise PromiseBroken("corrupt", f"a transfer to a store says that it moved {sent} rows, not {len(rows)}")
    sender.has([], "a transfer to a store")
    there = {key.removeprefix("deep/there/"): data for key, data in store.objects.items() if key.startswith("deep/")}
    compare(rows_of(there), due, "the table in the store")
    if others := [key for key in store.objects if not key.startswith("deep/there/")]:
        raise PromiseBroken("corrupt", f"a transfer to a store has put {others} there")
