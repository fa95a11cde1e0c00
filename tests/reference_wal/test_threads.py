"""Many threads, many tables, one in the background: each acknowledged row once, at every moment and after every death."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from crashmatrix import faults
from crashmatrix.reference_wal import EngineOptions, LogPoisoned, StorageEngine, UnknownTable
from crashmatrix.reference_wal.access.health import Health
from tests import ROOT
from tests.reference_wal.support import SCHEMA, batch, numbers

BUSY = EngineOptions(
    segment_bytes_max=4000, generation_bytes_max=300, memory_bytes_max=400, checkpoint_commits=3, flush_seconds=0.01
)
"""Everything that can happen in the background happens all the time."""
WAITING = replace(BUSY, flush_seconds=0.05, compressed_bytes_max=4_000, idle_seconds=0.01)
"""The same, where compressed rows may wait, and a second thread looks for idle tables."""


def opened(root: Path, tables: str = "t", *, options: EngineOptions | None = None, wal: bool = True) -> StorageEngine:
    engine = StorageEngine.open(root, wal, options=options)
    for table in set(tables) - set(engine.tables):
        engine.create_table(table, SCHEMA, timestamp="timestamp", tags=["station"])
    return engine


@pytest.fixture
def in_short_turns() -> Iterator[None]:
    """Threads take turns as often as they can: between any two steps of Python, another one may come."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(interval)


@pytest.mark.lengthy
@pytest.mark.usefixtures("in_short_turns")
@pytest.mark.parametrize(
    ("wal", "options"),
    [
        (True, WAITING),
        (False, BUSY),
        *(pytest.param(*each, marks=pytest.mark.slow) for each in ((True, BUSY), (False, WAITING))),
    ],
)
def test_many_threads(wal: bool, options: EngineOptions, tmp_path: Path) -> None:
    """At every moment a reader finds each row acknowledged by then, and none twice; after closing as well."""
    acknowledged: dict[str, list[float]] = {"t": [], "u": []}

    def write(writer: int) -> None:
        for number in range(30):
            table, value = "tu"[number % 2], float(writer * 1000 + number)
            engine.ingest(table, batch(value, station="abc"[number % 3]))
            acknowledged[table].append(value)

    def read() -> None:
        while not done.is_set():
            for table in "tu":
                before = list(acknowledged[table])
                found = Counter(numbers(engine.read(table)))
                assert max(found.values(), default=1) == 1
                assert not set(before) - set(found)

    done = threading.Event()
    with opened(tmp_path, "tu", options=options, wal=wal) as engine, ThreadPoolExecutor() as pool:
        reader = pool.submit(read)
        for writer in [pool.submit(write, writer) for writer in range(4)]:
            writer.result()
        done.set()
        reader.result()
        assert engine.counters.appends == 120
    with opened(tmp_path, "tu", wal=wal) as engine:
        for table in "tu":
            assert numbers(engine.read(table)) == sorted(acknowledged[table])
            assert engine.unpersisted(table) == []
            assert engine.ingest(table, batch(1.0)) == 60


@contextmanager
def held_at(point: str) -> Iterator[threading.Event]:
    """Hold the first thread that comes to a failpoint; the event says that it is there."""
    there, go_on = threading.Event(), threading.Event()

    def hold() -> None:
        there.set()
        assert go_on.wait(30)

    faults.configure_callback(point, hold)
    try:
        yield there
    finally:
        go_on.set()
        faults.remove(point)


@pytest.mark.parametrize(
    "point", ["compress.before_encode", "commit.parquet.before_sync", "commit.delta.after_transact"]
)
def test_a_commit_stops_nobody(point: str, tmp_path: Path) -> None:
    """While a generation is compressed and committed, the same table takes batches and shows every row once."""
    with opened(tmp_path) as engine, ThreadPoolExecutor() as pool:
        engine.ingest("t", batch(0.0))
        with held_at(point) as there:
            flush = pool.submit(engine.flush)
            assert there.wait(30)
            assert engine.ingest("t", batch(1.0)) == 1
            assert numbers(engine.read("t")) == [0.0, 1.0]
            assert not flush.done()
        flush.result()
        assert (numbers(engine.read("t")), [number for number, _ in engine.unpersisted("t")]) == ([0.0, 1.0], [1])


