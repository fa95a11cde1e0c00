"""A thread is held at a failpoint, between two critical sections, or at each place; and it fails where it is to."""

from __future__ import annotations

import threading
import time
from functools import partial
from pathlib import Path

import pyarrow as pa
import pytest

from crashmatrix import faults
from crashmatrix.reference_wal import StorageEngine
from crashmatrix.reference_wal.access.gate import Gate
from crashmatrix.scenarios.systems.reference.overlapping.held import Caller, Held

HOURS = 10_000
POINT = faults.declare("tests.threads.point", "a place to be held at")


def three_hits() -> None:
    for _ in range(3):
        POINT.hit()


def test_a_thread_is_held() -> None:
    """The thread stops at the chosen hit; others pass; the observer before sees every hit, the held one last."""
    seen = list[int]()
    faults.observe(lambda _, number: seen.append(number))
    start = faults.hits(POINT.name)
    held = Held(2)
    with held.installed():
        caller = Caller(lambda: held.call(three_hits))
        assert held.wait(caller)
        POINT.hit()
        assert [number - start for number in seen] == [1, 3]
        held.let_go()
        caller.finish()
    faults.observe(None)
    assert sorted(number - start for number in seen) == [1, 2, 3, 4]


def test_a_thread_is_held_at_each_place(tmp_path: Path) -> None:
    """Between two critical sections of a table it stops as well; a thread held at each place comes by all of them."""
    with StorageEngine.open(tmp_path) as engine:
        engine.create_table("t", pa.schema([("at", pa.int64())]), timestamp="at")
        reads = [Held(1, between=True), Held(None), Held(99, between=True)]
        for held, places in zip(reads, (1, 2, 0), strict=True):
            with held.installed():
                caller = Caller(partial(held.call, partial(engine.read, "t")))
                stops = 0
                while held.wait(caller):
                    stops += 1
                    held.let_go()
                caller.finish()
            assert stops >= places if held is reads[1] else stops == places
        assert reads[1].places == reads[2].places > 1


def test_a_thread_that_fails() -> None:
    """Let go, it gets an error of the disk where it was held."""
    held = Held(2, fails=True)
    with held.installed():
        caller = Caller(lambda: held.call(three_hits))
        assert held.wait(caller)
        held.let_go()
        with pytest.raises(OSError, match=f"to fail at {POINT.name}"):
            caller.finish()
    assert held.hits == 2


def test_a_thread_that_fails_gives_way() -> None:
    """As a gate opens behind it, the call that waited there goes first."""
    gate, order = Gate(), list[str]()

    def work() -> None:
        try:
            with gate.closed():
                three_hits()
        except OSError:
            order.append("it fails")

    def enter() -> None:
        with gate.passed():
            order.append("the other one enters")

    held = Held(2, fails=True)
    with held.installed():
        caller = Caller(partial(held.call, work))
        assert held.wait(caller)
        held.others.append(Caller(enter))
        held.others[0].go_as_far_as_it_can(HOURS)
        held.let_go()
        for one in (caller, *held.others):
            one.finish()
    assert order == ["the other one enters", "it fails"]


def test_how_far_a_thread_can_go() -> None:
    """To its end, or to a lock that another thread holds; the time that decides for all else is not needed then."""
    lock, woken = threading.Lock(), threading.Event()

    def enter() -> None:
        with lock:
            pass

    def wake() -> None:
        woken.wait()

    def ask() -> None:
        lock.acquire()
        lock.release()

    with lock:
        callers = [Caller(wait) for wait in (enter, ask, wake)]
        for caller in callers:
            caller.go_as_far_as_it_can(HOURS)
            assert caller.is_alive()
    woken.set()
    for caller in callers:
        caller.go_as_far_as_it_can(HOURS)
        caller.finish()
    sleeps = Caller(partial(time.sleep, 2))
    sleeps.go_as_far_as_it_can(0.001)
    assert sleeps.is_alive()
