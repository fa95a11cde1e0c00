"""Many threads, one log: syncs are shared, ids follow the file, only durable batches are acknowledged, errors reach all."""

from __future__ import annotations

import contextlib
import itertools
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

import pyarrow as pa
import pytest

from crashmatrix import faults
from crashmatrix.reference_wal import AppendFailed, EngineClosed, LogPoisoned, WriteAheadLog
from crashmatrix.reference_wal.durable_io import Buffer
from crashmatrix.reference_wal.log.append_queue import AppendQueue, Entry, Turn
from crashmatrix.reference_wal.log.segmented_log import SegmentedLog
from crashmatrix.reference_wal.log.segments.active_segment import PARTS_MAX
from crashmatrix.reference_wal.log.unrecovered import UnrecoveredLog
from tests.reference_wal.support import SCHEMA, batch, encode, numbers

SECONDS_MAX = 200.0


class Appender(threading.Thread):
    """A thread with one batch; ends with an id or an error."""

    def __init__(self, log: SegmentedLog, value: float) -> None:
        super().__init__(daemon=True)
        self.log, self.value = log, value
        self.id: int | None = None
        self.error: BaseException | None = None

    def run(self) -> None:
        try:
            self.id = self.log.append(batch(self.value))
        except BaseException as error:  # A Panic, too, is what the test looks at.
            self.error = error


def until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + SECONDS_MAX
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.001)


def queue(log: SegmentedLog, values: range) -> list[Appender]:
    """Start a thread for each value; they queue in this order. The log must be quiet, or at work."""
    before = log.waiting
    appenders = []
    for number, value in enumerate(values, 1):
        appenders.append(Appender(log, float(value)))
        appenders[-1].start()
        until(lambda number=number: log.waiting == before + number)  # type: ignore[misc]
    return appenders


def join(appenders: list[Appender]) -> None:
    for appender in appenders:
        appender.join(SECONDS_MAX)
        assert not appender.is_alive()


def new_log(root: Path) -> SegmentedLog:
    (root / "t").mkdir(parents=True)
    return SegmentedLog.create(root / "t", SCHEMA, table="t", segment_bytes_max=1 << 20, preallocate_bytes=0)


@pytest.fixture
def log(tmp_path: Path) -> Iterator[SegmentedLog]:
    made = new_log(tmp_path)
    yield made
    made.close()


def reopened(log: SegmentedLog) -> list[tuple[int, float]]:
    log.close()
    left = UnrecoveredLog.look(log.folder, segment_bytes_max=1 << 20)
    assert left is not None
    again = left.reconcile()
    found = [(batch_id, numbers(rows)[0]) for batch_id, rows in again.unpersisted()]
    again.close()
    return found


@contextmanager
def held_at(point: str) -> Iterator[tuple[threading.Event, threading.Event]]:
    """Hold the first thread at a failpoint; yields an event of its arrival, and one that lets it go."""
    arrived, go_on = threading.Event(), threading.Event()

    def hold() -> None:
        if not arrived.is_set():
            arrived.set()
            assert go_on.wait(SECONDS_MAX)

    faults.configure_callback(point, hold)
    try:
        yield arrived, go_on
    finally:
        go_on.set()
        faults.remove(point)


def test_those_who_queue_share_one_sync(log: SegmentedLog) -> None:
    """Eight who queued while the log was busy cost one write and one sync; ids follow the queue and the file."""
    with log.quiet():
        appenders = queue(log, range(8))
        assert log.counters.syncs == 0
    join(appenders)
    assert [appender.id for appender in appenders] == list(range(8))
    assert (log.counters.appends, log.counters.syncs) == (8, 1)
    assert reopened(log) == [(i, float(i)) for i in range(8)]


def test_nobody_returns_before_the_sync(log: SegmentedLog) -> None:
    """During a group's sync, neither its leader nor any other caller of the group has an id."""
    with held_at("wal.append.before_sync") as (arrived, go_on):
        with log.quiet():
            appenders = queue(log, range(4))
        assert arrived.wait(SECONDS_MAX)
        late = queue(log, range(4, 6))  # No part of the group: it is written already.
        time.sleep(0.05)
        assert all(appender.is_alive() and appender.id is None for appender in (*appenders, *late))
        assert list(log.folder.glob("*")) and log.counters.appends == 0
        go_on.set()
        join([*appenders, *late])
    assert [appender.id for appender in (*appenders, *late)] == list(range(6))
    assert log.counters.syncs == 2


