"""Calls that wait for another one: what they find then, after a failure, after `close`, after another transfer."""

from __future__ import annotations

import errno
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from deltalake import DeltaTable
from deltalake.exceptions import DeltaError

from crashmatrix import faults
from crashmatrix.reference_wal import (
    EngineClosed,
    EngineOptions,
    InvalidInput,
    LogPoisoned,
    StorageEngine,
    TransferFailed,
    UnknownTable,
)
from crashmatrix.reference_wal.access.table_access import TableAccess
from crashmatrix.reference_wal.buffers import RowBuffer
from crashmatrix.reference_wal.delta.receiver import LocalReceiver
from crashmatrix.reference_wal.flusher import Pace
from crashmatrix.reference_wal.table import Table
from tests.reference_wal.support import SCHEMA, batch, numbers


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor() as threads:
        yield threads


@pytest.fixture
def late(monkeypatch: pytest.MonkeyPatch) -> Callable[[type, str], tuple[threading.Event, threading.Event]]:
    """Make the next call of a method late: returns events for its beginning, and to let it go on."""

    def make(owner: type, name: str) -> tuple[threading.Event, threading.Event]:
        began, go_on, original = threading.Event(), threading.Event(), getattr(owner, name)

        def slow(*arguments: Any, **options: Any) -> Any:
            if not began.is_set():
                began.set()
                assert go_on.wait(60)
            return original(*arguments, **options)

        monkeypatch.setattr(owner, name, slow)
        return began, go_on

    return make


def opened(root: Path, **options: Any) -> StorageEngine:
    engine = StorageEngine.open(root, options=EngineOptions(**options))
    if not engine.tables:
        engine.create_table("t", SCHEMA, timestamp="timestamp", tags=["station"])
    return engine


@pytest.mark.parametrize(
    ("call", "owner", "method"),
    [
        (lambda engine: engine.flush(), TableAccess, "changing"),
        (lambda engine: engine.truncate("t"), TableAccess, "changing"),
        (lambda engine: engine.transfer("t", engine.root.parent / "archive"), TableAccess, "changing"),
        (lambda engine: engine.ingest("t", batch(2.0)), Table, "ingest"),
        (lambda engine: engine.ingest("t", batch(2.0)), Table, "spill"),
        (lambda engine: engine.ingest("t", batch(2.0)), Table, "flush"),
    ],
    ids=["flush", "truncate", "transfer", "ingest", "ingest, which spills", "ingest, which commits"],
)
def test_after_closing(
    call: Any, owner: type, method: str, late: Any, pool: ThreadPoolExecutor, tmp_path: Path
) -> None:
    """A call that began before `close`, and comes to the table after it, changes nothing: the folder may be another opening's."""
    options = {
        "spill": {"memory_bytes_max": 1}, "flush": {"generation_bytes_max": 2 * batch(2.0).nbytes}
    }.get(method, {})  # fmt: skip
    engine = opened(tmp_path / "engine", **options)
    engine.ingest("t", batch(1.0))
    began, go_on = late(owner, method)
    running = pool.submit(call, engine)
    assert began.wait(60)
    engine.close()
    with opened(tmp_path / "engine") as another:
        for number in (3.0, 4.0):
            another.ingest("t", batch(number))
            another.flush()
        before = numbers(another.read("t"))
        files = sorted((tmp_path / "engine").rglob("*"))
        go_on.set()
        if method in ("spill", "flush"):
            assert running.result() == 1  # The batch was there already.
        else:
            with pytest.raises(EngineClosed):
                running.result()
        assert sorted((tmp_path / "engine").rglob("*")) == files
    with opened(tmp_path / "engine") as another:
        assert numbers(another.read("t")) == before
        assert set(before) >= {1.0, 3.0, 4.0}


