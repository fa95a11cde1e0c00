"""Closing beside other calls, and an opening that fails: no thread is left, and no batch is lost."""

from __future__ import annotations

import threading
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from crashmatrix.reference_wal import EngineClosed, EngineOptions, StorageEngine
from crashmatrix.reference_wal.flusher import Pace
from tests.reference_wal.support import SCHEMA, batch, numbers

THREAD = "reference-wal-flusher"


def opened(root: Path, *, wal: bool = True, **options: Any) -> StorageEngine:
    engine = StorageEngine.open(root, wal, options=EngineOptions(**options))
    if not engine.tables:
        engine.create_table("t", SCHEMA, timestamp="timestamp")
    return engine


def threads_left() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name == THREAD]


@pytest.mark.parametrize("started", [0, 1])
def test_an_opening_without_threads(started: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """If one of its threads cannot be started, the other one ends: another opening may have the folder next."""
    opened(tmp_path).close()
    start, starts = threading.Thread.start, list[str]()

    def scarce(thread: threading.Thread) -> None:
        starts.append(thread.name)
        if starts.count(THREAD) > started:
            raise RuntimeError("can't start new thread")
        start(thread)

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", scarce)
        with pytest.raises(RuntimeError, match="can't start"):
            opened(tmp_path, flush_seconds=3600.0, idle_seconds=3600.0)
    assert starts.count(THREAD) == started + 1
    assert threads_left() == []
    with opened(tmp_path, flush_seconds=3600.0, idle_seconds=3600.0):
        assert threads_left() == [THREAD, THREAD]


@pytest.mark.parametrize("wal", [True, False])
def test_beside_other_calls(wal: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """While it commits what waits, no batch comes that it would leave, and no thread begins that it would forget."""
    engine, calls, drain = opened(tmp_path, wal=wal, flush_seconds=3600.0), list[Future[Any]](), Pace.drain

    def slow(pace: Pace) -> None:
        drain(pace)
        calls.append(pool.submit(engine.ingest, "t", batch(2.0)))
        calls.append(pool.submit(engine.change_options, flush_seconds=1800.0))
        calls[0].exception()

    with ThreadPoolExecutor() as pool:
        monkeypatch.setattr(Pace, "drain", slow)
        engine.ingest("t", batch(1.0))
        engine.close()
        for call in calls:
            assert isinstance(call.exception(), EngineClosed)
    monkeypatch.undo()
    assert threads_left() == []
    with opened(tmp_path, wal=wal) as engine:
        assert numbers(engine.read("t")) == [1.0]
        assert engine.options.flush_seconds is None


def test_options_that_cannot_be_followed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """They are set in the folder, so the engine must not go on by the old ones, as if it had never been called."""
    engine = opened(tmp_path)

    def fail(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", fail)
        with pytest.raises(RuntimeError, match="can't start"):
            engine.change_options(flush_seconds=3600.0)
    with pytest.raises(Exception, match="reopen"):
        engine.change_options(flush_seconds=3600.0)
    engine.close()
    with opened(tmp_path) as engine:
        assert engine.options.flush_seconds == 3600.0
        assert threads_left() == [THREAD]