@pytest.mark.parametrize("point", ["wal.append.before_write", "wal.append.after_write", "wal.append.before_sync"])
def test_an_error_reaches_everybody(log: SegmentedLog, point: str) -> None:
    """If the group's write or sync fails, each of it gets the error, who queues behind it as well, and so does every later
    append; reads leave them out; reopening finds what was acknowledged, and of the rest a beginning or nothing.
    """
    log.append(batch(0.0))
    with faults.scenario(f"{point}=raise(EIO)"):
        with log.quiet():
            appenders = queue(log, range(1, 5))
        join(appenders)
    assert all(isinstance(appender.error, AppendFailed) for appender in appenders)
    assert len({id(appender.error) for appender in appenders}) == len(appenders)
    with pytest.raises(LogPoisoned):
        log.append(batch(9.0))
    assert [batch_id for batch_id, _ in log.unpersisted()] == [0]
    found = reopened(log)
    assert found == [(i, float(i)) for i in range(len(found))] and len(found) in (1, 5)


def test_an_error_reaches_those_who_queue_behind_it(log: SegmentedLog) -> None:
    """Who came too late for the group that failed is refused, and its batch is not written."""
    with held_at("wal.append.before_sync") as (arrived, go_on):
        first = Appender(log, 0.0)
        first.start()
        assert arrived.wait(SECONDS_MAX)
        late = queue(log, range(1, 4))
        faults.configure("wal.append.before_sync", "raise(EIO)")
        faults.configure("wal.append.after_sync", "raise(EIO)")
        go_on.set()
        join([first, *late])
        faults.remove("wal.append.after_sync")
    assert isinstance(first.error, AppendFailed)
    assert all(type(appender.error) is LogPoisoned for appender in late)
    assert reopened(log) in ([], [(0, 0.0)])


def test_an_interrupted_leader(log: SegmentedLog) -> None:
    """An interrupt in the leader is its own; the others get the typed error, none hangs, no id is given out twice."""
    with faults.scenario("wal.append.before_sync=panic"):
        with log.quiet():
            appenders = queue(log, range(4))
        join(appenders)
    kinds = sorted(type(appender.error).__name__ for appender in appenders)
    assert kinds == ["AppendFailed"] * 3 + ["Panic"]
    assert reopened(log) == [(i, float(i)) for i in range(4)]


def test_an_interrupted_waiter(log: SegmentedLog) -> None:
    """Who is interrupted while it waits, before its batch is in or after, keeps nobody behind it asleep."""

    def interrupt(_: int, __: object) -> None:
        raise InterruptedError

    before = signal.signal(signal.SIGALRM, interrupt)
    with held_at("wal.append.before_sync") as (arrived, go_on):
        first = Appender(log, 0.0)
        first.start()
        assert arrived.wait(SECONDS_MAX)
        ahead = queue(log, range(1, 3))
        signal.setitimer(signal.ITIMER_REAL, 0.1)
        with pytest.raises(InterruptedError):
            log.append(batch(3.0))
        behind = queue(log, range(4, 6))
        go_on.set()
        join([first, *ahead, *behind])
    signal.signal(signal.SIGALRM, before)
    assert [appender.id for appender in (first, *ahead, *behind)] == [0, 1, 2, 4, 5]
    assert log.counters.syncs == 2

    group = [Entry(pa.py_buffer(b"")) for _ in range(3)]
    Entry.settle_all(group, 7)
    assert [entry.batch_id for entry in group] == [7, 8, 9]
    for entry in group:
        entry.sleep()  # Else this test never ends: each is woken by the one before it.
        entry.wake_behind()


def test_a_caller_that_is_awake_as_it_gets_its_id(log: SegmentedLog, monkeypatch: pytest.MonkeyPatch) -> None:
    """A caller that sees its id before it was woken returns at once and wakes the next, which must not go back to sleep."""
    slot, sleep, slept = vars(Entry)["batch_id"], Entry.sleep, list[int]()

    def note(entry: Entry) -> None:
        slept.append(id(entry))
        sleep(entry)

    def give(entry: Entry, batch_id: int) -> None:
        slot.__set__(entry, batch_id)
        if batch_id == 1:
            entry.wake()
            join(appenders[1:2])
            until(lambda: not appenders[2].is_alive() or max(map(slept.count, slept)) > 1)

    monkeypatch.setattr(Entry, "sleep", note)
    monkeypatch.setattr(Entry, "batch_id", property(slot.__get__, give))
    with log.quiet():
        appenders = queue(log, range(4))
        until(lambda: len(slept) == 4)
    join(appenders)
    assert [appender.id for appender in appenders] == list(range(4))