def test_a_batch_that_comes_while_closing(
    late: Any, pool: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Without a log, `close` commits what waits. A batch that comes to the table after that is refused, not lost."""
    drain = Pace.drain
    engine = StorageEngine.open(tmp_path, wal=False)
    engine.create_table("t", SCHEMA, timestamp="timestamp", tags=["station"])
    began, go_on = late(Table, "ingest")
    running = pool.submit(engine.ingest, "t", batch(1.0))
    assert began.wait(60)

    def drained(pace: Pace) -> None:
        drain(pace)
        go_on.set()
        running.exception()

    monkeypatch.setattr(Pace, "drain", drained)
    engine.close()
    with pytest.raises(EngineClosed):
        running.result()


def test_a_spill_while_closing(pool: ThreadPoolExecutor, tmp_path: Path) -> None:
    """`close` waits for it: the file would be one of another opening's."""
    spilling, go_on = threading.Event(), threading.Event()

    def hold(point: faults.FailPoint, _: int) -> None:
        if point.name == "spill.file.before_write":
            spilling.set()
            assert go_on.wait(60)

    engine = opened(tmp_path, memory_bytes_max=1)
    faults.observe(hold)
    ingesting = pool.submit(engine.ingest, "t", batch(1.0))
    assert spilling.wait(60)
    closing = pool.submit(engine.close)
    wait([closing], timeout=0.3)
    assert not closing.done()
    go_on.set()
    closing.result()
    faults.observe(None)
    assert ingesting.result() == 0


@pytest.mark.parametrize("call", ["truncate", "switch"])
def test_after_an_append_that_failed(call: str, pool: ThreadPoolExecutor, tmp_path: Path) -> None:
    """A truncation, or a switch of the log, that waited for it is refused. Nothing else of the engine is."""
    waiting = list[Future[None]]()
    with opened(tmp_path) as engine:

        def fail(point: faults.FailPoint, _: int) -> None:
            if point.name == "wal.append.before_write" and not waiting:
                waits = partial(engine.truncate, "t") if call == "truncate" else partial(engine.switch_log, False, "t")
                waiting.append(pool.submit(waits))
                while not engine._tables["t"]._access.ingesting.closing:
                    pass
                raise OSError(errno.ENOSPC, "the disk is full")

        engine.ingest("t", batch(1.0))
        engine.flush()
        engine.ingest("t", batch(2.0))
        faults.observe(fail)
        with pytest.raises(LogPoisoned):
            engine.ingest("t", batch(3.0))
        faults.observe(None)
        with pytest.raises(LogPoisoned):
            waiting[0].result()
        assert numbers(engine.read("t")) == [1.0, 2.0]
        engine.flush()
        engine.create_table("u", SCHEMA, timestamp="timestamp")
    with opened(tmp_path) as engine:
        assert numbers(engine.read("t")) == [1.0, 2.0]


def test_after_a_transfer_to_another_place(
    late: Any, pool: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Another thread's transfer may have ended in doubt meanwhile: its rows must not be sent to a second place."""
    here, there = tmp_path / "here", tmp_path / "there"
    with opened(tmp_path / "engine") as engine:
        engine.ingest("t", batch(1.0))
        engine.flush()
        began, go_on = late(TableAccess, "changing")
        running = pool.submit(engine.transfer, "t", here)
        assert began.wait(60)
        with monkeypatch.context() as patch:
            patch.setattr(LocalReceiver, "receive", _received_in_doubt(LocalReceiver.receive))
            with pytest.raises(TransferFailed):
                engine.transfer("t", there)
        go_on.set()
        with pytest.raises(InvalidInput, match="there was cut short"):
            running.result()
        assert not here.exists()
        assert engine.transfer("t", there) == 1
        assert engine.read("t").num_rows == 0
        assert DeltaTable(there).count() == 1


@pytest.mark.parametrize("dropped", [True, False])
def test_a_transfer_of_a_table_that_cannot_be_used(
    dropped: bool, late: Any, pool: ThreadPoolExecutor, tmp_path: Path
) -> None:
    """A transfer that waited is refused because of that, before it looks at the place to which the rows should go."""
    (tmp_path / "file").write_text("mine")
    with opened(tmp_path / "engine") as engine:
        engine.ingest("t", batch(1.0))
        began, go_on = late(TableAccess, "before_changes")
        running = pool.submit(engine.transfer, "t", tmp_path / "file")
        assert began.wait(60)
        if dropped:
            engine.drop_table("t")
        else:
            with faults.scenario("commit.delta.before_transact=raise(EIO)"), pytest.raises(OSError, match="Input"):
                engine.flush()
        go_on.set()
        with pytest.raises(UnknownTable if dropped else LogPoisoned):
            running.result()


def _received_in_doubt(original: Any) -> Any:
    def receive(*arguments: Any) -> None:
        original(*arguments)
        raise TransferFailed("there", DeltaError("the answer was lost"))

    return receive


def test_a_batch_half_in_the_buffers(
    late: Any, pool: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Another thread does not spill it: without a log, the next opening would take the half for a batch."""
    engine = StorageEngine.open(tmp_path, wal=False, options=EngineOptions(memory_bytes_max=1))
    engine.create_table("t", SCHEMA, timestamp="timestamp", tags=["station"])
    began, go_on = late(Table, "spill")
    running = pool.submit(engine.ingest, "t", batch(1.0))
    assert began.wait(60)
    insert = RowBuffer.insert

    def half(buffers: RowBuffer, number: int, rows: pa.RecordBatch) -> None:
        insert(buffers, number, rows.slice(0, 1))
        raise MemoryError

    monkeypatch.setattr(RowBuffer, "insert", half)
    with pytest.raises(MemoryError):
        engine.ingest("t", batch(5.0, 6.0))
    go_on.set()
    with pytest.raises(LogPoisoned):
        running.result()
    engine.close()
    monkeypatch.undo()
    with StorageEngine.open(tmp_path, wal=False) as engine:
        assert numbers(engine.read("t")) == []


@pytest.mark.parametrize(
    "call",
    [
        lambda engine: engine.truncate("t"),
        lambda engine: engine.switch_log(False, "t"),
        lambda engine: engine.drop_table("t"),
    ],
    ids=["truncate", "switch", "drop"],
)
def test_after_a_batch_that_failed(
    call: Callable[[StorageEngine], None], pool: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A call that waited until nobody ingests looks then whether the engine may go on, and changes nothing otherwise."""
    waiting = list[Future[None]]()
    engine = opened(tmp_path)
    engine.ingest("t", batch(1.0))
    engine.flush()
    engine.ingest("t", batch(2.0))

    def fail(*_: object) -> None:
        waiting.append(pool.submit(call, engine))
        while not engine._tables["t"]._access.ingesting.closing:
            pass
        raise MemoryError

    with monkeypatch.context() as patch, pytest.raises(MemoryError):
        patch.setattr(RowBuffer, "insert", fail)
        engine.ingest("t", batch(3.0))
    with pytest.raises(LogPoisoned):
        waiting[0].result()
    engine.close()
    with opened(tmp_path) as engine:
        assert (engine.tables, engine.has_log("t")) == (["t"], True)
        assert numbers(engine.read("t")) == [1.0, 2.0, 3.0]


@pytest.mark.parametrize("wal", [True, False])
def test_a_batch_for_a_table_that_was_dropped(wal: bool, late: Any, pool: ThreadPoolExecutor, tmp_path: Path) -> None:
    """It is refused, although the table was there when the call began; nobody would find its rows."""
    with StorageEngine.open(tmp_path, wal=wal) as engine:
        engine.create_table("t", SCHEMA, timestamp="timestamp", tags=["station"])
        began, go_on = late(Table, "ingest")
        running = pool.submit(engine.ingest, "t", batch(1.0))
        assert began.wait(60)
        engine.drop_table("t")
        go_on.set()
        with pytest.raises(UnknownTable):
            running.result()


def test_a_read_that_fails(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """It has changed nothing, so the engine goes on."""
    with opened(tmp_path) as engine:
        engine.ingest("t", batch(1.0))
        with monkeypatch.context() as patch:
            patch.setattr(RowBuffer, "waiting", _without_memory)
            with pytest.raises(MemoryError):
                engine.read("t")
        assert numbers(engine.read("t")) == [1.0]


def _without_memory(_: RowBuffer) -> None:
    raise MemoryError
