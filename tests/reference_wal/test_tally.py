"""Counters: any thread adds, a reader sees them with the syncs of the logs."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path

import pytest

from crashmatrix import faults
from crashmatrix.reference_wal import EngineOptions, ReferenceWalError, StorageEngine
from crashmatrix.reference_wal.log.counters import LogCounters
from crashmatrix.reference_wal.tally import Counters, Tally
from tests.reference_wal.engines import opened
from tests.reference_wal.support import batch


def test_nothing_yet() -> None:
    """A new tally is all zeros."""
    assert Tally().read([]) == Counters()


def test_many_threads() -> None:
    """No addition is lost, and each counter counts its own."""
    tally = Tally()
    with ThreadPoolExecutor(8) as pool:
        for _ in range(400):
            pool.submit(tally.add, appends=1, append_bytes=10)
            pool.submit(tally.add, commits=2)
    found = asdict(tally.read([]))
    assert {name: number for name, number in found.items() if number} == {
        "appends": 400,
        "append_bytes": 4000,
        "commits": 800,
    }


def test_syncs_of_all_logs() -> None:
    """Syncs are those of the logs that are passed."""
    found = Tally().read(iter([LogCounters(syncs=3, sync_seconds=0.5), LogCounters(syncs=4, sync_seconds=0.25)]))
    assert (found.syncs, found.sync_seconds) == (7, 0.75)


def test_unknown_counter() -> None:
    """A misspelt counter is our mistake."""
    with pytest.raises(KeyError):
        Tally().add(apends=1)


# --- those of the engine

CHECKPOINTS = EngineOptions(checkpoint_commits=2)


def counted(engine: StorageEngine) -> dict[str, float]:
    """Return the counters that are not zero; syncs are the log's."""
    found = asdict(engine.counters)
    return {name: number for name, number in found.items() if number and not name.startswith("sync")}


def test_a_life(tmp_path: Path) -> None:
    """Each call counts what it did, and one that had nothing to do counts nothing."""
    rows = [batch(0.0, 1.0, 2.0), batch(3.0), batch(4.0, 5.0)]
    with opened(tmp_path / "engine", options=CHECKPOINTS) as engine:
        for each in rows[:2]:
            engine.ingest("t", each)
        expected: dict[str, float] = {"appends": 2, "append_bytes": sum(each.nbytes for each in rows[:2])}
        assert counted(engine) == expected
        for _ in range(2):
            engine.flush()
            assert counted(engine) == {**expected, "generations": 1, "commits": 1, "rows": 4}
        engine.ingest("t", rows[2])
        engine.flush()
        expected |= {"appends": 3, "append_bytes": sum(each.nbytes for each in rows)}
        expected |= {"generations": 2, "commits": 2, "rows": 6, "checkpoints": 1}
        assert counted(engine) == expected
        for _ in range(2):
            engine.transfer("t", tmp_path / "there")
            assert counted(engine) == {**expected, "commits": 3, "transferred": 6}
        engine.truncate("t")
        expected |= {"commits": 4, "transferred": 6}
        assert counted(engine) == expected
        for _ in range(2):
            engine.switch_log(False, "t")
            assert counted(engine) == {**expected, "commits": 5}
        engine.switch_log(True, "t")
        assert counted(engine) == {**expected, "commits": 6}
        for each in rows:
            engine.ingest("t", each)
    with opened(tmp_path / "engine") as engine:
        assert counted(engine) == {"replayed": 3}


FAILING: list[tuple[str, Callable[[StorageEngine], object], dict[str, int]]] = [
    ("wal.append.before_write=", lambda engine: engine.ingest("t", batch(9.0)), {}),
    ("commit.delta.before_transact=", lambda engine: engine.flush(), {"generations": 1}),
    ("checkpoint.file.before_write=", lambda engine: engine.flush(), {"generations": 1, "commits": 1, "rows": 1}),
    ("engine.truncate.before_commit=", lambda engine: engine.truncate("t"), {}),
    (
        "commit.delta.before_transact=1*off->",  # The rows are committed, the switch is not.
        lambda engine: engine.switch_log(False, "t"),
        {"generations": 1, "commits": 1, "rows": 1, "checkpoints": 1},
    ),
    ("commit.delta.before_transact=", lambda engine: engine.transfer("t", engine.root / "there"), {}),
    (
        "checkpoint.file.before_write=",
        lambda engine: engine.transfer("t", engine.root / "there"),
        {"commits": 1, "transferred": 1},
    ),
]


@pytest.mark.parametrize(("fault", "call", "counts"), FAILING)
def test_a_call_that_fails(
    fault: str, call: Callable[[StorageEngine], object], counts: dict[str, int], tmp_path: Path
) -> None:
    """It counts what was done by then."""
    with opened(tmp_path, options=CHECKPOINTS) as engine:
        engine.ingest("t", batch(0.0))
        engine.flush()
        engine.ingest("t", batch(1.0))
        before = counted(engine)
        with faults.scenario(f"{fault}raise(EIO)"), suppress(OSError, ReferenceWalError):
            call(engine)
        after = counted(engine)
    assert {name: after[name] - before.get(name, 0) for name in after if after[name] != before.get(name)} == counts