def test_a_caller_that_is_awake_during_the_sync(log: SegmentedLog, monkeypatch: pytest.MonkeyPatch) -> None:
    """A caller that was woken too early, for whatever reason, has no id yet, and sleeps again until its batch is durable."""
    sleep, slept = Entry.sleep, list[Entry]()

    def note(entry: Entry) -> None:
        slept.append(entry)
        sleep(entry)

    monkeypatch.setattr(Entry, "sleep", note)
    with held_at("wal.append.before_sync") as (arrived, go_on):
        with log.quiet():
            appenders = queue(log, range(3))
            until(lambda: len(slept) == 3)
        assert arrived.wait(SECONDS_MAX)
        for entry in slept[:]:
            entry.wake()
        until(lambda: len(slept) == 5 or any(appender.id is not None for appender in appenders))
        assert [appender.id for appender in appenders] == [None, None, None]
        go_on.set()
        join(appenders)
    assert [appender.id for appender in appenders] == [0, 1, 2]


class Interrupted(Appender):
    """A thread with one batch that is interrupted at one of the points, counted from 0, where Python looks for interrupts:
    the beginning of a function, and the return from one in C; in the modules of the queue and the log.

    Two points are left out, as the module `append_queue` says: right after the turn was taken, and as it is given back.
    """

    MODULES = tuple(sys.modules[part.__module__].__file__ for part in (Entry, SegmentedLog))
    LEFT_OUT = (("c_return", Turn.take), ("call", Turn.give_back), ("call", Turn.__exit__))

    def __init__(self, log: SegmentedLog, value: float, point: int) -> None:
        super().__init__(log, value)
        self.left = point

    def run(self) -> None:
        sys.setprofile(self.look)
        super().run()
        sys.setprofile(None)

    def look(self, frame: FrameType, event: str, _: object) -> None:
        code = frame.f_code
        if event not in ("call", "c_return") or code.co_filename not in self.MODULES:
            return
        if not any(event == kind and code is where.__code__ for kind, where in self.LEFT_OUT):
            self.left -= 1
            if self.left < 0:
                raise KeyboardInterrupt


def all_end(log: SegmentedLog, appenders: list[Appender]) -> None:
    """Each caller returns or raises, closing works, and what was acknowledged is there."""
    closing = threading.Thread(target=log.close, daemon=True)
    join(appenders)
    closing.start()
    closing.join(SECONDS_MAX)
    assert not closing.is_alive()
    found = reopened(log)
    promised = {(appender.id, appender.value) for appender in appenders if appender.id is not None}
    assert promised <= set(found) and [batch_id for batch_id, _ in found] == list(range(len(found)))


@pytest.mark.parametrize("closed", [False, True])
def test_a_leader_interrupted_anywhere(closed: bool, tmp_path: Path) -> None:
    """Wherever an interrupt hits the thread that leads, nobody sleeps forever, not even who closes the log."""
    ended = list[str]()
    for point in itertools.count():
        log = new_log(tmp_path / str(point))
        victim = Interrupted(log, 0.0, point)
        with log.quiet():
            victim.start()
            until(lambda victim=victim, log=log: log.waiting or not victim.is_alive())  # type: ignore[misc]
            others = queue(log, range(1, 4))
            if closed:
                log.close()
        all_end(log, [victim, *others])
        ended += {type(other.error).__name__ for other in others}
        if victim.left >= 0:
            break
    assert point > (15 if closed else 30)
    assert set(ended) == ({"EngineClosed"} if closed else {"NoneType", "AppendFailed", "LogPoisoned"})


@pytest.mark.parametrize("count", [1, 2])
def test_a_waiter_interrupted_anywhere(count: int, tmp_path: Path) -> None:
    """Likewise in a thread that queues, before it sleeps and after it was woken; others get their ids."""
    for point in itertools.count():
        log = new_log(tmp_path / str(point))
        victim = Interrupted(log, 1.0, point)
        with held_at("wal.append.before_sync") as (arrived, go_on):
            first = Appender(log, 0.0)
            first.start()
            assert arrived.wait(SECONDS_MAX)
            victim.start()
            until(lambda victim=victim, log=log: log.waiting or not victim.is_alive())  # type: ignore[misc]
            behind = queue(log, range(2, 2 + count))
            go_on.set()
            all_end(log, [first, victim, *behind])
        if victim.left >= 0:
            break
    assert point > 15


