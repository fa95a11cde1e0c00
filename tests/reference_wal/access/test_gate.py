"""The gate: many pass together, the one that closes it is alone."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

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
    """A closing that is interrupted while it waits does not go on beside those within, and leaves the gate open."""
    gate = Gate()

    def interrupted(_: threading.Condition, __: float | None = None) -> bool:
        raise KeyboardInterrupt

    with gate.passed():
        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            patch.setattr(threading.Condition, "wait", interrupted)
            with gate.closed():
                pytest.fail("the gate was not empty")
        assert not gate.closing
        with gate.passed():
            pass
    with gate.closed():
        assert gate.closing
