"""Rows that are in two places, or in none, are seen past the engine, and so is what a transfer leaves behind."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from crashmatrix.reference_wal import InvalidInput, UnknownTable
from crashmatrix.scenarios.errors import PromiseBroken
from crashmatrix.scenarios.systems.reference.oracle.apart.first_run import contents
from crashmatrix.scenarios.systems.reference.oracle.apart.sender import (
    RECEIVED,
    Sender,
    compare,
    fail_at,
    meanwhile,
    refused,
    rows_of,
)


@pytest.fixture
def sender(tmp_path: Path) -> Iterator[Sender]:
    sender = Sender(tmp_path / "engine")
    yield sender
    sender.engine.close()


def test_where_rows_are(sender: Sender, tmp_path: Path) -> None:
    """Here, there, and in a table that names a file twice, or has removed one."""
    rows = sender.commit(3)
    sender.has(rows, "nothing")
    assert sender.send(tmp_path / "there") == 3
    sender.has([], "a transfer")
    found = contents(tmp_path / "there")
    assert rows_of(found) == rows
    last = max(name for name in found if name.endswith(".json"))
    with pytest.raises(PromiseBroken, match="has the rows"):
        compare(rows_of({**found, last: found[last] + b"\n" + found[last]}), rows, "it")
    removed = found[last] + b'\n{"remove": {"path": "a.parquet"}}\n'
    with pytest.raises(PromiseBroken, match=r"has removed a\.parquet"):
        rows_of({**found, last: removed})


def test_what_is_left_behind(sender: Sender) -> None:
    """A note, half a note, a file that no commit names."""
    rows = sender.commit()
    with pytest.raises(PromiseBroken, match="the note of a transfer is gone"):
        sender.has(rows, "it", noted=True)
    for name in ("_transfer.json", "_transfer.json.tmp", "orphan.parquet"):
        (sender.note.parent / name).touch()
        with pytest.raises(PromiseBroken, match=r"left behind|the sender's folder has"):
            sender.has(rows, "it")
        (sender.note.parent / name).unlink()
    with pytest.raises(PromiseBroken, match=r"the sender has the rows \[1\], not \[\]"):
        sender.has([], "it")


def refuse(error: Exception) -> None:
    raise error


def test_refusals() -> None:
    """An error has to be of its kind, with its words."""
    refused(InvalidInput, "so", lambda: refuse(InvalidInput("so it is")), "it")
    for error in (InvalidInput("otherwise"), UnknownTable("so", [])):
        with pytest.raises(PromiseBroken, match="was refused by"):
            refused(InvalidInput, "so", lambda error=error: refuse(error), "it")  # type: ignore[misc]  # bound at once
    with pytest.raises(PromiseBroken, match="was not refused"):
        refused(InvalidInput, "so", lambda: None, "it")


def test_calls_that_fail_or_do_not(sender: Sender, tmp_path: Path) -> None:
    """A transfer has to come to the failpoint, and to fail there."""
    with pytest.raises(PromiseBroken, match="went on after a call that failed"):
        fail_at(RECEIVED, lambda: None)
    with pytest.raises(PromiseBroken, match="did not come to"), meanwhile(RECEIVED, lambda: None):
        pass
    sender.commit()
    happened = list[int]()
    with meanwhile(RECEIVED, lambda: happened.append(1)):
        sender.send(tmp_path / "there")
    assert happened == [1]
    sender.commit()
    fail_at(RECEIVED, lambda: sender.send(tmp_path / "there"))
    sender.reopen()
    sender.has([], "opening")