def test_a_caller_that_is_awake_before_it_is_out_of_the_queue(monkeypatch: pytest.MonkeyPatch) -> None:
    """A caller that the emptying of the queue wakes does not sleep again, however soon it looks: nobody would wake it."""
    waiting, emptying = AppendQueue(), threading.get_ident()
    sleep, take, wake = Entry.sleep, Turn.take, Entry.wake
    looked = threading.Semaphore(0)

    def noted_sleep(entry: Entry) -> None:
        looked.release()
        sleep(entry)

    def noted_take(turn: Turn, *, wait: bool = True) -> bool:
        if wait and threading.get_ident() != emptying:
            looked.release()
        return take(turn, wait=wait)

    def wake_and_wait(entry: Entry) -> None:
        wake(entry)
        if threading.get_ident() == emptying:
            assert looked.acquire(timeout=SECONDS_MAX)

    def refuse() -> None:
        refused.append(1)
        raise EngineClosed

    def call() -> None:
        with contextlib.suppress(EngineClosed):
            waiting.settle(b"", refuse)

    refused = list[int]()
    callers = [threading.Thread(target=call, daemon=True) for _ in range(3)]
    monkeypatch.setattr(Entry, "sleep", noted_sleep)
    monkeypatch.setattr(Turn, "take", noted_take)
    with waiting.turn:
        for caller in callers:
            caller.start()
            assert looked.acquire(timeout=SECONDS_MAX)
        with monkeypatch.context() as patch:
            patch.setattr(Entry, "wake", wake_and_wait)
            waiting.clear()
    for caller in callers:
        caller.join(SECONDS_MAX)
    assert len(refused) == len(callers) and not any(caller.is_alive() for caller in callers)


@pytest.mark.parametrize("closed", [False, True])
def test_who_is_refused_queues_no_more(closed: bool, log: SegmentedLog) -> None:
    """The log holds nothing of an append that it refused, whether it has failed or is closed."""
    with faults.scenario("wal.append.before_sync=raise(EIO)"), pytest.raises(AppendFailed):
        log.append(batch(0.0))
    if closed:
        log.close()
    for _ in range(2):
        with pytest.raises(LogPoisoned):
            log.append(batch(1.0))
        assert log.waiting == 0


class Interrupting(list[Entry]):
    """A group whose filling is interrupted."""

    def append(self, entry: Entry) -> None:
        super().append(entry)
        raise KeyboardInterrupt


def test_an_entry_that_is_settled_and_still_queues(monkeypatch: pytest.MonkeyPatch) -> None:
    """An interrupt may leave an entry both in its group and in the queue: its caller, gone by then, is not chosen to lead."""
    waiting, sleep, slept = AppendQueue(), Entry.sleep, list[Entry]()

    def note(entry: Entry) -> None:
        slept.append(entry)
        sleep(entry)

    def write() -> None:
        group: list[Entry] = []
        waiting.move_group(group, 1, seal_bytes=0, entries_max=2)
        Entry.settle_all(group, 7)

    monkeypatch.setattr(Entry, "sleep", note)
    callers = [threading.Thread(target=waiting.settle, args=(b"", write), daemon=True) for _ in range(2)]
    with waiting.turn:
        callers[0].start()
        until(lambda: len(slept) == 1)
        group = Interrupting()
        with pytest.raises(KeyboardInterrupt):
            waiting.move_group(group, 1, seal_bytes=0, entries_max=2)
        group[0].fail(OSError())
        callers[0].join(SECONDS_MAX)
        callers[1].start()
        until(lambda: len(slept) == 2)
    callers[1].join(SECONDS_MAX)
    assert not any(caller.is_alive() for caller in callers)
    assert [entry.batch_id for entry in slept] == [7, 8] and len(waiting) == 0


def test_the_size_of_a_group() -> None:
    """Those at the head of the queue, as many as may share a write, and as many bytes as there is room for."""
    waiting, sizes = AppendQueue(), list[int]()

    def write() -> None:
        group: list[Entry] = []
        waiting.move_group(group, 100, seal_bytes=10, entries_max=3)
        sizes.append(len(group))
        Entry.settle_all(group, 0)

    def queued(message: bytes, count: int) -> None:
        callers = [threading.Thread(target=waiting.settle, args=(message, write), daemon=True) for _ in range(count)]
        with waiting.turn:
            for number, caller in enumerate(callers, 1):
                caller.start()
                until(lambda: len(waiting) == number)  # noqa: B023  # called at once
        for caller in callers:
            caller.join(SECONDS_MAX)

    queued(b"", 7)
    queued(bytes(40), 3)
    assert sizes == [3, 3, 1, 2, 1]


