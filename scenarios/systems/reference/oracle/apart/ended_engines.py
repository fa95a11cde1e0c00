"""Engines that have ended, and calls that are interrupted: each later call raises the error that says why, and changes nothing.

An engine ends when it is closed, and when its background thread fails, which no caller sees. A table ends when it is dropped; a
call that has stored a batch may be about to spill it then. A caller that waits for others may be interrupted, and others must not
wait for it in turn. The engines are the oracle's own.
"""

from __future__ import annotations

import logging
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import FrameType

import pyarrow as pa

from crashmatrix import faults
from crashmatrix.reference_wal import EngineOptions, StorageEngine
from crashmatrix.reference_wal.access.gate import Gate
from crashmatrix.reference_wal.errors import BackgroundFailed, EngineClosed
from crashmatrix.scenarios.errors import PromiseBroken
from crashmatrix.scenarios.systems.reference.oracle.apart.ended_logs import raises
from crashmatrix.scenarios.systems.reference.oracle.apart.first_run import contents, folder_apart, judged
from crashmatrix.scenarios.systems.reference.oracle.refusals import nothing_behind
from crashmatrix.scenarios.systems.reference.overlapping.held import Caller

__all__ = ["judge_ended_engines"]

_SCHEMA = pa.schema([("at", pa.int64())])
_LOGGED, _UNLOGGED = "logged", "unlogged"
_STUCK_SECONDS = 10.0
_DROPPING = "wal.remove_table.before_rename"
"""A drop is held here: the table is gone, and still listed."""
_LOGGER = logging.getLogger("crashmatrix.reference_wal")


def judge_ended_engines() -> None:
    """Make engines, end them, and call on.

    Raises:
        PromiseBroken: a call raised another error, changed a file, or never returned.
    """
    judges = (_closed, _background_failed, _dropped_while_spilling)
    with folder_apart() as folder:
        for judge in judges:
            root = folder / judge.__name__
            with judged(f"an engine that has ended ({judge.__name__.strip('_').replace('_', ' ')})"):
                judge(root)
                nothing_behind(
                    root
                )  # Not `let_go`: threads of deltalake close the files that they read when they please.
    _interrupted()


def _batch(row: int, rows: int = 1) -> pa.RecordBatch:
    return pa.record_batch([pa.array([row] * rows)], schema=_SCHEMA)


def _rows(engine: StorageEngine, table: str) -> list[int]:
    rows: list[int] = engine.read(table)["at"].to_pylist()
    return sorted(rows)


@contextmanager
def _with_tables(root: Path, options: EngineOptions) -> Iterator[StorageEngine]:
    """Yield an engine with tables (`_make`)."""
    with StorageEngine.open(root, options=options) as engine:
        _make(engine)
        yield engine


def _make(engine: StorageEngine) -> None:
    """Make a table that has a log, and one that has none; each has two rows, one of them committed."""
    for table in (_LOGGED, _UNLOGGED):
        engine.create_table(table, _SCHEMA, timestamp="at", wal=table == _LOGGED)
    for row in range(2):
        for table in (_LOGGED, _UNLOGGED):
            engine.ingest(table, _batch(row))
        if not row:
            engine.flush()


def _calls(engine: StorageEngine) -> dict[str, Callable[[], object]]:
    """Every call that needs an engine in use."""
    calls: dict[str, Callable[[], object]] = {
        "create_table": partial(engine.create_table, "new", _SCHEMA, timestamp="at"),
        "change_options": partial(engine.change_options, memory_bytes_max=9),
        "switch_log of all tables": partial(engine.switch_log, False),
        "flush": engine.flush,
        "finish_idle": engine.finish_idle,
    }
    for table in (_LOGGED, _UNLOGGED):
        calls |= {
            f"ingest {table}": partial(engine.ingest, table, _batch(9)),
            f"read {table}": partial(engine.read, table),
            f"truncate {table}": partial(engine.truncate, table),
            f"switch_log of {table}": partial(engine.switch_log, table != _LOGGED, table),
            f"transfer {table}": partial(engine.transfer, table, engine.root.with_name("elsewhere")),
            f"drop_table {table}": partial(engine.drop_table, table),
        }
    return calls


def _refuses(engine: StorageEngine, kind: type[Exception], how: str) -> None:
    before = contents(engine.root.parent)
    for name, call in _calls(engine).items():
        raises(kind, call, f"{name} on an engine that {how}")
    if contents(engine.root.parent) != before:
        raise PromiseBroken("corrupt", f"calls on an engine that {how} changed its folder")


def _has_all_rows(root: Path) -> None:
    with StorageEngine.open(root) as engine:
        found = {table: _rows(engine, table) for table in engine.tables}
    if found != {_LOGGED: [0, 1], _UNLOGGED: [0, 1]}:
        raise PromiseBroken("loses", f"opened again, the engine has the rows {found}")


def _closed(root: Path) -> None:
    """A closed engine refuses every call but another close; it has lost nothing."""
    with _with_tables(root, EngineOptions()) as engine:
        for _ in range(2):
            engine.close()
        _refuses(engine, EngineClosed, "was closed")
    _has_all_rows(root)


class _Failed(Exception):
    """An error of the background thread."""


