"""The gate: many pass together, the one that closes it is alone."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Any

import pytest

from crashmatrix.reference_wal.access.gate import Gate


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_the_gate() -> None:
    """Many pass together; who closes it is alone; a closing that waits is not overtaken by those who come later."""
    gate, order = Gate(), list[str]()

    def close() -> None:
        with gate.closed():
            order.append("closed")

    def pass_() -> None:
        with gate.passed():
            order.append("passed")

    with ThreadPoolExecutor() as pool:
        with gate.passed():
            with gate.passed():
                closing = pool.submit(close)
                wait_until(lambda: gate.closing)
                late = [pool.submit(pass_) for _ in range(3)]
                time.sleep(0.02)
                assert order == []
            assert order == []
        closing.result()
        for one in late:
            one.result()
    assert order == ["closed", "passed", "passed", "passed"]


def test_an_interrupted_closing(monkeypatch: pytest.MonkeyPatch) -> None:
    """It does not go on beside those within, and leaves the gate open, also to those who wait by then."""
    gate, late, entered = Gate(), list[Future[None]](), list[Gate]()
    original, here = threading.Condition.wait, threading.current_thread()

    def pass_() -> None:
        with gate.passed():
            pass

    def interrupted(condition: threading.Condition, timeout: float | None = None) -> bool:
        if threading.current_thread() is here:
            late.append(pool.submit(pass_))
            original(condition, timeout)
            raise KeyboardInterrupt
        condition.notify_all()  # Now another waits as well.
        return original(condition, timeout)

    with ThreadPoolExecutor(1) as pool:
        pool.submit(list).result()  # Its thread has started: that, too, is a wait.
        with gate.passed():
            with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
                patch.setattr(threading.Condition, "wait", interrupted)
                with gate.closed():
                    entered.append(gate)
            assert not gate.closing
            through = wait(late, 30).done
        with gate.closed():  # It can be closed again, which wakes all who wait.
            pass
    assert (through, entered) == (set(late), [])


def note_waits(patch: pytest.MonkeyPatch, came: threading.Event) -> None:
    """Set the event once another thread comes to a condition that it has to wait for."""
    waiting, here = threading.Condition.wait, threading.current_thread()

    def waits(condition: threading.Condition, timeout: float | None = None) -> bool:
        if threading.current_thread() is not here:
            came.set()
        return waiting(condition, timeout)

    patch.setattr(threading.Condition, "wait", waits)


def test_one_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """While one keeps the gate closed, another that comes to close it waits, and is woken."""
    gate, order, came = Gate(), list[str](), threading.Event()

    def close() -> None:
        with gate.closed():
            order.append("second")
            came.set()

    with ThreadPoolExecutor(1) as pool:
        with gate.closed(), monkeypatch.context() as patch:
            note_waits(patch, came)
            closing = pool.submit(close)
            assert came.wait(60)
            order.append("first")
        through = wait([closing], 30).done
        with gate.passed():  # This wakes it for certain.
            pass
    assert (order, through) == (["first", "second"], {closing})


def test_one_who_has_passed_is_within(monkeypatch: pytest.MonkeyPatch) -> None:
    """A thread that comes to close the gate at the next instant waits for it."""
    gate, order, came = Gate(), list[str](), threading.Event()
    leaving, here = threading.Condition.__exit__, threading.current_thread()
    closing, left = list[Future[None]](), list[object]()

    def close() -> None:
        with gate.closed():
            order.append("closed")
            came.set()

    def leaves(condition: threading.Condition, *error: Any) -> None:
        leaving(condition, *error)
        if threading.current_thread() is here and not left:
            left.append(condition)
            closing.append(pool.submit(close))
            assert came.wait(60)

    with ThreadPoolExecutor(1) as pool:
        pool.submit(list).result()
        note_waits(monkeypatch, came)
        with monkeypatch.context() as patch:
            patch.setattr(threading.Condition, "__exit__", leaves)
            with gate.passed():
                order.append("passed")
        closing[0].result(60)
    assert order == ["passed", "closed"]
