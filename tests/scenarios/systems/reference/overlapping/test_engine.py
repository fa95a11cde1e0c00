"""Calls that overlap: a thread is held at its failpoint, an engine that keeps order is right, one that does not is caught."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from crashmatrix import faults
from crashmatrix.reference_wal.table import Table
from crashmatrix.scenarios.systems.reference.overlapping.engine import Caller, Held, ThreadedEngine
from crashmatrix.scenarios.target.contract import judge_safely
from crashmatrix.scenarios.target.journal import Journal, Promises

POINT = faults.declare("tests.threads.point", "a place to be held at")


def verdict(folder: Path, *pairs: str, held: int = 0) -> Any:
    system = ThreadedEngine(held=held, pairs=pairs)
    system.workload(folder / "root", Journal(folder / "journal"))
    promises = Promises.parse((folder / "journal").read_bytes())
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