@pytest.mark.parametrize("more", [0, 1])
def test_a_group_fills_its_segment(more: int, log: SegmentedLog) -> None:
    """Records that queue go into the segment until it is full to the byte, seals included; a byte of room takes one more."""
    _, ends = encode([batch(float(i)) for i in range(4)], identity="0" * 32)
    log.segment_bytes_max = ends[2] + more
    with log.quiet():
        appenders = queue(log, range(4))
    join(appenders)
    assert sorted(path.name for path in log.folder.iterdir()) == [f"0-{1 + more}.arrows", f"{2 + more}-.arrows"]
    assert log.counters.syncs == 2


def test_a_write_takes_so_many_buffers(log: SegmentedLog, monkeypatch: pytest.MonkeyPatch) -> None:
    """A group has no more buffers than a write takes, however many batches queue; the system takes that many."""
    assert os.sysconf("SC_IOV_MAX") >= PARTS_MAX
    pwritev, sizes = os.pwritev, list[int]()

    def noted(descriptor: int, parts: Sequence[Buffer], offset: int) -> int:
        sizes.append(len(parts))
        return pwritev(descriptor, parts, offset)

    with log.quiet():
        appenders = queue(log, range(7))
        monkeypatch.setattr("crashmatrix.reference_wal.log.segmented_log.PARTS_MAX", 7)
        monkeypatch.setattr(os, "pwritev", noted)
    join(appenders)
    assert sizes == [6, 6, 2]


def test_rotation_with_many_waiting(log: SegmentedLog) -> None:
    """A group ends where the segment is full; the rest goes into the next one, in order."""
    log.segment_bytes_max = 3000
    with log.quiet():
        appenders = queue(log, range(12))
    join(appenders)
    assert [appender.id for appender in appenders] == list(range(12))
    assert log.counters.rotations >= 2 and log.counters.syncs <= log.counters.rotations + 1
    assert reopened(log) == [(i, float(i)) for i in range(12)]


@pytest.mark.parametrize("point", ["wal.rotate.before_rename", "wal.rotate.after_sync", "wal.segment.before_rename"])
def test_a_rotation_that_fails(log: SegmentedLog, point: str) -> None:
    """If the rotation before a group fails, each caller of the group gets the error, and nothing acknowledged is lost."""
    log.append(batch(0.0))
    log.segment_bytes_max = 1
    with faults.scenario(f"{point}=raise(ENOSPC)"):
        with log.quiet():
            appenders = queue(log, range(1, 4))
        join(appenders)
    assert all(isinstance(appender.error, LogPoisoned) for appender in appenders)
    assert [batch_id for batch_id, _ in log.unpersisted()] == [0]
    assert reopened(log) == [(0, 0.0)]


def test_truncate_and_close_with_many_waiting(log: SegmentedLog) -> None:
    """A truncation takes its turn; closing tells who waits."""
    with log.quiet():
        appenders = queue(log, range(3))
        log.truncate()
        more = queue(log, range(3, 5))
    join([*appenders, *more])
    assert [appender.id for appender in (*appenders, *more)] == list(range(5))
    with log.quiet():
        waiting = queue(log, range(5, 8))
        log.close()
    join(waiting)
    assert all(isinstance(appender.error, EngineClosed) for appender in waiting)
    assert len(reopened(log)) == 5


def test_tables_do_not_wait_for_each_other(tmp_path: Path) -> None:
    """While one table's sync is held, another table's appends go through."""
    wal = WriteAheadLog(tmp_path)
    for table in "ab":
        wal.create_table_log(table, SCHEMA)
    with held_at("wal.append.before_sync") as (arrived, _):
        held = Appender(wal.log("a"), 0.0)
        held.start()
        assert arrived.wait(SECONDS_MAX)
        other = Appender(wal.log("b"), 1.0)
        other.start()
        join([other])
        assert other.id == 0 and held.is_alive()
    join([held])
    assert held.id == 0
    wal.close()


def test_reading_while_writing(log: SegmentedLog) -> None:
    """A replay that runs beside appends, rotations and retirement returns each batch not persisted, once, in order."""
    log.segment_bytes_max = 4000
    for value in range(20):
        log.append(batch(float(value)))
    reading = log.unpersisted()
    found = [next(reading)[0] for _ in range(3)]
    log.mark_persisted(range(10))
    for value in range(20, 40):
        log.append(batch(float(value)))
    found += [batch_id for batch_id, _ in reading]
    assert found == sorted(set(found))
    assert set(range(10, 20)) <= set(found) <= set(range(20))
