"""The background thread: it commits what waits, and its errors reach the caller."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

import pytest

from crashmatrix import faults
from crashmatrix.reference_wal import BackgroundFailed, EngineOptions, LogPoisoned, StorageEngine
from crashmatrix.reference_wal.flusher import Flusher
from tests.reference_wal.support import SCHEMA, batch, numbers


def opened(root: Path, tables: str = "t", *, options: EngineOptions | None = None, wal: bool = True) -> StorageEngine:
    engine = StorageEngine.open(root, wal, options=options)
    for table in set(tables) - set(engine.tables):
        engine.create_table(table, SCHEMA, timestamp="timestamp", tags=["station"])
    return engine


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def refuses(engine: StorageEngine) -> bool:
    try:
        engine.read("t")
    except BackgroundFailed:
        return True
    return False


def test_the_background_commits(tmp_path: Path) -> None:
    """Waiting rows are committed without a flush, full generations at once; closing commits the rest."""
    options = EngineOptions(flush_seconds=3600, generation_bytes_max=2 * batch(0.0).nbytes)
    with opened(tmp_path, options=options) as engine:
        engine.ingest("t", batch(0.0))
        engine.ingest("t", batch(1.0))
        wait_until(lambda: len(engine.files("t")) == 1)
        engine.ingest("t", batch(2.0))
    with opened(tmp_path) as engine:
        assert (engine.unpersisted("t"), numbers(engine.read("t"))) == ([], [0.0, 1.0, 2.0])


@pytest.mark.parametrize("fault", ["panic", "raise(EIO)"])
def test_an_error_in_the_background_reaches_the_caller(fault: str, tmp_path: Path) -> None:
    """The next call raises the error, with its cause, and so does closing; nothing acknowledged is lost."""
    engine = opened(tmp_path, options=EngineOptions(flush_seconds=0.01))
    with faults.scenario(f"commit.parquet.before_sync={fault}", allow_unhit=True):
        engine.ingest("t", batch(0.0))
        wait_until(lambda: refuses(engine))
    for call in (lambda: engine.ingest("t", batch(1.0)), engine.flush, lambda: engine.read("t"), engine.close):
        with pytest.raises(BackgroundFailed, match=r"Panic|OSError|Input/output") as caught:
            call()
        assert isinstance(caught.value, LogPoisoned) and caught.value.__cause__ is not None
    with opened(tmp_path) as engine:
        assert numbers(engine.read("t")) == [0.0]


def test_an_error_on_its_way_is_not_hidden(tmp_path: Path) -> None:
    """An exception that leaves the block is the one that is seen, whatever closing has to say."""
    with pytest.raises(KeyError), opened(tmp_path, options=EngineOptions(flush_seconds=0.01)) as engine:
        with faults.scenario("commit.parquet.before_sync=panic", allow_unhit=True):
            engine.ingest("t", batch(0.0))
            wait_until(lambda: refuses(engine))
        raise KeyError


class Clock:
    """A clock that stands still until it is set."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


ONE = batch(0.0).nbytes


def test_the_largest_is_committed(tmp_path: Path) -> None:
    """Compressed rows beyond the budget are committed, the largest table's, all of them; the others stay as long as they fit."""
    options = EngineOptions(generation_bytes_max=1, compressed_bytes_max=1 << 20)
    with opened(tmp_path, "tu", options=options) as engine:
        for number, table in enumerate("tut"):
            engine.ingest(table, batch(float(number)))
        engine.change_options(compressed_bytes_max=2500, generation_bytes_max=1 << 20)
        engine.ingest("u", batch(3.0))
        assert [len(engine.unpersisted(table)) for table in "tu"] == [0, 2]
        engine.change_options(compressed_bytes_max=0)
        engine.ingest("t", batch(4.0))
        assert [len(engine.unpersisted(table)) for table in "tu"] == [1, 1]
        assert (numbers(engine.read("t")), numbers(engine.read("u"))) == ([0.0, 2.0, 4.0], [1.0, 3.0])


@pytest.mark.parametrize("budget", [0, 1 << 20])
def test_idle_tables_are_finished(budget: int, tmp_path: Path) -> None:
    """A table that got no batch for the time is compressed, or committed where nothing compressed may wait; no other is."""
    clock = Clock()
    options = EngineOptions(idle_seconds=1000, clock=clock, compressed_bytes_max=budget)
    with opened(tmp_path, "tu", options=options) as engine:
        engine.ingest("t", batch(0.0))
        engine.ingest("u", batch(1.0))
        clock.now = 999
        engine.ingest("u", batch(2.0))
        engine.finish_idle()
        assert engine.counters.generations == 0
        clock.now = 1000
        engine.finish_idle()
        engine.finish_idle()
        assert (engine.counters.generations, engine.counters.commits) == (1, 0 if budget else 1)
        clock.now = 1999
        engine.finish_idle()
        assert engine.counters.generations == 2
        assert (numbers(engine.read("t")), numbers(engine.read("u"))) == ([0.0], [1.0, 2.0])


def test_replayed_rows_become_idle(tmp_path: Path) -> None:
    """Rows from the log are idle so long after the first look as others are after their last batch."""
    clock = Clock()
    with opened(tmp_path) as engine:
        engine.ingest("t", batch(0.0))
    with opened(tmp_path, options=EngineOptions(idle_seconds=10, clock=clock)) as engine:
        for clock.now, commits in ((500, 0), (509, 0), (510, 1)):
            engine.finish_idle()
            assert engine.counters.commits == commits


def test_the_thread_finishes_idle_tables(tmp_path: Path) -> None:
    """With ``idle_seconds``, set while the engine runs, a thread does so; full generations are left to the callers."""
    with opened(tmp_path, options=EngineOptions(generation_bytes_max=2 * ONE)) as engine:
        engine.change_options(idle_seconds=0.01)
        engine.ingest("t", batch(0.0))
        wait_until(lambda: len(engine.files("t")) == 1)
        engine.change_options(idle_seconds=None)
        engine.ingest("t", batch(1.0))
        engine.ingest("t", batch(2.0))
        assert (len(engine.files("t")), engine.unpersisted("t")) == (2, [])


@pytest.mark.parametrize(("flush_seconds", "idle_seconds"), [(3600, 0.01), (0.01, 3600)])
def test_an_error_in_either_thread_is_seen(flush_seconds: float, idle_seconds: float, tmp_path: Path) -> None:
    """An error in either of two threads stops the engine, and is one of the background."""
    engine = opened(tmp_path, options=EngineOptions(flush_seconds=flush_seconds, idle_seconds=idle_seconds))
    with faults.scenario("commit.parquet.before_sync=raise(EIO)", allow_unhit=True):
        engine.ingest("t", batch(0.0))
        wait_until(lambda: refuses(engine))
    with pytest.raises(BackgroundFailed):
        engine.close()
    with opened(tmp_path) as engine:
        assert numbers(engine.read("t")) == [0.0]


def test_a_thread_that_is_woken_all_the_time(tmp_path: Path) -> None:
    """Its turn comes all the same: a busy table does not keep the others from being committed."""
    turns, flusher = list[float](), list[Flusher]()
    flusher.append(Flusher(lambda: flusher[0].wake(), lambda: turns.append(1), 0.05, nullcontext))
    flusher[0].wake()
    wait_until(lambda: len(turns) > 2)
    flusher[0].stop()