def _background_failed(root: Path) -> None:
    """An engine whose background thread has failed says so in every call, in `close`, and in the log of the program."""
    here, armed = threading.get_ident(), threading.Event()

    def clock() -> float:
        if armed.is_set() and threading.get_ident() != here:
            raise _Failed
        return 0.0

    with _heard() as errors:
        engine = StorageEngine.open(root, options=EngineOptions(clock=clock, idle_seconds=0.001))
        _make(engine)
        engine.flush()
        armed.set()
        _wait_for_refusal(engine)
        _refuses(engine, BackgroundFailed, "has failed in the background")
        raises(BackgroundFailed, engine.close, "closing an engine that has failed in the background")
    if _LOGGER.isEnabledFor(logging.ERROR) and [type(error) for error in errors] != [_Failed]:
        raise PromiseBroken("corrupt", f"a background thread has failed, and the program's log has the errors {errors}")
    _has_all_rows(root)


def _wait_for_refusal(engine: StorageEngine) -> None:
    give_up = time.monotonic() + _STUCK_SECONDS
    while time.monotonic() < give_up:
        try:
            engine.read(_LOGGED)
        except BackgroundFailed:
            return
        time.sleep(0.001)
    raise PromiseBroken("corrupt", "an engine goes on although its background thread has failed")


@contextmanager
def _heard() -> Iterator[list[object]]:
    """Yield a list of the errors that the engine logs in the block, where nobody else hears of them."""
    errors, handler = list[object](), logging.Handler(logging.ERROR)
    handler.emit = lambda record: errors.extend(record.args or ())  # type: ignore[method-assign]
    passes_on, _LOGGER.propagate = _LOGGER.propagate, False
    _LOGGER.addHandler(handler)
    try:
        yield errors
    finally:
        _LOGGER.removeHandler(handler)
        _LOGGER.propagate = passes_on


def _finish(caller: Caller, doing: str) -> None:
    caller.finish(f"{doing} never returns", _STUCK_SECONDS)


def _dropped_while_spilling(root: Path) -> None:
    """A call returns that is about to spill its batch when the table is dropped; nothing of the table is left."""
    dropping, spilled, drops = threading.Event(), threading.Event(), list[Caller]()

    def clock() -> float:  # Read between the two steps.
        if armed.is_set() and not drops:
            drops.append(Caller(partial(engine.drop_table, _LOGGED)))
            dropping.wait(_STUCK_SECONDS)
        return 0.0

    def observe(point: faults.FailPoint, _: int) -> None:
        if point.name == _DROPPING:
            dropping.set()
            spilled.wait(_STUCK_SECONDS)

    armed, before = threading.Event(), faults.observe(observe)
    try:
        with _with_tables(root, EngineOptions(clock=clock, memory_bytes_max=1)) as engine:
            armed.set()
            _finish(Caller(partial(engine.ingest, _LOGGED, _batch(2, 100))), "an ingest whose table is dropped")
            spilled.set()
            _finish(drops[0], "a drop while a batch is stored")
            left = [str(path.relative_to(root)) for path in root.rglob("*") if _LOGGED in path.name.split("-")]
            if left or engine.tables != [_UNLOGGED]:
                raise PromiseBroken("corrupt", f"a dropped table left {left}; the tables are {engine.tables}")
            engine.create_table(_LOGGED, _SCHEMA, timestamp="at", wal=True)
            engine.ingest(_LOGGED, _batch(5))
            if (found := _rows(engine, _LOGGED)) != [5]:
                raise PromiseBroken("phantom", f"a table made anew has the rows {found}")
    finally:
        spilled.set()
        faults.observe(before)


class _Interrupt(BaseException):
    """As a KeyboardInterrupt."""


def _interrupted() -> None:
    """A caller that is interrupted while it waits to close a gate leaves it open, for those that came later as well.

    Only a process's main thread can be interrupted; the workload runs in it.
    """
    if threading.current_thread() is not threading.main_thread():
        return
    gate, here = Gate(), threading.get_ident()
    before = signal.signal(signal.SIGUSR1, _interrupt)
    try:
        with gate.passed():  # So that closing waits.
            later = Caller(partial(_interrupt_when_waiting, gate, here))
            try:
                with gate.closed():
                    raise PromiseBroken("corrupt", "a gate is closed while a thread is inside")
            except _Interrupt:
                pass
            _finish(later, "passing a gate after an interrupt of the thread that was closing it")
            if gate.closing:
                raise PromiseBroken("corrupt", "a gate says that it is closed after an interrupt")
    finally:
        signal.signal(signal.SIGUSR1, signal.SIG_DFL if before is None else before)
    _finish(Caller(partial(_close, gate)), "closing a gate after an interrupt")


def _interrupt(_: int, __: FrameType | None) -> None:
    raise _Interrupt


def _interrupt_when_waiting(gate: Gate, thread: int) -> None:
    """Interrupt a thread once it waits to close the gate, and another one waits to pass; return once that has passed."""
    give_up = time.monotonic() + _STUCK_SECONDS
    while not (gate.closing and _sleeps(thread)) and time.monotonic() < give_up:
        time.sleep(0.001)
    passer = Caller(partial(_pass, gate))
    while passer.is_alive() and not _sleeps(passer.ident) and time.monotonic() < give_up:
        time.sleep(0.001)
    signal.pthread_kill(thread, signal.SIGUSR1)
    _finish(passer, "passing a gate")


def _sleeps(thread: int | None) -> bool:
    """Whether a thread waits for a condition, and goes on waiting."""
    places = []
    for _ in range(2):
        frame = sys._current_frames().get(thread or 0)
        waits = frame is not None and frame.f_code is threading.Condition.wait.__code__
        places.append((frame, frame.f_lasti) if frame is not None and waits else None)
        time.sleep(0.002)
    return places[0] is not None and places[0] == places[1]


def _pass(gate: Gate) -> None:
    with gate.passed():
        return


def _close(gate: Gate) -> None:
    with gate.closed():
        if not gate.closing:
            raise PromiseBroken("corrupt", "a gate that is closed says that it is open")
