"""Compressed rows that wait: readable, committed together, and in the log until then."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

import pyarrow as pa
import pytest

from crashmatrix import faults
from crashmatrix.reference_wal import EngineOptions, StorageEngine
from crashmatrix.reference_wal.access.table_access import TableAccess
from crashmatrix.reference_wal.delta.compressed_buffer import Compressed, CompressedBuffer, batches_in
from crashmatrix.reference_wal.models.bound import absolute
from crashmatrix.reference_wal.spill import Spill
from tests.reference_wal.support import SCHEMA, batch, numbers

WAITING = EngineOptions(generation_bytes_max=1, compressed_bytes_max=1 << 20, memory_bytes_max=0, segment_bytes_max=1)
"""Each batch is a generation, and waits."""


def part(lo: int, hi: int, *, spill: bool = False) -> Compressed:
    spills = [Spill(Path(f"{lo}"), lo, hi, 0, 0)] if spill else []
    return Compressed(lo, hi, pa.py_buffer(b"x" * lo), 1, spills)


def opened(root: Path, *, wal: bool = True, options: EngineOptions = WAITING) -> StorageEngine:
    engine = StorageEngine.open(root, wal, options=options)
    if not engine.tables:
        engine.create_table("t", SCHEMA, timestamp="timestamp", tags=["station"])
    return engine


def test_parts_follow_one_another() -> None:
    """The buffer has the bytes, batches and spill files of all its parts; a gap is refused; a reader's list stays as it is."""
    buffer = CompressedBuffer()
    buffer.add(part(3, 4, spill=True))
    seen = buffer.parts
    buffer.add(part(5, 9, spill=True))
    assert (buffer.bytes, batches_in(buffer.parts), len(seen)) == (8, range(3, 10), 1)
    with pytest.raises(AssertionError, match="gap"):
        buffer.add(part(11, 12))
    assert (len(buffer.take()), buffer.bytes) == (2, 0)
    buffer.add(part(10, 10, spill=True))
    assert buffer.bytes == 10
    assert [spill.lo for spill in buffer.clear()] == [3, 5, 10]
    assert (buffer.parts, buffer.bytes) == ([], 0)
    buffer.add(part(20, 21))
    assert buffer.bytes == 20


@pytest.mark.parametrize("wal", [True, False])
def test_what_waits_is_there(wal: bool, tmp_path: Path) -> None:
    """Compressed rows are read as all others; with a log they are in it, until one commit takes all of them."""
    with opened(tmp_path, wal=wal) as engine:
        for number in range(3):
            engine.ingest("t", batch(float(number)))
        assert (engine.files("t"), numbers(engine.read("t")), engine.counters.commits) == ([], [0.0, 1.0, 2.0], 0)
        assert [number for number, _ in engine.unpersisted("t")] == ([0, 1, 2] if wal else [])
        engine.flush()
        assert (len(engine.files("t")), numbers(engine.read("t")), engine.counters.commits) == (3, [0.0, 1.0, 2.0], 1)
        assert engine.unpersisted("t") == []


def test_values_within_their_bound(tmp_path: Path) -> None:
    """Rows of a table by models are within their bound while they wait, the same as once they are committed."""
    schema = pa.schema(
        [pa.field("time", pa.timestamp("us"), nullable=False), pa.field("v", pa.float64(), nullable=False)]
    )
    stored = [1.0 + 0.01 * (number % 3) for number in range(40)]
    rows = pa.record_batch([pa.array(range(40), pa.timestamp("us")), pa.array(stored)], schema=schema)
    with StorageEngine.open(tmp_path, options=WAITING) as engine:
        engine.create_table("t", schema, timestamp="time", bounds={"v": absolute(0.5)})
        engine.ingest("t", rows)
        waiting = engine.read("t")
        engine.flush()
        assert waiting.equals(engine.read("t"))
        assert len(set(waiting["v"].to_pylist())) == 1


