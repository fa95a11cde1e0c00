"""The port's server: which buffers are finished when, what a commit names, and each call's order."""

from __future__ import annotations

from pathlib import Path

import pytest

from crashmatrix import faults
from crashmatrix.scenarios.systems.modelardb.batches import batch_of, numbers_in
from crashmatrix.scenarios.systems.modelardb.engine import Engine


def made(root: Path, *flaws: str) -> Engine:
    engine = Engine(root, flaws)
    engine.create()
    return engine


def fill(engine: Engine, *numbers: int) -> None:
    for number in numbers:
        engine.ingest(batch_of(0, number))
        engine.work()


@pytest.mark.parametrize(("flaw", "whole"), [("split-batch", False), ("", True)])
def test_saving_for_want_of_memory(flaw: str, whole: bool, tmp_path: Path) -> None:
    """A full buffer is saved after four batches; with the flaw alone, the steady series' points are not, and lost in a crash."""
    engine = made(tmp_path, flaw)
    fill(engine, 0, 1, 2)
    assert engine.table.history() == set()
    fill(engine, 3)
    assert engine.table.history() == {0, 1, 2, 3}
    found = engine.rows()
    assert numbers_in(0, found) == [0, 1, 2, 3]
    assert (engine.table.rows().num_rows == found.num_rows) == whole
    assert (Engine(tmp_path, [flaw]).rows().num_rows == found.num_rows) == whole


def test_idle_buffers_are_finished(tmp_path: Path) -> None:
    """A buffer that the newest batch did not touch is compressed; its batches are named by the next commit."""
    engine = made(tmp_path, "split-batch")
    fill(engine, 0, 1, 4, 5, 6, 7)  # 4 has a point of the steady series only, so the fast one's buffer is finished.
    assert engine.table.history() == {0, 1, 3, 4, 5}  # Ids: the third batch is the lone one.


CALLS = [
    ("truncate-race", "truncate", [1], []),
    ("", "truncate", [1], [1]),
    ("transfer-race", "transfer", [], []),
    ("", "transfer", [1], [1]),
]


@pytest.mark.parametrize(("flaw", "call", "seen", "after_crash"), CALLS)
def test_a_batch_stored_beside_a_call(
    flaw: str, call: str, seen: list[int], after_crash: list[int], tmp_path: Path
) -> None:
    """A batch acknowledged while a truncation or a transfer runs is there afterwards, unless a flaw takes it."""
    engine = made(tmp_path, flaw)
    fill(engine, 0)
    engine.flush()

    def beside() -> None:
        fill(engine, 1)
        if call == "transfer":
            engine.flush()

    getattr(engine, call)(beside)
    assert numbers_in(0, engine.rows()) == seen
    assert numbers_in(0, Engine(tmp_path, [flaw]).rows()) == after_crash


@pytest.mark.parametrize(("flaw", "found"), [("switched-off", [1]), ("", [])])
def test_rows_of_a_dropped_table(flaw: str, found: list[int], tmp_path: Path) -> None:
    """A table made anew while the log is off has none of the old rows once it is on again."""
    engine = made(tmp_path, flaw)
    fill(engine, 1)
    engine.switch_log(on=False)
    engine.drop()
    engine.create()
    engine.switch_log(on=True)
    assert numbers_in(0, engine.rows()) == found


@pytest.mark.parametrize(("flaw", "here"), [("transfer-twice", [0]), ("", [])])
def test_a_transfer_cut_short(flaw: str, here: list[int], tmp_path: Path) -> None:
    """Rows that arrived before a crash are not here as well after the next start."""
    engine = made(tmp_path, flaw)
    fill(engine, 0)
    engine.flush()
    with faults.scenario("modelardb.transfer.sent=panic"), pytest.raises(faults.Panic):
        engine.transfer()
    again = Engine(tmp_path, [flaw])
    assert (numbers_in(0, again.rows()), numbers_in(0, again.other.rows())) == (here, [0])


@pytest.mark.parametrize(("flaw", "there"), [("drop-order", True), ("", False)])
def test_a_drop_cut_short(flaw: str, there: bool, tmp_path: Path) -> None:
    """Amid a drop the table is gone as a whole; with the flaw its committed rows are left, and those in the log gone."""
    engine = made(tmp_path, flaw)
    fill(engine, 0)
    engine.flush()
    fill(engine, 1)
    with faults.scenario("modelardb.drop.half_done=panic"), pytest.raises(faults.Panic):
        engine.drop()
    again = Engine(tmp_path, [flaw])
    assert again.table.exists == there
    if there:
        assert numbers_in(0, again.rows()) == [0]
    assert (tmp_path / "log").exists() == there
