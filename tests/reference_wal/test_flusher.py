"""The background thread: it commits what waits, and its errors reach the caller."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from crashmatrix import faults
from crashmatrix.reference_wal import BackgroundFailed, EngineOptions, LogPoisoned, StorageEngine
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