@pytest.mark.parametrize(("call", "left"), [("truncate", []), ("switch", [0.0, 1.0]), ("close", [0.0, 1.0])])
@pytest.mark.parametrize("wal", [True, False])
def test_no_call_forgets_them(call: str, left: list[float], wal: bool, tmp_path: Path) -> None:
    """A truncation takes compressed rows with the others; a switch of the log, and closing, commit them first."""
    with opened(tmp_path, wal=wal) as engine:
        engine.ingest("t", batch(0.0))
        engine.ingest("t", batch(1.0))
        if call == "truncate":
            engine.truncate("t")
        elif call == "switch":
            engine.switch_log(not wal, "t")
            assert len(engine.files("t")) == 2
    with opened(tmp_path, wal=wal) as engine:
        assert (numbers(engine.read("t")), engine.unpersisted("t")) == (left, [])
        assert engine.ingest("t", batch(2.0)) == 2


def test_a_table_made_anew_has_none(tmp_path: Path) -> None:
    """Dropping a table drops its compressed rows, and they no longer count against the budget."""
    with opened(tmp_path) as engine:
        engine.ingest("t", batch(0.0))
        dropped = engine._tables["t"]
        engine.drop_table("t")
        assert dropped.compressed_bytes == 0  # A thread that looks for the largest table may still have it in hand.
        engine.create_table("t", SCHEMA, timestamp="timestamp", tags=["station"])
        engine.ingest("t", batch(5.0))
        engine.flush()
        assert numbers(engine.read("t")) == [5.0]


COMMIT = [
    point.name
    for prefix in ("commit.", "engine.flush.before_retire", "wal.retire")
    for point in faults.catalogue(prefix)
]


@pytest.mark.parametrize("hit", [0, 1])
@pytest.mark.parametrize("point", COMMIT)
def test_a_commit_of_several_cut_short(point: str, hit: int, tmp_path: Path) -> None:
    """Wherever a commit of two generations stops, both are there once after reopening, and the ids go on."""
    with opened(tmp_path) as engine:
        engine.ingest("t", batch(0.0))
        engine.ingest("t", batch(1.0))
        passed = list[str]()
        faults.observe(lambda found, _: passed.append(found.name))
        try:
            with faults.scenario(f"{point}={hit}*off->panic", allow_unhit=True):
                engine.flush()
        except faults.Panic:
            pass
        finally:
            faults.observe(None)
        assert point in passed
    for _ in range(2):
        with opened(tmp_path) as engine:
            assert numbers(engine.read("t")) == [0.0, 1.0]
    with opened(tmp_path) as engine:
        assert engine.ingest("t", batch(2.0)) == 2
        engine.flush()
        assert numbers(engine.read("t")) == [0.0, 1.0, 2.0]


def test_a_spill_file_behind_what_was_compressed(tmp_path: Path) -> None:
    """Without a log, spilled rows behind a generation that was lost with the memory are not replayed: a prefix comes back."""
    options = EngineOptions(
        generation_bytes_max=2 * batch(0.0).nbytes, compressed_bytes_max=1 << 20, memory_bytes_max=0
    )
    engine = opened(tmp_path, wal=False, options=options)
    for number in range(5):  # 0 and 1, 2 and 3 are compressed; of these 0, 2 and 4 were spilled.
        engine.ingest("t", batch(float(number)))
    with faults.scenario("commit.parquet.before_write=panic"), pytest.raises(faults.Panic):
        engine.flush()
    engine.close()
    with opened(tmp_path, wal=False, options=options) as engine:
        assert numbers(engine.read("t")) == [0.0]
        assert engine.ingest("t", batch(9.0)) == 1


def test_what_a_flush_commits_needs_no_room(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """At no moment of a flush does another thread count its bytes: it would wait for the commit, to make room."""
    altering, seen = TableAccess.altering, list[int]()

    @contextmanager
    def looked_at_after(access: TableAccess) -> Iterator[None]:
        with altering(access):
            yield
        seen.append(engine._tables["t"].compressed_bytes)

    with opened(tmp_path, options=EngineOptions()) as engine:
        engine.ingest("t", batch(0.0))
        monkeypatch.setattr(TableAccess, "altering", looked_at_after)
        engine.flush()
        assert len(engine.files("t")) == 1
    assert seen
    assert not any(seen)


def test_clock_is_looked_at_for_each_batch(tmp_path: Path) -> None:
    """The clock says when a batch came, also if the batch was compressed at once."""
    clock = count()
    options = EngineOptions(clock=lambda: float(next(clock)), idle_seconds=3600)
    with opened(tmp_path, options=options) as engine:
        engine.ingest("t", batch(0.0))
        assert next(clock) == 1