def test_one_table_does_not_wait_for_another(tmp_path: Path) -> None:
    """A commit to one table keeps no other from being committed, truncated or dropped."""
    with opened(tmp_path, "tuv") as engine, ThreadPoolExecutor() as pool:
        engine.ingest("t", batch(0.0))
        with held_at("commit.parquet.before_sync") as there:
            flush = pool.submit(engine.flush)
            assert there.wait(30)
            faults.remove("commit.parquet.before_sync")
            engine.ingest("u", batch(1.0))
            engine.truncate("u")
            engine.drop_table("v")
            assert not flush.done()
        flush.result()


def test_a_table_is_dropped_while_it_spills(tmp_path: Path) -> None:
    """The drop waits for the spill file, so that neither call fails, and the engine goes on."""
    options = EngineOptions(memory_bytes_max=1)
    with opened(tmp_path, "tu", options=options) as engine, ThreadPoolExecutor() as pool:
        with held_at("spill.file.before_write") as there:
            ingest = pool.submit(engine.ingest, "t", batch(0.0))
            assert there.wait(30)
            drop = pool.submit(engine.drop_table, "t")
            wait([drop], timeout=0.5)
        ingest.result()
        drop.result()
        assert engine.ingest("u", batch(1.0)) == 0
        assert engine.tables == ["u"]


@pytest.mark.parametrize("switch", [False, True])
def test_a_flush_that_waited_for_an_append_that_failed(switch: bool, tmp_path: Path) -> None:
    """A batch that never comes leaves a hole before one that has come. A call that waits for both is refused."""
    waiting, here = list[Future[object]](), threading.get_ident()
    with opened(tmp_path) as engine, ThreadPoolExecutor() as pool:

        def fail(point: faults.FailPoint, _: int) -> None:
            if point.name == "wal.append.before_acknowledge" and threading.get_ident() == here:
                waiting.append(pool.submit(engine.ingest, "t", batch(2)))
                wait(waiting)
                call = partial(engine.switch_log, False, "t") if switch else engine.flush
                waiting.append(pool.submit(call))
                time.sleep(0.1)
                raise OSError(errno.EIO, "the disk failed")

        faults.observe(fail)
        with pytest.raises(OSError, match="the disk failed"):
            engine.ingest("t", batch(1))
        faults.observe(None)
        with pytest.raises(LogPoisoned):
            waiting[1].result()
    with StorageEngine.open(tmp_path) as engine:
        assert numbers(engine.read("t")) == [1.0, 2.0]


