"""Calls that overlap: an engine that keeps order is right, one that does not is caught."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from crashmatrix.reference_wal.access.health import Health
from crashmatrix.reference_wal.access.table_access import TableAccess
from crashmatrix.reference_wal.log.segmented_log import SegmentedLog
from crashmatrix.reference_wal.table import Table
from crashmatrix.scenarios.systems.reference.mutation.planting import threads
from crashmatrix.scenarios.systems.reference.notes import claims_of
from crashmatrix.scenarios.systems.reference.overlapping import engine
from crashmatrix.scenarios.systems.reference.overlapping.engine import ThreadedEngine
from crashmatrix.scenarios.target.contract import judge_safely
from crashmatrix.scenarios.target.journal import Journal, Promises


def verdict(folder: Path, *pairs: str, held: int = 0) -> Any:
    system = ThreadedEngine(held=held, pairs=pairs)
    system.workload(folder / "root", Journal(folder / "journal"))
    promises = Promises.parse((folder / "journal").read_bytes())
    if claims := claims_of(promises):
        return claims[0]  # The engine is still open.
    return judge_safely(system.contract, promises, system.recover(folder / "root"))


@pytest.mark.lengthy
@pytest.mark.parametrize("pairs", [("flush+read", "truncate+ingest")])
def test_an_engine_in_order(pairs: tuple[str, ...], tmp_path: Path) -> None:
    """Every hit of the first call held, the second made meanwhile: all fits."""
    assert verdict(tmp_path, *pairs) is None


@pytest.mark.lengthy
def test_a_gate_that_is_left_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is noticed that files go while they are read, although no failpoint is where the other call comes in."""
    monkeypatch.setattr(TableAccess, "__init__", threads.readers_ignored(TableAccess.__init__))
    found = verdict(tmp_path, "read+truncate")
    assert found.living and "is gone" in found.explanation


@pytest.mark.lengthy
def test_a_sealed_generation_out_of_sight(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A read during a flush that misses what is being committed is noticed."""
    original = Table._seal  # the bug is planted where it would be made

    def seal(self: Table) -> Any:
        generation = original(self)
        setattr(self, "_sealed", None)  # noqa: B010
        return generation

    monkeypatch.setattr(Table, "_seal", seal)
    found = verdict(tmp_path, "flush+read")
    assert found.living and "at no moment while it ran" in found.explanation


def test_a_log_that_lacks_what_memory_has(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A batch that only the living engine has is noticed: no copy of the folder has it."""
    original = Table.ingest

    def ingest(self: Table, batch: Any) -> int:
        number = original(self, batch)
        assert isinstance(self.log, SegmentedLog)
        self.log.truncate(remember=True)
        return number

    monkeypatch.setattr(Table, "ingest", ingest)
    monkeypatch.setattr(engine, "COPIED", 1.0)
    found = verdict(tmp_path, "read+read")
    assert (found.verdict, found.living) == ("loses", True)
    assert "a kill now would leave the batches" in found.explanation


@pytest.mark.lengthy
def test_a_call_that_goes_on_after_closing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is noticed that the folder changes once `close` has returned."""
    monkeypatch.setattr(Health, "refuse_changes", Health.refuse_if_poisoned)
    found = verdict(tmp_path, "truncate+close")
    assert found.living and "a truncate that was under way changed tables/" in found.explanation
