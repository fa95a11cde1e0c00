"""The life of a batch in one table: a flush or truncation that fails at any step takes every row or none."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from crashmatrix import faults
from crashmatrix.reference_wal import (
    AppendFailed,
    EngineOptions,
    LogPoisoned,
)
from tests.reference_wal.engines import CALLS, flush, ids, opened
from tests.reference_wal.support import batch, each_with_one_a_day, numbers

FLUSH = [
    point.name
    for prefix in ("seal.", "compress.", "commit.", "engine.flush.before_retire", "wal.retire", "checkpoint.")
    for point in faults.catalogue(prefix)
]


def test_every_step_of_a_flush_is_tried(tmp_path: Path) -> None:
    """The failpoints that a flush passes are those that the next test makes fail, but for the one at its very end."""
    seen: set[str] = set()
    with opened(tmp_path, options=EngineOptions(segment_bytes_max=1, checkpoint_commits=1)) as engine:
        engine.ingest("t", batch(0.0))
        engine.flush()
        for number in range(1, 3):
            engine.ingest("t", batch(float(number)))
        faults.observe(lambda point, _: seen.add(point.name))
        try:
            engine.flush()
        finally:
            faults.observe(None)
    assert seen == {*FLUSH, "engine.flush.before_acknowledge"} and len(FLUSH) > 20


@pytest.mark.lengthy
@pytest.mark.daily(8)
@pytest.mark.parametrize(("point", "fault"), each_with_one_a_day(FLUSH, ["panic", "raise(ENOSPC)"]))
def test_a_failed_flush(point: str, fault: str, tmp_path: Path) -> None:
    """A flush that failed or was interrupted at any step stops the engine; reopening has each acknowledged row once."""
    options = EngineOptions(segment_bytes_max=1, checkpoint_commits=1)
    with opened(tmp_path, options=options) as engine:
        engine.ingest("t", batch(0.0))
        engine.flush()  # Its checkpoint is the one before the next: commits before it are deleted then.
        for number in range(1, 4):
            engine.ingest("t", batch(float(number), station="ab"[number % 2]))
        with faults.scenario(f"{point}={fault}"), pytest.raises((faults.Panic, OSError)):
            engine.flush()
        for call in (*CALLS.values(), flush):
            with pytest.raises(LogPoisoned, match="reopen the log"):
                call(engine, "t")
    for _ in range(2):
        with opened(tmp_path, options=options) as engine:
            assert numbers(engine.read("t")) == [0.0, 1.0, 2.0, 3.0]
    with opened(tmp_path, options=options) as engine:
        assert engine.ingest("t", batch(4.0)) == 4
        engine.flush()
        assert (numbers(engine.read("t")), ids(engine)) == ([0.0, 1.0, 2.0, 3.0, 4.0], [])


@pytest.mark.parametrize("point", ["wal.append.before_write", "wal.append.before_sync"])
def test_a_failed_append(point: str, tmp_path: Path) -> None:
    """An ingest that the log refused leaves what was acknowledged readable; reopening has it, and the rest wholly or not."""
    with opened(tmp_path) as engine:
        engine.ingest("t", batch(1.0))
        with faults.scenario(f"{point}=raise(EIO)"), pytest.raises(AppendFailed):
            engine.ingest("t", batch(2.0, 3.0))
        with pytest.raises(LogPoisoned):
            engine.ingest("t", batch(4.0))
        assert numbers(engine.read("t")) == [1.0]
        engine.flush()
    with opened(tmp_path) as engine:
        assert numbers(engine.read("t")) in ([1.0], [1.0, 2.0, 3.0])
        engine.flush()
        assert ids(engine) == []


@pytest.mark.lengthy
@pytest.mark.parametrize("fault", ["panic", "raise(EIO)"])
@pytest.mark.parametrize(
    "point",
    [
        "engine.truncate.before_commit",
        "commit.delta.before_transact",
        "commit.delta.after_transact",
        "commit.delta.before_sync",
        "engine.truncate.after_commit",
        "wal.rotate.before_rename",
        "wal.retire.before_unlink",
        "wal.retire.before_sync",
        "orphan.file.before_unlink",
        "orphan.file.before_sync",
    ],
)
def test_a_failed_truncation(point: str, fault: str, tmp_path: Path) -> None:
    """A truncation that failed half-way took every row or none, flushed ones and waiting ones alike."""
    with opened(tmp_path, options=EngineOptions(segment_bytes_max=1)) as engine:
        engine.ingest("t", batch(0.0))
        engine.flush()
        engine.ingest("t", batch(1.0))
        engine.ingest("t", batch(2.0))
        with faults.scenario(f"{point}={fault}"), pytest.raises((faults.Panic, OSError, LogPoisoned)):
            engine.truncate("t")
        with pytest.raises(LogPoisoned):
            engine.read("t")
    uncommitted = ("engine.truncate.before_commit", "commit.delta.before_sync", "commit.delta.before_transact")
    committed = point not in uncommitted
    with opened(tmp_path) as engine:
        assert numbers(engine.read("t")) == ([] if committed else [0.0, 1.0, 2.0])
        assert len(list((tmp_path / "tables" / "t").glob("*.parquet"))) == (0 if committed else 1)
        assert engine.ingest("t", batch(3.0)) == 3


@pytest.mark.parametrize(
    ("budget", "spare", "counter", "moved"),
    [
        *(("generation_bytes_max", 0, "generations", True), ("generation_bytes_max", 1, "generations", False)),
        *(("memory_bytes_max", 0, "spilled", False), ("memory_bytes_max", -1, "spilled", True)),
        *(("compressed_bytes_max", 0, "commits", False), ("compressed_bytes_max", -1, "commits", True)),
    ],
)
def test_budgets_to_the_byte(budget: str, spare: int, counter: str, moved: bool, tmp_path: Path) -> None:
    """A batch moves on once a generation is full, or memory or compressed rows exceed their budget; one byte decides."""
    rows = batch(0.0)
    with opened(tmp_path / "to measure") as engine:
        engine.ingest("t", rows)
        engine.flush()
        compressed = engine.files("t")[0].stat().st_size
    size = compressed if budget == "compressed_bytes_max" else rows.nbytes
    given: dict[str, Any] = {"generation_bytes_max": 1} if budget == "compressed_bytes_max" else {}
    given[budget] = size + spare
    with opened(tmp_path / "engine", options=EngineOptions(**given)) as engine:
        engine.ingest("t", rows)
        assert bool(getattr(engine.counters, counter)) is moved
        assert numbers(engine.read("t")) == [0.0]