@pytest.fixture
def poisoned_late(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whichever thread an error sets free has time to go on before the engine knows of the error."""
    note = Health.note

    def late(health: Health, error: BaseException) -> None:
        time.sleep(0.1)
        note(health, error)

    monkeypatch.setattr(Health, "note", late)


@pytest.mark.usefixtures("poisoned_late")
@pytest.mark.parametrize(
    ("failing", "at", "waits"),
    [
        *(("drop_table", "drop.table.before_sync", call) for call in ("read", "ingest", "flush", "truncate")),
        *(("drop_table", "drop.table.before_delete", call) for call in ("read", "ingest")),
        *(("truncate", "engine.truncate.after_commit", call) for call in ("ingest", "flush")),
        *(("switch_log", "engine.switch.before_stop", call) for call in ("ingest", "flush")),
        *(("flush", "commit.delta.before_transact", call) for call in ("flush", "truncate", "drop_table")),
        *(("ingest", "spill.file.after_write", call) for call in ("read", "flush")),
    ],
)
def test_a_call_that_waited_for_one_that_failed(failing: str, at: str, waits: str, tmp_path: Path) -> None:
    """A call fails half-way while another waits for it. The other one is refused, and sees nothing of what is half done."""
    waiting = list[Future[object]]()
    options = EngineOptions(memory_bytes_max=1_500)
    with opened(tmp_path, options=options) as engine, ThreadPoolExecutor() as pool:
        calls: dict[str, Callable[[], object]] = {
            name: partial(getattr(engine, name), "t") for name in ("read", "truncate", "drop_table")
        }
        calls |= {"flush": engine.flush, "switch_log": partial(engine.switch_log, False, "t")}
        calls["ingest"] = partial(engine.ingest, "t", batch(*range(100)))

        def fail(point: faults.FailPoint, _: int) -> None:
            if point.name == at and not waiting:
                waiting.append(pool.submit(calls[waits]))
                time.sleep(0.1)
                raise OSError(errno.EIO, "the disk failed")

        engine.ingest("t", batch(1))
        if failing != "flush":
            engine.flush()
        faults.observe(fail)
        with pytest.raises(OSError, match="the disk failed"):
            calls[failing]()
        faults.observe(None)
        with pytest.raises(LogPoisoned):
            waiting[0].result()


@pytest.mark.parametrize("end", ["truncate", "drop_table"])
def test_batches_around_a_truncation(end: str, tmp_path: Path) -> None:
    """A batch is either gone with the truncation or stays: acknowledged after it, it survives a restart."""
    began, finished = threading.Event(), threading.Event()
    gone: list[float] = []
    kept: list[float] = []

    def write(writer: int) -> None:
        for number in range(400):
            before, after, value = not began.is_set(), finished.is_set(), float(writer * 1000 + number)
            try:
                engine.ingest("t", batch(value))
            except UnknownTable:
                return
            if after:
                kept.append(value)
            elif before and not began.is_set():
                gone.append(value)
            if after and number > 20:
                return

    with opened(tmp_path) as engine, ThreadPoolExecutor() as pool:
        writers = [pool.submit(write, writer) for writer in range(3)]
        while len(gone) < 5:
            time.sleep(0.001)
        began.set()
        getattr(engine, end)("t")
        finished.set()
        for writer in writers:
            writer.result()
    with StorageEngine.open(tmp_path) as engine:
        assert engine.tables == (["t"] if end == "truncate" else [])
        found = set(numbers(engine.read("t"))) if engine.tables else set()
        assert not set(gone) & found
        assert not set(kept) - found
        assert (end == "truncate") is bool(kept)


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 200
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_a_failed_generation_is_passed_by_nobody(tmp_path: Path) -> None:
    """Once a generation failed, no other thread commits the next one over it, not even one that was already waiting."""
    with opened(tmp_path) as engine, ThreadPoolExecutor() as pool:
        engine.ingest("t", batch(0.0))
        with held_at("compress.before_encode") as there:
            faults.configure("commit.parquet.before_write", "1*raise(EIO)->off")
            first = pool.submit(engine.flush)
            assert there.wait(30)
            engine.ingest("t", batch(1.0))
            second = pool.submit(engine.flush)
            time.sleep(0.05)
        with pytest.raises(OSError, match="Input/output"):
            first.result()
        with pytest.raises(LogPoisoned):
            second.result()
        faults.remove("commit.parquet.before_write")
    with opened(tmp_path) as engine:
        assert numbers(engine.read("t")) == [0.0, 1.0]


# --- real deaths

WORKER = """
import sys, threading
from pathlib import Path
from crashmatrix.reference_wal import EngineOptions, StorageEngine
from tests.reference_wal.support import SCHEMA, batch
from tests.reference_wal.test_threads import BUSY, opened
root, journal = Path(sys.argv[1]), open(sys.argv[2], "ab", buffering=0)
engine = opened(root, "tu", options=BUSY)
def write(writer):
    for number in range(200):
        table, value = "tu"[number % 2], float(writer * 1000 + number)
        journal.write(f"attempt {table} {value}\\n".encode())
        engine.ingest(table, batch(value, station="abc"[number % 3]))
        journal.write(f"ack {table} {value}\\n".encode())
threads = [threading.Thread(target=write, args=(writer,)) for writer in range(4)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
"""


@pytest.mark.lengthy
@pytest.mark.daily(2)
@pytest.mark.parametrize(
    "point",
    ["commit.delta.after_transact", "seal.after_take", "wal.retire.before_unlink", "checkpoint.clean_up.after_unlink"],
)
def test_killed_amid_threads(point: str, tmp_path: Path) -> None:
    """A SIGKILL in one thread while the others ingest: every acknowledged batch is there, none twice, none made up."""
    journal = tmp_path / "journal"
    killed = subprocess.run(
        [sys.executable, "-c", WORKER, str(tmp_path / "engine"), str(journal)],
        env={**os.environ, "PYTHONPATH": str(ROOT), "FAILPOINTS": f"{point}=5*off->kill"},
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert killed.returncode == -9, killed.stderr
    lines = [line.split() for line in journal.read_text().splitlines()]
    with opened(tmp_path / "engine", "tu") as engine:
        for table in "tu":
            found = numbers(engine.read(table))
            said = {
                kind: {float(value) for k, t, value in lines if (k, t) == (kind, table)} for kind in ("attempt", "ack")
            }
            assert len(found) == len(set(found))
            assert said["ack"] <= set(found) <= said["attempt"]
