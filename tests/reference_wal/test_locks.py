"""Calls that two threads may make at once wait for each other: while one is held within, the other does nothing."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from crashmatrix.reference_wal.access.health import Health
from crashmatrix.reference_wal.access.table_access import TableAccess
from crashmatrix.reference_wal.log.append_queue import Turn
from crashmatrix.reference_wal.log.segmented_log import SegmentedLog
from crashmatrix.reference_wal.log.table_logs import NoLog, TableLogs
from crashmatrix.reference_wal.log.write_ahead_log import WriteAheadLog
from crashmatrix.reference_wal.tally import Tally
from tests.reference_wal.log.logs import LARGE, create
from tests.reference_wal.support import SCHEMA, batch

HELD_SECONDS = 0.05
"""A call that does not wait is over long before; one that waits does so on any machine."""

Made = tuple[AbstractContextManager[object], Callable[[], object]]


def waits(lock: AbstractContextManager[object], call: Callable[[], object]) -> None:
    """Fail unless the call, in a thread of its own, waits for as long as this thread has the lock, and then returns."""
    with ThreadPoolExecutor(1) as other:
        with lock:
            made = other.submit(call)
            assert not wait([made], HELD_SECONDS).done, "it did not wait"
        made.result(60)


def of_log(call: Callable[[SegmentedLog], object]) -> Callable[[Path], Made]:
    def make(folder: Path) -> Made:
        log = create(folder)
        log.append(batch(0))
        return log._turn, lambda: call(log)

    return make


def of_logs(call: Callable[[WriteAheadLog], object]) -> Callable[[Path], Made]:
    def make(folder: Path) -> Made:
        wal = WriteAheadLog(folder / "wal")
        wal.create_table_log("t", SCHEMA)
        return wal._lock, lambda: call(wal)

    return make


def of_table_logs(call: Callable[[TableLogs], object]) -> Callable[[Path], Made]:
    def make(folder: Path) -> Made:
        logs = TableLogs(folder / "wal", segment_bytes_max=LARGE, preallocate_bytes=0, logs=None, stand_ins={})
        return logs._lock, lambda: call(logs)

    return make


def of_stand_in(_: Path) -> Made:
    log = NoLog("t", SCHEMA, "this one")
    return log._lock, lambda: log.append(batch(0))


def of_access(folder: Path) -> Made:
    access = TableAccess("t", Health(folder))

    def look() -> None:
        with access.looked_at():
            pass

    return access._lock, look


def of_tally(call: Callable[[Tally], object]) -> Callable[[Path], Made]:
    def make(_: Path) -> Made:
        tally = Tally()
        return tally._lock, lambda: call(tally)

    return make


def quiet(log: SegmentedLog) -> None:
    with log.quiet():
        pass


@pytest.mark.parametrize(
    "make",
    [
        pytest.param(of_log(lambda log: log.append(batch(1))), id="append"),
        pytest.param(of_log(SegmentedLog.rotate), id="rotate"),
        pytest.param(of_log(lambda log: log.mark_persisted([0])), id="mark"),
        pytest.param(of_log(lambda log: list(log.unpersisted())), id="unpersisted"),
        pytest.param(of_log(SegmentedLog.truncate), id="truncate"),
        pytest.param(of_log(quiet), id="quiet"),
        pytest.param(of_log(SegmentedLog.close), id="close"),
        pytest.param(of_logs(lambda wal: wal.create_table_log("u", SCHEMA)), id="create a log"),
        pytest.param(of_logs(lambda wal: wal.remove_table_log("t")), id="remove a log"),
        pytest.param(of_logs(lambda wal: wal.change_segment_size(LARGE)), id="change the size of logs"),
        pytest.param(of_logs(WriteAheadLog.close), id="close all logs"),
        pytest.param(of_table_logs(lambda logs: logs.change_segment_size(LARGE)), id="change the size of the engine's"),
        pytest.param(of_table_logs(lambda logs: logs.start("t", SCHEMA, identity="one")), id="switch a log on"),
        pytest.param(of_stand_in, id="append without a log"),
        pytest.param(of_access, id="look at a table"),
        pytest.param(of_tally(lambda tally: tally.add(rows=1)), id="count"),
        pytest.param(of_tally(lambda tally: tally.read([])), id="read the counters"),
    ],
)
def test_a_call_waits_for_another(make: Callable[[Path], Made], tmp_path: Path) -> None:
    """It may be a log's, that of all logs, that of a table without one, or of the counters."""
    waits(*make(tmp_path))


class InTurn:
    """Stands for a part of a log, and fails unless the log's turn is taken whenever the part is used."""

    part: object
    turn: Turn

    def __init__(self, part: object, turn: Turn) -> None:
        vars(self).update(part=part, turn=turn)

    def __getattr__(self, name: str) -> object:
        if name not in READ_AT_ANY_TIME:
            with ThreadPoolExecutor(1) as other:
                assert not other.submit(self.turn.take, wait=False).result(), f"{name} was used out of turn"
        return getattr(self.part, name)

    def __setattr__(self, name: str, value: object) -> None:
        setattr(self.part, name, value)


READ_AT_ANY_TIME = ("persisted", "sizes")


@pytest.mark.parametrize(
    "call",
    [
        lambda log: log.append(batch(3)),
        SegmentedLog.rotate,
        lambda log: log.mark_persisted([0, 1]),
        lambda log: list(log.unpersisted()),
        SegmentedLog.truncate,
        SegmentedLog.close,
    ],
)
def test_a_log_changes_in_turn(call: Callable[[SegmentedLog], object], tmp_path: Path) -> None:
    """The turn is kept until a call is through with the active segment, and with what is known of the closed ones."""
    log = create(tmp_path, segment_bytes_max=1)
    for number in range(3):
        log.append(batch(number))
    log._writer = InTurn(log._writer, log._turn)  # type: ignore[assignment]
    log._retention = InTurn(log._retention, log._turn)  # type: ignore[assignment]
    call(log)


def test_a_truncation_is_one_step(tmp_path: Path) -> None:
    """It rotates and then marks; no append comes between them, whose batch would be marked unseen."""
    log = create(tmp_path)
    log.append(batch(0))
    rotate, appends = log.rotate, list[Future[int]]()

    with ThreadPoolExecutor(1) as other:

        def rotate_and_wait() -> None:
            rotate()
            appends.append(other.submit(log.append, batch(1)))
            assert not wait(appends, HELD_SECONDS).done, "an append came between"

        log.rotate = rotate_and_wait  # type: ignore[method-assign]  # it is held there
        log.truncate()
        assert appends[0].result(60) == 1
    assert [number for number, _ in log.unpersisted()] == [1]
    log.close()
