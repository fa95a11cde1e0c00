"""Calls that overlap: a thread is held at its failpoint, an engine that keeps order is right, one that does not is caught."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from crashmatrix import faults
from crashmatrix.reference_wal import StorageEngine
from crashmatrix.reference_wal.table import Table
from crashmatrix.scenarios.systems.reference.mutation import planting_threads
from crashmatrix.scenarios.systems.reference.notes import claims_of
from crashmatrix.scenarios.systems.reference.overlapping.engine import ThreadedEngine
from crashmatrix.scenarios.systems.reference.overlapping.held import Caller, Held
from crashmatrix.scenarios.target.contract import judge_safely
from crashmatrix.scenarios.target.journal import Journal, Promises

POINT = faults.declare("tests.threads.point", "a place to be held at")


def verdict(folder: Path, *pairs: str, held: int = 0) -> Any:
    system = ThreadedEngine(held=held, pairs=pairs)
    system.workload(folder / "root", Journal(folder / "journal"))
    promises = Promises.parse((folder / "journal").read_bytes())
    if claims := claims_of(promises):
        return claims[0]  # The engine is still open.
    return judge_safely(system.contract, promises, system.recover(folder / "root"))


def three_hits() -> None:
    for _ in range(3):
        POINT.hit()


def test_a_thread_is_held() -> None:
    """The thread stops at the chosen hit; others pass; the observer before sees every hit, the held one last."""
    seen = list[int]()
    faults.observe(lambda _, number: seen.append(number))
    start = faults.hits(POINT.name)
    held = Held(2)
    with held.installed():
        caller = Caller(lambda: held.call(three_hits))
        assert held.wait(caller)
        POINT.hit()
        assert [number - start for number in seen] == [1, 3]
        held.let_go()
        caller.finish()
    faults.observe(None)
    assert sorted(number - start for number in seen) == [1, 2, 3, 4]


@pytest.mark.lengthy
@pytest.mark.parametrize("pairs", [("flush+read", "truncate+ingest")])
def test_an_engine_in_order(pairs: tuple[str, ...], tmp_path: Path) -> None:
    """Every hit of the first call held, the second made meanwhile: all fits."""
    assert verdict(tmp_path, *pairs) is None


def test_a_thread_is_held_at_each_place(tmp_path: Path) -> None:
    """Between two critical sections of a table it stops as well; a thread held at each place comes by all of them."""
    with StorageEngine.open(tmp_path) as engine:
        engine.create_table("t", pa.schema([("at", pa.int64())]), timestamp="at")
        reads = [Held(1, between=True), Held(None), Held(99, between=True)]
        for held, places in zip(reads, (1, 2, 0), strict=True):
            with held.installed():
                caller = Caller(partial(held.call, partial(engine.read, "t")))
                stops = 0
                while held.wait(caller):
                    stops += 1
                    held.let_go()
                caller.finish()
            assert stops >= places if held is reads[1] else stops == places
        assert reads[1].places == reads[2].places > 1


def test_a_thread_that_fails() -> None:
    """Let go, it gets an error of the disk where it was held."""
    held = Held(2, fails=True)
    with held.installed():
        caller = Caller(lambda: held.call(three_hits))
        assert held.wait(caller)
        held.let_go()
        with pytest.raises(OSError, match=f"to fail at {POINT.name}"):
            caller.finish()
    assert held.hits == 2


@pytest.mark.lengthy
def test_a_gate_that_is_left_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is noticed that files go while they are read, although no failpoint is where the other call comes in."""
    monkeypatch.setattr(Table, "__init__", planting_threads.readers_ignored(Table.__init__))
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
